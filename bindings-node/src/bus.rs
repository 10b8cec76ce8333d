//! `NativeBus`: the calls of native.ts. No policy, no defaults: what to do is the core's to know.

use std::cell::RefCell;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use event_bus::frame::COMPLETION_COLUMNS;
use event_bus::{Bus, Config, Error, ErrorKind, FramePublisher};
use napi::bindgen_prelude::{Buffer, Env, Function, Int32Array, Int32ArraySlice, ObjectFinalize};
use napi_derive::napi;
use serde_json::{Value, json};

use crate::arrays;
use crate::boundary::{error_json, guard};
use crate::dead_letters;
use crate::json;
use crate::ring::lock;
use crate::shared::Shared;
use crate::subscribe::read_answers;

/// A connected bus and its way in for frames.
struct Connected {
    bus: Bus,
    frames: Arc<FramePublisher>,
    config: Config,
}

/// The parts that outlive a call: tasks of the core hold them too.
#[derive(Default)]
struct State {
    shared: Arc<Shared>,
    connected: Mutex<Option<Arc<Connected>>>,
    cancelled: Arc<AtomicBool>,
}

impl State {
    fn connected(&self) -> Result<Arc<Connected>, Error> {
        lock(&self.connected).clone().ok_or_else(|| {
            Error::new(ErrorKind::Closed, "the event bus is not connected").hint("await connect() first")
        })
    }

    /// JavaScript is gone or has let go: the bus ends by itself, on its own threads.
    fn abandon(&self) {
        self.shared.drop_wake();
        self.cancelled.store(true, Ordering::Relaxed);
        drop(lock(&self.connected).take());
    }
}

thread_local! {
    /// The buses of this thread's environment; `None` until it has its one cleanup hook.
    static OPEN: RefCell<Option<Vec<Weak<State>>>> = const { RefCell::new(None) };
}

/// Lets the bus end with its environment, say when a worker is terminated. The hook does not block.
fn end_with(env: &Env, state: &Arc<State>) -> napi::Result<()> {
    OPEN.with_borrow_mut(|open| {
        if open.is_none() {
            env.add_env_cleanup_hook((), |()| {
                let buses = OPEN.try_with(RefCell::take).ok().flatten().unwrap_or_default();
                buses.iter().filter_map(Weak::upgrade).for_each(|state| state.abandon());
            })?;
        }
        let buses = open.get_or_insert_default();
        buses.retain(|bus| bus.strong_count() > 0);
        buses.push(Arc::downgrade(state));
        Ok(())
    })
}

/// Answers a call once, even when its task ends without a word.
struct Answer {
    shared: Arc<Shared>,
    op: u32,
    given: bool,
}

impl Answer {
    fn give(mut self, result: Result<Value, Error>) {
        self.given = true;
        self.shared.notices.result(self.op, result);
        self.shared.wake();
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if !self.given {
            let error = Error::new(ErrorKind::Internal, "the call ended without a result");
            self.shared.notices.result(self.op, Err(error));
            self.shared.wake();
        }
    }
}

#[napi(js_name = "NativeBus", custom_finalize)]
pub struct NativeBus {
    state: Arc<State>,
}

#[napi]
impl NativeBus {
    #[napi(constructor)]
    pub fn new(env: Env, wake: Function<'_, (), ()>) -> napi::Result<Self> {
        let state = Arc::new(State::default());
        state.shared.set_wake(wake.build_threadsafe_function().weak::<true>().callee_handled::<false>().build()?);
        end_with(&env, &state)?;
        Ok(NativeBus { state })
    }

    #[napi]
    pub fn connect(&self, op: u32, config_json: String) -> napi::Result<()> {
        guard(|| {
            let config = json::config(&config_json)?;
            let state = self.state.clone();
            self.answer(op, async move {
                let cancelled = state.cancelled.clone();
                let observer = state.shared.clone();
                let bus =
                    Bus::connect_observed(config.clone(), Some(observer), move || cancelled.load(Ordering::Relaxed))
                        .await?;
                let frames = Arc::new(bus.open_frames(state.shared.clone())?);
                // A bus has one connection in its life, so both are set once.
                let _ = state.shared.topics.set(Arc::downgrade(&frames));
                bus.intake().set_sink(state.shared.clone())?;
                let connected = Arc::new(Connected { bus, frames, config });
                *lock(&state.connected) = Some(connected);
                if state.cancelled.load(Ordering::Relaxed) {
                    state.abandon();
                }
                Ok(json!({}))
            })
        })
    }

    #[napi]
    pub fn cancel_connect(&self) -> napi::Result<()> {
        guard(|| {
            self.state.cancelled.store(true, Ordering::Relaxed);
            Ok(())
        })
    }

    #[napi]
    pub fn topic_id(&self, topic: String) -> napi::Result<u32> {
        guard(|| self.state.connected()?.frames.topic_id(&topic).map(u32::from))
    }

