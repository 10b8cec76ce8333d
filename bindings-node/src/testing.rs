//! `NativeTestBroker`: the embedded broker.

use std::sync::Mutex;

use event_bus::testing::{TestBroker, TestBrokerOptions};
use event_bus::{Error, ErrorKind};
use napi_derive::napi;
use serde_json::Value;

use crate::boundary::guard;
use crate::ring::lock;

#[napi(js_name = "NativeTestBroker")]
pub struct NativeTestBroker {
    broker: Mutex<Option<TestBroker>>,
    bootstrap: String,
}

#[napi]
impl NativeTestBroker {
    /// Options as JSON: `{topics: string[], partitions: number}`.
    #[napi(constructor)]
    pub fn new(options_json: String) -> napi::Result<Self> {
        guard(|| {
            let broker = TestBroker::start(read_options(&options_json)?)?;
            let bootstrap = broker.bootstrap().to_owned();
            Ok(NativeTestBroker { broker: Mutex::new(Some(broker)), bootstrap })
        })
    }

    #[napi(getter)]
    pub fn bootstrap(&self) -> napi::Result<String> {
        guard(|| Ok(self.bootstrap.clone()))
    }

    #[napi]
    pub fn create_topic(&self, name: String, partitions: i32) -> napi::Result<()> {
        guard(|| match &*lock(&self.broker) {
            Some(broker) => broker.create_topic(&name, partitions),
            None => Err(Error::new(ErrorKind::Closed, "the embedded broker is stopped").hint("start another one")),
        })
    }

    #[napi]
    pub fn close(&self) -> napi::Result<()> {
        guard(|| {
            drop(lock(&self.broker).take());
            Ok(())
        })
    }
}

fn read_options(options_json: &str) -> Result<TestBrokerOptions, Error> {
    let broken = |what: &str| Error::new(ErrorKind::Argument, format!("the options of the embedded broker: {what}"));
    let options: Value = serde_json::from_str(options_json).map_err(|error| broken(&error.to_string()))?;
    let mut read = TestBrokerOptions::default();
    if let Some(partitions) = options.get("partitions") {
        read.partitions = partitions
            .as_i64()
            .and_then(|number| i32::try_from(number).ok())
            .filter(|number| *number > 0)
            .ok_or_else(|| broken("partitions must be a positive integer"))?;
    }
    for topic in options.get("topics").and_then(Value::as_array).into_iter().flatten() {
        let name = topic.as_str().ok_or_else(|| broken("topics must be names"))?;
        read.topics.push((name.to_owned(), read.partitions));
    }
    Ok(read)
}
