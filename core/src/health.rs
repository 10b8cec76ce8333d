//! Whether the bus is connected, told from progress and not from a socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::log::{Level, Log, LogRecord};
use crate::metrics::Recorder;
use crate::transport::Connectivity;

/// The client reports once a second; older news are no news.
const REPORT_MAX_AGE: Duration = Duration::from_secs(3);

/// A black-holed broker looks connected for a minute; publishes without any acknowledgement tell sooner.
const ACKNOWLEDGEMENT_MAX_AGE: Duration = Duration::from_secs(5);

/// Watches the connection and logs each change once.
#[derive(Debug)]
pub(crate) struct ConnectionWatch {
    connected: Arc<AtomicBool>,
    /// What was told last. The shared flag will not do: the end of a bus lowers it too.
    was_connected: bool,
    since: Instant,
    log: Log,
    recorder: Arc<Recorder>,
}

/// What the watch looks at.
pub(crate) struct Signs<'a> {
    pub(crate) producer: &'a Connectivity,
    /// `None` while nothing is subscribed.
    pub(crate) consumer: Option<&'a Connectivity>,
    /// How long publishes have been outstanding without any acknowledgement.
    pub(crate) without_progress: Duration,
}

impl ConnectionWatch {
    /// Begins with the connection that `connect` proved.
    pub(crate) fn new(now: Instant, connected: Arc<AtomicBool>, log: Log, recorder: Arc<Recorder>) -> Self {
        connected.store(true, Ordering::Relaxed);
        ConnectionWatch { connected, was_connected: true, since: now, log, recorder }
    }

    /// Runs on: delivery thread, at least every 100 ms.
    pub(crate) fn look(&mut self, now: Instant, signs: &Signs<'_>) {
        let trouble = self.trouble(now, signs);
        self.connected.store(trouble.is_none(), Ordering::Relaxed);
        let was = std::mem::replace(&mut self.was_connected, trouble.is_none());
        match trouble {
            Some(reason) if was => {
                self.since = now;
                self.recorder.connections_lost.fetch_add(1, Ordering::Relaxed);
                let mut record = LogRecord::new(
                    Level::Warn,
                    "connection_lost",
                    format!("the connection is lost: {reason}; reconnecting, publishes wait until their deadline"),
                );
                record.error = signs.producer.last_error.clone();
                self.log.write(record);
            }
            None if !was => {
                let lost_for = now.duration_since(self.since);
                self.since = now;
                let message = format!("the connection is back after {:.1} s", lost_for.as_secs_f64());
                self.log.write(LogRecord::new(Level::Info, "connection_established", message));
            }
            _ => (),
        }
    }

    fn trouble(&self, now: Instant, signs: &Signs<'_>) -> Option<&'static str> {
        if signs.without_progress > ACKNOWLEDGEMENT_MAX_AGE {
            return Some("no publish was acknowledged for 5 s");
        }
        self.silence(now, signs.producer).or_else(|| self.silence(now, signs.consumer?))
    }

    fn silence(&self, now: Instant, client: &Connectivity) -> Option<&'static str> {
        match client.observed_at {
            // A client that has just started reports after a second.
            None => None,
            Some(at) if now.saturating_duration_since(at) > REPORT_MAX_AGE => Some("the client does not report"),
            Some(_) if client.brokers_up == 0 => Some("no broker can be reached"),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Observer;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Events(Mutex<Vec<&'static str>>);

    impl Observer for Events {
        fn log(&self, record: &LogRecord) {
            self.0.lock().unwrap().push(record.event);
        }
    }

    #[test]
    fn each_change_is_told_once() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let seen = Arc::new(Events::default());
        let connected = Arc::new(AtomicBool::new(false));
        let recorder = Arc::new(Recorder::default());
        let mut watch = ConnectionWatch::new(start, connected.clone(), Log::new(Some(seen.clone())), recorder.clone());
        let mut look = |now: u64, brokers_up: usize, reported: u64, without_progress: u64| {
            let producer = Connectivity { brokers_up, observed_at: Some(at(reported)), ..Connectivity::default() };
            let without_progress = Duration::from_secs(without_progress);
            watch.look(at(now), &Signs { producer: &producer, consumer: None, without_progress });
            connected.load(Ordering::Relaxed)
        };
        assert!(look(1, 1, 1, 0));
        assert!(!look(2, 0, 2, 0), "no broker is up");
        assert!(!look(3, 0, 3, 0));
        assert!(look(4, 1, 4, 0));
        assert!(!look(8, 1, 4, 0), "the news are old");
        assert!(look(9, 1, 9, 0));
        assert!(!look(10, 1, 10, 6), "nothing is acknowledged");
        let changes = ["connection_lost", "connection_established"];
        let expected: Vec<_> = changes.iter().cycle().take(5).copied().collect();
        assert_eq!(*seen.0.lock().unwrap(), expected);
        assert_eq!(recorder.connections_lost.load(Ordering::Relaxed), 3);
    }
}
