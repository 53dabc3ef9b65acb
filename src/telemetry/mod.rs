//! What the operator counts and times of its own work: Prometheus metrics, and traces.
//!
//! The counts are of the process, as Prometheus expects them: any room may add to them, and only `controller` reads
//! them, to answer `GET /metrics`. Labels have fixed sets of values; no label is a text of a tenant or of an answer.
//! `docs/metrics.md` lists all metrics.

mod meters;
mod process;
mod requests;
mod traces;

pub use meters::{Meters, meters};
pub use requests::Requests;
pub use traces::{TRACE, Traces, TracesError, traces};
