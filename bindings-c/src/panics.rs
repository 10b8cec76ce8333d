//! A panic inside every exported function comes back as a code or a neutral value.

use std::collections::BTreeSet;
use std::ptr::{null, null_mut};

use crate::boundary::failpoint;
use crate::*;

/// Calls a function with a panic armed, and says under which name.
struct Armed {
    called: BTreeSet<&'static str>,
}

impl Armed {
    fn code(&mut self, name: &'static str, call: impl FnOnce(*mut *mut evbus_error) -> i32) {
        let mut error = null_mut();
        failpoint::arm();
        assert_eq!(call(&raw mut error), EVBUS_ERR_INTERNAL, "{name}");
        assert_eq!(evbus_error_code(error), EVBUS_ERR_INTERNAL, "{name} gave no error object");
        assert!(evbus_error_fatal(error), "{name}");
        evbus_error_free(error);
        self.called.insert(name);
    }

    fn value<T: PartialEq + std::fmt::Debug>(&mut self, name: &'static str, neutral: T, call: impl FnOnce() -> T) {
        failpoint::arm();
        assert_eq!(call(), neutral, "{name}");
        self.called.insert(name);
    }

    /// Of a function that gives a text: whether it is empty, or none.
    fn text(&mut self, name: &'static str, call: impl FnOnce() -> *const std::ffi::c_char) {
        failpoint::arm();
        let given = call();
        let text = boundary::text(given, "text").unwrap_or_default();
        assert!(text.is_empty() || text == "{}", "{name} gave {text}");
        self.called.insert(name);
    }
}

/// `name: arguments` for functions whose last parameter is the error.
macro_rules! codes {
    ($armed:ident, $($name:ident($($argument:expr),*);)+) => {
        $( $armed.code(stringify!($name), |error| $name($($argument,)* error)); )+
    };
}

macro_rules! values {
    ($armed:ident, $($name:ident($($argument:expr),*) = $neutral:expr;)+) => {
        $( $armed.value(stringify!($name), $neutral, || $name($($argument),*)); )+
    };
}

macro_rules! texts {
    ($armed:ident, $($name:ident($($argument:expr),*);)+) => {
        $( $armed.text(stringify!($name), || $name($($argument),*)); )+
    };
}

