//! What the wire and end-to-end tests share: the local stack, proxies that record and disturb, and a lab around one operator.
//!
//! Nothing here is timed: what must happen is waited for, with one generous limit, and what must not happen is checked after
//! something that comes later has happened.

#![allow(dead_code, reason = "each test program uses its own part")]

pub mod api_proxy;
pub mod figures;
pub mod forwarder;
pub mod lab;
pub mod merge;
pub mod proxy;
pub mod stack;
