//! Swap of a test's own.

use std::process::Command;

use tempfile::NamedTempFile;

/// A file to which this machine swaps until it is dropped.
#[derive(Debug)]
pub struct Swap(NamedTempFile);

impl Swap {
    /// One of so many bytes, below all other swap in rank.
    pub fn of(bytes: u64) -> Self {
        let file = tempfile::Builder::new()
            .prefix("sessionscope-swap")
            .tempfile()
            .expect("a file");
        let swap = Self(file);
        // With a hole in it the kernel takes none (mm/swapfile.c, `setup_swap_extents`).
        swap.call("fallocate", &["--length", &bytes.to_string()]);
        swap.call("mkswap", &[]);
        swap.call("swapon", &["--priority", "0"]);
        swap
    }

    fn call(&self, program: &str, options: &[&str]) {
        let output = Command::new(program)
            .args(options)
            .arg(self.0.path())
            .output()
            .unwrap_or_else(|error| panic!("{program} is installed with util-linux: {error}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program}: {said}");
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        // What is in it is read back, or gone with who had it.
        let _status = Command::new("swapoff").arg(self.0.path()).status();
    }
}
