//! Reads the envelope out of a record's value, in one pass and without copying.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Envelope, at};
use crate::error::{Error, Result};
use crate::event::Record;
use crate::iso;

const HINT: &str = "this topic should hold domain events only: find the program that wrote this record";

pub(super) fn envelope(record: &Record) -> Result<Envelope<'_>> {
    let refuse = |message: String| at(record, message).hint(HINT);
    let value = record.value().ok_or_else(|| refuse("the record has no value (a tombstone)".to_owned()))?;
    let text = std::str::from_utf8(value)
        .map_err(|error| refuse(format!("the record's value is not UTF-8 at byte {}", error.valid_up_to())))?;
    let mut fields: Fields<'_> = serde_json::from_str(text).map_err(|error| refuse(why_not_read(text, &error)))?;
    if let (true, Some(props)) = (fields.misses_any(), fields.props) {
        // What is not an object there is not the private state of a class, but someone's own field.
        if let Ok(props) = serde_json::from_str(props) {
            fields.fill_from(props);
        }
    }
    let version = fields.version.integer().ok_or_else(|| wrong(record, "version", &fields.version, "an integer"))?;
    Ok(Envelope {
        record,
        event_id: required(record, "eventId", fields.event_id)?,
        event_type: required(record, "eventType", fields.event_type)?,
        aggregate_id: required(record, "aggregateId", fields.aggregate_id)?,
        occurred_on: fields.occurred_on.instant(),
        version,
        payload: fields.payload.unwrap_or("null"),
    })
}

fn required<'a>(record: &Record, name: &'static str, field: Scalar<'a>) -> Result<Cow<'a, str>> {
    match field {
        Scalar::Text(text) if !text.is_empty() => Ok(text),
        other => Err(wrong(record, name, &other, "a text that is not empty")),
    }
}

fn wrong(record: &Record, name: &'static str, field: &Scalar<'_>, expected: &str) -> Error {
    let message = match field {
        Scalar::Absent => format!("the record's value is not a domain event: {name} is missing"),
        other => {
            format!("the record's value is not a domain event: {name} must be {expected}, but is {}", other.kind())
        }
    };
    at(record, message).with("field", name).hint(HINT)
}

/// Why a value could not be read: JSON of another shape, or no JSON, then with the place.
fn why_not_read(text: &str, error: &serde_json::Error) -> String {
    match serde_json::from_str::<Scalar<'_>>(text) {
        Ok(Scalar::Other("an object")) | Err(_) => format!("the record's value is not JSON: {error}"),
        Ok(other) => format!("the record's value is JSON, but {} instead of an object", other.kind()),
    }
}

/// What is of interest in the object, as far as it is there.
#[derive(Default)]
struct Fields<'a> {
    event_id: Scalar<'a>,
    event_type: Scalar<'a>,
    aggregate_id: Scalar<'a>,
    occurred_on: Scalar<'a>,
    version: Scalar<'a>,
    payload: Option<&'a str>,
    props: Option<&'a str>,
}

impl<'a> Fields<'a> {
    fn misses_any(&self) -> bool {
        let Fields { event_id, event_type, aggregate_id, occurred_on, version, payload, props: _ } = self;
        payload.is_none() || [event_id, event_type, aggregate_id, occurred_on, version].iter().any(|f| f.is_absent())
    }

