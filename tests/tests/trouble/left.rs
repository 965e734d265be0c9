//! What programs of this host left in the drop folder: taken in once, whatever fails and whatever name it has.

use super::stage::*;
use mail::{Address, Envelope, Wishes};
use std::path::Path;
use storage::disk::{Disk, How};

/// Leaves a message of that many bytes in the drop folder.
pub fn leave_much(disk: &Ruled, file: &str, who: &str, len: usize) {
    leave(disk, file, &format!("{who}@example.test"));
    let path = Path::new("/store/drop").join(file);
    let Ok(file) = disk.disk.open(&path, How::Append) else { return };
    file.append(&b"0123456789\n".repeat(len / 11)).unwrap();
}

/// Leaves a message in the drop folder.
pub fn leave(disk: &Ruled, file: &str, to: &str) {
    let dir = Path::new("/store/drop");
    if disk.disk.stat(dir).is_err() {
        disk.disk.make_dir(dir).unwrap();
    }
    let recipients = vec![Address::parse(to).unwrap().into()];
    let envelope = Envelope { sender: Address::parse("alice@example.test"), recipients, wishes: Wishes::default() };
    let mut bytes = Vec::new();
    storage::drop::write_envelope(&storage::drop::Letter { uid: 0, envelope, eight_bit: false, verp: false }, &mut bytes).unwrap();
    bytes.extend_from_slice(b"Subject: left\n\n");
    disk.disk.open(&dir.join(file), How::Create).unwrap().append(&bytes).unwrap();
    disk.disk.sync_all(dir).unwrap();
}

#[test]
fn what_was_left_and_cannot_be_removed_is_taken_in_once() {
    let disk = Ruled::new();
    let house = open(&disk);
    leave(&disk, "1", "bob@example.test");
    disk.fail("unlink", "/store/drop/");
    for _ in 0..3 {
        house.chores();
        house.pick_up();
        house.checkpoint().unwrap();
    }
    assert_eq!(uids(&house, "bob", "INBOX").len(), 1);
    // Of its record the log has let go; that the file was taken in it tells at every checkpoint.
    let (mut house, mut disk) = (house, disk);
    for clean in [false, true, false] {
        if clean {
            house.close();
        }
        (house, disk) = power_cut(house, &disk);
        disk.fail("unlink", "/store/drop/");
        house.chores();
        house.pick_up();
        assert_eq!(uids(&house, "bob", "INBOX").len(), 1, "after a restart, clean: {clean}");
    }
    // A removal that may not be durable is told of as well, and one that is gone for good is not.
    let dir = Path::new("/store/drop");
    for keeps in [true, false] {
        disk.rule(move |op, path| match op {
            "sync_dir" if keeps && path == Path::new("/store/drop") => Err(std::io::Error::from_raw_os_error(EIO)),
            "volume" => Err(std::io::ErrorKind::Unsupported.into()),
            _ => Ok(()),
        });
        house.chores();
        house.pick_up();
        assert!(disk.disk.stat(&dir.join("1")).is_err());
        house.checkpoint().unwrap();
        (house, disk) = power_cut(house, &disk);
        assert_eq!(disk.disk.stat(&dir.join("1")).is_ok(), keeps);
        house.chores();
        house.pick_up();
        assert_eq!(uids(&house, "bob", "INBOX").len(), 1);
    }
    leave(&disk, "1", "bob@example.test");
    house.chores();
    house.pick_up();
    assert_eq!(uids(&house, "bob", "INBOX").len(), 2, "another file of the same name");
}

#[test]
fn what_cannot_be_taken_in_keeps_nothing_else_out() {
    let disk = Ruled::new();
    let house = open(&disk);
    leave(&disk, "1", "bob@example.test");
    leave(&disk, "3", "bob@example.test");
    disk.disk.open(Path::new("/store/drop/2"), How::Create).unwrap().append(b"nonsense").unwrap();
    disk.fail("rename", "/store/drop/2");
    house.chores();
    house.pick_up();
    assert_eq!(uids(&house, "bob", "INBOX").len(), 2);
    disk.heal();
    house.chores();
    house.pick_up();
    assert_eq!(disk.disk.content(Path::new("/store/drop/2.bad")).unwrap(), b"nonsense");
}

