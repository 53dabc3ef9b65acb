//! A panic is a bug of the operator. It ends the reconcile of one object, and nothing else.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};

use futures::FutureExt;

thread_local! {
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Logs panics by their place in the code. A message that was formatted at run time may contain anything, even an
/// access key, so only a literal message is logged.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic: &PanicHookInfo<'_>| {
        let place = panic.location().map(|place| format!("{}:{}", place.file(), place.line()));
        let text = panic.payload().downcast_ref::<&str>().copied().unwrap_or_default();
        tracing::error!(place, text, "panic");
        PLACE.set(place);
    }));
}

/// Runs `work`; `Err` has the place of its panic, if that is known.
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Option<String>> {
    catch_unwind(AssertUnwindSafe(work)).map_err(place)
}

/// The same for a future.
pub(super) async fn caught_async<T>(work: impl Future<Output = T>) -> Result<T, Option<String>> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(place)
}

/// The thread that caught it is the thread that panicked.
fn place(_: Box<dyn Any + Send>) -> Option<String> {
    PLACE.take()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_value() {
        assert_eq!(caught(|| 1), Ok(1));
        assert!(caught(|| -> u8 { panic!("in a test") }).is_err());
        assert!(caught_async(async { panic!("in a test") }).await.is_err());
    }
}
