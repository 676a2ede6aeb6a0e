//! Who a client is and what it may do: principals, SASL, access control lists. Decides; opens no connection and writes
//! nothing to ZooKeeper.

pub mod acl;
pub mod authorizer;
pub mod mechanisms;
pub mod principal;
pub mod sanitize;
pub mod sasl;

/// The principal of who has not said who he is.
pub const ANONYMOUS: &str = "User:ANONYMOUS";
