//! The transports against whole brokers: librdkafka's mock cluster, and a real Kafka where `EVBUS_TEST_BROKERS` names
//! one. And the rules of the source tree.

mod architecture;
mod bus;
mod dead_letters;
mod docs;
mod fenced;
mod health;
mod kafka_connect;
mod kafka_consume;
mod kafka_publish;
mod kafka_rebalance;
mod kafka_security;
mod kafka_wire;
mod renewal;
mod retries;
mod stalls;
mod starts;
mod support;
