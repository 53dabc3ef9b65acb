//! Deletes many objects.

use std::sync::Arc;

use futures::stream::{BoxStream, StreamExt};

use super::store::DELETED_AT_ONCE;
use super::{Engine, Fault, Store};

/// Calls at a time, each for up to 1,000 objects.
const AT_ONCE: usize = 4;

/// The result of deleting many objects.
#[derive(Debug, Default)]
pub struct Removed {
    /// Objects that were deleted.
    pub objects: usize,
    /// Those among them whose versions stay: the bucket is versioned.
    pub kept: usize,
    /// Objects that failed.
    pub failed: usize,
    /// Why it ended early.
    pub ended: Option<Fault>,
}

/// Deletes the objects with these keys.
pub async fn remove(engine: &Engine, store: &Arc<Store>, keys: BoxStream<'_, String>) -> Removed {
    let mut removed = Removed::default();
    let delete = |keys: Vec<String>| async move { (keys.len(), store.delete(keys).await) };
    let mut batches = keys.ready_chunks(DELETED_AT_ONCE).map(delete).buffer_unordered(AT_ONCE);
    loop {
        let batch = tokio::select! {
            biased;
            () = engine.stop.cancelled() => {
                removed.ended = Some(Fault::Stopped);
                return removed;
            }
            batch = batches.next() => batch,
        };
        match batch {
            None => return removed,
            Some((count, Ok((kept, failed)))) => {
                removed.objects += count - failed.len();
                removed.kept += kept;
                removed.failed += failed.len();
                // The same refusal for each object says no more than once.
                let denied = failed.len() == count && failed.iter().all(|(_, fault)| fault.is_denied());
                for (key, fault) in failed {
                    if denied || fault.ends_all() {
                        removed.ended = Some(fault);
                        return removed;
                    }
                    engine.watch.failed(&key, &fault);
                }
            }
            // The call as a whole.
            Some((_, Err(fault))) => {
                removed.ended = Some(fault);
                return removed;
            }
        }
    }
}
