//! Every error of the machines -> Kafka's error code. The only file of the broker that knows codes of errors it did not
//! make; each match is exhaustive, so that a new error cannot become UNKNOWN_SERVER_ERROR unseen.
