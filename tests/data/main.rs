//! The commands about data, as processes, with the real API server and the AWS emulator between them and S3.
//!
//! | file | tests |
//! |---|---|
//! | `copies.rs` | files and objects arrive as they were; `sync`, copies between connections |
//! | `interrupted.rs` | what ends in the middle continues, and leaves no half file |
//! | `changing.rs` | files and objects that change, keys that are revoked |
//! | `names.rs` | names: what a key or a path can be, and patterns |
//! | `objects.rs` | `ls`, `du`, `rm`, `mkdir`, `presign`, `browse` |

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod changing;
mod copies;
mod interrupted;
mod mistakes;
mod names;
mod objects;
mod place;
