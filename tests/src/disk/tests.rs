//! The rules of the crashing disk.

use super::*;

fn at(path: &str) -> &Path {
    Path::new(path)
}

fn survivors(disk: &Crashing, mut each: impl FnMut(&Crashing)) {
    let mut dice = Rng::with_seed(7);
    for _ in 0..300 {
        each(&disk.crash(&mut dice));
    }
}

fn write(disk: &Crashing, path: &str, bytes: &[u8]) -> Box<dyn File> {
    let file = disk.open(at(path), How::Create).unwrap();
    file.append(bytes).unwrap();
    file
}

#[test]
fn what_is_durable_survives_and_nothing_else_must() {
    let disk = Crashing::new();
    write(&disk, "/a", b"first").sync().unwrap();
    disk.sync_dir(at("/")).unwrap();
    let file = disk.open(at("/a"), How::Write).unwrap();
    file.write_at(b"SECOND", 5).unwrap();
    write(&disk, "/b", b"unsynced");
    let mut kinds = std::collections::BTreeSet::new();
    survivors(&disk, |after| {
        let a = after.content(at("/a")).unwrap();
        assert_eq!(&a[..5], b"first");
        assert!(a.len() <= 11);
        kinds.insert((a == b"firstSECOND", a == b"first", after.content(at("/b")).ok() == Some(b"unsynced".to_vec())));
    });
    // Each alone, both, none, and torn ones.
    assert!(kinds.len() >= 5, "{kinds:?}");
    file.sync().unwrap();
    survivors(&disk, |after| assert_eq!(after.content(at("/a")).unwrap(), b"firstSECOND"));
    disk.sync_all(at("/")).unwrap();
    survivors(&disk, |after| assert_eq!(after.content(at("/b")).unwrap(), b"unsynced"));
}

#[test]
fn a_rename_is_one_change() {
    let disk = Crashing::new();
    disk.make_dir(at("/tmp")).unwrap();
    disk.make_dir(at("/new")).unwrap();
    disk.sync_dir(at("/")).unwrap();
    write(&disk, "/tmp/x", b"1").sync().unwrap();
    disk.sync_dir(at("/tmp")).unwrap();
    disk.rename(at("/tmp/x"), at("/new/x")).unwrap();
    let mut seen = [0; 2];
    survivors(&disk, |after| {
        let (old, new) = (after.content(at("/tmp/x")).is_ok(), after.content(at("/new/x")).is_ok());
        assert!(old != new);
        seen[usize::from(new)] += 1;
    });
    assert!(seen[0] > 20 && seen[1] > 20);
    disk.sync_dir(at("/new")).unwrap();
    survivors(&disk, |after| assert!(after.stat(at("/new/x")).is_ok() && after.stat(at("/tmp/x")).is_err()));
}

#[test]
fn what_is_durable_is_not_undone_by_what_came_before() {
    let disk = Crashing::new();
    for dir in ["/a", "/b"] {
        disk.make_dir(at(dir)).unwrap();
    }
    disk.sync_dir(at("/")).unwrap();
    write(&disk, "/a/x", b"1").sync().unwrap();
    disk.rename(at("/a/x"), at("/b/x")).unwrap();
    disk.sync_dir(at("/b")).unwrap();
    survivors(&disk, |after| assert!(after.stat(at("/a/x")).is_err()));
    write(&disk, "/a/x", b"2");
    disk.rename(at("/b/x"), at("/b/y")).unwrap();
    disk.sync_dir(at("/b")).unwrap();
    let mut back = 0;
    survivors(&disk, |after| back += u32::from(after.stat(at("/a/x")).is_ok()));
    assert!(back > 20);
}

#[test]
fn a_failed_sync_is_never_made_good() {
    let disk = Crashing::new();
    let file = write(&disk, "/a", b"old");
    file.sync().unwrap();
    disk.sync_dir(at("/")).unwrap();
    file.write_at(b"NEW", 0).unwrap();
    disk.fail(disk.ops(), 5);
    assert_eq!(file.sync().unwrap_err().raw_os_error(), Some(5));
    file.write_at(b"+", 3).unwrap();
    file.sync().unwrap();
    assert_eq!(disk.content(at("/a")).unwrap(), b"NEW+");
    let mut lost = 0;
    survivors(&disk, |after| {
        let a = after.content(at("/a")).unwrap();
        assert_eq!(a[3], b'+');
        lost += u32::from(a == b"old+");
    });
    assert!(lost > 20);
}

#[test]
fn power_and_locks() {
    let disk = Crashing::new();
    let held = disk.lock(at("/lock")).unwrap();
    assert_eq!(disk.lock(at("/lock")).err().unwrap().kind(), io::ErrorKind::WouldBlock);
    assert!(disk.kill().lock(at("/lock")).is_ok());
    drop(held);
    assert!(disk.lock(at("/lock")).is_ok());
    disk.stop(disk.ops() + 1);
    let file = disk.open(at("/a"), How::Create).unwrap();
    assert!(file.append(b"x").is_err());
    assert_eq!(disk.content(at("/a")).unwrap(), b"");
}
