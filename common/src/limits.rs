//! Every bound of the system that is not a setting, each with its reason.

/// Nested or repeated elements are reserved at most this many at a time while decoding: memory grows with the bytes
/// that really arrived, never with a declared count.
pub const DECODE_RESERVE_COUNT: usize = 64;

/// Requests of one Kafka connection that may be handled but not yet answered. A connection past it is not read until an
/// answer leaves; clients pipeline 5 (Java's default) and seldom more than some dozens.
pub const IN_FLIGHT_PER_CONNECTION: usize = 256;

/// A path deeper or longer than this is refused: nothing real comes near, and each operation walks it.
pub const ZNODE_PATH_BYTES: usize = 64 * 1024;

/// Bytes of one frame a ZooKeeper client accepts unless told otherwise; Java's client takes 1 MiB less a byte
/// (`jute.maxbuffer`) and installations with big topics raise it to this.
pub const ZOOKEEPER_FRAME_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of one request, without its length, that every ZooKeeper server takes: `jute.maxbuffer` unless set otherwise.
pub const ZOOKEEPER_REQUEST_BYTES: usize = 0xf_ffff;

/// Requests of one ZooKeeper session that may wait for a connection. Nobody waits for more at once; past it they fail as
/// if the connection had been lost.
pub const QUEUED_REQUESTS_PER_SESSION: usize = 100_000;

/// Requests of one ZooKeeper connection that may be read and not yet answered. Kafka pipelines hundreds at a controller's
/// start; past this the socket is not read until an answer leaves.
pub const ZK_OUTSTANDING_PER_CONNECTION: usize = 1000;

/// Bytes of answers that may wait for a slow ZooKeeper client before its socket is not read any more. One answer may be
/// larger.
pub const ZK_OUTPUT_BYTES_PER_CONNECTION: usize = 4 * 1024 * 1024;
