//! The process's own metrics, under the names that every Prometheus client uses
//! (<https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>). Linux only.

use prometheus_client::registry::Registry;

/// Adds the metrics to `registry`; leaves out what the system does not tell.
#[cfg(target_os = "linux")]
pub(super) fn register(registry: &mut Registry) {
    use procfs::process::Process;
    use prometheus_client::metrics::counter::ConstCounter;
    use prometheus_client::metrics::gauge::ConstGauge;

    let Ok(stat) = Process::myself().and_then(|process| process.stat()) else { return };
    let seconds = |ticks: u64| {
        #[expect(clippy::cast_precision_loss, reason = "a metric")]
        let (ticks, each) = (ticks as f64, procfs::ticks_per_second() as f64);
        ticks / each
    };
    let resident = i64::try_from(stat.rss.saturating_mul(procfs::page_size())).unwrap_or(i64::MAX);
    registry.register("process_resident_memory_bytes", "Resident memory size in bytes", ConstGauge::new(resident));
    let used = ConstCounter::new(seconds(stat.utime + stat.stime));
    registry.register("process_cpu_seconds", "Total user and system CPU time spent in seconds", used);
    if let Ok(booted) = procfs::boot_time_secs() {
        #[expect(clippy::cast_precision_loss, reason = "a metric")]
        let started = booted as f64 + seconds(stat.starttime);
        let help = "Start time of the process since unix epoch in seconds";
        registry.register("process_start_time_seconds", help, ConstGauge::new(started));
    }
}

/// Adds nothing: only Linux has `/proc`.
#[cfg(not(target_os = "linux"))]
pub(super) fn register(_: &mut Registry) {}
