//! What stands between C and Rust: no panic gets out, no pointer gets in unchecked. The only file with unsafe code.
//!
//! An object of C is a pointer to [`Boxed`]: a magic word, then what it holds. The word differs from type to type and
//! is overwritten when the object goes, so that a pointer of another type, and many a pointer to what was freed, is
//! answered by an error.

use std::ffi::{CStr, CString, c_char, c_void};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use event_bus::{Error, ErrorKind, Result};

use crate::error::{EVBUS_OK, evbus_error};

/// Guards the body of an exported function, because unwinding into C would abort the process.
///
/// `boundary!(VALUE => BODY)`: a panic inside becomes the value. `boundary!(error POINTER => BODY)`: the body is a
/// `Result<()>`, and its error, or the panic, becomes a code and an object behind the pointer.
///
/// It wraps bodies and not whole functions, as the generator of the header does not expand macros.
macro_rules! boundary {
    (error $out:expr => $body:expr) => {
        $crate::boundary::fallible($out, || $body)
    };
    ($on_panic:expr => $body:expr) => {
        $crate::boundary::guard($on_panic, || $body)
    };
}
pub(crate) use boundary;

pub(crate) fn guard<R>(on_panic: R, body: impl FnOnce() -> R) -> R {
    caught(body).unwrap_or(on_panic)
}

pub(crate) fn fallible(out: *mut *mut evbus_error, body: impl FnOnce() -> Result<()>) -> i32 {
    let result = caught(|| {
        check_process()?;
        body()
    });
    let error = match result {
        Ok(Ok(())) => return EVBUS_OK,
        Ok(Err(error)) => error,
        Err(panic) => panic,
    };
    let code = error.kind().number() as i32;
    // Only an error that cannot even be told leaves the code alone.
    guard((), || {
        if is_aligned(out) && !out.is_null() {
            let object = new_object::<evbus_error>(error.into());
            // SAFETY: the caller gives NULL or a pointer to a pointer of its own, as the header says.
            unsafe { out.write(object) };
        }
    });
    code
}

/// Runs a body; its panic as an error.
fn caught<R>(body: impl FnOnce() -> R) -> Result<R> {
    let body = || {
        #[cfg(test)]
        failpoint::hit();
        body()
    };
    catch_unwind(AssertUnwindSafe(body)).map_err(|payload| {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into());
        // Its destructor is code of whoever panicked, and a second panic would get out.
        std::mem::forget(payload);
        Error::new(ErrorKind::Internal, format!("the library panicked: {text}"))
            .hint("this is a defect of the library: please report it with the log around it")
    })
}

/// A type that C knows by its pointer only.
pub(crate) trait Object {
    /// What stands behind the pointer.
    type Inner: Send + Sync;
    /// Distinguishes the type from all others.
    const MAGIC: u64;
    /// How messages call it.
    const NAME: &'static str;
}

/// The word of an object that is gone.
const GONE: u64 = 0x6576_6275_735f_0000;

#[repr(C)]
struct Boxed<T> {
    magic: AtomicU64,
    value: T,
}

impl<T> Boxed<T> {
    fn new<O: Object<Inner = T>>(value: T) -> Self {
        Boxed { magic: AtomicU64::new(O::MAGIC), value }
    }
}

impl<T> Drop for Boxed<T> {
    fn drop(&mut self) {
        self.magic.store(GONE, Ordering::Release);
    }
}

fn is_aligned<T>(pointer: *const T) -> bool {
    pointer.addr().is_multiple_of(align_of::<T>())
}

fn argument(message: String, hint: &'static str) -> Error {
    Error::new(ErrorKind::Argument, message).hint(hint)
}

/// Hands an object to C, which frees it.
pub(crate) fn new_object<O: Object>(inner: O::Inner) -> *mut O {
    Box::into_raw(Box::new(Boxed::new::<O>(inner))).cast()
}

/// What an object holds.
///
/// # Errors
/// `Argument` for NULL and for what is no such object.
pub(crate) fn object<'a, O: Object>(pointer: *const O) -> Result<&'a O::Inner> {
    if pointer.is_null() {
        return Err(argument(format!("the {} is NULL", O::NAME), "check the code of the call that was to make it"));
    }
    known(pointer).ok_or_else(|| {
        argument(
            format!("the pointer given as {} is none", O::NAME),
            "pass what the library gave, of the type that the header says, and not after it was freed",
        )
    })
}

