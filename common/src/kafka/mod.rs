//! The Kafka wire: primitives, headers, messages, record batches, error codes. Holds no rule of the broker and opens no
//! socket.

pub mod batch;
pub mod compression;
pub mod control;
pub mod error;
pub mod header;
pub mod messages;
pub mod records;
pub mod wire;
