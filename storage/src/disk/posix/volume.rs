//! Syncing a file system as a whole, where that can be trusted.
//!
//! syncfs(2) says that a write failed since Linux 5.8, once to each descriptor that was opened before, and only for file systems that mark their
//! errors where it looks. Everywhere else (older kernels, other systems, network and user file systems) each file is synced by itself.

use super::Volume;
use std::{io, os::fd::OwnedFd};

/// A descriptor of the file system, as old as what it vouches for.
#[cfg(any(target_os = "linux", target_os = "android"))]
struct Whole(OwnedFd);

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Volume for Whole {
    fn sync(&self) -> io::Result<()> {
        Ok(super::retry(|| rustix::fs::syncfs(&self.0))?)
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn open(dir: OwnedFd) -> io::Result<Box<dyn Volume>> {
    let kind = rustix::fs::fstatfs(&dir)?.f_type;
    if tells_errors(rustix::system::uname().release().to_bytes()) && TRUSTED.iter().any(|(magic, _)| i128::from(*magic) == i128::from(kind))
    {
        return Ok(Box::new(Whole(dir)));
    }
    Err(io::ErrorKind::Unsupported.into())
}

// sync(2) does not say when it is done on the systems that have no syncfs(2), so it cannot stand in for it.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn open(_: OwnedFd) -> io::Result<Box<dyn Volume>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// File systems whose failed writes syncfs(2) tells of: those that write through the page cache of the kernel to a block device. NFS, FUSE, 9p and
/// ZFS are not among them: what they promise at a sync of the whole is theirs to say, and FUSE's servers are not even asked. An overlay does not hand on
/// what failed in its upper layer.
#[cfg(any(target_os = "linux", target_os = "android"))]
const TRUSTED: [(u32, &str); 5] = [
    (0xEF53, "ext2, ext3, ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683E, "btrfs"),
    (0xF2F5_2010, "f2fs"),
    // No power cut leaves anything of it.
    (0x0102_1994, "tmpfs"),
];

/// Whether syncfs(2) of this kernel tells of writes that failed: since 5.8.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn tells_errors(release: &[u8]) -> bool {
    let mut numbers = release.split(|b| !b.is_ascii_digit()).map(|n| std::str::from_utf8(n).ok()?.parse::<u32>().ok());
    let (major, minor) = (numbers.next().flatten().unwrap_or(0), numbers.next().flatten().unwrap_or(0));
    (major, minor) >= (5, 8)
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use super::*;

    #[test]
    fn old_kernels_say_nothing() {
        for (release, tells) in
            [(&b"5.8.0"[..], true), (b"5.10.0-21-amd64", true), (b"6.18.44", true), (b"5.7.19", false), (b"4.19", false), (b"", false)]
        {
            assert_eq!(tells_errors(release), tells, "{release:?}");
        }
    }
}
