//! Whether the bus is connected, told from progress and not from a socket.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::log::{Level, Log, LogRecord};
use crate::metrics::Recorder;
use crate::runtime::lock;
use crate::transport::Connectivity;

/// The client reports once a second; older news are no news.
const REPORT_MAX_AGE: Duration = Duration::from_secs(3);

/// A black-holed broker looks connected for a minute; publishes without any acknowledgement tell sooner.
const ACKNOWLEDGEMENT_MAX_AGE: Duration = Duration::from_secs(5);

/// An outage is told again so often, for those who look at the log hours later.
const REMINDER_INTERVAL: Duration = Duration::from_secs(60);

/// Whether there is a connection, for all threads to see.
#[derive(Debug, Default)]
pub(crate) struct Link {
    is_up: AtomicBool,
    reason: Mutex<&'static str>,
}

impl Link {
    /// The connection is there.
    pub(crate) fn up(&self) {
        self.is_up.store(true, Ordering::Relaxed);
    }

    /// The connection is not there, because of that.
    pub(crate) fn down(&self, reason: &'static str) {
        *lock(&self.reason) = reason;
        self.is_up.store(false, Ordering::Relaxed);
    }

    /// At most 3 s late.
    pub(crate) fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }

    /// Why it is down.
    pub(crate) fn reason(&self) -> &'static str {
        *lock(&self.reason)
    }
}

/// Watches the connection and logs each change once, and an outage that lasts once a minute.
#[derive(Debug)]
pub(crate) struct ConnectionWatch {
    /// The addresses of the configuration, as one text.
    brokers: String,
    link: Arc<Link>,
    /// What was told last. The shared flag will not do: the end of a bus lowers it too.
    was_connected: bool,
    since: Instant,
    /// When a record told of the outage last.
    told: Instant,
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
    pub(crate) fn new(now: Instant, brokers: String, link: Arc<Link>, log: Log, recorder: Arc<Recorder>) -> Self {
        link.up();
        ConnectionWatch { brokers, link, was_connected: true, since: now, told: now, log, recorder }
    }

    /// Runs on: delivery thread, at least every 100 ms.
    pub(crate) fn look(&mut self, now: Instant, signs: &Signs<'_>) {
        let trouble = self.trouble(now, signs);
        match trouble {
            Some(reason) => self.link.down(reason),
            None => self.link.up(),
        }
        let was = std::mem::replace(&mut self.was_connected, trouble.is_none());
        match trouble {
            Some(reason) if was => {
                (self.since, self.told) = (now, now);
                self.recorder.connections_lost.fetch_add(1, Ordering::Relaxed);
                let message =
                    format!("the connection is lost: {reason}; reconnecting, publishes wait until their deadline");
                self.tell(LogRecord::new(Level::Warn, "connection_lost", message), signs);
            }
            Some(reason) if now.saturating_duration_since(self.told) >= REMINDER_INTERVAL => {
                self.told = now;
                let lost_for = now.duration_since(self.since).as_secs();
                let message = format!("the connection has been lost for {lost_for} s: {reason}; still reconnecting");
                self.tell(LogRecord::new(Level::Warn, "connection_still_lost", message), signs);
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

    fn tell(&self, record: LogRecord, signs: &Signs<'_>) {
        let mut record = record.with("brokers", &*self.brokers);
        record.error = signs.producer.last_error.clone();
        if let Some(error) = &record.error {
            self.recorder.remember(error);
        }
        self.log.write(record);
    }

    fn trouble(&self, now: Instant, signs: &Signs<'_>) -> Option<&'static str> {
        let stalled = signs.without_progress > ACKNOWLEDGEMENT_MAX_AGE;
        // Missing acknowledgements are what follows from the others.
        self.silence(now, signs.producer)
            .or_else(|| self.silence(now, signs.consumer?))
            .or(stalled.then_some("no publish was acknowledged for 5 s"))
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
    use crate::error::{Error, ErrorKind};
    use crate::log::Observer;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Events(Mutex<Vec<LogRecord>>);

    impl Observer for Events {
        fn log(&self, record: &LogRecord) {
            self.0.lock().unwrap().push(record.clone());
        }
    }

    /// A watch whose time is what a test says it is.
    struct Scene {
        start: Instant,
        seen: Arc<Events>,
        link: Arc<Link>,
        recorder: Arc<Recorder>,
        watch: ConnectionWatch,
    }

    impl Scene {
        fn new() -> Scene {
            let start = Instant::now();
            let (seen, link, recorder) = (Arc::<Events>::default(), Arc::<Link>::default(), Arc::<Recorder>::default());
            let log = Log::new(Some(seen.clone()));
            let brokers = "a:9092,b:9092".to_owned();
            let watch = ConnectionWatch::new(start, brokers, link.clone(), log, recorder.clone());
            Scene { start, seen, link, recorder, watch }
        }

        fn at(&self, seconds: u64) -> Instant {
            self.start + Duration::from_secs(seconds)
        }

        fn look(&mut self, now: u64, brokers_up: usize, reported: u64, without_progress: u64) -> bool {
            let last_error = Some(Error::new(ErrorKind::Unavailable, "connection refused").with("broker", "a:9092"));
            let observed_at = Some(self.at(reported));
            let producer = Connectivity { brokers_up, observed_at, last_error, ..Connectivity::default() };
            let without_progress = Duration::from_secs(without_progress);
            self.watch.look(self.at(now), &Signs { producer: &producer, consumer: None, without_progress });
            self.link.is_up()
        }

        fn events(&self) -> Vec<&'static str> {
            self.seen.0.lock().unwrap().iter().map(|record| record.event).collect()
        }
    }

    #[test]
    fn each_change_is_told_once() {
        let mut scene = Scene::new();
        assert!(scene.look(1, 1, 1, 0));
        assert!(!scene.look(2, 0, 2, 0), "no broker is up");
        assert!(!scene.look(3, 0, 3, 0));
        assert!(scene.look(4, 1, 4, 0));
        assert!(!scene.look(8, 1, 4, 0), "the news are old");
        assert!(scene.look(9, 1, 9, 0));
        assert!(!scene.look(10, 1, 10, 6), "nothing is acknowledged");
        let changes = ["connection_lost", "connection_established"];
        let expected: Vec<_> = changes.iter().cycle().take(5).copied().collect();
        assert_eq!(scene.events(), expected);
        assert_eq!(scene.recorder.connections_lost.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn an_outage_that_lasts_is_told_again_once_a_minute() {
        let mut scene = Scene::new();
        for second in 0..200 {
            scene.look(second, usize::from(second < 10), second, second.saturating_sub(10));
        }
        assert_eq!(
            scene.events(),
            ["connection_lost", "connection_still_lost", "connection_still_lost", "connection_still_lost"]
        );
        let last = scene.seen.0.lock().unwrap().last().unwrap().clone();
        assert_eq!(
            last.message,
            "the connection has been lost for 180 s: no broker can be reached; still reconnecting"
        );
        assert_eq!(last.fields, [("brokers", "a:9092,b:9092".into())]);
        assert_eq!(last.error.unwrap().context("broker"), Some("a:9092"));

        scene.look(200, 1, 200, 0);
        for second in 201..270 {
            scene.look(second, usize::from(second < 230), second, 0);
        }
        let later = scene.events().split_off(4);
        assert_eq!(later, ["connection_established", "connection_lost"], "the next outage begins its own minute");
        assert_eq!(scene.recorder.connections_lost.load(Ordering::Relaxed), 2, "a reminder is no other outage");
    }
}