#[test]
fn a_panic_inside_any_function_is_told() {
    let mut armed = Armed { called: BTreeSet::new() };
    codes! { armed,
        evbus_abi_check(0, 0);
        evbus_bus_close(null(), 0, null_mut());
        evbus_bus_connect(null(), null_mut());
        evbus_bus_dead_letters(null(), null(), null(), null_mut());
        evbus_bus_health(null());
        evbus_bus_health_json(null(), null_mut());
        evbus_bus_metrics(null(), null_mut());
        evbus_bus_publish(null(), null(), 0, null_mut(), null_mut());
        evbus_bus_publish_async(null(), null(), 0, None, null_mut());
        evbus_bus_publish_batch(null(), null(), 0, 0, null_mut());
        evbus_bus_replay_dead_letters(null(), null(), null(), null_mut());
        evbus_bus_seek(null(), null(), 0, 0);
        evbus_bus_seek_to_timestamp(null(), null(), 0, 0);
        evbus_bus_subscribe(null(), null(), None, null_mut(), None, null_mut());
        evbus_bus_subscribe_pull(null(), null(), null_mut());
        evbus_bus_subscribe_pull_with(null(), null(), null(), null_mut());
        evbus_bus_subscribe_with(null(), null(), null(), None, null_mut(), None, null_mut());
        evbus_config_from_env(null_mut());
        evbus_config_set(null_mut(), null(), null());
        evbus_config_set_callback_threads(null_mut(), 1);
        evbus_config_set_log(null_mut(), 0, None, null_mut(), None);
        evbus_dead_letter_options_set(null_mut(), null(), null());
        evbus_dead_letter_options_set_key(null_mut(), null(), 0);
        evbus_delivery_ack(null_mut());
        evbus_delivery_dead_letter(null_mut(), null());
        evbus_delivery_fail(null_mut(), 0, null(), null(), null_mut());
        evbus_delivery_finish(null_mut(), 0, null(), null_mut());
        evbus_delivery_header_at(null(), 0, null_mut(), null_mut());
        evbus_delivery_retain(null_mut());
        evbus_delivery_retry(null_mut(), null());
        evbus_event_add_header(null_mut(), null(), null(), 0);
        evbus_event_clear_headers(null_mut());
        evbus_event_id(null(), null_mut());
        evbus_event_new(null(), null(), null(), null_mut());
        evbus_event_new_record(null(), null_mut());
        evbus_event_set_id(null_mut(), null());
        evbus_event_set_key(null_mut(), null(), 0);
        evbus_event_set_occurred_on(null_mut(), 0);
        evbus_event_set_partition(null_mut(), 0);
        evbus_event_set_timestamp(null_mut(), 0);
        evbus_event_set_value(null_mut(), null(), 0);
        evbus_event_set_version(null_mut(), 0);
        evbus_subscription_fd(null(), null_mut());
        evbus_subscription_options_set(null_mut(), null(), null());
        evbus_subscription_poll(null(), 0, null_mut());
        evbus_subscription_unsubscribe(null(), 0);
        evbus_test_broker_create_topic(null(), null(), 1);
        evbus_test_broker_fail_requests(null(), 0, null(), 0);
        evbus_test_broker_set_round_trip(null(), 1, 0);
        evbus_test_broker_set_up(null(), 1, true);
        evbus_test_broker_start(1, null_mut());
    }
    values! { armed,
        evbus_abi_version() = 0;
        evbus_bus_free(null_mut()) = ();
        evbus_bus_is_connected(null()) = false;
        evbus_bus_is_live(null()) = false;
        evbus_close_report_abandoned(null()) = 0;
        evbus_close_report_callbacks_running(null()) = 0;
        evbus_close_report_clean(null()) = false;
        evbus_close_report_free(null_mut()) = ();
        evbus_close_report_handled(null()) = 0;
        evbus_close_report_lost(null()) = 0;
        evbus_close_report_published(null()) = 0;
        evbus_code_fatal(EVBUS_ERR_FENCED) = false;
        evbus_code_retryable(EVBUS_ERR_TIMEOUT) = false;
        evbus_config_free(null_mut()) = ();
        evbus_config_new() = null_mut();
        evbus_dead_letter_options_free(null_mut()) = ();
        evbus_dead_letter_options_new() = null_mut();
        evbus_dead_letters_count(null()) = 0;
        evbus_dead_letters_field(null(), 0, null()) = null();
        evbus_dead_letters_free(null_mut()) = ();
        evbus_dead_letters_header(null(), 0, 0, null_mut(), null_mut()) = false;
        evbus_dead_letters_offset(null(), 0) = -1;
        evbus_dead_letters_partition(null(), 0) = -1;
        evbus_delivery_attempt(null()) = 0;
        evbus_delivery_is_last_attempt(null()) = false;
        evbus_delivery_header_count(null()) = 0;
        evbus_delivery_occurred_on(null(), null_mut()) = false;
        evbus_delivery_offset(null()) = -1;
        evbus_delivery_partition(null()) = -1;
        evbus_delivery_release(null_mut()) = ();
        evbus_delivery_timestamp(null()) = -1;
        evbus_delivery_version(null()) = 0;
        evbus_error_code(null()) = EVBUS_ERR_INTERNAL;
        evbus_error_context(null(), null()) = null();
        evbus_error_fatal(null()) = false;
        evbus_error_free(null_mut()) = ();
        evbus_error_kafka_code(null()) = 0;
        evbus_error_outcome(null()) = EVBUS_OUTCOME_NONE;
        evbus_error_retryable(null()) = false;
        evbus_event_free(null_mut()) = ();
        evbus_log_record_error(null()) = null();
        evbus_log_record_level(null()) = -1;
        evbus_publish_results_code(null(), 0) = EVBUS_ERR_ARGUMENT;
        evbus_publish_results_count(null()) = 0;
        evbus_publish_results_error(null(), 0) = null();
        evbus_publish_results_free(null_mut()) = ();
        evbus_publish_results_offset(null(), 0) = -1;
        evbus_publish_results_partition(null(), 0) = -1;
        evbus_replay_report_complete(null()) = false;
        evbus_replay_report_free(null_mut()) = ();
        evbus_replay_report_replayed(null()) = 0;
        evbus_replay_report_skipped(null()) = 0;
        evbus_string_free(null_mut()) = ();
        evbus_subscription_free(null_mut()) = ();
        evbus_subscription_options_free(null_mut()) = ();
        evbus_subscription_options_new() = null_mut();
        evbus_test_broker_free(null_mut()) = ();
    }
    texts! { armed,
        evbus_code_name(0);
        evbus_error_hint(null());
        evbus_error_message(null());
        evbus_error_report(null());
        evbus_log_record_event(null());
        evbus_log_record_fields(null());
        evbus_log_record_message(null());
        evbus_replay_report_json(null());
        evbus_test_broker_bootstrap(null());
        evbus_version_string();
    }
    texts! { armed,
        evbus_dead_letters_key_data(null());
        evbus_dead_letters_value_data(null());
        evbus_delivery_aggregate_id_data(null());
        evbus_delivery_event_id_data(null());
        evbus_delivery_event_type_data(null());
        evbus_delivery_header_data(null());
        evbus_delivery_key_data(null());
        evbus_delivery_payload_data(null());
        evbus_delivery_topic_data(null());
        evbus_delivery_value_data(null());
    }
    let called: BTreeSet<_> = armed.called.iter().map(|name| name.trim_end_matches("_data")).collect();
    let exported: BTreeSet<_> = include_str!("../exports.txt").lines().collect();
    assert_eq!(called, exported);
}

/// Views compare by where they point.
macro_rules! data {
    ($($wrapper:ident = $name:ident;)+) => {
        $( fn $wrapper(delivery: *const evbus_delivery) -> *const std::ffi::c_char { $name(delivery).data.cast() } )+
    };
}

data! {
    evbus_delivery_aggregate_id_data = evbus_delivery_aggregate_id;
    evbus_delivery_event_id_data = evbus_delivery_event_id;
    evbus_delivery_event_type_data = evbus_delivery_event_type;
    evbus_delivery_key_data = evbus_delivery_key;
    evbus_delivery_payload_data = evbus_delivery_payload;
    evbus_delivery_topic_data = evbus_delivery_topic;
    evbus_delivery_value_data = evbus_delivery_value;
}

fn evbus_delivery_header_data(delivery: *const evbus_delivery) -> *const std::ffi::c_char {
    evbus_delivery_header(delivery, c"name".as_ptr()).data.cast()
}

fn evbus_dead_letters_key_data(letters: *const evbus_dead_letters) -> *const std::ffi::c_char {
    evbus_dead_letters_key(letters, 0).data.cast()
}

fn evbus_dead_letters_value_data(letters: *const evbus_dead_letters) -> *const std::ffi::c_char {
    evbus_dead_letters_value(letters, 0).data.cast()
}
