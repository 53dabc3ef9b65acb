//! What a platform team installs, read and run by the programs that they use: helm, kustomize, Flux, Prometheus.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod chart;
mod flux;
mod gitops;
mod health;
mod helm;
mod image;
mod kustomize;
mod kustomize_controller;
mod modes;
mod monitoring;
mod rights;
mod site;
mod tools;
