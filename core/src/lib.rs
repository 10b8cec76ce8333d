//! An event bus on Kafka for domain events.

#![deny(missing_docs)]
#![deny(unsafe_code)]

mod codec;
mod config;
mod error;
mod event;
pub mod frame;
mod iso;
mod kafka;
mod log;
#[cfg(feature = "embedded")]
mod memory;
#[allow(dead_code)]
mod subscribe;
#[cfg(feature = "embedded")]
pub mod testing;
mod transport;

pub use codec::Envelope;
pub use config::{Compression, Config, ConfigOption, OPTIONS, OptionType, Sasl, SaslMechanism, Ssl};
pub use error::{Error, ErrorKind, PublishOutcome, Result};
pub use event::{Delivery, Event, Headers, HeadersBuf, Outcome, OutgoingRecord, Record, Ticket, Topic, TopicPartition};
pub use kafka::KafkaTransport;
pub use log::{Level, Log, LogRecord, Observer};
#[cfg(feature = "embedded")]
pub use memory::{MemoryBroker, MemoryTransport};
pub use transport::{
    Cancelled, Completion, CompletionSink, Connectivity, Consumer, ConsumerEvent, Enqueued, GroupOffsets, RecordSink,
    Token, Transport,
};
