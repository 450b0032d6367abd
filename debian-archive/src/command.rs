//! Running apt and dpkg, and what is said when they fail.

use std::process::Command;

use anyhow::{Context, Result, bail};

/// Runs a command to its end and returns what it prints; an error has what it says on standard error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("cannot start {program}: is this Debian?"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<_> = said.lines().map(str::trim).collect();
        bail!("{program} failed ({}): {}", output.status, lines.join("; "));
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("{program} printed something that is not UTF-8"))
}
