//! An event bus on Kafka for domain events.

#![deny(missing_docs)]
#![deny(unsafe_code)]

mod bus;
mod codec;
mod config;
mod dead_letters;
mod error;
mod event;
pub mod frame;
mod health;
mod iso;
mod kafka;
mod log;
#[cfg(feature = "embedded")]
mod memory;
mod metrics;
mod policy;
mod publish;
mod runtime;
mod shutdown;
mod subscribe;
mod sync;
#[cfg(feature = "embedded")]
pub mod testing;
mod transport;

pub use bus::{Bus, Subscription};
pub use codec::Envelope;
pub use codec::provenance::DEAD_LETTER_HEADERS;
pub use config::{Compression, Config, ConfigOption, OPTIONS, OptionType, Sasl, SaslMechanism, Ssl};
pub use dead_letters::{
    DeadLetterFilter, DeadLetterInfo, DeadLetterRecord, DeadLetters, ReplayOptions, ReplayReport, SkipReason,
    SkippedLetter,
};
pub use error::{Error, ErrorKind, PublishOutcome, Result};
pub use event::{
    Delivery, Event, Failure, Finished, Headers, HeadersBuf, Outcome, OutgoingRecord, RawRecord, Record, Ticket, Topic,
    TopicPartition,
};
pub use health::{Health, HealthCode, HealthReason};
pub use kafka::KafkaTransport;
pub use log::{Level, Log, LogRecord, Observer};
#[cfg(feature = "embedded")]
pub use memory::{MemoryBroker, MemoryTransport};
pub use metrics::{ConsumeMetrics, Histogram, Metrics, PROCESSING_TIME_BOUNDS, PartitionLag, PublishMetrics};
pub use policy::{
    DeadLetterReason, Halted, Jitter, OnExhausted, OnInvalid, Ordering, Policy, RetryPolicy, SeekTo, StartFrom,
    TopicSubscription,
};
pub use publish::FramePublisher;
pub use runtime::spawn;
pub use shutdown::{Phase, ShutdownReport};
pub use subscribe::{Epochs, HaltedPartition, HandlerError, Intake, StalledPartition, check_subscriptions};
pub use transport::{
    Cancelled, Committed, Completion, CompletionSink, Connectivity, Consumer, ConsumerEvent, Enqueued, Extent, Found,
    GroupOffsets, LogPosition, Progress, Published, Receipt, RecordPublisher, RecordSink, Remedy, Token, TopicReader,
    Transport,
};

/// The Rust of the README, which runs as documentation tests do.
#[cfg(all(doctest, feature = "embedded"))]
#[doc = include_str!("../../README.md")]
struct Readme;
