//! The data in the bucket of a connection: listing, copying, deleting, with the connection's own key.
//!
//! | file | does |
//! |---|---|
//! | `names.rs` | addresses, keys and local paths: what of one can be the other; patterns |
//! | `store.rs` | the bucket of a connection, and the calls on single objects |
//! | `listing.rs` | what is there: objects or files, in the same order |
//! | `compare.rs` | `sync`: what differs between two listings |
//! | `content.rs` | whether two files or objects have the same content |
//! | `engine.rs` | what transfers share: who watches and stops them, how many requests are sent at a time |
//! | `transfers.rs` | runs transfers in parallel; ends them all when the key is revoked, the disk is full, or on Ctrl-C |
//! | `upload.rs`, `download.rs`, `copy.rs` | one object |
//! | `multipart.rs`, `unfinished.rs` | what is kept of an interrupted upload or download |
//! | `remove.rs` | deletes many objects |
//! | `checksum.rs`, `fault.rs` | what S3 and the file system say |
//!
//! Memory is bounded: a listing is read page by page, and the content of files and objects passes through in small
//! pieces. Only a copy between two connections holds whole parts, at most 64 MiB together for objects up to 640 GB.

mod checksum;
mod compare;
mod content;
mod copy;
mod download;
mod engine;
mod fault;
mod listing;
mod multipart;
mod names;
mod remove;
mod store;
mod transfers;
mod unfinished;
mod upload;

pub use compare::{Compare, Difference, differences};
pub use content::is_same;
pub use engine::{COPIED_AT_ONCE, Engine, Watch};
pub use fault::{Fault, Reach};
pub use listing::{Item, Listed, Origin, Page, base, file, files, folder, objects, pages};
pub use names::{Address, Filter, flaw_of_key, key_for};
pub use remove::{Removed, remove};
pub use store::{Head, Store};
pub use transfers::{Job, Summary, Work};

/// Objects up to this size are transferred in one request, larger ones in parts of at least this size.
const PART: u64 = 8 << 20;
/// The most parts that a multipart upload can have.
const PARTS: u64 = 10_000;

/// The size of the parts of an object: a multiple of 1 MiB.
fn part_size(size: u64) -> u64 {
    size.div_ceil(PARTS).next_multiple_of(1 << 20).max(PART)
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_object_has_too_many_parts() {
        for size in [1, super::PART, 80_000 << 20, (80_000 << 20) + 1, 5 << 40, 50 << 40] {
            assert!(size.div_ceil(super::part_size(size)) <= super::PARTS, "{size}");
        }
        assert_eq!(super::part_size(4 << 30), super::PART);
    }
}
