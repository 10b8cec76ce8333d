//! What a handler fails with.

use std::error::Error as StdError;
use std::fmt;

use crate::error::{Error, ErrorKind};

/// What a handler fails with: any error, and whether another attempt may succeed.
///
/// Every error and every text converts into one, so that `?` works in a handler. What is only converted leaves it to
/// the policy whether to try again, which it does; an error of this crate of kind `Codec` never will succeed.
///
/// ```
/// use event_bus::HandlerError;
///
/// fn charge(cents: i64) -> Result<(), HandlerError> {
///     if cents < 0 {
///         return Err(HandlerError::fatal(format!("{cents} cents cannot be charged")));
///     }
///     let _rate: f64 = "1.25".parse()?;
///     Ok(())
/// }
/// assert_eq!(charge(-1).unwrap_err().is_retryable(), Some(false));
/// assert!(charge(1).is_ok());
/// ```
pub struct HandlerError {
    source: Box<dyn StdError + Send + Sync>,
    retryable: Option<bool>,
}

impl HandlerError {
    /// Another attempt may succeed.
    pub fn retryable(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        HandlerError { source: error.into(), retryable: Some(true) }
    }

    /// No attempt can succeed: the policy for used-up retries applies at once.
    pub fn fatal(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        HandlerError { source: error.into(), retryable: Some(false) }
    }

    /// Whether another attempt may succeed; `None` leaves it to the policy.
    pub fn is_retryable(&self) -> Option<bool> {
        self.retryable
    }

    /// The error behind it.
    pub fn source(&self) -> &(dyn StdError + Send + Sync + 'static) {
        &*self.source
    }

    /// The code that logs and dead letters show.
    pub(super) fn code(&self) -> &'static str {
        self.source.downcast_ref::<Error>().map_or(ErrorKind::Handler.code(), Error::code)
    }
}

impl<E: Into<Box<dyn StdError + Send + Sync>>> From<E> for HandlerError {
    fn from(error: E) -> Self {
        let source = error.into();
        let hopeless = source.downcast_ref::<Error>().is_some_and(|error| error.kind() == ErrorKind::Codec);
        HandlerError { source, retryable: hopeless.then_some(false) }
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerError").field("source", &self.source).field("retryable", &self.retryable).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_converted_leaves_it_to_the_policy_unless_it_can_never_succeed() {
        let number = "x".parse::<u32>().unwrap_err();
        let plain: [HandlerError; 3] = [number.into(), "no stock".into(), String::from("no stock").into()];
        assert!(plain.iter().all(|error| error.is_retryable().is_none() && error.code() == "EVBUS_HANDLER"));
        let broken: HandlerError = Error::new(ErrorKind::Codec, "the payload does not fit").into();
        assert_eq!((broken.is_retryable(), broken.code()), (Some(false), "EVBUS_CODEC"));
        let away: HandlerError = Error::new(ErrorKind::Unavailable, "no broker").into();
        assert_eq!((away.is_retryable(), away.code()), (None, "EVBUS_UNAVAILABLE"));
        assert_eq!(HandlerError::retryable("later").is_retryable(), Some(true));
        assert_eq!(HandlerError::fatal("never").to_string(), "never");
    }
}
