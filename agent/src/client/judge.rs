//! What is too much. Each judgement names its limit, so that a reader can disagree.

use anstyle::{AnsiColor, Style};

/// A figure beyond a limit.
pub(super) const WARNING: Style = AnsiColor::Yellow.on_default();
/// A session in use.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// What matters less.
pub(super) const FAINT: Style = Style::new().dimmed();
/// Headings.
pub(super) const HEADING: Style = Style::new().bold();

/// 99th percentile of the run-queue wait, seconds: more than a frame at 60 Hz is seen.
pub(super) const RUNQUEUE_WAIT_P99: f64 = 0.020;
/// 95th percentile of the clients' round-trip time, seconds.
pub(super) const CLIENT_RTT_P95: f64 = 0.100;
/// 95th percentile of the delay of input, seconds: a part of what INP allows for all (web.dev/articles/inp).
pub(super) const INPUT_DELAY_P95: f64 = 0.100;
/// 95th percentile of the time until something is sent back, seconds: good by INP.
pub(super) const RESPONSE_P95: f64 = 0.200;
/// Throttled time as a share of the CPU time.
pub(super) const THROTTLED_SHARE: f64 = 0.05;
/// Time lost for want of memory or I/O as a share of the session's life.
pub(super) const PRESSURE_SHARE: f64 = 0.05;
/// Anonymous memory as a share of the limit: the page cache gives way, this does not.
pub(super) const ANON_SHARE: f64 = 0.90;
/// Memory of a GPU in use, by all together.
pub(super) const GPU_MEMORY_SHARE: f64 = 0.95;
/// A frame at 60 Hz, seconds.
pub(super) const FRAME: f64 = 1.0 / 60.0;

/// The text in a style.
pub(super) fn styled(text: &str, style: Style) -> String {
    format!("{style}{text}{style:#}")
}

/// What is said of a figure that is beyond its limit.
pub(super) fn over(
    value: Option<f64>,
    limit: f64,
    said: impl FnOnce() -> String,
) -> Option<String> {
    value.filter(|value| *value > limit).map(|_| said())
}
