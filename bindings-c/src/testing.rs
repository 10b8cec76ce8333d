//! The embedded broker.

use std::ffi::{CString, c_char};
use std::time::Duration;

use event_bus::testing::{Request, TestBroker, TestBrokerOptions};
use event_bus::{Error, ErrorKind, Result};

use crate::boundary::{
    Object, Out, boundary, c_text, elements, free_object, known, new_object, object, text, watch_forks,
};
use crate::error::evbus_error;

/// A Kafka cluster inside this process, for demos and tests without a Kafka. It has limits: a partition keeps about
/// 5 MB, topics that clients create have 4 partitions, and there is no TLS, SASL or ACL.
pub struct evbus_test_broker {
    _opaque: [u8; 0],
}

pub(crate) struct Started {
    broker: TestBroker,
    bootstrap: CString,
}

impl Object for evbus_test_broker {
    type Inner = Started;
    const MAGIC: u64 = 0x6576_6275_735f_000a;
    const NAME: &'static str = "embedded broker";
}

/// Starts a cluster on free ports of 127.0.0.1; it takes a few milliseconds.
///
/// @param brokers How many brokers it has, numbered from 1.
/// @param broker  Where the cluster goes.
/// @param error   Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the cluster is the caller's, who stops it with evbus_test_broker_free after the buses that use it.
/// Thread: any; blocks for some milliseconds.
/// Errors: EVBUS_ERR_ARGUMENT for less than one; EVBUS_ERR_UNAVAILABLE when no port can be opened.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_test_broker_start(
    brokers: i32,
    broker: *mut *mut evbus_test_broker,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => {
        let out = Out::of(broker, "broker")?;
        watch_forks();
        let started = TestBroker::start(TestBrokerOptions { brokers, ..TestBrokerOptions::default() })?;
        let bootstrap = c_text(started.bootstrap());
        out.set(new_object(Started { broker: started, bootstrap }));
        Ok(())
    })
}

/// The addresses to connect to, for the option "brokers".
///
/// @param broker The cluster.
/// @return The text; never NULL; empty for NULL.
///
/// Ownership: belongs to the cluster.
/// Thread: any; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_test_broker_bootstrap(broker: *const evbus_test_broker) -> *const c_char {
    boundary!(c"".as_ptr() => known(broker).map_or(c"".as_ptr(), |started| started.bootstrap.as_ptr()))
}

/// Creates a topic.
///
/// @param broker     The cluster.
/// @param topic      Its name.
/// @param partitions How many partitions it gets.
/// @param error      Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the text is copied.
/// Thread: any; blocks for some milliseconds.
/// Errors: EVBUS_ERR_ARGUMENT when there is one of that name, or the number of partitions is not positive.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_test_broker_create_topic(
    broker: *const evbus_test_broker,
    topic: *const c_char,
    partitions: i32,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => object(broker)?.broker.create_topic(text(topic, "topic")?, partitions))
}

/// Takes a broker down: its connections break and its port is closed; or brings it back on the port it had.
///
/// @param broker The cluster.
/// @param number Which broker, from 1.
/// @param up     false to take it down.
/// @param error  Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the error is the caller's.
/// Thread: any; blocks for some milliseconds.
/// Errors: EVBUS_ERR_ARGUMENT for a broker that does not exist.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_test_broker_set_up(
    broker: *const evbus_test_broker,
    number: i32,
    up: bool,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => {
        let broker = &object(broker)?.broker;
        if up { broker.broker_up(number) } else { broker.broker_down(number) }
    })
}

/// Delays every answer of a broker.
///
/// @param broker       The cluster.
/// @param number       Which broker, from 1.
/// @param milliseconds By how much; 0 for no longer.
/// @param error        Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the error is the caller's.
/// Thread: any; blocks for some milliseconds.
/// Errors: EVBUS_ERR_ARGUMENT for a broker that does not exist, and for a negative time.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_test_broker_set_round_trip(
    broker: *const evbus_test_broker,
    number: i32,
    milliseconds: i32,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => {
        let broker = &object(broker)?.broker;
        let milliseconds = u64::try_from(milliseconds).map_err(|_| {
            Error::new(ErrorKind::Argument, format!("the round trip is {milliseconds} ms")).hint("give 0 or more")
        })?;
        broker.round_trip_time(number, Duration::from_millis(milliseconds))
    })
}

/// Lets the next requests of a kind fail, one for each number.
///
/// @param broker  The cluster.
/// @param api_key The kind by its number in Kafka's protocol: 0 Produce, 1 Fetch, 3 Metadata, 8 OffsetCommit, ...
/// @param codes   Error numbers of Kafka's protocol.
/// @param count   How many.
/// @param error   Where the error goes, or NULL.
/// @return EVBUS_OK, or a code.
///
/// Ownership: the numbers are copied.
/// Thread: any; never blocks.
/// Errors: EVBUS_ERR_ARGUMENT for a kind that cannot be made to fail.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_test_broker_fail_requests(
    broker: *const evbus_test_broker,
    api_key: i16,
    codes: *const i32,
    count: usize,
    error: *mut *mut evbus_error,
) -> i32 {
    boundary!(error error => {
        let broker = &object(broker)?.broker;
        broker.push_request_errors(request(api_key)?, elements(codes, count, "codes")?);
        Ok(())
    })
}

fn request(api_key: i16) -> Result<Request> {
    let all = [
        Request::Produce,
        Request::Fetch,
        Request::ListOffsets,
        Request::Metadata,
        Request::OffsetCommit,
        Request::OffsetFetch,
        Request::FindCoordinator,
        Request::JoinGroup,
        Request::Heartbeat,
        Request::LeaveGroup,
        Request::SyncGroup,
        Request::InitProducerId,
    ];
    all.into_iter().find(|known| *known as i16 == api_key).ok_or_else(|| {
        Error::new(ErrorKind::Argument, format!("requests of kind {api_key} cannot be made to fail"))
            .hint("pass the number of a kind of request that a producer or a consumer sends")
    })
}

/// Stops a cluster. Buses that use it lose their connection.
///
/// @param broker The cluster, or NULL, which does nothing.
///
/// Ownership: takes the cluster back.
/// Thread: any; blocks for some milliseconds.
#[unsafe(no_mangle)]
pub extern "C" fn evbus_test_broker_free(broker: *mut evbus_test_broker) {
    boundary!(() => free_object(broker))
}
