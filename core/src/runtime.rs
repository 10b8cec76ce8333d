//! Threads and the tokio runtime: the only file that spawns.

mod inbox;
mod signals;

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use once_cell::sync::OnceCell;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

pub(crate) use self::inbox::Inbox;
pub(crate) use self::signals::Gate;
use crate::error::{Error, ErrorKind, Result};

/// One runtime serves every bus of the process and is never dropped: a bus must be able to end while the process
/// does, and a static without destructor cannot hang or crash at exit.
static RUNTIME: OnceCell<Runtime> = OnceCell::new();

/// Handlers of Rust callers and blocking calls run here.
fn runtime() -> Result<&'static Handle> {
    RUNTIME
        .get_or_try_init(|| {
            Builder::new_multi_thread().worker_threads(2).thread_name("evbus-runtime").enable_time().build()
        })
        .map(Runtime::handle)
        .map_err(|error| cannot_start("runtime", &error))
}

fn cannot_start(what: &str, error: &std::io::Error) -> Error {
    Error::new(ErrorKind::Internal, format!("the {what} cannot be started: {error}"))
        .hint("raise the limit of threads or memory of the process")
}

/// Runs a future on the shared runtime.
pub fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Result<()> {
    runtime()?.spawn(future);
    Ok(())
}

/// Runs a blocking call beside the runtime. The returned future may be awaited on any executor.
///
/// # Errors
/// `Internal` when the call panicked.
pub(crate) async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let (sender, receiver) = oneshot::channel();
    runtime()?.spawn_blocking(move || {
        let _ = sender.send(catch_unwind(AssertUnwindSafe(call)));
    });
    match receiver.await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(panic)) => Err(panicked("a blocking call", &*panic)),
        Err(_) => Err(Error::new(ErrorKind::Closed, "the runtime is shutting down")),
    }
}

/// Ends at a time, on whatever executor it is awaited.
pub(crate) async fn sleep_until(deadline: Instant) {
    let (sender, receiver) = oneshot::channel();
    let timer = async move {
        tokio::time::sleep_until(deadline.into()).await;
        let _ = sender.send(());
    };
    if spawn(timer).is_ok() {
        let _ = receiver.await;
    }
}

/// The error that stands for a panic of ours.
pub(crate) fn panicked(what: &str, panic: &(dyn Any + Send)) -> Error {
    Error::new(ErrorKind::Internal, format!("{what} panicked: {}", panic_text(panic)))
        .hint("this is a defect of the library: please report it with the log around it")
}

/// The message of a panic.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// Locks even when another thread panicked while it held the lock: a bus that reports `Internal` must still close.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A thread of ours whose end can be awaited against a deadline.
#[derive(Debug)]
pub(crate) struct Worker {
    ended: Arc<Gate>,
}

impl Worker {
    /// Starts a named thread; a panic in it goes to `on_panic` instead of unwinding into nothing.
    pub(crate) fn start(
        name: &str,
        body: impl FnOnce() + Send + 'static,
        on_panic: impl FnOnce(Error) + Send + 'static,
    ) -> Result<Self> {
        let ended = Arc::new(Gate::default());
        let gate = ended.clone();
        let thread_name = name.to_owned();
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                if let Err(panic) = catch_unwind(AssertUnwindSafe(body)) {
                    on_panic(panicked(&thread_name, &*panic));
                }
                gate.open();
            })
            .map_err(|error| cannot_start(name, &error))?;
        Ok(Worker { ended })
    }

    /// Waits for the end; `false` when the deadline came first and the thread is left behind.
    pub(crate) fn join(&self, deadline: Instant) -> bool {
        self.ended.wait(deadline)
    }
}

/// Runs a call that may block without bound on a thread of its own; past the deadline the thread is left behind.
pub(crate) fn within(deadline: Instant, name: &str, call: impl FnOnce() + Send + 'static) -> bool {
    match Worker::start(name, call, |_| ()) {
        Ok(worker) => worker.join(deadline),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[test]
    fn a_panic_in_a_worker_is_reported_and_ends_it() {
        let (sender, receiver) = mpsc::channel();
        let worker =
            Worker::start("evbus-test", || panic!("broken"), move |error| sender.send(error).unwrap()).unwrap();
        assert!(worker.join(soon()));
        let error = receiver.recv().unwrap();
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(error.message().contains("evbus-test panicked: broken"), "{error}");
    }

    #[test]
    fn a_call_that_never_ends_is_left_behind_at_the_deadline() {
        let gate = Arc::new(Gate::default());
        let blocked = gate.clone();
        assert!(!within(Instant::now() + Duration::from_millis(20), "evbus-test", move || {
            blocked.wait(soon());
        }));
        gate.open();
    }

    #[test]
    fn a_wake_from_before_the_wait_is_not_lost() {
        let inbox = Inbox::<Vec<u32>>::default();
        inbox.wake();
        let start = Instant::now();
        inbox.take(Duration::from_secs(10), &mut Vec::new());
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn what_is_written_is_taken_once() {
        let inbox = Inbox::<Vec<u32>>::default();
        inbox.write(|mail| mail.push(1));
        inbox.write_unless_closed(|mail| mail.push(2));
        assert!(inbox.has_mail());
        let mut mail = Vec::new();
        inbox.take(Duration::ZERO, &mut mail);
        assert_eq!((mail, inbox.has_mail()), (vec![1, 2], false));
        inbox.close();
        inbox.write_unless_closed(|mail| mail.push(3));
        let mut mail = Vec::new();
        inbox.take(Duration::ZERO, &mut mail);
        assert!(mail.is_empty());
    }
}
