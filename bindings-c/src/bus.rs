//! The bus: connect, look at it, close it.

use std::ffi::c_char;
use std::sync::Arc;
use std::time::{Duration, Instant};

use event_bus::{Bus, Error, ErrorKind, FramePublisher, Log, Observer, Phase, Policy, Result, ShutdownReport};

use crate::boundary::{
    Object, Out, boundary, free_object, give_text, is_forked, known, new_object, object, watch_forks,
};
use crate::callback::{Place, may_block, place};
use crate::config::evbus_config;
use crate::error::evbus_error;
use crate::feed::{Feed, Sink};
use crate::gate::{Gate, lock};
use crate::log::LogObserver;
use crate::prometheus;
use crate::slots::Slots;
use crate::wait;

/// A connected event bus.
pub struct evbus_bus {
    _opaque: [u8; 0],
}

/// What became of everything when a bus was closed.
pub struct evbus_close_report {
    _opaque: [u8; 0],
}

/// A bus and what the callbacks of C need.
pub(crate) struct Connected {
    pub(crate) bus: Bus,
    pub(crate) frames: FramePublisher,
    pub(crate) slots: Arc<Slots>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) publish_timeout: Duration,
    gate: Arc<Gate>,
    shutdown_timeout: Duration,
}

pub(crate) struct Report {
    core: ShutdownReport,
    callbacks_running: usize,
}

impl Object for evbus_bus {
    type Inner = Arc<Connected>;
    const MAGIC: u64 = 0x6576_6275_735f_0008;
    const NAME: &'static str = "bus";
}

impl Object for evbus_close_report {
    type Inner = Report;
    const MAGIC: u64 = 0x6576_6275_735f_0009;
    const NAME: &'static str = "report";
}

/// The error of every call that comes too late.
pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the event bus is closed or closing").hint("connect a new bus")
}

/// # Errors
/// `Config` for what this face cannot keep.
pub(crate) fn check_policy(policy: &Policy) -> Result<()> {
    if policy.handler_timeout.is_none() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Config, "handlerTimeoutMs cannot be kept: a call into C cannot be ended")
        .with("option", "handlerTimeoutMs")
        .hint("leave it out, and bound what handlers do themselves"))
}

impl Connected {
    fn open(settings: crate::config::Settings) -> Result<Arc<Self>> {
        let crate::config::Settings { config, log, callback_threads } = settings;
        check_policy(&config.policy)?;
        let gate = Arc::new(Gate::default());
        let observer = log.map(|call| Arc::new(LogObserver { call, gate: gate.clone() }) as Arc<dyn Observer>);
        let log = Log::new(observer.clone());
        let (publish_timeout, shutdown_timeout) = (config.publish_timeout, config.shutdown_timeout);
        let slots = Slots::new(gate.clone(), config.max_in_flight, config.publish_max_in_flight_bytes);
        let slots = Arc::new(slots);
        watch_forks();
        let bus = wait::block_on(Bus::connect_observed(config, observer, || false))?;
        let frames = bus.open_frames(slots.clone())?;
        let feed = Arc::new(Feed::new(Arc::downgrade(bus.intake()), callback_threads, gate.clone(), log));
        bus.intake().set_sink(Arc::new(Sink(feed.clone())))?;
        Ok(Arc::new(Connected { bus, frames, slots, feed, publish_timeout, gate, shutdown_timeout }))
    }

    /// Ends the bus by the deadline, and says how many callbacks still run then.
    fn close(&self, timeout: Duration) -> Report {
        let deadline = Instant::now().checked_add(timeout);
        for subscription in self.feed.all() {
            subscription.announce_end();
        }
        let core = wait::block_on(self.bus.shutdown(timeout));
        self.slots.sweep();
        self.shut();
        Report { core, callbacks_running: self.gate.wait(0, deadline) }
    }

    /// From now on no callback starts.
    fn shut(&self) {
        self.gate.close();
        for subscription in self.feed.all() {
            self.feed.remove(&subscription);
            subscription.end();
        }
        self.feed.pool.close();
    }
}

/// A bus that is freed without being closed ends at once.
impl Drop for Connected {
    fn drop(&mut self) {
        self.slots.sweep();
        self.shut();
    }
}

