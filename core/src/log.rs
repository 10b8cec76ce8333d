//! Structured logs: every record goes to `tracing` and to the bus's observer.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::error::Error;
use crate::event::Record;

/// How much a log record matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For someone who follows the bus step by step.
    Debug,
    /// A normal change of state: connected, partitions assigned.
    Info,
    /// Something failed and the bus goes on by itself.
    Warn,
    /// Something failed and needs someone.
    Error,
}

impl Level {
    /// `debug`, `info`, `warn` or `error`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        }
    }
}

/// One log record.
#[derive(Clone, Debug)]
pub struct LogRecord {
    /// How much it matters.
    pub level: Level,
    /// A stable name to filter by: `connection_established`, `partitions_assigned`, `invalid_message`, ….
    pub event: &'static str,
    /// What happened, for a person.
    pub message: String,
    /// On what: topic, partition, offset, ….
    pub fields: Vec<(&'static str, Value)>,
    /// The error behind it, if there is one.
    pub error: Option<Error>,
}

impl LogRecord {
    /// A record without fields.
    pub fn new(level: Level, event: &'static str, message: impl Into<String>) -> Self {
        LogRecord { level, event, message: message.into(), fields: Vec::new(), error: None }
    }

    /// Adds a field.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// Adds topic, partition and offset of a record.
    #[must_use]
    pub fn at(self, record: &Record) -> Self {
        self.with("topic", &*record.source.topic)
            .with("partition", record.source.partition)
            .with("offset", record.offset)
    }

    /// Adds the error behind it.
    #[must_use]
    pub fn because(mut self, error: Error) -> Self {
        self.error = Some(error);
        self
    }
}

/// Gets the log records of one bus, beside `tracing`.
pub trait Observer: Send + Sync {
    /// Runs on: any thread, so it must not block. Called in the order of the events of one thread.
    fn log(&self, record: &LogRecord);
}

/// The log of one bus: cheap to clone, usable on any thread.
#[derive(Clone, Default)]
pub struct Log {
    observer: Option<Arc<dyn Observer>>,
}

impl Log {
    /// A log that also tells an observer.
    pub fn new(observer: Option<Arc<dyn Observer>>) -> Self {
        Log { observer }
    }

    /// Writes a record.
    pub fn write(&self, record: LogRecord) {
        emit(&record);
        if let Some(observer) = &self.observer {
            observer.log(&record);
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Log")
    }
}

/// `tracing` wants the level at compile time, hence one call per level.
fn emit(record: &LogRecord) {
    macro_rules! emit_at {
        ($level:ident) => {
            tracing::$level!(
                target: "event_bus",
                event = record.event,
                fields = %Fields(&record.fields),
                error = record.error.as_ref().map(tracing::field::display),
                "{}", record.message
            )
        };
    }
    match record.level {
        Level::Debug => emit_at!(debug),
        Level::Info => emit_at!(info),
        Level::Warn => emit_at!(warn),
        Level::Error => emit_at!(error),
    }
}

struct Fields<'a>(&'a [(&'static str, Value)]);

impl fmt::Display for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { " " };
            write!(f, "{separator}{name}={value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Collect(Mutex<Vec<String>>);

    impl Observer for Collect {
        fn log(&self, record: &LogRecord) {
            let line = format!("{} {} {}", record.level.as_str(), record.event, Fields(&record.fields));
            self.0.lock().unwrap().push(line);
        }
    }

    #[test]
    fn the_observer_gets_level_name_and_fields() {
        let seen = Arc::new(Collect::default());
        let log = Log::new(Some(seen.clone()));
        log.write(LogRecord::new(Level::Warn, "connection_lost", "no broker answers").with("brokers", 0));
        assert_eq!(*seen.0.lock().unwrap(), ["warn connection_lost brokers=0"]);
    }
}
