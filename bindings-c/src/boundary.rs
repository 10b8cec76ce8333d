//! What stands between C and Rust: no panic gets out.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Guards the body of an exported function: a panic inside becomes the value before the arrow, because unwinding
/// into C would abort the process.
///
/// It wraps bodies and not whole functions, as the generator of the header does not expand macros.
macro_rules! boundary {
    ($on_panic:expr => $body:expr) => {
        $crate::boundary::guard($on_panic, || $body)
    };
}
pub(crate) use boundary;

pub(crate) fn guard<R>(on_panic: R, body: impl FnOnce() -> R) -> R {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => result,
        Err(payload) => {
            // Its destructor is code of whoever panicked, and a second panic would get out.
            std::mem::forget(payload);
            on_panic
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_panic_becomes_the_value_for_it() {
        struct PanicsAgain;
        impl Drop for PanicsAgain {
            fn drop(&mut self) {
                panic!("the destructor panics too");
            }
        }
        assert_eq!(boundary!(-1 => 7), 7);
        assert_eq!(boundary!(-1 => panic!("inside")), -1);
        assert_eq!(boundary!(-1 => std::panic::panic_any(PanicsAgain)), -1);
    }
}