/// Connects to the brokers of a configuration.
///
/// @param config The configuration, which is copied: it can be changed and freed afterwards.
/// @param bus    Where the bus goes.
/// @param error  Where the error goes, or NULL.
/// @return EVBUS_OK when a broker answered, or a code; then nothing is left behind.
///
/// Ownership: the bus is the caller's, who closes it with evbus_bus_close and frees it with evbus_bus_free.
/// Thread: any, but not completion and log callbacks; blocks up to connectTimeoutMs. A process must not fork after its
/// first connect, unless the child only calls exec.
/// Errors: EVBUS_ERR_CONFIG for settings that contradict each other or are missing; EVBUS_ERR_UNAVAILABLE when no
/// broker answered in time; EVBUS_ERR_AUTH when the brokers refuse the credentials.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_bus_connect(
    config: *const evbus_config,
    bus: *mut *mut evbus_bus,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => {
        let settings = lock(object(config)?).clone();
        let out = Out::of(bus, "bus")?;
        may_block("evbus_bus_connect")?;
        out.set(new_object(Connected::open(settings)?));
        Ok(())
    })
}

/// Whether a broker can be reached and publishes make progress, at most 3 s late. Publishing does not depend on it:
/// during an outage publishes wait until their deadline.
///
/// @param bus The bus.
/// @return false for NULL, and from the beginning of closing on.
///
/// Ownership: borrows.
/// Thread: any, callbacks included; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_bus_is_connected(bus: *const evbus_bus) -> bool {
    boundary!(false => known(bus).is_some_and(|bus| bus.bus.is_connected()))
}

/// Whether the bus does its work, for a readiness probe: publishes and handlers can make progress now.
///
/// @param bus   The bus.
/// @param error Where the reason goes, or NULL.
/// @return EVBUS_OK when it does, or a code.
///
/// Ownership: the error is the caller's.
/// Thread: any, callbacks included; never blocks.
/// Errors: EVBUS_ERR_UNAVAILABLE, whose message names each reason, while no broker can be reached, publishes make no
/// progress, a partition stands still or the consumer has ended; EVBUS_ERR_CLOSED from the beginning of closing on.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_bus_health(bus: *const evbus_bus, error: *mut *mut evbus_error) -> i32 {
    boundary!(error error => {
        let bus = object(bus)?;
        if bus.bus.phase() > Phase::Open {
            return Err(closed());
        }
        let health = bus.bus.health();
        if health.ready {
            return Ok(());
        }
        let reasons: Vec<&str> = health.reasons.iter().map(|reason| &*reason.message).collect();
        Err(Error::new(ErrorKind::Unavailable, reasons.join("; ")).hint("the log says since when"))
    })
}

/// Whether nothing stands still that a restart of the process may bring back, for a liveness probe. An outage of the
/// brokers does not count, as it heals by itself.
///
/// @param bus The bus.
/// @return false for NULL.
///
/// Ownership: borrows.
/// Thread: any, callbacks included; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_bus_is_live(bus: *const evbus_bus) -> bool {
    boundary!(false => known(bus).is_some_and(|bus| bus.bus.health().live))
}

/// The health of the bus as an object in JSON, for the answer to a probe: live, ready, connected; reasons, each with code
/// and message; haltedPartitions, stalledPartitions, deadLettersPending; lastError, with code and message, or null.
///
/// @param bus   The bus.
/// @param text  Where the text goes.
/// @param error Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the text is the caller's, who frees it with evbus_string_free.
/// Thread: any, callbacks included; never blocks.
/// Errors: EVBUS_ERR_ARGUMENT for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_bus_health_json(
    bus: *const evbus_bus,
    text: *mut *mut c_char,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => {
        let out = Out::of(text, "text")?;
        out.set(give_text(&object(bus)?.bus.health().to_json()));
        Ok(())
    })
}

/// The state of the bus in numbers, in the text format of Prometheus.
///
/// @param bus   The bus.
/// @param text  Where the text goes.
/// @param error Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the text is the caller's, who frees it with evbus_string_free.
/// Thread: any, callbacks included; never blocks.
/// Errors: EVBUS_ERR_ARGUMENT for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_bus_metrics(
    bus: *const evbus_bus,
    text: *mut *mut c_char,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => {
        let out = Out::of(text, "text")?;
        out.set(give_text(&prometheus::text(&object(bus)?.bus.metrics())));
        Ok(())
    })
}

