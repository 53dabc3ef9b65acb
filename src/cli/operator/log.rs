//! Log lines, for people or for machines.

use std::io::IsTerminal;

use tracing::Subscriber;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::{FormatFields, debug_fn};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer};

use crate::cli::Failure;
use crate::render::printable;
use crate::telemetry::{TRACE, Traces};

/// kube logs the whole answer in a warning if it cannot parse it, and that answer may be a Secret. So this target is
/// never logged, whatever the filter; the caller reports that the call failed.
const TELLS_ANSWERS: &str = "kube_client::client";

/// The format of log lines.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogFormat {
    Human,
    Json,
}

/// Logs to standard error what passes `filter`; and makes spans for `traces`, whatever passes.
pub(super) fn start(filter: &str, format: Option<LogFormat>, traces: Option<&Traces>) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(filter).map_err(|error| Failure(format!("--log {filter}: {error}")))?;
    let default = if std::io::stderr().is_terminal() { LogFormat::Human } else { LogFormat::Json };
    let quiet = filter_fn(|metadata| metadata.target() != TELLS_ANSWERS && metadata.target() != TRACE);
    let lines = lines(format.unwrap_or(default), std::io::stderr).with_filter(filter).with_filter(quiet);
    // Spans only: no line of the log becomes part of a trace.
    let ours = filter_fn(|metadata| metadata.is_span() && metadata.target().starts_with("bucketconnection"));
    let spans = traces.map(|traces| tracing_opentelemetry::layer().with_tracer(traces.tracer()).with_filter(ours));
    tracing_subscriber::registry().with(lines).with(spans).init();
    Ok(())
}

/// Lines of `format`. A logged value may be a tenant's text, so it must neither become a line of its own nor hide
/// another line.
fn lines<S>(format: LogFormat, writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let lines = fmt::layer().with_writer(writer);
    match format {
        LogFormat::Human => lines.fmt_fields(one_line()).with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
    }
}

/// Fields as `name=value`, and the message unchanged, except for characters that move the cursor.
fn one_line() -> impl for<'a> FormatFields<'a> + Send + Sync + 'static {
    debug_fn(|writer, field, value| {
        let value = printable(&format!("{value:?}"));
        match field.name() {
            "message" => write!(writer, "{value}"),
            name => write!(writer, "{name}={value}"),
        }
    })
    .delimited(" ")
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, log: impl FnOnce()) -> String {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::registry().with(lines(format, move || writer.clone()));
        tracing::subscriber::with_default(subscriber, log);
        String::from_utf8(written.0.lock().unwrap().clone()).unwrap()
    }

    /// A value that a tenant can write into a spec, or that AWS can return.
    const FORGED: &str = "x\n2026-01-01T00:00:00Z  INFO reconcile{namespace=\"lab-b\"}: step step=\"delete bucket\" done=true\r\u{1b}[2K\u{202e}\u{2028}";

    #[test]
    fn no_value_is_a_line_of_its_own() {
        let log = || {
            let _span = tracing::info_span!("pass", connection = FORGED, other = %FORGED).entered();
            tracing::info!(detail = FORGED, display = %FORGED, debug = ?FORGED, "{FORGED}");
        };
        for format in [LogFormat::Human, LogFormat::Json] {
            let text = logged(format, log);
            let ours = text.strip_suffix('\n').unwrap();
            assert!(!ours.contains(['\n', '\r', '\u{2028}']) || format == LogFormat::Json, "{ours}");
            assert_eq!(ours.lines().count(), 1, "{ours}");
            assert!(ours.contains("connection") && ours.contains("detail"), "{ours}");
        }
        let human = logged(LogFormat::Human, log);
        assert!(!human.contains("\u{1b}[2K") && !human.contains('\u{202e}'), "{human}");
        assert!(human.contains("x\\n2026") && human.contains("\\u{1b}[2K\\u{202e}\\u{2028}"), "{human}");
    }
}
