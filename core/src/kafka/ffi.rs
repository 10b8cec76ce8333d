//! Safe wrappers over librdkafka: the only module of this crate with `unsafe` blocks.
//!
//! The safe producer of rust-rdkafka waits its whole timeout and reports message by message, and it does not tell
//! whether a failed message may have been stored. So the client is driven here through librdkafka's event queues.
//! Error numbers are plain `i32`: brokers newer than the bindings send numbers that their enum does not have.

#![allow(unsafe_code)]

mod ends;
mod event;
mod headers;
#[cfg(feature = "embedded")]
mod mock;
mod partitions;
mod reader;
mod seek;
mod topics;

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once, RwLock};
use std::time::Duration;

use rdkafka::bindings as rd;

pub(crate) use self::event::{Event, Kind, Message, Queue};
#[cfg(feature = "embedded")]
pub(crate) use self::mock::MockCluster;
pub(crate) use self::partitions::Partitions;
pub(crate) use self::topics::NewTopic;
use crate::event::{OutgoingRecord, TopicPartition};

/// Stands for "whichever partition the partitioner picks"; a macro in C.
const UNASSIGNED: i32 = -1;

// A message's opaque carries a 64-bit token.
const _: () = assert!(size_of::<usize>() == 8);

/// The number of the error that tests end clients with: an unknown server error.
#[cfg(feature = "embedded")]
pub(crate) const PROVOKED: i32 = -1;

/// What a consumer's queue calls when it stops being empty.
pub(crate) type Wake = Arc<dyn Fn() + Send + Sync>;

/// A number and what librdkafka says to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: i32,
    pub(crate) text: String,
}

impl Failure {
    fn check(code: i32) -> Result<(), Failure> {
        if code == 0 { Ok(()) } else { Err(Failure { code, text: error_text(code) }) }
    }

    /// Takes over `error`; null means success.
    fn take(error: *mut rd::rd_kafka_error_t) -> Result<(), Failure> {
        if error.is_null() {
            return Ok(());
        }
        // SAFETY: `error` is a live error object that this function owns and destroys once.
        unsafe {
            let code = rd::rd_kafka_error_code(error) as i32;
            let text = text(rd::rd_kafka_error_string(error)).to_owned();
            rd::rd_kafka_error_destroy(error);
            Err(Failure { code, text })
        }
    }
}

/// librdkafka's own words for an error number.
pub(crate) fn error_text(code: i32) -> String {
    type Err2Str = unsafe extern "C" fn(i32) -> *const c_char;
    type Bound = unsafe extern "C" fn(rd::rd_kafka_resp_err_t) -> *const c_char;
    // SAFETY: the enum is `repr(i32)`, so both types have one ABI, and the C function accepts any number. The text
    // may lie in a buffer of this thread, hence the copy.
    unsafe {
        let err2str = std::mem::transmute::<Bound, Err2Str>(rd::rd_kafka_err2str);
        text(err2str(code)).to_owned()
    }
}

/// Calls a getter for an error number of a broker, which need not be in the enum that the bindings declare.
///
/// # Safety
/// `getter` may be called with `of`.
unsafe fn number_of<P>(getter: unsafe extern "C" fn(P) -> rd::rd_kafka_resp_err_t, of: P) -> i32 {
    // SAFETY: the enum is `repr(i32)`, so both types have one ABI; the caller vouches for the argument.
    unsafe {
        type Bound<P> = unsafe extern "C" fn(P) -> rd::rd_kafka_resp_err_t;
        std::mem::transmute::<Bound<P>, unsafe extern "C" fn(P) -> i32>(getter)(of)
    }
}

/// # Safety
/// `pointer` is null or a NUL-terminated string that outlives `'a`.
unsafe fn text<'a>(pointer: *const c_char) -> &'a str {
    if pointer.is_null() {
        return "";
    }
    // SAFETY: not null, and the caller vouches for the rest.
    unsafe { CStr::from_ptr(pointer) }.to_str().unwrap_or("\u{fffd}")
}

/// # Safety
/// `pointer` is null or points to `len` bytes that outlive `'a`.
unsafe fn bytes<'a>(pointer: *const c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: not null, and the caller vouches for the rest.
    (!pointer.is_null()).then(|| unsafe { std::slice::from_raw_parts(pointer.cast(), len) })
}

