//! `sessionscope report`: the day of a platform on one page, from what Prometheus has.
//!
//! ```text
//!  questions ─► gather ─► document ─► page (HTML), text (Markdown), JSON, a summary for a chat
//!                 │
//!            prometheus
//! ```
//!
//! Where something is not known the report says so; it never draws a zero.

mod document;
mod gather;
mod page;
mod prometheus;
mod questions;
mod text;

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process,
    time::Duration,
};

use clap::Args;

use super::{print, units};
use crate::error::Error;

/// `sessionscope report`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct ReportOptions {
    /// Address of Prometheus, or of what has its API, without `/api/v1`.
    #[arg(long, value_name = "URL", env = "SESSIONSCOPE_PROMETHEUS")]
    pub prometheus: String,

    /// How much time it is about.
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = window)]
    pub since: Duration,

    /// Its last moment, as `2026-12-01T00:00:00Z`; without it, now.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<u64>,

    /// Where it is written: a file that ends in .html, .md or .json. Without it Markdown is printed.
    #[arg(long, value_name = "FILE", value_parser = file)]
    pub out: Option<PathBuf>,

    /// File with the token to show.
    #[arg(long, value_name = "FILE", conflicts_with = "user")]
    pub token_file: Option<PathBuf>,

    /// Who asks.
    #[arg(long, value_name = "NAME", requires = "password_file")]
    pub user: Option<String>,

    /// File with the password of --user.
    #[arg(long, value_name = "FILE", requires = "user")]
    pub password_file: Option<PathBuf>,

    /// File with the certificates by which it is known. Without it those of the system.
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,

    /// File with the certificate to show, and with those between it and its authority.
    #[arg(long, value_name = "FILE", requires = "key_file")]
    pub cert_file: Option<PathBuf>,

    /// File with the key of that certificate.
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    pub key_file: Option<PathBuf>,

    /// Where a summary is posted as `{"text": …}`, which Slack, Mattermost and Teams take.
    #[arg(
        long,
        value_name = "URL",
        env = "SESSIONSCOPE_REPORT_WEBHOOK",
        hide_env_values = true
    )]
    pub webhook: Option<String>,
}

/// Less than an hour has few samples of anything.
fn window(text: &str) -> Result<Duration, String> {
    let window = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if window < Duration::from_hours(1) {
        return Err("at least 1h".to_owned());
    }
    Ok(window)
}

fn moment(text: &str) -> Result<u64, String> {
    let time = humantime::parse_rfc3339_weak(text).map_err(|error| error.to_string())?;
    let since = time.duration_since(std::time::UNIX_EPOCH);
    since
        .map(|since| since.as_secs())
        .map_err(|_| "it is before 1970".to_owned())
}

fn file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.extension().and_then(|kind| kind.to_str()) {
        Some("html" | "md" | "json") => Ok(path),
        _ => Err("its name ends in none of .html, .md and .json".to_owned()),
    }
}

/// Makes it.
///
/// # Errors
///
/// When Prometheus does not answer, or the file cannot be written.
pub fn report(options: &ReportOptions) -> Result<(), Error> {
    // Whole minutes: what is asked twice is the same.
    let until = options
        .until
        .map_or_else(|| (units::now() / 60.0).floor() * 60.0, |at| at as f64);
    if until > units::now() + 60.0 {
        return Err(Error::Other("--until is not over yet".to_owned()));
    }
    let document = gather::gather(options, until)?;
    match &options.out {
        None => print(&text::markdown(&document))?,
        Some(path) => {
            let text = match path.extension().and_then(|kind| kind.to_str()) {
                Some("html") => page::html(&document),
                Some("json") => serde_json::to_string_pretty(&document)
                    .map_err(|error| Error::Other(error.to_string()))?,
                _ => text::markdown(&document),
            };
            write(path, &text)?;
        }
    }
    let webhook = options.webhook.as_deref();
    webhook.map_or(Ok(()), |url| prometheus::post(url, &document.summary()))
}

/// Writes a file beside it first, of a name that nobody has: half a report is none, and nothing else is written over. The
/// mode of one that was there stays.
fn write(path: &Path, text: &str) -> Result<(), Error> {
    const MODE: u32 = 0o644;
    let fails = || Error::io(path.display().to_string());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}", process::id()));
    let before = fs::symlink_metadata(path)
        .ok()
        .filter(fs::Metadata::is_file);
    let mode = before.map_or(MODE, |before| before.permissions().mode() & 0o777);
    let mut options = OpenOptions::new();
    // A new one follows no link.
    options.write(true).create_new(true).mode(mode);
    let mut file = options.open(&beside).map_err(fails())?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // It is of no use, and may be what has filled the disk.
        let _gone: io::Result<()> = fs::remove_file(&beside);
    }
    written.map_err(fails())
}
