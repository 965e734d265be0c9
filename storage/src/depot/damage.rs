//! What is done about damage: what was lost is said, and what it was lost from is put aside for an operator.

use super::pack::Reader;
use crate::{disk::Disk, spool};
use std::{io, path::Path};

/// What stands behind the dot in the name of a file that was put aside.
const ASIDE: &str = "damaged";

/// Whether an error says that what was written cannot be read any more, rather than that it cannot be read now.
pub fn is(error: &io::Error) -> bool {
    is_lost(error) && error.kind() != io::ErrorKind::NotFound
}

/// Whether an error of who read a queued message says that it is lost, rather than that it cannot be read now.
pub fn is_lost(error: &io::Error) -> bool {
    spool::is_damage(error) || error.kind() == io::ErrorKind::UnexpectedEof
}

/// Gives a file another name besides its own, under which it stays when it is not used any more.
///
/// # Errors
/// If it cannot be linked, or that not be made durable.
pub fn put_aside(disk: &dyn Disk, dir: &Path, path: &Path) -> io::Result<()> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let inode = disk.stat(path)?.inode;
    for count in 1u32.. {
        let to = dir.join(format!("{stem}-{count}.{ASIDE}"));
        match disk.link(path, &to) {
            Ok(()) => break,
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Err(_) if disk.stat(&to)?.inode == inode => break,
            Err(_) => {}
        }
    }
    disk.sync_dir(dir)
}

/// Names of files that were put aside, in order; none if there is no depot.
///
/// # Errors
/// If the directory cannot be listed.
pub fn aside(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    let listed = disk.list(dir, &mut |name| {
        let name = String::from_utf8_lossy(name);
        if name.strip_suffix(ASIDE).is_some_and(|rest| rest.ends_with('.')) {
            names.push(name.into_owned());
        }
    });
    match listed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => {
            names.sort_unstable();
            Ok(names)
        }
    }
}

/// The number of the pack whose file has this name, if it was put aside.
fn number(name: &str) -> Option<u32> {
    let (number, count) = name.strip_suffix(ASIDE)?.strip_suffix('.')?.split_once('-')?;
    let digits = count.bytes().all(|b| b.is_ascii_digit()) && number.len() == 8;
    u32::from_str_radix(number, 16).ok().filter(|_| digits)
}

/// Gives `each` the id and the bytes of every record that can be read of a file that was put aside, and says how many bytes cannot. A snapshot has none.
///
/// # Errors
/// If the file cannot be read.
pub fn salvage(disk: &dyn Disk, path: &Path, each: &mut dyn FnMut(u64, &[u8])) -> io::Result<u64> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let Some(number) = number(&name) else { return disk.stat(path).map(|_| 0) };
    Reader::open_at(disk, path, number)?.all(&mut |id, _, record| each(id, record))
}