    #[napi]
    pub fn publish(&self, arena: &[u8], length: u32, count: u32) -> napi::Result<bool> {
        guard(|| {
            let frames = arena
                .get(..length as usize)
                .ok_or_else(|| Error::new(ErrorKind::Argument, "the length exceeds the arena"))?;
            match self.state.connected() {
                Ok(connected) => Ok(connected.frames.send(frames, count).is_ok()),
                Err(_) => Ok(false),
            }
        })
    }

    #[napi]
    pub fn pump(&self, out: Int32ArraySlice<'_>, status: Int32ArraySlice<'_>) -> napi::Result<u32> {
        guard(|| {
            let shared = &self.state.shared;
            shared.looked();
            let count = arrays::fill(out, |out| shared.completions.take(COMPLETION_COLUMNS, out));
            arrays::fill(status, |status| {
                if let [deliveries, notices, ..] = status {
                    *deliveries = i32::from(shared.has_deliveries());
                    *notices = i32::from(!shared.notices.is_empty());
                }
            });
            Ok(count as u32)
        })
    }

    #[napi]
    pub fn failure(&self, slot: u32) -> napi::Result<String> {
        guard(|| Ok(error_json(&self.state.shared.failure(slot)).to_string()))
    }

    #[napi]
    pub fn set_topics(&self, op: u32, topics_json: String) -> napi::Result<()> {
        guard(|| {
            let connected = self.state.connected()?;
            let topics = json::topics(&topics_json, &connected.config)?;
            self.answer(op, async move {
                connected.bus.intake().set_topics(&topics).await?;
                Ok(json!({}))
            })
        })
    }

    #[napi]
    pub fn take_deliveries(&self) -> napi::Result<Option<DeliveryParts>> {
        guard(|| {
            Ok(self.state.shared.take_deliveries().map(|batch| {
                let (data, index) = batch.into_parts();
                DeliveryParts { is_ascii: data.is_ascii(), data: data.into(), index: index.into() }
            }))
        })
    }

    #[napi]
    pub fn finish(&self, rows: &[i32], count: u32, failures_json: Option<String>) -> napi::Result<()> {
        guard(|| {
            // After the end of the bus nobody waits for answers.
            if let Ok(connected) = self.state.connected() {
                connected.bus.intake().finish(&read_answers(rows, count, failures_json.as_deref())?);
            }
            Ok(())
        })
    }

    #[napi]
    pub fn take_notices(&self) -> napi::Result<Option<String>> {
        guard(|| Ok(self.state.shared.notices.take()))
    }

    #[napi]
    pub fn dead_letters(&self, op: u32, request_json: String) -> napi::Result<()> {
        guard(|| {
            let connected = self.state.connected()?;
            self.answer(op, async move { dead_letters::call(&connected.bus, &request_json).await })
        })
    }

    #[napi]
    pub fn seek(&self, op: u32, request_json: String) -> napi::Result<()> {
        guard(|| {
            let connected = self.state.connected()?;
            let (source, to) = json::seek(&request_json)?;
            self.answer(op, async move {
                connected.bus.seek(&source.topic, source.partition, to).await?;
                Ok(json!({}))
            })
        })
    }

    #[napi]
    pub fn is_connected(&self) -> napi::Result<bool> {
        guard(|| Ok(self.state.connected().is_ok_and(|connected| connected.bus.is_connected())))
    }

    #[napi]
    pub fn health(&self) -> napi::Result<String> {
        guard(|| Ok(self.state.connected()?.bus.health().to_json()))
    }

    #[napi]
    pub fn metrics(&self) -> napi::Result<String> {
        guard(|| {
            let metrics = self.state.connected()?.bus.metrics();
            serde_json::to_string(&metrics)
                .map_err(|error| Error::new(ErrorKind::Internal, format!("the metrics cannot be written: {error}")))
        })
    }

    #[napi]
    pub fn shutdown(&self, op: u32, timeout_ms: f64) -> napi::Result<()> {
        guard(|| {
            let connected = self.state.connected()?;
            let timeout = Duration::try_from_secs_f64(timeout_ms / 1000.0)
                .map_err(|_| Error::new(ErrorKind::Argument, "timeoutMs must be a number of milliseconds"))?;
            let ended = connected.bus.shutdown(timeout);
            self.answer(op, async move {
                serde_json::to_value(ended.await)
                    .map_err(|error| Error::new(ErrorKind::Internal, format!("the report cannot be written: {error}")))
            })
        })
    }

    #[napi]
    pub fn release(&self) -> napi::Result<()> {
        guard(|| {
            self.state.abandon();
            Ok(())
        })
    }
}

impl NativeBus {
    fn answer(&self, op: u32, call: impl Future<Output = Result<Value, Error>> + Send + 'static) -> Result<(), Error> {
        let answer = Answer { shared: self.state.shared.clone(), op, given: false };
        event_bus::spawn(async move { answer.give(call.await) })
    }
}

impl ObjectFinalize for NativeBus {
    fn finalize(self, _env: Env) -> napi::Result<()> {
        guard(|| {
            self.state.abandon();
            Ok(())
        })
    }
}

#[napi(object, object_from_js = false)]
pub struct DeliveryParts {
    pub data: Buffer,
    pub index: Int32Array,
    pub is_ascii: bool,
}