fn c_string(name: &str) -> Result<CString, Failure> {
    let code = rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__INVALID_ARG as i32;
    CString::new(name).map_err(|_| Failure { code, text: format!("{name:?} contains a NUL byte") })
}

fn milliseconds(wait: Duration) -> c_int {
    c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX)
}

/// OpenSSL must not clean up at exit: threads of librdkafka may still use it then.
fn prepare_openssl() {
    unsafe extern "C" {
        fn OPENSSL_init_crypto(options: u64, settings: *const c_void) -> c_int;
    }
    const OPENSSL_INIT_NO_ATEXIT: u64 = 0x0008_0000;
    static ONCE: Once = Once::new();
    // SAFETY: the signature is OpenSSL 3's; no settings are allowed and the function may be called at any time.
    ONCE.call_once(|| unsafe {
        OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, ptr::null());
    });
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Producer,
    Consumer,
}

/// Why no client came to be.
pub(crate) struct Refused {
    /// The property, when one was refused.
    pub(crate) property: Option<String>,
    pub(crate) reason: String,
}

/// A configuration under construction.
struct Conf(NonNull<rd::rd_kafka_conf_t>);

impl Conf {
    fn new(properties: &[(String, String)]) -> Result<Conf, Refused> {
        // SAFETY: no arguments; the pointer is never null.
        let conf = Conf(unsafe { NonNull::new_unchecked(rd::rd_kafka_conf_new()) });
        for (name, value) in properties {
            let refuse = |reason: String| Refused { property: Some(name.clone()), reason };
            let c_name = c_string(name).map_err(|failure| refuse(failure.text))?;
            let c_value = CString::new(value.as_str()).map_err(|_| refuse("the value contains a NUL byte".into()))?;
            let mut reason = [0; 512];
            // SAFETY: all pointers are live for the call, and the buffer is as long as is said.
            let (result, reason) = unsafe {
                let result = rd::rd_kafka_conf_set(
                    conf.0.as_ptr(),
                    c_name.as_ptr(),
                    c_value.as_ptr(),
                    reason.as_mut_ptr(),
                    reason.len(),
                );
                (result, text(reason.as_ptr()).to_owned())
            };
            if result != rd::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK {
                return Err(refuse(reason));
            }
        }
        Ok(conf)
    }
}

impl Drop for Conf {
    fn drop(&mut self) {
        // SAFETY: owned, and not handed to a client (which forgets this value).
        unsafe { rd::rd_kafka_conf_destroy(self.0.as_ptr()) }
    }
}

/// A client instance with its event queue.
pub(crate) struct Client {
    rk: NonNull<rd::rd_kafka_t>,
    queue: Option<Queue>,
    /// Producer handles by `Topic::id`.
    topics: RwLock<Vec<Option<NonNull<rd::rd_kafka_topic_t>>>>,
    /// What the queue's callback points to; freed after the client.
    wake: Option<Box<Wake>>,
    ended: AtomicBool,
}

// SAFETY: librdkafka's client, topic and queue handles may be used from any thread at the same time.
unsafe impl Send for Client {}
// SAFETY: as above.
unsafe impl Sync for Client {}

