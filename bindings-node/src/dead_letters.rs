//! Calls on dead letters, as JSON in and out; bytes are texts of hexadecimal digits.

use event_bus::{Bus, DeadLetterFilter, DeadLetterInfo, DeadLetterReason, Error, ErrorKind, ReplayOptions};
use serde_json::{Map, Value, json};

use crate::json::parse;

type Object = Map<String, Value>;

/// `{call: 'list' | 'show' | 'replay', eventType, topic?, …}`.
pub(crate) async fn call(bus: &Bus, request: &str) -> Result<Value, Error> {
    let request = match parse(request, "the call")? {
        Value::Object(request) => request,
        _ => return Err(broken("the call")),
    };
    let text = |name: &'static str| request.get(name).and_then(Value::as_str);
    let mut letters = bus.dead_letters(text("eventType").ok_or_else(|| broken("eventType"))?);
    if let Some(topic) = text("topic") {
        letters = letters.stored_in(topic);
    }
    match text("call") {
        Some("list") => {
            let limit = number(&request, "limit")?.ok_or_else(|| broken("limit"))?;
            let found = letters.list(&filter(&request)?, limit).await?;
            found.iter().map(info).collect::<Result<Vec<_>, _>>().map(Value::from)
        }
        Some("show") => {
            let place = (number(&request, "partition")?, number(&request, "offset")?);
            let (Some(partition), Some(offset)) = place else { return Err(broken("partition and offset")) };
            let shown = letters.show(partition, offset).await?;
            let mut letter = info(&shown.info)?;
            letter["value"] = shown.record.value().map(hex).into();
            letter["headers"] = hex(shown.own_headers().as_packed()).into();
            Ok(letter)
        }
        Some("replay") => {
            let defaults = ReplayOptions::default();
            let options = ReplayOptions {
                filter: filter(&request)?,
                limit: number(&request, "limit")?,
                rate: request
                    .get("ratePerSecond")
                    .map(|rate| rate.as_f64().ok_or_else(|| broken("ratePerSecond")))
                    .transpose()?,
                dry_run: request.get("dryRun").and_then(Value::as_bool).unwrap_or(defaults.dry_run),
                max_replays: number(&request, "maxReplays")?.unwrap_or(defaults.max_replays),
            };
            let report = letters.replay(options).await?;
            serde_json::to_value(report).map_err(|error| unwritable(&error))
        }
        _ => Err(broken("call")),
    }
}

fn broken(what: &str) -> Error {
    Error::new(ErrorKind::Argument, format!("{what} is missing or of another type"))
}

fn unwritable(error: &serde_json::Error) -> Error {
    Error::new(ErrorKind::Internal, format!("dead letters cannot be written as JSON: {error}"))
}

fn number<T: TryFrom<i64>>(request: &Object, name: &'static str) -> Result<Option<T>, Error> {
    let read = |value: &Value| value.as_i64().and_then(|value| T::try_from(value).ok()).ok_or_else(|| broken(name));
    request.get(name).map(read).transpose()
}

fn filter(request: &Object) -> Result<DeadLetterFilter, Error> {
    let reasons = match request.get("reasons") {
        Some(Value::Array(names)) => names
            .iter()
            .map(|name| DeadLetterReason::from_name(name.as_str().unwrap_or_default()))
            .collect::<Result<_, _>>()?,
        Some(_) => return Err(broken("reasons")),
        None => Vec::new(),
    };
    let key = request.get("key").map(|key| key.as_str().and_then(unhex).ok_or_else(|| broken("key"))).transpose()?;
    Ok(DeadLetterFilter {
        reasons,
        since: number(request, "since")?,
        until: number(request, "until")?,
        partition: number(request, "partition")?,
        offset: number(request, "offset")?,
        key,
    })
}

fn info(letter: &DeadLetterInfo) -> Result<Value, Error> {
    let mut written = serde_json::to_value(letter).map_err(|error| unwritable(&error))?;
    written["key"] = json!(letter.key.as_deref().map(hex));
    Ok(written)
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
    text
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |letter: u8| char::from(letter).to_digit(16).map(|digit| digit as u8);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}
