//! What is told rarely: results of calls, log records, partitions to stop. One JSON text for all that waits.

use std::sync::Mutex;

use event_bus::{Error, LogRecord};
use serde_json::{Map, Value, json};

use crate::boundary::error_json;
use crate::ring::lock;

/// Log records that wait while JavaScript is busy; beyond it they are counted and dropped.
const MAX_LOG_RECORDS: usize = 4096;

#[derive(Default)]
pub(crate) struct Notices(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    notices: Vec<Value>,
    log_records: usize,
    dropped: u64,
}

impl Notices {
    pub(crate) fn result(&self, op: u32, result: Result<Value, Error>) {
        let notice = match result {
            Ok(value) => json!({ "type": "result", "op": op, "value": value }),
            Err(error) => json!({ "type": "result", "op": op, "error": error_json(&error) }),
        };
        lock(&self.0).notices.push(notice);
    }

    pub(crate) fn stop(&self, slot: u16, epoch: u16) {
        lock(&self.0).notices.push(json!({ "type": "stop", "slot": slot, "epoch": epoch }));
    }

    pub(crate) fn abort(&self, slot: u16, epoch: u16) {
        lock(&self.0).notices.push(json!({ "type": "abort", "slot": slot, "epoch": epoch }));
    }

    pub(crate) fn log(&self, record: &LogRecord) {
        let mut waiting = lock(&self.0);
        if waiting.log_records == MAX_LOG_RECORDS {
            waiting.dropped += 1;
            return;
        }
        waiting.log_records += 1;
        let fields = record.fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        waiting.notices.push(log_json(record.level.as_str(), record.event, &record.message, fields, &record.error));
    }

    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.0).notices.is_empty()
    }

    /// Everything that waits, in order; `None` when nothing does.
    pub(crate) fn take(&self) -> Option<String> {
        let Waiting { mut notices, dropped, .. } = std::mem::take(&mut *lock(&self.0));
        if notices.is_empty() {
            return None;
        }
        if dropped > 0 {
            let message = format!("{dropped} log records were dropped because JavaScript did not take them in time");
            notices.push(log_json("warn", "log_overflow", &message, Map::new(), &None));
        }
        Some(Value::from(notices).to_string())
    }
}

fn log_json(level: &str, event: &str, message: &str, fields: Map<String, Value>, error: &Option<Error>) -> Value {
    let mut notice = json!({ "type": "log", "level": level, "event": event, "message": message, "fields": fields });
    if let Some(error) = error {
        notice["error"] = error_json(error);
    }
    notice
}