const DROP: &str = "/store/drop";

/// A program that uses one name for all its messages puts the next one in the place of what is there.
fn leave_over(disk: &Ruled, file: &str, to: &str) {
    leave(disk, ".next", to);
    let dir = Path::new(DROP);
    disk.disk.rename(&dir.join(".next"), &dir.join(file)).unwrap();
    disk.disk.sync_dir(dir).unwrap();
}

#[test]
fn a_name_that_is_used_again_is_another_message_also_after_a_flush_that_failed() {
    let disk = Ruled::new();
    let house = open(&disk);
    leave(&disk, "1", "bob@example.test");
    disk.fail("sync_dir", DROP);
    house.pick_up();
    disk.heal();
    for count in 2..5 {
        leave(&disk, "1", "bob@example.test");
        house.pick_up();
        assert_eq!(uids(&house, "bob", "INBOX").len(), count, "it was removed unread");
        house.checkpoint().unwrap();
    }
    let (house, _) = power_cut(house, &disk);
    house.pick_up();
    assert_eq!(uids(&house, "bob", "INBOX").len(), 4);
}

#[test]
fn what_takes_the_place_of_a_file_that_could_not_be_removed_is_another_message() {
    for restart in [false, true] {
        let disk = Ruled::new();
        let mut house = open(&disk);
        leave(&disk, "1", "bob@example.test");
        disk.fail("unlink", DROP);
        house.pick_up();
        house.checkpoint().unwrap();
        let mut now = disk.clone();
        if restart {
            (house, now) = power_cut(house, &disk);
            now.fail("unlink", DROP);
        }
        house.pick_up();
        assert_eq!(uids(&house, "bob", "INBOX").len(), 1, "restart: {restart}");
        leave_over(&now, "1", "bob@example.test");
        now.heal();
        house.pick_up();
        assert_eq!(uids(&house, "bob", "INBOX").len(), 2, "restart: {restart}: it was removed unread");
        assert!(now.disk.stat(&Path::new(DROP).join("1")).is_err());
        let (house, _) = power_cut(house, &now);
        house.pick_up();
        assert_eq!(uids(&house, "bob", "INBOX").len(), 2, "restart: {restart}");
    }
}

/// Whoever leaves a message while the one before it is taken in.
#[test]
fn what_takes_the_place_of_a_file_while_that_is_taken_in_is_another_message() {
    let disk = Ruled::new();
    let house = open(&disk);
    leave(&disk, "1", "bob@example.test");
    let (other, mut once) = (disk.clone(), false);
    disk.rule(move |op, path| {
        if op == "create" && path.starts_with(inbox_of("bob")) && !std::mem::replace(&mut once, true) {
            leave_over(&other, "1", "bob@example.test");
        }
        Ok(())
    });
    for _ in 0..2 {
        house.pick_up();
    }
    assert_eq!(uids(&house, "bob", "INBOX").len(), 2);
    let (house, _) = power_cut(house, &disk);
    house.pick_up();
    assert_eq!(uids(&house, "bob", "INBOX").len(), 2);
}

#[test]
fn after_a_flush_that_failed_the_log_tells_of_what_was_removed_before_it_and_of_nothing_else() {
    let disk = Ruled::new();
    disk.disk.make_dir(Path::new(DROP)).unwrap();
    let folder = storage::drop::Folder::new(DROP.into());
    let mut seen = 0;
    let mut take_in = |fails: bool| {
        let taken = folder.take_in(&disk, 1000, 0, &mut |_, _, _| {
            seen += 1;
            Ok(())
        });
        assert_eq!(taken.is_err(), fails);
        (seen, folder.taken().len())
    };
    leave(&disk, "1", "bob@example.test");
    disk.fail("sync_dir", DROP);
    assert_eq!(take_in(true), (1, 1));
    disk.heal();
    for n in 2..5 {
        leave(&disk, &n.to_string(), "bob@example.test");
        assert_eq!(take_in(false), (n, 1), "only the first is in doubt");
    }
    // What has its name since is durably gone, so the first is too.
    leave(&disk, "1", "bob@example.test");
    assert_eq!(take_in(false), (5, 0));
}
