//! A kube-apiserver in memory, behind kube's own client: what the operator relies on, and no more.
//!
//! As on a real server: versions that rise with each change; writes that change nothing and cause no event; optimistic
//! locking by `metadata.resourceVersion`; generations that rise with the spec; the status as a separate resource;
//! finalizers, and deletion with preconditions; owner references; dry runs; watches that continue from a version, with
//! bookmarks, and that end in time.
//!
//! Simpler than a real server:
//! - It validates nothing: no schema, no CEL, no RBAC, no quota; defaults are those of the Rust types.
//! - Server-side apply handles maps by their fields; each list is one value, which its last manager has as a whole.
//!   This is enough here, since no two managers share a list of the operator's objects.
//! - A write by patch takes the changed fields from their managers, as on a real server; it has no manager itself.
//! - It collects the dependents of a deleted owner at once, not a moment later; an object that is deleted in the
//!   foreground never shows the finalizer for that.

mod apply;
mod client;
mod request;
mod store;
mod tests;

pub use client::{Cluster, Fault, Lag, Layer, Moment};
pub use request::{Request, Verb};
pub use store::Store;
