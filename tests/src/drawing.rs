//! The dashboards as `tests/render` draws them: with Grafana's own packages, in a headless Chromium, from a live Prometheus.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde::Deserialize;

use crate::{repository, target_directory};

/// What is in the folder besides.
const PACKAGES: &str = "node_modules";

/// The folder in which the program can be run: a copy, with its packages beside it.
///
/// # Panics
///
/// When the packages cannot be had.
pub fn prepared() -> PathBuf {
    let folder = target_directory().join("tools/render");
    fs::create_dir_all(&folder).expect("a folder can be made");
    // Another program may do the same.
    let lock = File::create(folder.join(".lock")).expect("a file can be made");
    lock.lock().expect("a file can be locked");
    copy(&repository().join("tests/render"), &folder).expect("the program can be copied");
    let read = |path: &Path| fs::read(path).unwrap_or_default();
    let wanted = read(&folder.join("package-lock.json"));
    let installed = folder.join(PACKAGES).join(".installed");
    if read(&installed) != wanted {
        let mut install = Command::new("npm");
        run(install
            .args(["ci", "--no-audit", "--no-fund"])
            .current_dir(&folder));
        fs::write(&installed, wanted).expect("a file can be written");
    }
    folder
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_name() == PACKAGES {
            continue;
        }
        if path.is_dir() {
            fs::create_dir_all(&target)?;
            copy(&path, &target)?;
        } else {
            fs::copy(&path, &target)?;
        }
    }
    Ok(())
}

/// Runs a program to its end, and returns what it has printed.
///
/// # Panics
///
/// When it cannot be started or fails.
pub fn run(command: &mut Command) -> String {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{said}",
        output.status
    );
    said
}

/// What was drawn, and its pictures.
#[derive(Debug, Deserialize)]
pub struct Drawn {
    /// The moment of which they are, seconds since the epoch.
    pub now: f64,
    /// By name, such as `fleet`.
    pub dashboards: BTreeMap<String, Board>,
}

/// A dashboard.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Board {
    /// Its panels.
    pub panels: Vec<Panel>,
    /// What is drawn over them.
    pub annotations: Vec<Annotation>,
    /// What the page has not caught.
    pub page_errors: Vec<String>,
    /// What it has said.
    pub console_errors: Vec<String>,
}

/// A panel.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Panel {
    /// Its title.
    pub title: String,
    /// `data`, `empty`, `error`, `logs` of one that asks Loki, or `text`.
    pub state: String,
    /// What is the matter.
    pub error: Option<String>,
    /// How many figures are red.
    pub reds: u64,
    /// Texts that are cut off.
    pub cut: Vec<String>,
    /// Whether a part can only be seen by scrolling sideways.
    pub is_too_wide: bool,
}

/// An annotation.
#[derive(Debug, Deserialize)]
pub struct Annotation {
    /// Its name.
    pub name: String,
    /// As that of a panel.
    pub state: String,
}

/// Draws all dashboards of the last seconds. The pictures are in `target/tests/dashboards` then.
///
/// # Panics
///
/// When they cannot be drawn.
pub fn draw(prometheus: SocketAddr, span: Duration) -> Drawn {
    let pictures = target_directory().join("tests/dashboards");
    let mut render = Command::new("node");
    render
        .arg("render.mjs")
        .args(["--prometheus", &format!("http://{prometheus}")])
        .args(["--span", &span.as_secs().to_string()])
        .arg("--dashboards")
        .arg(repository().join("dashboards"))
        .arg("--out")
        .arg(&pictures)
        .current_dir(prepared());
    let said = run(&mut render);
    eprintln!("{said}");
    let report = fs::read(pictures.join("report.json")).expect("there is a report");
    serde_json::from_slice(&report).expect("the report is as it was")
}
