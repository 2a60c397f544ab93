//! Unix sockets of any path.

use std::{
    fs, io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

/// A Unix socket's path must fit 108 bytes with its terminator (`unix(7)`).
const SOCKET_PATH_BYTES: usize = 100;

/// What a Unix socket is bound and connected by, however long its path: beyond what the system takes, its folder is opened and the
/// socket is named through that (`proc_pid_fd(5)`).
#[derive(Debug)]
pub struct SocketAddress {
    path: PathBuf,
    _folder: Option<fs::File>,
}

impl SocketAddress {
    /// The address of the socket at `path`; its folder must be there.
    pub fn of(path: &Path) -> io::Result<SocketAddress> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a socket needs a folder and a name"));
        };
        if path.as_os_str().len() <= SOCKET_PATH_BYTES {
            return Ok(SocketAddress { path: path.to_owned(), _folder: None });
        }
        let folder = fs::File::open(folder)?;
        let path = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
        Ok(SocketAddress { path, _folder: Some(folder) })
    }
}

impl AsRef<Path> for SocketAddress {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}