/// Closes a bus, in order: no new work, running handlers finish, offsets are committed, the group is left, what was
/// published is flushed. When it has returned EVBUS_OK no callback runs and none starts; every accepted publish has had
/// its completion. A second call waits for callbacks that still run and gives the same numbers.
///
/// @param bus        The bus.
/// @param timeout_ms How long the call may take, in milliseconds; negative for shutdownTimeoutMs.
/// @param report     Where the report goes, or NULL. It is written for EVBUS_OK and for EVBUS_ERR_TIMEOUT.
/// @param error      Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the bus stays the caller's, who still frees it; the report is the caller's, who frees it with
/// evbus_close_report_free.
/// Thread: any, but no callback of this library; blocks up to timeout_ms.
/// Errors: EVBUS_ERR_ILLEGAL_STATE inside a callback; EVBUS_ERR_TIMEOUT when callbacks still run at the end of the
/// time.
/// They may go on for as long as they like, no other starts, and their user data must stay valid until its
/// user_data_free is called or a further evbus_bus_close returns EVBUS_OK.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_bus_close(
    bus: *const evbus_bus,
    timeout_ms: i64,
    report: *mut *mut evbus_close_report,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => {
        let bus = object(bus)?;
        let inside = match place() {
            Place::Outside => false,
            Place::Handler { bus: current, .. } => current == Arc::as_ptr(&bus.feed).addr(),
            Place::Notice | Place::Log => true,
        };
        if inside {
            return Err(Error::new(ErrorKind::IllegalState, "a callback cannot close the bus that called it")
                .hint("tell a thread of your own to close it"));
        }
        let closed = bus.close(wait::timeout(timeout_ms, bus.shutdown_timeout));
        let running = closed.callbacks_running;
        if let Ok(out) = Out::of(report, "report") {
            out.set(new_object(closed));
        }
        match running {
            0 => Ok(()),
            _ => Err(Error::new(ErrorKind::Timeout, "callbacks still run at the end of the time")
                .with("running", running)
                .hint("keep their user data valid; close again to wait for them")),
        }
    })
}

/// Frees a bus. One that was not closed ends at once: what is in flight or unfinished is abandoned, running callbacks
/// are
/// not waited for, completions come as failed.
///
/// @param bus The bus, or NULL, which does nothing.
///
/// Ownership: takes the bus back. Subscriptions and deliveries of it are still the caller's to free.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_bus_free(bus: *mut evbus_bus) {
    boundary!(() => {
        if !is_forked() && let Some(bus) = known(bus.cast_const()) {
            // A call on another thread may hold the bus a little longer, but from here on it does nothing any more.
            bus.slots.sweep();
            bus.shut();
        }
        free_object(bus);
    })
}

/// Events whose handlers finished while the bus closed.
///
/// @param report The report.
/// @return The number; 0 for NULL.
///
/// Ownership: borrows.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_close_report_handled(report: *const evbus_close_report) -> u64 {
    boundary!(0 => known(report).map_or(0, |report| report.core.handled))
}

/// Received events that were not finished; they stay uncommitted and are delivered again.
///
/// @param report The report.
/// @return The number; 0 for NULL.
///
/// Ownership: borrows.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_close_report_abandoned(report: *const evbus_close_report) -> u64 {
    boundary!(0 => known(report).map_or(0, |report| report.core.abandoned))
}

/// Records that were acknowledged while the bus closed.
///
/// @param report The report.
/// @return The number; 0 for NULL.
///
/// Ownership: borrows.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_close_report_published(report: *const evbus_close_report) -> u64 {
    boundary!(0 => known(report).map_or(0, |report| report.core.published))
}

/// Publishes that were given up at the deadline; each has had its completion.
///
/// @param report The report.
/// @return The number; 0 for NULL.
///
/// Ownership: borrows.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_close_report_lost(report: *const evbus_close_report) -> u64 {
    boundary!(0 => known(report).map_or(0, |report| report.core.lost))
}

/// Callbacks that still ran when the time was over.
///
/// @param report The report.
/// @return The number; 0 for NULL.
///
/// Ownership: borrows.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_close_report_callbacks_running(report: *const evbus_close_report) -> u64 {
    boundary!(0 => known(report).map_or(0, |report| report.callbacks_running as u64))
}

/// Whether every step ended before the deadline.
///
/// @param report The report.
/// @return false for NULL.
///
/// Ownership: borrows.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_close_report_clean(report: *const evbus_close_report) -> bool {
    boundary!(false => known(report).is_some_and(|report| report.core.clean && report.callbacks_running == 0))
}

/// Frees a report.
///
/// @param report The report, or NULL, which does nothing.
///
/// Ownership: takes the report back.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_close_report_free(report: *mut evbus_close_report) {
    boundary!(() => free_object(report))
}
