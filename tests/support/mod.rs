//! Shared by the wire and end-to-end tests: the local stack, proxies that record and inject faults, and a harness
//! around one operator.
//!
//! Nothing here sleeps for a fixed time. Tests wait for what must happen, with one generous limit, and check what must
//! not happen after a later event has happened.

#![allow(dead_code, reason = "each test program uses its own part")]

pub mod answers;
pub mod api_proxy;
pub mod figures;
pub mod forwarder;
pub mod harness;
pub mod merge;
pub mod proxy;
pub mod stack;
pub mod tools;
