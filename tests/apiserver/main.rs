//! End to end: a real kube-apiserver, the AWS wire protocol, and the operator as a separate process.
//!
//! Each test has its own harness (tests/support/harness.rs), so they run in parallel.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod access;
mod accounts;
mod adoption;
mod capabilities;
mod command;
mod converge;
mod crash;
mod create;
mod deletion;
mod drift;
mod errors;
mod examples;
mod existing;
mod hostile;
mod iam_policy;
mod import;
mod lease;
mod local_stack;
mod management;
mod metrics;
mod moving;
mod network;
mod ownership;
mod presets;
mod released;
mod remembers;
mod revocation;
mod rotation;
mod schedule;
mod secrecy;
mod settings;
mod tenants;
mod traces;
mod unreadable;
mod upgrade;
mod validation;
