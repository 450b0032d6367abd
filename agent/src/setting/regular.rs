//! Reads a file that the agent is configured with: a regular one, of modest size.
//!
//! To open a pipe waits for its other end, and a device may be without one. The agent reads at its start and again
//! at a SIGHUP, when it has sessions to measure.

use std::{
    fs::{self, FileType, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::Path,
};

/// The longest file that is read, bytes. A rule takes some hundred.
const LONGEST: u64 = 1 << 20;

/// What is in a file.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Before it is opened: to open some devices does something.
    check(fs::metadata(path)?.file_type())?;
    let mut options = OpenOptions::new();
    // By now it may be something else, which then does not wait.
    options.read(true).custom_flags(libc::O_NONBLOCK);
    let file = options.open(path)?;
    check(file.metadata()?.file_type())?;
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(io::Error::other("it is longer than 1 MiB"));
    }
    Ok(bytes)
}

/// The same as text.
pub(crate) fn text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path)?).map_err(|_| io::Error::other("it is not UTF-8"))
}

/// Refuses all but regular files.
fn check(found: FileType) -> io::Result<()> {
    if found.is_file() {
        return Ok(());
    }
    let what = if found.is_dir() {
        "a folder"
    } else if found.is_fifo() {
        "a pipe"
    } else if found.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    Err(io::Error::other(format!(
        "it is {what}, not a regular file"
    )))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn refusal(path: &Path) -> String {
        text(path).unwrap_err().to_string()
    }

    #[test]
    fn only_a_regular_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "plain").unwrap();
        assert_eq!(text(&path).unwrap(), "plain");
        // Kubernetes mounts a configuration by links.
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("file", &link).unwrap();
        assert_eq!(text(&link).unwrap(), "plain");
        assert!(refusal(folder.path()).contains("it is a folder"));
        assert!(refusal(Path::new("/dev/null")).contains("it is a device"));
        let socket = folder.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        assert!(refusal(&socket).contains("it is a socket"));
        let absent = text(&folder.path().join("absent")).unwrap_err();
        assert_eq!(absent.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_pipe_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        assert!(refusal(&path).contains("it is a pipe"));
    }

    #[test]
    fn a_file_is_read_up_to_its_bound_and_as_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, vec![b'x'; LONGEST as usize]).unwrap();
        assert_eq!(text(&path).unwrap().len() as u64, LONGEST);
        fs::write(&path, vec![b'x'; LONGEST as usize + 1]).unwrap();
        assert!(refusal(&path).contains("1 MiB"));
        fs::write(&path, b"\xff").unwrap();
        assert!(refusal(&path).contains("UTF-8"));
    }
}
