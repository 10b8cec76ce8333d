//! Runs the conformance scenarios in Rust: `conformance BROKERS SCRIPT`. `dev/conformance.mjs` writes the script, runs
//! the same in every language, and compares what they print.

#![allow(clippy::print_stdout)]

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{env, fs};

use event_bus::{Bus, Config, DeadLetterFilter, Delivery, Event, HandlerError, Jitter, ReplayOptions};

type Failure = Box<dyn Error + Send + Sync>;

const PATIENCE: Duration = Duration::from_secs(30);

/// What the handlers of a scenario do and did.
#[derive(Default)]
struct Seen {
    /// By event, what its handler does at each call.
    outcomes: HashMap<String, Vec<String>>,
    calls: Vec<String>,
    /// By event, how often its handler was called.
    count: HashMap<String, usize>,
}

struct Scenario {
    name: String,
    topic: String,
    config: Config,
    bus: Option<Bus>,
    seen: Arc<Mutex<Seen>>,
}

fn handle(seen: &Mutex<Seen>, delivery: &Delivery) -> Result<(), HandlerError> {
    let event = delivery.event()?;
    let mut seen = seen.lock().map_err(|_| "a handler panicked")?;
    let id = event.event_id().to_owned();
    let time = event.occurred_on().unwrap_or(-1);
    let (aggregate, version) = (event.aggregate_id(), event.version());
    let (event_type, payload) = (event.event_type(), event.payload());
    let attempt = delivery.attempt();
    seen.calls.push(format!("{aggregate}\t{id}\t{attempt}\t{event_type}\t{version}\t{time}\t{payload}"));
    let call = seen.count.entry(id.clone()).or_default();
    *call += 1;
    let call = *call;
    match seen.outcomes.get(&id).and_then(|all| all.get(call - 1)).map(String::as_str) {
        Some("retry") => Err(HandlerError::retryable(format!("{id} fails"))),
        Some("fatal") => Err(HandlerError::fatal(format!("{id} is hopeless"))),
        _ => Ok(()),
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> Result<bool, Failure>) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await? {
        if Instant::now() > deadline {
            return Err(format!("{what}: not within {PATIENCE:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

impl Scenario {
    fn new(brokers: &str, name: &str, topic: &str) -> Self {
        let mut config = Config::new("conformance", brokers.split(','));
        config.group_id = Some(format!("conformance-{name}"));
        config.policy.retry.jitter = Jitter::None;
        Scenario { name: name.into(), topic: topic.into(), config, bus: None, seen: Arc::default() }
    }

    async fn bus(&mut self) -> Result<Bus, Failure> {
        if self.bus.is_none() {
            self.bus = Some(Bus::connect(self.config.clone()).await?);
        }
        self.bus.clone().ok_or_else(|| "no bus".into())
    }

    async fn close(&mut self) -> Result<(), Failure> {
        let Some(bus) = self.bus.take() else { return Ok(()) };
        let report = bus.shutdown(PATIENCE).await;
        if report.clean { Ok(()) } else { Err(format!("the bus did not close well: {report:?}").into()) }
    }

    async fn step(&mut self, words: &[&str]) -> Result<(), Failure> {
        match words {
            ["option", key, value] => self.config.set(key, value)?,
            ["outcome", id, all @ ..] => {
                let all = all.iter().map(|one| (*one).to_owned()).collect();
                self.seen.lock().map_err(|_| "poisoned")?.outcomes.insert((*id).to_owned(), all);
            }
            ["event", id, aggregate, version, occurred_on, payload] => {
                let event = Event::from_json(self.topic.clone(), *aggregate, *payload)?
                    .with_event_id(*id)
                    .with_version(version.parse()?)
                    .with_occurred_on(occurred_on.parse()?);
                self.bus().await?.publish(&event).await?;
            }
            ["subscribe"] => {
                let seen = self.seen.clone();
                let handler = move |delivery: Delivery| {
                    let ended = handle(&seen, &delivery);
                    async move { ended }
                };
                self.bus().await?.subscribe(&self.topic, handler).await?;
            }
            ["calls", count] => {
                let (count, seen) = (count.parse()?, self.seen.clone());
                let called = async || Ok(seen.lock().map_err(|_| "poisoned")?.calls.len() >= count);
                until(&format!("{count} calls"), called).await?;
            }
            ["letters", count] => {
                let count: usize = count.parse()?;
                let letters = self.bus().await?.dead_letters(&self.topic);
                let listed = async || {
                    Ok(letters.list(&DeadLetterFilter::default(), 100).await.is_ok_and(|all| all.len() >= count))
                };
                until(&format!("{count} letters"), listed).await?;
            }
            ["replay"] => {
                self.bus().await?.dead_letters(&self.topic).replay(ReplayOptions::default()).await?;
            }
            ["restart"] => self.close().await?,
            _ => return Err(format!("no such step: {words:?}").into()),
        }
        Ok(())
    }

    /// Prints what happened, and closes the bus.
    async fn end(&mut self) -> Result<(), Failure> {
        let letters = self.bus().await?.dead_letters(&self.topic);
        let letters = letters.list(&DeadLetterFilter::default(), 100).await.unwrap_or_default();
        self.close().await?;
        for call in &self.seen.lock().map_err(|_| "poisoned")?.calls {
            println!("call\t{}\t{call}", self.name);
        }
        for letter in letters {
            let text = |text: Option<String>| text.unwrap_or_else(|| "-".into());
            let (id, reason) = (text(letter.event_id), text(letter.reason));
            let (attempts, message) = (letter.attempts.unwrap_or_default(), text(letter.error_message));
            println!("letter\t{}\t{id}\t{reason}\t{attempts}\t{message}", self.name);
        }
        println!("done\t{}", self.name);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().collect();
    let [_, brokers, script] = &arguments[..] else { return Err("usage: conformance BROKERS SCRIPT".into()) };
    let mut scenario = None;
    for line in fs::read_to_string(script)?.lines() {
        let words: Vec<&str> = line.split('\t').collect();
        match (&words[..], &mut scenario) {
            (["scenario", name, topic], _) => scenario = Some(Scenario::new(brokers, name, topic)),
            (["end"], Some(one)) => one.end().await?,
            (words, Some(one)) => one.step(words).await.map_err(|error| format!("{}: {words:?}: {error}", one.name))?,
            (words, None) => return Err(format!("{words:?} belongs to no scenario").into()),
        }
    }
    Ok(())
}
