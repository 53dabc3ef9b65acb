//! Whether two files or objects have the same content, by their checksums.

use std::sync::Arc;

use super::checksum::{Algorithm, Recorded};
use super::upload::file_checksum;
use super::{Fault, Item, Origin, Store};

/// Whether a source and a target of the same size have the same content. What S3 has no checksum of the whole for differs.
pub async fn is_same(from: Option<&Arc<Store>>, source: &Item, to: Option<&Arc<Store>>, target: &Item) -> Result<bool, Fault> {
    let (source, target) = (Side::of(from, source).await?, Side::of(to, target).await?);
    Ok(match (source, target) {
        (Side::Object(Some(source)), Side::Object(Some(target))) => source == target,
        (Side::File(path), Side::Object(Some(recorded))) | (Side::Object(Some(recorded)), Side::File(path)) => {
            let Recorded { algorithm, text } = recorded;
            algorithm.written(checksum(path, algorithm).await?) == text
        }
        _ => false,
    })
}

enum Side {
    File(std::path::PathBuf),
    Object(Option<Recorded>),
}

impl Side {
    async fn of(store: Option<&Arc<Store>>, item: &Item) -> Result<Self, Fault> {
        Ok(match (&item.origin, store) {
            (Origin::Object { key, .. }, Some(store)) => Self::Object(store.head(key).await?.checksum),
            (Origin::File(path), _) => Self::File(path.clone()),
            _ => Self::Object(None),
        })
    }
}

async fn checksum(path: std::path::PathBuf, algorithm: Algorithm) -> Result<u64, Fault> {
    tokio::task::spawn_blocking(move || file_checksum(&path, algorithm)).await.map_err(|_| Fault::Stopped)?
}