    fn fill_from(&mut self, props: Fields<'a>) {
        self.event_id.or(props.event_id);
        self.event_type.or(props.event_type);
        self.aggregate_id.or(props.aggregate_id);
        self.occurred_on.or(props.occurred_on);
        self.version.or(props.version);
        self.payload = self.payload.or(props.payload);
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
                let mut fields = Fields::default();
                while let Some(name) = map.next_key()? {
                    match name {
                        Name::EventId => fields.event_id = map.next_value()?,
                        Name::EventType => fields.event_type = map.next_value()?,
                        Name::AggregateId => fields.aggregate_id = map.next_value()?,
                        Name::OccurredOn => fields.occurred_on = map.next_value()?,
                        Name::Version => fields.version = map.next_value()?,
                        Name::Payload => fields.payload = Some(map.next_value::<&RawValue>()?.get()),
                        Name::Props => fields.props = Some(map.next_value::<&RawValue>()?.get()),
                        Name::Other => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(Object)
    }
}

enum Name {
    EventId,
    EventType,
    AggregateId,
    OccurredOn,
    Version,
    Payload,
    Props,
    Other,
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field's name")
            }

            fn visit_str<E>(self, name: &str) -> std::result::Result<Name, E> {
                Ok(match name {
                    "eventId" => Name::EventId,
                    "eventType" => Name::EventType,
                    "aggregateId" => Name::AggregateId,
                    "occurredOn" => Name::OccurredOn,
                    "version" => Name::Version,
                    "payload" => Name::Payload,
                    "_props" => Name::Props,
                    _ => Name::Other,
                })
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// A field's value of whatever type, so that a wrong type is told from wrong JSON.
#[derive(Default)]
enum Scalar<'a> {
    #[default]
    Absent,
    Text(Cow<'a, str>),
    Integer(i64),
    Float(f64),
    /// Neither text nor number; says what it is.
    Other(&'static str),
}

impl<'a> Scalar<'a> {
    fn is_absent(&self) -> bool {
        matches!(self, Scalar::Absent)
    }

    fn or(&mut self, other: Scalar<'a>) {
        if self.is_absent() {
            *self = other;
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Scalar::Absent => "nothing",
            Scalar::Text(text) if text.is_empty() => "an empty text",
            Scalar::Text(_) => "a text",
            Scalar::Integer(_) | Scalar::Float(_) => "a number",
            Scalar::Other(kind) => kind,
        }
    }

    /// As a version: 1 where it is missing, `None` where it is no integer.
    fn integer(&self) -> Option<i64> {
        match self {
            Scalar::Absent => Some(1),
            Scalar::Integer(value) => Some(*value),
            Scalar::Float(value) => whole(*value),
            Scalar::Text(text) => text.parse().ok(),
            Scalar::Other(_) => None,
        }
    }

    /// As a point in time, in milliseconds since the Unix epoch.
    fn instant(&self) -> Option<i64> {
        let milliseconds = match self {
            Scalar::Integer(value) => *value,
            Scalar::Float(value) => whole(value.trunc())?,
            Scalar::Text(text) => iso::parse(text)?,
            Scalar::Absent | Scalar::Other(_) => return None,
        };
        (-iso::LIMIT..=iso::LIMIT).contains(&milliseconds).then_some(milliseconds)
    }
}

fn whole(value: f64) -> Option<i64> {
    // Both bounds are exact as f64, and the comparison refuses NaN.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    (value.fract() == 0.0 && (-LIMIT..LIMIT).contains(&value)).then_some(value as i64)
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Scalar<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any JSON")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> std::result::Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> std::result::Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_i64<E>(self, value: i64) -> std::result::Result<Self::Value, E> {
                Ok(Scalar::Integer(value))
            }

            fn visit_u64<E>(self, value: u64) -> std::result::Result<Self::Value, E> {
                Ok(i64::try_from(value).map_or(Scalar::Float(value as f64), Scalar::Integer))
            }

            fn visit_f64<E>(self, value: f64) -> std::result::Result<Self::Value, E> {
                Ok(Scalar::Float(value))
            }

            fn visit_bool<E>(self, _: bool) -> std::result::Result<Self::Value, E> {
                Ok(Scalar::Other("a boolean"))
            }

            fn visit_unit<E>(self) -> std::result::Result<Self::Value, E> {
                Ok(Scalar::Other("null"))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Self::Value, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Scalar::Other("an array"))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Scalar::Other("an object"))
            }
        }

        deserializer.deserialize_any(Any)
    }
}
