//! A terminal that a test can look at: a session of tmux, with a server of its own.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::wait::{patient, pause};

/// A screen changes within this.
const SOON: Duration = Duration::from_secs(10);

/// A terminal in which a command runs; it ends with this.
#[derive(Debug)]
pub struct Tmux {
    socket: PathBuf,
    _folder: TempDir,
}

impl Tmux {
    /// Starts a shell's words on a terminal of this size. What they print last stays on the screen.
    pub fn start(columns: u16, rows: u16, words: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let tmux = Self {
            socket: folder.path().join("tmux"),
            _folder: folder,
        };
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let started = tmux
            .command(&[
                "-f",
                "/dev/null",
                "new-session",
                "-d",
                "-x",
                &columns,
                "-y",
                &rows,
            ])
            .arg(words)
            .arg(";")
            .args(["set-option", "-g", "remain-on-exit", "on"])
            .output()
            .expect("tmux starts");
        assert!(started.status.success(), "{started:?}");
        tmux
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        // What it draws with is not the tests' business, and locales differ.
        command.env("LC_ALL", "C.UTF-8").arg("-S").arg(&self.socket);
        command.args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("tmux answers")
    }

    /// What is on the screen, a line each.
    pub fn screen(&self) -> Vec<String> {
        let output = self.run(&["capture-pane", "-p"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().map(ToOwned::to_owned).collect()
    }

    /// Waits until the screen is as wanted.
    pub fn until(&self, what: &str, wanted: impl Fn(&[String]) -> bool) -> Vec<String> {
        let end = Instant::now() + patient(SOON);
        loop {
            let screen = self.screen();
            if wanted(&screen) {
                return screen;
            }
            let text = || screen.join("\n");
            assert!(
                Instant::now() < end,
                "not within {SOON:?}: {what}; on the screen:\n{}",
                text()
            );
            pause();
        }
    }

    /// Presses keys, as tmux calls them: `Enter`, `Escape`, `q`.
    pub fn press(&self, keys: &[&str]) {
        let output = self.run(&[&["send-keys"], keys].concat());
        assert!(output.status.success(), "{output:?}");
    }

    /// Makes the terminal another size.
    pub fn resize(&self, columns: u16, rows: u16) {
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let output = self.run(&["resize-window", "-x", &columns, "-y", &rows]);
        assert!(output.status.success(), "{output:?}");
    }

    /// Copies all that is written to it from now on into a file.
    pub fn record(&self, file: &Path) {
        let words = format!("cat > {}", file.display());
        let output = self.run(&["pipe-pane", &words]);
        assert!(output.status.success(), "{output:?}");
    }

    /// The process that runs in it.
    pub fn pid(&self) -> u32 {
        self.asked("#{pane_pid}").parse().expect("a number")
    }

    /// Whether an alternate screen is shown, as of a program that takes the whole terminal.
    pub fn is_alternate(&self) -> bool {
        self.asked("#{alternate_on}") == "1"
    }

    /// Whether the cursor is shown.
    pub fn has_cursor(&self) -> bool {
        self.asked("#{cursor_flag}") == "1"
    }

    fn asked(&self, format: &str) -> String {
        let output = self.run(&["display-message", "-p", format]);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _gone = self.run(&["kill-server"]);
    }
}
