//! The socket's file: private from its first moment, and never somebody else's.

use crate::limits::{CLIENT_PATIENCE, FOLDER_LOCK_TIME_MAX};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A listening socket and its file, which is removed with it.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) listener: UnixListener,
    path: PathBuf,
    /// Device and inode: the file at the path may be another one by now.
    identity: (u64, u64),
}

impl Bound {
    /// Listens at `path`. A socket that a dead process left there is replaced.
    ///
    /// # Errors
    /// `AddrInUse` if somebody answers there, `AlreadyExists` if the file is no socket, and the system's own errors.
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let _lock = lock_folder(path);
        remove_stale(path, CLIENT_PATIENCE)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        // Nobody can connect before `listen`, so nobody does with the mode that `bind` gave.
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        socket.listen(16)?;
        let metadata = fs::symlink_metadata(path)?;
        let identity = (metadata.dev(), metadata.ino());
        Ok(Self { listener: UnixListener::from(OwnedFd::from(socket)), path: path.to_owned(), identity })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let ours = |metadata: fs::Metadata| (metadata.dev(), metadata.ino()) == self.identity;
        if fs::symlink_metadata(&self.path).is_ok_and(ours) {
            // If it cannot be removed, the next start finds that nobody answers.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes a socket at which nobody answers.
fn remove_stale(path: &Path, patience: Duration) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(ErrorKind::AlreadyExists, "the file exists and is not a socket"));
    }
    match connect(path, patience) {
        Ok(_) => Err(io::Error::new(ErrorKind::AddrInUse, "another process answers there")),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            Err(io::Error::new(ErrorKind::AddrInUse, "another process has it and does not answer"))
        }
        Err(error) => Err(error),
    }
}

/// Connects. A process that does not accept, as one that is stopped, has a queue for those who come; where that is
/// full, this waits for `patience` and then fails with `WouldBlock`.
pub(super) fn connect(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_write_timeout(Some(patience))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(UnixStream::from(OwnedFd::from(socket)))
}

/// Keeps others that start from looking at the file before it listens: they would take it for a dead node's. The lock
/// goes with the file that it gives. Where there is none to be had, only nodes that start in the same instant suffer.
fn lock_folder(path: &Path) -> Option<File> {
    const PAUSE: Duration = Duration::from_millis(5);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = File::open(folder.unwrap_or(Path::new("."))).ok()?;
    let mut waited = Duration::ZERO;
    while waited < FOLDER_LOCK_TIME_MAX {
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Some(folder),
            Err(Errno::WOULDBLOCK | Errno::INTR) => std::thread::sleep(PAUSE),
            Err(_) => return None,
        }
        waited += PAUSE;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_may_use_it_and_it_goes_with_its_node() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sock");
        let bound = Bound::new(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Bound::new(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
        drop(bound);
        assert!(!path.exists());
    }

    #[test]
    fn of_many_that_start_at_once_one_has_the_socket_and_keeps_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sock");
        for _ in 0..50 {
            drop(UnixListener::bind(&path).unwrap());
            let together = std::sync::Barrier::new(4);
            let start = || {
                together.wait();
                Bound::new(&path)
            };
            let mut bound: Vec<_> = std::thread::scope(|scope| {
                let starts: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
                starts.into_iter().filter_map(|start| start.join().unwrap().ok()).collect()
            });
            assert_eq!(bound.len(), 1);
            assert!(UnixStream::connect(&path).is_ok());
            bound.clear();
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_process_that_does_not_accept_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sock");
        let bound = Bound::new(&path).unwrap();
        let patience = Duration::from_millis(1);
        let mut waiting = Vec::new();
        let refused = loop {
            match connect(&path, patience) {
                Ok(stream) => waiting.push(stream),
                Err(error) => break error,
            }
            assert!(waiting.len() < 1000, "the queue has a bound");
        };
        assert_eq!(refused.kind(), ErrorKind::WouldBlock);
        assert_eq!(remove_stale(&path, patience).unwrap_err().kind(), ErrorKind::AddrInUse);
        drop(bound);
    }

    #[test]
    fn a_stale_socket_is_replaced_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a listener of the standard library leaves its file");
        let bound = Bound::new(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        assert_eq!(Bound::new(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
        drop(bound);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
