//! BucketConnection: a Kubernetes operator that connects an S3 bucket to a platform that works on it, and keeps it connected.
//!
//! Code map, in the order in which data flows (ARCHITECTURE.md draws it):
//!
//! | room | does |
//! |---|---|
//! | [`vocabulary`] | the words that every room uses: conditions, reasons, problems, policy statements, ways to sign in |
//! | [`api`] | the Kubernetes API: types, conditions, schema rules |
//! | [`desired`] | `resolve`: a spec becomes the desired state; what an account allows; conflicts between connections; presets |
//! | [`manifest`] | files with objects: reads them, and finds every error with its place |
//! | [`observed`] | the observed state, as plain values; the seal on the recorded state |
//! | [`settings`] | everything about each bucket setting, one file per setting |
//! | [`keys`] | the access keys: the role of each key, and the next moves |
//! | [`plan`] | the steps from the observed to the desired state; deletion |
//! | [`execute`] | executes a plan; its report |
//! | [`status`] | folds a reconcile into the status of a connection or account |
//! | [`render`] | a plan as text; what `get`, `status` and `doctor` show; the operator's own IAM policy |
//! | `aws` | reads from and writes to AWS; a session for each account |
//! | `sdk` | how any AWS call is made: clients, limits, budgets, error classes |
//! | `fair` | turns that namespaces share fairly; immediate work needs none |
//! | `fence` | until when this process may do what two operators must never do at once |
//! | `telemetry` | metrics and traces: what the operator counts and times of its own work |
//! | `kubernetes` | Secrets, status, Events, the key to the seals, the lease |
//! | `data` | the objects of a bucket: copies, comparisons and deletes them with the connection's key |
//! | `controller` | wiring, the reconcile loop, opening accounts, backoff |
//! | `cli` | one file per subcommand |
//!
//! Invariants, kept by tests (tests/tidy/structure.rs):
//! - `api`, `desired`, `observed`, `settings` (except `wire`), `keys`, `plan`, `status` and `render` are pure: no AWS SDK, no Kubernetes
//!   client, no clock, no randomness, nothing asynchronous. They build without the feature `operator`.
//! - Data flows one way; nothing calls back to an earlier stage, and one reconcile never observes twice.
//! - A secret is a [`credentials::Sensitive`]: it has no `Display`, no `Serialize`, and a `Debug` that hides it.

pub mod api;
#[cfg(feature = "operator")]
pub mod aws;
#[cfg(feature = "operator")]
pub mod cli;
#[cfg(feature = "operator")]
pub mod controller;
pub mod credentials;
#[cfg(feature = "operator")]
pub mod data;
pub mod desired;
pub mod execute;
#[cfg(feature = "operator")]
pub mod fair;
#[cfg(feature = "operator")]
pub mod fence;
pub mod keys;
#[cfg(feature = "operator")]
pub mod kubernetes;
pub mod manifest;
pub mod observed;
pub mod plan;
pub mod render;
#[cfg(feature = "operator")]
pub mod sdk;
pub mod settings;
pub mod status;
#[cfg(feature = "operator")]
pub mod telemetry;
pub mod vocabulary;