/// What an object holds, for accessors that answer NULL and strangers with a value of their own.
pub(crate) fn known<'a, O: Object>(pointer: *const O) -> Option<&'a O::Inner> {
    let boxed: *const Boxed<O::Inner> = pointer.cast();
    if boxed.is_null() || !is_aligned(boxed) {
        return None;
    }
    // SAFETY: C passes a pointer that this library gave; each object begins with its word, whatever its type.
    let magic = unsafe { &(*boxed).magic };
    // SAFETY: the word says that it is such an object, and not yet freed.
    (magic.load(Ordering::Acquire) == O::MAGIC).then(|| unsafe { &(*boxed).value })
}

/// Takes an object back from C; nothing for NULL and for strangers.
pub(crate) fn free_object<O: Object>(pointer: *mut O) {
    if is_forked() || known(pointer.cast_const()).is_none() {
        return;
    }
    // SAFETY: `new_object` made it of a box, and its word says that nobody has freed it.
    drop(unsafe { Box::from_raw(pointer.cast::<Boxed<O::Inner>>()) });
}

/// An object that C and the library hold together.
pub(crate) struct Shared<O: Object> {
    boxed: Arc<Boxed<O::Inner>>,
    _type: PhantomData<fn() -> O>,
}

impl<O: Object> Clone for Shared<O> {
    fn clone(&self) -> Self {
        Shared { boxed: self.boxed.clone(), _type: PhantomData }
    }
}

impl<O: Object> Shared<O> {
    pub(crate) fn new(inner: O::Inner) -> Self {
        Shared { boxed: Arc::new(Boxed::new::<O>(inner)), _type: PhantomData }
    }

    /// The pointer to lend to C.
    pub(crate) fn lend(&self) -> *mut O {
        Arc::as_ptr(&self.boxed).cast_mut().cast()
    }

    /// The pointer to give to C, which releases it.
    pub(crate) fn give(self) -> *mut O {
        Arc::into_raw(self.boxed).cast_mut().cast()
    }

    /// How many hold it.
    pub(crate) fn holders(&self) -> usize {
        Arc::strong_count(&self.boxed)
    }

    /// Holds once more what C holds.
    ///
    /// # Errors
    /// `Argument` for NULL and for what is no such object.
    pub(crate) fn of(pointer: *mut O) -> Result<Self> {
        object(pointer.cast_const())?;
        let boxed: *const Boxed<O::Inner> = pointer.cast_const().cast();
        // SAFETY: it is one of ours, made by `new`, and C holds it while it calls.
        let boxed = unsafe {
            Arc::increment_strong_count(boxed);
            Arc::from_raw(boxed)
        };
        Ok(Shared { boxed, _type: PhantomData })
    }

    /// Takes back one hold of C; nothing for NULL and for strangers.
    pub(crate) fn release(pointer: *mut O) {
        if is_forked() || known(pointer.cast_const()).is_none() {
            return;
        }
        // SAFETY: it is one of ours, made by `new`, and C gives back a hold of its own.
        drop(unsafe { Arc::from_raw(pointer.cast_const().cast::<Boxed<O::Inner>>()) });
    }
}

impl<O: Object> std::ops::Deref for Shared<O> {
    type Target = O::Inner;

    fn deref(&self) -> &O::Inner {
        &self.boxed.value
    }
}

/// A place of the caller for an output, written on success only.
pub(crate) struct Out<T>(*mut T);

impl<T> Out<T> {
    /// # Errors
    /// `Argument` for NULL.
    pub(crate) fn of(pointer: *mut T, name: &str) -> Result<Self> {
        if pointer.is_null() || !is_aligned(pointer) {
            let message = format!("{name}, the place for the result, is NULL or not aligned");
            return Err(argument(message, "pass the address of a variable of the type that the header says"));
        }
        Ok(Out(pointer))
    }

    pub(crate) fn set(self, value: T) {
        // SAFETY: the caller passes the address of a variable of its own, as the header says.
        unsafe { self.0.write(value) }
    }
}

