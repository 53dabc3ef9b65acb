//! A kube-apiserver in memory, behind kube's own client: what the operator relies on, and no more.
//!
//! What is as on a real server: versions that rise with each change, and writes that change nothing and leave no event; optimistic
//! locking by `metadata.resourceVersion`; generations that rise with the spec; the status as a resource of its own; finalizers, and
//! deletion with preconditions; owner references; dry runs; watches that go on from a version, with bookmarks, and end in time.
//!
//! What is simpler:
//! - Nothing is validated: no schema, no CEL, no RBAC, no quota; defaults are those of the Rust types.
//! - Server-side apply knows maps by their fields; each list is one value, which its last manager has as a whole. Enough here, since
//!   no two managers share a list of the operator's objects.
//! - A write by patch takes the fields that it changes from whoever managed them, as on a real server; it is given no manager.
//! - What an owner leaves behind is collected at once, not a moment later; what is deleted in the foreground never shows the finalizer
//!   of that.

mod apply;
mod client;
mod request;
mod store;
mod tests;

pub use client::{Cluster, Fault, Lag, Layer, Moment};
pub use request::{Request, Verb};
pub use store::Store;
