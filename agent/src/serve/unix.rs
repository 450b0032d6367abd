//! Listens on a socket in the file system, and takes its file away at the end.
//!
//! Who may connect is who may write to the file, so it must at no time allow more than was asked for. It is made
//! without any rights, whatever the process's umask is, gets its mode and its owner, and only then does the agent
//! listen: until that the kernel refuses everybody.

use std::{
    fs::{self, File, Metadata, OpenOptions, Permissions},
    io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::{
            fs::{
                FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown,
            },
            net::UnixListener,
        },
    },
    path::{Path, PathBuf},
};

use rustix::{
    io::Errno,
    net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
    process::geteuid,
};

use super::{address::Address, rights::Rights};
use crate::{error::Error, telemetry::log_event};

/// What chmod(1) sets of a file's mode, and a file to which nobody has any right.
const PERMISSIONS: u32 = 0o7777;
const NONE: u32 = 0o000;
/// Connections that wait to be accepted, as many as for a port; beyond them the kernel has clients wait.
const BACKLOG: i32 = 1024;

/// The file of a socket on which the agent listens. It is removed when this is dropped, if it is still the same.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

/// Device and inode.
type Identity = (u64, u64);

fn identity(found: &Metadata) -> Identity {
    (found.dev(), found.ino())
}

/// Listens at a path, in place of a socket there on which nobody does.
pub(super) fn bind(path: &Path, rights: &Rights) -> Result<(UnixListener, SocketFile), Error> {
    let address = Address::Unix(path.to_owned());
    let ids = rights.owner.ids()?;
    let listening = make_room(path).and_then(|()| listen(path, rights, ids));
    listening.map_err(|source| Error::listen(&address, &source))
}

fn listen(
    path: &Path,
    rights: &Rights,
    ids: (Option<u32>, Option<u32>),
) -> io::Result<(UnixListener, SocketFile)> {
    let socket = File::from(stream_socket()?);
    // The file gets the mode of the socket that is bound to it (unix_bind, net/unix/af_unix.c, 5.10).
    socket.set_permissions(Permissions::from_mode(NONE))?;
    net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    let (file, opened) = SocketFile::made(path)?;
    // By its descriptor: the path may mean something else by now, where others may write to the folder.
    let same = format!("/proc/self/fd/{}", opened.as_raw_fd());
    fs::set_permissions(&same, Permissions::from_mode(rights.mode))?;
    if ids != (None, None) {
        // After the mode, which only the owner may change.
        chown(&same, ids.0, ids.1).map_err(|error| not_given(rights, &error))?;
    }
    net::listen(&socket, BACKLOG)?;
    // Another agent that began in the same moment may have taken it for one that nobody listens on.
    if !is_still(path, file.identity) {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    Ok((UnixListener::from(OwnedFd::from(socket)), file))
}

fn not_given(rights: &Rights, error: &io::Error) -> io::Error {
    io::Error::other(format!(
        "the socket cannot be given to {} ({error}): that takes CAP_CHOWN, or the agent in that group",
        rights.owner
    ))
}

/// One that waits for nothing.
fn stream_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(io::Error::from)
}

/// Removes a socket on which nobody listens: an agent that was killed leaves one.
fn make_room(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::other(
            "what is there is no socket, so it is left alone; remove it",
        ));
    }
    match net::connect(stream_socket()?, &SocketAddrUnix::new(path)?) {
        Err(Errno::CONNREFUSED) => {}
        // Its agent has just ended.
        Err(Errno::NOENT) => return Ok(()),
        // Somebody listens: with as many that wait as may, or for datagrams.
        Ok(()) | Err(Errno::AGAIN | Errno::PROTOTYPE) => {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        Err(error) => {
            return Err(io::Error::other(format!(
                "whether somebody listens there cannot be told ({error}): remove it if nobody does"
            )));
        }
    }
    // Another one may have come meanwhile.
    if is_still(path, identity(&found)) {
        fs::remove_file(path)?;
    }
    Ok(())
}

