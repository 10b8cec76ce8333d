//! A value for an option, as text or as JSON, read as the type that the option takes.

use std::fmt::Display;

use serde_json::Value;

use super::options::{ConfigOption, OptionType};
use crate::error::{Error, ErrorKind, Result};

#[derive(Clone, Copy)]
pub(super) enum Input<'a> {
    Text(&'a str),
    Json(&'a Value),
}

impl<'a> Input<'a> {
    /// What was given, for a message: its type, and its value unless that may be a secret.
    fn got(&self, secret: bool) -> String {
        match self {
            Input::Text(_) | Input::Json(Value::String(_)) if secret => "a text".to_owned(),
            Input::Text(text) => format!("the text {}", quoted(text)),
            Input::Json(Value::String(text)) => format!("the text {}", quoted(text)),
            Input::Json(Value::Number(number)) => format!("the number {number}"),
            Input::Json(Value::Bool(flag)) => format!("the boolean {flag}"),
            Input::Json(other) => kind(other).to_owned(),
        }
    }

    fn refuse<T>(&self, option: &ConfigOption) -> Result<T> {
        // A certificate or a long text in the wrong place helps nobody in a message.
        let secret = option.secret || option.kind == OptionType::Pem;
        Err(invalid(option, self.got(secret)))
    }

    pub(super) fn text(&self, option: &ConfigOption) -> Result<&'a str> {
        match self {
            Input::Text(text) => Ok(text),
            Input::Json(Value::String(text)) => Ok(text),
            Input::Json(_) => self.refuse(option),
        }
    }

    pub(super) fn list(&self, option: &ConfigOption) -> Result<Vec<&'a str>> {
        if let Input::Json(Value::Array(items)) = self {
            return items
                .iter()
                .map(|item| {
                    let got = || format!("a list with {}", kind(item));
                    item.as_str().ok_or_else(|| invalid(option, got()))
                })
                .collect();
        }
        Ok(self.text(option)?.split(',').filter(|part| !part.trim().is_empty()).collect())
    }

    pub(super) fn pem(&self, option: &ConfigOption) -> Result<String> {
        match self {
            Input::Json(Value::Array(_)) => Ok(self.list(option)?.join("\n")),
            _ => self.text(option).map(str::to_owned),
        }
    }

    pub(super) fn flag(&self, option: &ConfigOption) -> Result<bool> {
        match self {
            Input::Json(Value::Bool(flag)) => Ok(*flag),
            Input::Text(text) => match text.trim().parse() {
                Ok(flag) => Ok(flag),
                Err(_) => self.refuse(option),
            },
            Input::Json(_) => self.refuse(option),
        }
    }

    pub(super) fn integer(&self, option: &ConfigOption) -> Result<u64> {
        let number = match self {
            Input::Text(text) => text.trim().parse().ok(),
            Input::Json(Value::Number(number)) => {
                // JavaScript has one kind of number; what it holds exactly as an integer is one.
                let exact = |float: &f64| float.fract() == 0.0 && (0.0..=9_007_199_254_740_991.0).contains(float);
                number.as_u64().or_else(|| number.as_f64().filter(exact).map(|float| float as u64))
            }
            Input::Json(_) => None,
        };
        match (number, option.kind) {
            (Some(number), OptionType::Integer { min, max }) if (min..=max).contains(&number) => Ok(number),
            _ => self.refuse(option),
        }
    }

    /// The index of the choice.
    pub(super) fn choice(&self, option: &ConfigOption, all: &[&str]) -> Result<usize> {
        let text = self.text(option)?.trim();
        match all.iter().position(|choice| choice.eq_ignore_ascii_case(text)) {
            Some(index) => Ok(index),
            None => self.refuse(option),
        }
    }

    /// A property of the client library, which takes texts only.
    pub(super) fn property(&self, key: &str) -> Result<String> {
        match self {
            Input::Text(text) => Ok((*text).to_owned()),
            Input::Json(Value::String(text)) => Ok(text.clone()),
            Input::Json(Value::Number(number)) => Ok(number.to_string()),
            Input::Json(Value::Bool(flag)) => Ok(flag.to_string()),
            Input::Json(other) => {
                let message = format!("{} must be a text, a number or a boolean, but is {}", shown(key), kind(other));
                Err(Error::new(ErrorKind::Config, message)
                    .with("option", shown(key))
                    .hint("give properties as librdkafka's CONFIGURATION.md writes them"))
            }
        }
    }
}

/// An option got a value that it does not take.
pub(super) fn invalid(option: &ConfigOption, got: String) -> Error {
    let ConfigOption { key, default, doc, .. } = option;
    let error = Error::new(ErrorKind::Config, format!("{key} must be {}, but is {got}", option.expected()));
    let default = if default.is_empty() { String::new() } else { format!(" Default: {default}.") };
    error.with("option", key).hint(format!("{doc}{default}"))
}

pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A value for a message: on one line, and not too long.
pub(super) fn quoted(value: impl Display) -> String {
    format!("\"{}\"", shown(&value.to_string()))
}

/// A name for a message: on one line, and not too long.
pub(super) fn shown(name: &str) -> String {
    const MAX: usize = 60;
    let ellipsis = if name.chars().nth(MAX).is_some() { "…" } else { "" };
    let start: String = name.chars().take(MAX).collect();
    format!("{}{ellipsis}", start.escape_debug())
}
