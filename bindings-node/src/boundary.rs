//! What crosses into JavaScript: panics become errors, errors become JSON.

use std::panic::{AssertUnwindSafe, catch_unwind};

use event_bus::{Error, ErrorKind};
use napi::Status;
use serde_json::{Map, Value, json};

/// Runs the body of an exported function. A panic that reached Node would abort the process.
pub(crate) fn guard<T>(body: impl FnOnce() -> Result<T, Error>) -> napi::Result<T> {
    let error = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error,
        Err(panic) => Error::new(ErrorKind::Internal, format!("the addon panicked: {}", panic_text(&*panic)))
            .hint("this is a defect of the library: please report it with the log around it"),
    };
    Err(napi::Error::new(Status::GenericFailure, error_json(&error).to_string()))
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// The error as `NativeError` of native.ts.
pub(crate) fn error_json(error: &Error) -> Value {
    let context: Map<String, Value> =
        error.contexts().map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
    let mut object = kind_json(error.kind());
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            object[name] = value;
        }
    };
    set("message", Some(error.message().into()));
    set("context", Some(context.into()));
    set("outcome", error.publish_outcome().map(|outcome| outcome.as_str().into()));
    set("kafkaCode", error.kafka_code().map(Value::from));
    set("hint", error.hint_text().map(Value::from));
    object
}

/// One row of the error table.
pub(crate) fn kind_json(kind: ErrorKind) -> Value {
    json!({
        "kind": format!("{kind:?}"),
        "number": kind.number(),
        "code": kind.code(),
        "class": kind.js_class(),
        "retryable": kind.is_retryable(),
        "fatal": kind.is_fatal(),
    })
}
