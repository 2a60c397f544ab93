//! Direct calls of the operating system: the identity of this process, the permissions of new files, the free space of a disk.

use quorate_consensus::Store;
use quorate_protocol::status::DiskStatus;
use std::{
    ffi::CString,
    io,
    mem::MaybeUninit,
    os::{fd::AsRawFd, unix::ffi::OsStrExt},
    path::Path,
};

/// Takes every permission of group and others from the files, folders and sockets that this process creates from now on, also from
/// those of libraries such as RocksDB: a host's state, its vats' arguments and its sturdyrefs are nobody else's.
pub fn keep_files_private() {
    // SAFETY: `umask` has no preconditions and always succeeds.
    unsafe { libc::umask(0o077) };
}

/// Has this thread leave the processor to others that want it: it executes blocks, and those others keep leaders in office. Linux alone has priorities of threads.
pub fn yield_to_others() {
    #[cfg(target_os = "linux")]
    // SAFETY: `setpriority` has no preconditions; it concerns the calling thread, and fails at most.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS as _, 0, 5);
    }
}

/// Gives memory that is free in this process back to the system. It takes tens of milliseconds, in which others wait for memory of the same arena.
/// Of the C libraries, only GNU's keeps much.
pub fn give_memory_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `malloc_trim` has no preconditions, and moves nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The user as which this process opens files.
pub fn user() -> u32 {
    // SAFETY: `geteuid` has no preconditions and always succeeds.
    unsafe { libc::geteuid() }
}

/// Whether something keeps the system's clock in step with others; `None` where the kernel does not say.
pub fn clock_is_kept() -> Option<bool> {
    let mut found = MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: all zeroes is a `timex` that changes nothing (`adjtimex(2)`), and the call writes no more than one.
    match unsafe { libc::adjtimex(found.as_mut_ptr()) } {
        -1 => None,
        state => Some(state != libc::TIME_ERROR),
    }
}

/// The kind of file system that `path` is on, where a host should not be on such a one, and why.
pub fn unfit_file_system(path: &Path) -> Option<(&'static str, &'static str)> {
    const NETWORK: &str = "what is synced there may be lost, and its locks may not keep a second process away";
    const MEMORY: &str = "it is gone when the machine stops, with the host's key";
    // `statfs(2)` lists the numbers.
    const UNFIT: [(u32, &str, &str); 7] = [
        (0x0102_1994, "tmpfs", MEMORY),
        (0x8584_58f6, "ramfs", MEMORY),
        (0x0000_6969, "NFS", NETWORK),
        (0xff53_4d42, "CIFS", NETWORK),
        (0xfe53_4d42, "SMB", NETWORK),
        (0x0102_1997, "9P", NETWORK),
        (0x794c_7630, "overlayfs", "it goes with the container: mount a volume"),
    ];
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut found = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: `path` ends with a NUL and lives during the call; `found` is as large as the call writes.
    if unsafe { libc::statfs(path.as_ptr(), found.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: the call succeeded, so it has written all of it.
    let kind = unsafe { found.assume_init() }.f_type as u32;
    UNFIT.into_iter().find(|(number, ..)| *number == kind).map(|(_, name, why)| (name, why))
}

/// The room on the file system of `path`.
pub fn disk_space(path: &Path) -> io::Result<DiskStatus> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut found = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `path` ends with a NUL and lives during the call; `found` is as large as the call writes.
    if unsafe { libc::statvfs(path.as_ptr(), found.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so it has written all of it.
    let found = unsafe { found.assume_init() };
    // The fields' types differ between platforms.
    #[allow(clippy::unnecessary_cast, reason = "they are not all u64 everywhere")]
    let (unit, free, total) = (found.f_frsize as u64, found.f_bavail as u64, found.f_blocks as u64);
    Ok(DiskStatus { free_bytes: free.saturating_mul(unit), total_bytes: total.saturating_mul(unit) })
}

/// Has the system drop its cache of the tables in a folder, so that readers read the disk.
///
/// # Errors
/// The folder can't be read.
pub fn forget_pages(folder: &Path) -> io::Result<()> {
    for file in std::fs::read_dir(folder)? {
        let path = file?.path();
        if path.extension().is_none_or(|end| end != "sst") {
            continue;
        }
        // One that is gone meanwhile has no pages. The system may refuse: then it reads what it has, as it does anyway.
        if let Ok(file) = std::fs::File::open(&path) {
            // SAFETY: the descriptor is open as long as `file` lives, and the call touches no memory of this process.
            let _ = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        }
    }
    Ok(())
}

/// The room for what a store still writes; none where it lies in memory.
pub fn room_of(store: &dyn Store) -> Option<DiskStatus> {
    store.path().and_then(|path| disk_space(path).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_has_room_and_a_path_that_is_not_there_has_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let space = disk_space(folder.path()).expect("it is on a file system");
        assert!(space.total_bytes > 0 && space.free_bytes <= space.total_bytes, "{space:?}");
        assert!(disk_space(&folder.path().join("nosuch")).is_err());
    }
}