impl Client {
    /// A client; with `wake`, its queue tells when it stops being empty.
    pub(crate) fn new(role: Role, properties: &[(String, String)], wake: Option<Wake>) -> Result<Client, Refused> {
        prepare_openssl();
        let conf = Conf::new(properties)?;
        let events = rd::RD_KAFKA_EVENT_DR
            | rd::RD_KAFKA_EVENT_ERROR
            | rd::RD_KAFKA_EVENT_STATS
            | rd::RD_KAFKA_EVENT_LOG
            | if role == Role::Consumer { rd::RD_KAFKA_EVENT_REBALANCE | rd::RD_KAFKA_EVENT_FETCH } else { 0 };
        let kind = match role {
            Role::Producer => rd::rd_kafka_type_t::RD_KAFKA_PRODUCER,
            Role::Consumer => rd::rd_kafka_type_t::RD_KAFKA_CONSUMER,
        };
        let mut reason = [0; 512];
        // SAFETY: `conf` is live; on success the client owns it and it is forgotten, on failure it stays ours.
        let rk = unsafe {
            rd::rd_kafka_conf_set_events(conf.0.as_ptr(), events);
            rd::rd_kafka_new(kind, conf.0.as_ptr(), reason.as_mut_ptr(), reason.len())
        };
        let Some(rk) = NonNull::new(rk) else {
            // SAFETY: librdkafka ended the text within the buffer.
            let reason = unsafe { text(reason.as_ptr()) }.to_owned();
            return Err(Refused { property: None, reason });
        };
        std::mem::forget(conf);
        let mut client = Client {
            rk,
            queue: None,
            topics: RwLock::default(),
            wake: wake.map(Box::new),
            ended: AtomicBool::new(false),
        };
        // SAFETY: `rk` is live. A null log queue stands for the main queue, which a consumer's queue takes over.
        let queue = unsafe {
            rd::rd_kafka_set_log_queue(rk.as_ptr(), ptr::null_mut());
            match role {
                Role::Producer => rd::rd_kafka_queue_get_main(rk.as_ptr()),
                Role::Consumer => {
                    rd::rd_kafka_poll_set_consumer(rk.as_ptr());
                    rd::rd_kafka_queue_get_consumer(rk.as_ptr())
                }
            }
        };
        let Some(queue) = NonNull::new(queue) else {
            return Err(Refused { property: Some("group.id".into()), reason: "a consumer needs a group".into() });
        };
        if let Some(wake) = &client.wake {
            // SAFETY: `wake` is boxed, so its address stays, and it is dropped after the client.
            unsafe {
                let opaque = ptr::from_ref::<Wake>(wake).cast_mut().cast();
                rd::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(on_nonempty), opaque);
            }
        }
        client.queue = Some(Queue(queue));
        Ok(client)
    }

    fn raw(&self) -> *mut rd::rd_kafka_t {
        self.rk.as_ptr()
    }

    /// The client's own queue: delivery reports, records, rebalances, errors, statistics, logs.
    pub(crate) fn poll(&self, wait: Duration) -> Option<Event<'_>> {
        self.queue.as_ref().and_then(|queue| queue.poll(wait))
    }

    /// Lets a waiting `poll` return.
    pub(crate) fn interrupt(&self) {
        if let Some(queue) = &self.queue {
            // SAFETY: the queue is live.
            unsafe { rd::rd_kafka_queue_yield(queue.0.as_ptr()) }
        }
    }

    /// A further queue of this client, for answers.
    pub(crate) fn new_queue(&self) -> Queue {
        // SAFETY: `rk` is live; the result is never null.
        Queue(unsafe { NonNull::new_unchecked(rd::rd_kafka_queue_new(self.raw())) })
    }

    /// Dials these brokers, given as addresses with commas between, where the client does not have them; it keeps the
    /// text for as long as it lives.
    pub(crate) fn add_brokers(&self, addresses: &CStr) {
        // SAFETY: `rk` and the text are live; the client copies the text.
        unsafe {
            rd::rd_kafka_brokers_add(self.raw(), addresses.as_ptr());
        }
    }

    /// Notes that an error ended this client; `true` for the first time.
    pub(crate) fn end(&self) -> bool {
        !self.ended.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// The error that ended this client, if one did.
    pub(crate) fn fatal_error(&self) -> Option<Failure> {
        let mut reason = [0; 512];
        // SAFETY: the buffer is as long as is said.
        let (code, text) = unsafe {
            let code = rd::rd_kafka_fatal_error(self.raw(), reason.as_mut_ptr(), reason.len()) as i32;
            (code, text(reason.as_ptr()).to_owned())
        };
        (code != 0).then_some(Failure { code, text })
    }

    fn topic(&self, id: u16, name: &str) -> Result<NonNull<rd::rd_kafka_topic_t>, Failure> {
        let known = |topics: &[Option<NonNull<_>>]| topics.get(usize::from(id)).copied().flatten();
        if let Some(topic) = known(&self.topics.read().expect("no panic while locked")) {
            return Ok(topic);
        }
        let mut topics = self.topics.write().expect("no panic while locked");
        if let Some(topic) = known(&topics) {
            return Ok(topic);
        }
        let topic = self.new_topic(name)?;
        if topics.len() <= usize::from(id) {
            topics.resize(usize::from(id) + 1, None);
        }
        topics[usize::from(id)] = Some(topic);
        Ok(topic)
    }

    fn new_topic(&self, name: &str) -> Result<NonNull<rd::rd_kafka_topic_t>, Failure> {
        let name = c_string(name)?;
        // SAFETY: `rk` and `name` are live; a null configuration stands for the client's own.
        let topic = unsafe { rd::rd_kafka_topic_new(self.raw(), name.as_ptr(), ptr::null_mut()) };
        // SAFETY: reads a variable of this thread.
        NonNull::new(topic).ok_or_else(|| Failure::check(unsafe { rd::rd_kafka_last_error() } as i32).unwrap_err())
    }

    /// Copies a record into the producer's queue.
    pub(crate) fn produce(&self, record: &OutgoingRecord<'_>, opaque: u64) -> Result<(), Failure> {
        use rd::rd_kafka_vtype_t::*;
        let topic = self.topic(record.topic.id, &record.topic.name)?;
        let parts = |part: Option<&[u8]>| match part {
            Some(part) => (part.as_ptr().cast_mut().cast::<c_void>(), part.len()),
            None => (ptr::null_mut(), 0),
        };
        let (key, key_len) = parts(record.key);
        let (value, value_len) = parts(record.value);
        // SAFETY: key, value and headers are copied during the call (MSG_F_COPY); the header list belongs to
        // librdkafka on success and is destroyed here otherwise; each vtype is followed by what it announces.
        unsafe {
            let mut headers = ptr::null_mut();
            if !record.headers.is_empty() {
                headers = rd::rd_kafka_headers_new(4);
                for (name, header) in record.headers.iter() {
                    let (header, len) = parts(header);
                    let name_len = name.len() as isize;
                    rd::rd_kafka_header_add(headers, name.as_ptr().cast(), name_len, header, len as isize);
                }
            }
            let code = rd::rd_kafka_producev(
                self.raw(),
                RD_KAFKA_VTYPE_RKT as c_int,
                topic.as_ptr(),
                RD_KAFKA_VTYPE_MSGFLAGS as c_int,
                rd::RD_KAFKA_MSG_F_COPY as c_int,
                RD_KAFKA_VTYPE_PARTITION as c_int,
                record.partition.unwrap_or(UNASSIGNED),
                RD_KAFKA_VTYPE_TIMESTAMP as c_int,
                record.timestamp.unwrap_or(0),
                RD_KAFKA_VTYPE_KEY as c_int,
                key,
                key_len,
                RD_KAFKA_VTYPE_VALUE as c_int,
                value,
                value_len,
                RD_KAFKA_VTYPE_OPAQUE as c_int,
                opaque as usize as *mut c_void,
                RD_KAFKA_VTYPE_HEADERS as c_int,
                headers,
                RD_KAFKA_VTYPE_END as c_int,
            ) as i32;
            if code != 0 && !headers.is_null() {
                rd::rd_kafka_headers_destroy(headers);
            }
            Failure::check(code)
        }
    }

    /// Gives up what is queued or in flight; the reports follow.
    pub(crate) fn purge(&self) {
        let flags = rd::RD_KAFKA_PURGE_F_QUEUE | rd::RD_KAFKA_PURGE_F_INFLIGHT | rd::RD_KAFKA_PURGE_F_NON_BLOCKING;
        // SAFETY: `rk` is live. The call refuses only flags that do not exist.
        unsafe { rd::rd_kafka_purge(self.raw(), flags) };
    }

    /// Asks a broker about one topic, or about none; for a topic, the answer is its error number and partitions.
    pub(crate) fn metadata(&self, topic: Option<&str>, wait: Duration) -> Result<Option<(i32, usize)>, Failure> {
        let handle = topic.map(|name| self.new_topic(name)).transpose()?;
        let mut metadata = ptr::null();
        // SAFETY: `handle` is null or live until it is destroyed below; `metadata` is valid until destroyed, and its
        // counts say how many entries its arrays have. The error number is read as a number.
        unsafe {
            let only = handle.map_or(ptr::null_mut(), NonNull::as_ptr);
            let code = rd::rd_kafka_metadata(self.raw(), 0, only, &mut metadata, milliseconds(wait)) as i32;
            if let Some(handle) = handle {
                rd::rd_kafka_topic_destroy(handle.as_ptr());
            }
            Failure::check(code)?;
            let all = &*metadata;
            let found = (handle.is_some() && all.topic_cnt > 0).then(|| {
                let topic = all.topics;
                let code = (&raw const (*topic).err).cast::<i32>().read();
                (code, usize::try_from((*topic).partition_cnt).unwrap_or(0))
            });
            rd::rd_kafka_metadata_destroy(metadata);
            Ok(found)
        }
    }

    /// Options of a request to the brokers that ends within that time; the caller destroys them.
    fn admin_options(&self, op: rd::rd_kafka_admin_op_t, timeout: Duration) -> *mut rd::rd_kafka_AdminOptions_t {
        let mut reason = [0; 256];
        // SAFETY: the client lives, the options are new, and the reason is written within its length.
        unsafe {
            let options = rd::rd_kafka_AdminOptions_new(self.raw(), op);
            let timeout = milliseconds(timeout).max(1);
            rd::rd_kafka_AdminOptions_set_request_timeout(options, timeout, reason.as_mut_ptr(), reason.len());
            options
        }
    }

    /// Replaces the subscription; an empty one leaves the group.
    pub(crate) fn subscribe(&self, topics: &[Arc<str>]) -> Result<(), Failure> {
        if topics.is_empty() {
            // SAFETY: `rk` is live.
            return Failure::check(unsafe { rd::rd_kafka_unsubscribe(self.raw()) } as i32);
        }
        let entry = |name| (name, UNASSIGNED, rd::RD_KAFKA_OFFSET_INVALID.into());
        let list = Partitions::new(topics.iter().map(|name| entry(&**name)))?;
        // SAFETY: `rk` and the list are live; the list is copied.
        Failure::check(unsafe { rd::rd_kafka_subscribe(self.raw(), list.0.as_ptr()) } as i32)
    }

    pub(crate) fn incremental_assign(&self, partitions: &Partitions) -> Result<(), Failure> {
        // SAFETY: `rk` and the list are live; the list is copied.
        Failure::take(unsafe { rd::rd_kafka_incremental_assign(self.raw(), partitions.0.as_ptr()) })
    }

    pub(crate) fn incremental_unassign(&self, partitions: &Partitions) -> Result<(), Failure> {
        // SAFETY: as above.
        Failure::take(unsafe { rd::rd_kafka_incremental_unassign(self.raw(), partitions.0.as_ptr()) })
    }

    /// Gives up every partition, whatever the protocol.
    pub(crate) fn unassign_all(&self) -> Result<(), Failure> {
        // SAFETY: `rk` is live; null stands for no partitions.
        Failure::check(unsafe { rd::rd_kafka_assign(self.raw(), ptr::null()) } as i32)
    }

    pub(crate) fn assignment_lost(&self) -> bool {
        // SAFETY: `rk` is live.
        unsafe { rd::rd_kafka_assignment_lost(self.raw()) != 0 }
    }

    pub(crate) fn pause(&self, partitions: &Partitions) -> Result<(), Failure> {
        // SAFETY: `rk` and the list are live; each entry's error is set.
        Failure::check(unsafe { rd::rd_kafka_pause_partitions(self.raw(), partitions.0.as_ptr()) } as i32)?;
        partitions.first_error()
    }

    pub(crate) fn resume(&self, partitions: &Partitions) -> Result<(), Failure> {
        // SAFETY: as above.
        Failure::check(unsafe { rd::rd_kafka_resume_partitions(self.raw(), partitions.0.as_ptr()) } as i32)?;
        partitions.first_error()
    }

    /// Starts a commit; the answer comes to `answers`.
    pub(crate) fn commit(&self, offsets: &Partitions, answers: &Queue) -> Result<(), Failure> {
        // SAFETY: everything passed is live; the list is copied. Without a callback the answer is an event.
        let code = unsafe {
            let (list, queue) = (offsets.0.as_ptr(), answers.0.as_ptr());
            rd::rd_kafka_commit_queue(self.raw(), list, queue, None, ptr::null_mut())
        };
        Failure::check(code as i32)
    }

    /// Asks for what the group has stored, and writes it into the list. Blocks.
    pub(crate) fn committed(&self, partitions: &Partitions, wait: Duration) -> Result<(), Failure> {
        // SAFETY: `rk` and the list are live.
        let code = unsafe { rd::rd_kafka_committed(self.raw(), partitions.0.as_ptr(), milliseconds(wait)) };
        Failure::check(code as i32)
    }

    /// Reports still to come, and messages that they are about.
    pub(crate) fn outstanding(&self) -> usize {
        // SAFETY: `rk` is live.
        usize::try_from(unsafe { rd::rd_kafka_outq_len(self.raw()) }).unwrap_or(0)
    }

    /// Ends the client as an error that it cannot recover from does.
    #[cfg(feature = "embedded")]
    pub(crate) fn provoke_fatal_error(&self, code: i32) {
        type Test = unsafe extern "C" fn(*mut rd::rd_kafka_t, i32, *const c_char) -> i32;
        type Bound = unsafe extern "C" fn(
            *mut rd::rd_kafka_t,
            rd::rd_kafka_resp_err_t,
            *const c_char,
        ) -> rd::rd_kafka_resp_err_t;
        // SAFETY: the enum is `repr(i32)`, so both types have one ABI; `rk` is live and the text is copied.
        unsafe {
            let test = std::mem::transmute::<Bound, Test>(rd::rd_kafka_test_fatal_error);
            test(self.raw(), code, c"provoked".as_ptr());
        }
    }

    /// The offset behind the newest record, as the last fetch said.
    pub(crate) fn high_watermark(&self, partition: &TopicPartition) -> Option<i64> {
        let topic = CString::new(&*partition.topic).ok()?;
        let (mut low, mut high) = (-1, -1);
        // SAFETY: all pointers are live for the call.
        let code = unsafe {
            let number = partition.partition;
            rd::rd_kafka_get_watermark_offsets(self.raw(), topic.as_ptr(), number, &mut low, &mut high)
        };
        (code as i32 == 0 && high >= 0).then_some(high)
    }

    /// Starts leaving the group; what has to be answered until [`Client::closed`] comes to `rest`.
    pub(crate) fn close_consumer(&self, rest: &Queue) -> Result<(), Failure> {
        if let Some(queue) = &self.queue {
            // SAFETY: the queue is live; from here on nothing calls `wake`.
            unsafe { rd::rd_kafka_queue_cb_event_enable(queue.0.as_ptr(), None, ptr::null_mut()) }
        }
        // SAFETY: `rk` and the queue are live.
        Failure::take(unsafe { rd::rd_kafka_consumer_close_queue(self.raw(), rest.0.as_ptr()) })
    }

    pub(crate) fn closed(&self) -> bool {
        // SAFETY: `rk` is live.
        unsafe { rd::rd_kafka_consumer_closed(self.raw()) != 0 }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let (Some(queue), Some(_)) = (&self.queue, &self.wake) {
            // SAFETY: the queue is live. The callback runs under the queue's lock, so none runs after this.
            unsafe { rd::rd_kafka_queue_cb_event_enable(queue.0.as_ptr(), None, ptr::null_mut()) }
        }
        // Queue and topic handles have to go before their client.
        self.queue = None;
        for topic in self.topics.get_mut().expect("no panic while locked").drain(..).flatten() {
            // SAFETY: owned by the table and taken out of it.
            unsafe { rd::rd_kafka_topic_destroy(topic.as_ptr()) }
        }
        // After a fatal error a consumer refuses to be closed, also by its destruction, which would then leave a
        // thread behind that spins for ever.
        let flags = if self.fatal_error().is_some() { rd::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE } else { 0 };
        // SAFETY: owned; nothing borrows from it any more.
        unsafe { rd::rd_kafka_destroy_flags(self.raw(), flags) }
    }
}

/// Runs on: any thread of librdkafka, under the queue's lock.
unsafe extern "C" fn on_nonempty(_: *mut rd::rd_kafka_t, opaque: *mut c_void) {
    // SAFETY: the opaque is the client's boxed `Wake`, which outlives the callback.
    let wake = unsafe { &*opaque.cast::<Wake>() };
    // A panic must not reach C. It costs a wake-up, and the poll thread looks by itself before long.
    drop(catch_unwind(AssertUnwindSafe(|| wake())));
}