/// Writes an output that the caller may leave out with NULL.
pub(crate) fn set_if_wanted<T>(pointer: *mut T, value: T) {
    if let Ok(out) = Out::of(pointer, "") {
        out.set(value);
    }
}

/// A text of C.
///
/// # Errors
/// `Argument` for NULL and for what is not UTF-8.
pub(crate) fn text<'a>(pointer: *const c_char, name: &str) -> Result<&'a str> {
    if pointer.is_null() {
        return Err(argument(format!("{name} is NULL"), "pass a text in UTF-8, ended by a NUL"));
    }
    // SAFETY: the caller passes a text that is ended by a NUL, as the header says.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str().map_err(|error| {
        argument(format!("{name} is not UTF-8 from byte {} on", error.valid_up_to()), "convert it to UTF-8")
    })
}

/// Elements of C that lie one after the other; NULL is none where `count` is 0.
///
/// # Errors
/// `Argument` for NULL with a count, and for more than memory holds.
pub(crate) fn elements<'a, T>(pointer: *const T, count: usize, name: &str) -> Result<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    let fits = count.checked_mul(size_of::<T>()).is_some_and(|bytes| isize::try_from(bytes).is_ok());
    if pointer.is_null() || !is_aligned(pointer) || !fits {
        let message = format!("{name} is NULL, not aligned or larger than memory, with a length of {count}");
        return Err(argument(message, "pass the address of the first element and the number of elements"));
    }
    // SAFETY: the caller passes that many elements, as the header says; the rest was checked.
    Ok(unsafe { std::slice::from_raw_parts(pointer, count) })
}

/// A text to give to C, which frees it. A NUL inside would end it early, so it is shown instead.
pub(crate) fn give_text(text: &str) -> *mut c_char {
    c_text(text).into_raw()
}

/// A text ended by a NUL, with the NULs inside made visible.
pub(crate) fn c_text(text: &str) -> CString {
    CString::new(text).unwrap_or_else(|_| {
        let shown = text.replace('\0', "\u{2400}");
        CString::new(shown).unwrap_or_default()
    })
}

/// Takes a text back from C.
pub(crate) fn free_text(text: *mut c_char) {
    if !text.is_null() {
        // SAFETY: `give_text` made it, and C gives it back once, as the header says.
        drop(unsafe { CString::from_raw(text) });
    }
}

/// A pointer that C hands through the library to its callbacks, which run on any thread.
#[derive(Clone, Copy)]
pub(crate) struct UserData(pub(crate) *mut c_void);

// SAFETY: the library only passes the pointer on; the header says which threads get it.
unsafe impl Send for UserData {}
// SAFETY: as above.
unsafe impl Sync for UserData {}

/// This process came out of a fork of one that used the library: the threads are in the other one, and so are those
/// that hold its locks.
static FORKED: AtomicBool = AtomicBool::new(false);
/// Whether there is anything that a fork could break.
static USED: AtomicBool = AtomicBool::new(false);

extern "C" fn in_child() {
    FORKED.store(true, Ordering::Relaxed);
}

/// From now on a child of this process cannot use the library.
pub(crate) fn watch_forks() {
    #[cfg(unix)]
    if !USED.swap(true, Ordering::Relaxed) {
        // SAFETY: pthread_atfork takes handlers without state; ours stores into an atomic, which a child may.
        unsafe { pthread_atfork(None, None, Some(in_child)) };
    }
}

#[cfg(unix)]
unsafe extern "C" {
    fn pthread_atfork(
        prepare: Option<extern "C" fn()>,
        parent: Option<extern "C" fn()>,
        child: Option<extern "C" fn()>,
    ) -> std::ffi::c_int;
}

pub(crate) fn is_forked() -> bool {
    FORKED.load(Ordering::Relaxed)
}

fn check_process() -> Result<()> {
    if !is_forked() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::IllegalState, "this process was forked from one that used the library already")
        .hint("fork before the first connect, or call exec in the child"))
}

/// Lets the next guarded body panic, in tests.
#[cfg(test)]
pub(crate) mod failpoint {
    use std::cell::Cell;

    thread_local! {
        static ARMED: Cell<bool> = const { Cell::new(false) };
    }

    pub(crate) fn arm() {
        ARMED.set(true);
    }

    pub(super) fn hit() {
        assert!(!ARMED.replace(false), "injected");
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
