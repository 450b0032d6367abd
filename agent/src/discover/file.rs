//! Finds and reads what other programs keep in files, without trusting them: a file may be as large as a disk,
//! or a pipe that nobody writes to.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::platform::host_path;

/// The longest file that is read, bytes. The largest that libvirt and the container runtimes write have some
/// tens of kilobytes.
const LONGEST: u64 = 1 << 20;

/// Where a path of another program is: here, or in the host's file system. One that is in neither is not
/// there, rather than forbidden, which is all that an agent with few privileges hears of the host's.
pub(super) fn place(path: &Path) -> PathBuf {
    let host = host_path(path);
    if host.exists() { host } else { path.to_owned() }
}

/// The text of a regular file.
pub(super) fn text(path: &Path) -> io::Result<String> {
    // Looked at before it is opened: to open a pipe waits for its other end.
    if !fs::metadata(path)?.is_file() {
        return Err(invalid("it is no regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(LONGEST + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(invalid("it is longer than 1 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| invalid("it is not UTF-8"))
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_file_of_modest_size_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "plain").unwrap();
        assert_eq!(text(&path).unwrap(), "plain");

        fs::write(&path, vec![b'x'; LONGEST as usize]).unwrap();
        assert_eq!(text(&path).unwrap().len() as u64, LONGEST);
        fs::write(&path, vec![b'x'; LONGEST as usize + 1]).unwrap();
        assert!(text(&path).unwrap_err().to_string().contains("1 MiB"));
        fs::write(&path, b"\xff").unwrap();
        assert!(text(&path).unwrap_err().to_string().contains("UTF-8"));

        assert!(text(folder.path()).is_err());
        let absent = text(&folder.path().join("absent")).unwrap_err();
        assert_eq!(absent.kind(), io::ErrorKind::NotFound);
    }
}