fn is_still(path: &Path, expected: Identity) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| identity(&found) == expected)
}

impl SocketFile {
    /// The one that has just been made, and a descriptor of it that can only name it.
    fn made(path: &Path) -> io::Result<(Self, File)> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_NOFOLLOW);
        let opened = options.open(path)?;
        let found = opened.metadata()?;
        // Nobody else's has no rights at all.
        let is_ours = found.file_type().is_socket()
            && found.permissions().mode() & PERMISSIONS == NONE
            && found.uid() == geteuid().as_raw();
        if !is_ours {
            return Err(io::Error::other(
                "somebody else has put another file there; take a folder that only root may write to",
            ));
        }
        let file = Self {
            path: path.to_owned(),
            identity: identity(&found),
        };
        Ok((file, opened))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if is_still(&self.path, self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            log_event!(SocketLeft, path = %self.path.display(), %error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixStream};

    use super::*;
    use crate::serve::rights::Owner;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.sock");
        (folder, path)
    }

    fn refused(path: &Path) -> String {
        bind(path, &Rights::default()).unwrap_err().to_string()
    }

    #[test]
    fn the_file_has_the_mode_and_the_owner_that_are_asked_for_and_goes_at_the_end() {
        let (_folder, path) = place();
        for mode in [0o600, 0o660, 0o777] {
            let own = geteuid().as_raw();
            let owner = Owner::parse(&own.to_string()).unwrap();
            let (_listener, file) = bind(&path, &Rights { owner, mode }).unwrap();
            let found = fs::symlink_metadata(&path).unwrap();
            assert_eq!((found.mode() & 0o7777, found.uid()), (mode, own));
            UnixStream::connect(&path).unwrap();
            drop(file);
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_socket_on_which_nobody_listens_is_replaced() {
        let (_folder, path) = place();
        // std's listener leaves its file.
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let (_listener, _file) = bind(&path, &Rights::default()).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn one_on_which_somebody_listens_is_in_use() {
        let (_folder, path) = place();
        let (_listener, _file) = bind(&path, &Rights::default()).unwrap();
        assert!(refused(&path).contains("address in use"));
        UnixStream::connect(&path).unwrap();

        let (_folder, path) = place();
        let _socket = UnixDatagram::bind(&path).unwrap();
        assert!(refused(&path).contains("address in use"));
    }

    #[test]
    fn what_is_no_socket_is_left_alone_and_named() {
        let (folder, path) = place();
        fs::write(&path, "mine").unwrap();
        let said = refused(&path);
        let named = format!("unix:{}: ", path.display());
        assert!(
            said.contains(&named) && said.contains("remove it"),
            "{said}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        // Nor is a link followed, to whatever.
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(refused(&link).contains("no socket"));
        assert!(refused(folder.path()).contains("no socket"));
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let (folder, _) = place();
        let said = refused(&folder.path().join("none/agent.sock"));
        assert!(said.contains("No such file"), "{said}");
    }

    #[test]
    fn a_file_that_is_another_by_then_stays() {
        let (_folder, path) = place();
        let (_listener, file) = bind(&path, &Rights::default()).unwrap();
        // Beside the old one, so that it has not its inode.
        let new = path.with_extension("new");
        let _other = UnixListener::bind(&new).unwrap();
        fs::rename(&new, &path).unwrap();
        drop(file);
        assert!(path.exists());
    }

    #[test]
    fn an_owner_that_does_not_exist_is_named_and_leaves_no_file() {
        let (_folder, path) = place();
        let owner = Owner::parse("no-such-user-here").unwrap();
        let rights = Rights {
            owner,
            ..Rights::default()
        };
        let error = bind(&path, &rights).unwrap_err().to_string();
        assert!(error.contains("no-such-user-here"), "{error}");
        assert!(!path.exists());
    }
}
