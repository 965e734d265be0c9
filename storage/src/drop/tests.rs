//! The drop folder on the machine's own disk. What a bad one does to it is shown in tests/.

use super::{
    letter::{ENVID_MAX, MAGIC, ORCPT_MAX},
    *,
};
use mail::{Address, Notify, Recipient, Ret};
use std::{fs, os::unix::fs::PermissionsExt as _};

fn scratch(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("hikyaku-drop-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    prepare(&dir).unwrap();
    dir
}

fn letter() -> Letter {
    let mut envelope = Envelope { sender: Address::parse("a@x.test"), ..Envelope::default() };
    envelope.recipients.push(Address::new("b c", "y.test").into());
    envelope.recipients.push(Recipient { notify: Notify::DELAY, ..Address::new("d", "z.test").into() });
    envelope.wishes.ret = Some(Ret::Headers);
    envelope.wishes.envid = Some("1 2".into());
    Letter { uid: rustix::process::getuid().as_raw(), envelope, eight_bit: true, verp: true }
}

fn put(dir: &Path, name: &str, text: &[u8]) {
    let mut bytes = Vec::new();
    write_envelope(&letter(), &mut bytes).unwrap();
    bytes.extend_from_slice(text);
    fs::write(dir.join(name), bytes).unwrap();
}

#[test]
fn what_was_left_is_taken_once() {
    let dir = scratch("once");
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o7777, 0o1733);
    put(&dir, "2", b"two\n");
    put(&dir, "1", b"one\n");
    put(&dir, ".new-3", b"not yet\n");
    let mut seen = Vec::new();
    let folder = Folder::new(dir.clone());
    let mut take = |_: &Dropped<'_>, letter: &Letter, message: &mut dyn Read| {
        let mut text = String::new();
        message.read_to_string(&mut text)?;
        if text == "two\n" && seen.len() == 1 {
            seen.push((letter.clone(), String::new()));
            return Err(io::ErrorKind::StorageFull.into());
        }
        seen.push((letter.clone(), text));
        Ok(())
    };
    for count in [1, 1, 0] {
        assert_eq!(folder.take_in(&Posix, 1000, 0, &mut take).unwrap(), count);
        assert!(folder.taken().is_empty(), "their names are gone for good");
    }
    let texts: Vec<&str> = seen.iter().map(|(_, text)| &**text).collect();
    assert_eq!(texts, ["one\n", "", "two\n"]);
    assert_eq!(seen[0].0, letter());
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn what_nobody_finished_goes_after_some_days() {
    let dir = scratch("stale");
    for (name, seconds) in [(".new-old", 1000), (".new-young", 2000)] {
        put(&dir, name, b"half\n");
        Posix.set_modified(&dir.join(name), seconds).unwrap();
    }
    let taken = Folder::new(dir.clone()).take_in(&Posix, 1000, 1500 + STALE_S, &mut |_, _, _| panic!("nothing is to be taken"));
    assert_eq!((taken.unwrap(), dir.join(".new-old").exists(), dir.join(".new-young").exists()), (0, false, true));
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn words_that_no_record_holds_are_no_letter() {
    for (word, most) in [("envid ", ENVID_MAX), ("orcpt x;", ORCPT_MAX - 2)] {
        for (len, taken) in [(most, true), (most + 1, false), (100_000, false)] {
            let text = format!("{MAGIC}\n{word}{}\nto x.test a\n\n", "A".repeat(len));
            assert_eq!(read_envelope(0, &mut text.as_bytes()).is_ok(), taken, "{word}{len}");
        }
    }
}

#[test]
fn what_is_no_letter_is_put_aside() {
    let dir = scratch("bad");
    fs::write(dir.join("1"), "hello\n").unwrap();
    fs::write(dir.join("2"), format!("{MAGIC}\n\nno recipient\n")).unwrap();
    fs::write(dir.join("3"), format!("{MAGIC}\nto x.test a")).unwrap();
    put(&dir, "4", b"linked\n");
    fs::hard_link(dir.join("4"), dir.join(".other")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", dir.join("5")).unwrap();
    put(&dir, "6", &[b'x'; 6 << 20]);
    fs::create_dir(dir.join("7")).unwrap();
    // Whoever opens a pipe that nobody writes to waits for ever.
    nix::unistd::mkfifo(&dir.join("8"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let taken = Folder::new(dir.clone()).take_in(&Posix, 1000, 0, &mut |_, _, _| panic!("nothing is to be taken")).unwrap();
    assert_eq!(taken, 0);
    for name in 1..=8 {
        assert!(dir.join(format!("{name}.bad")).symlink_metadata().is_ok(), "{name}");
    }
    assert!(
        write_envelope(
            &Letter { envelope: Envelope { recipients: vec![Address::new("a\nfrom x", "y").into()], ..Envelope::default() }, ..letter() },
            &mut Vec::new()
        )
        .is_err()
    );
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_name_that_is_too_long_and_one_that_is_there_are_put_aside_under_short_ones() {
    let dir = scratch("names");
    let long = "x".repeat(255);
    fs::write(dir.join(&long), "no mail").unwrap();
    fs::write(dir.join("1"), "no mail").unwrap();
    // Whoever made it can keep a file from its place.
    fs::create_dir(dir.join("1.bad")).unwrap();
    let folder = Folder::new(dir.clone());
    folder.take_in(&Posix, 1000, 0, &mut |_, _, _| panic!("nothing is to be taken")).unwrap();
    assert!(!dir.join(long).exists() && !dir.join("1").exists());
    let aside = fs::read_dir(&dir).unwrap().filter(|entry| entry.as_ref().unwrap().file_name().as_bytes().ends_with(b".bad"));
    assert_eq!(aside.count(), 3);
    assert!(folder.state().again.is_empty());
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn what_fails_rests_and_what_panics_is_put_aside() {
    let dir = scratch("rest");
    put(&dir, "1", b"fails\n");
    put(&dir, "2", b"panics\n");
    put(&dir, "3", b"fine\n");
    let folder = Folder::new(dir.clone());
    let mut tries = BTreeMap::<String, u32>::new();
    let mut take = |file: &Dropped<'_>, _: &Letter, _: &mut dyn Read| {
        *tries.entry(file.name.to_owned()).or_default() += 1;
        match file.name {
            "1" => Err(io::ErrorKind::StorageFull.into()),
            "2" => std::panic::resume_unwind(Box::new("a letter at which somebody panics")),
            _ => Ok(()),
        }
    };
    for second in 0..1000 {
        assert_eq!(folder.take_in(&Posix, 1000, second, &mut take).unwrap(), usize::from(second == 0));
    }
    // At once, then with rests of 2, 4, 8, 16, 32, and 60 from then on.
    assert!(tries["1"] < 30 && tries["2"] == PANICS_MAX + 1 && tries["3"] == 1, "{tries:?}");
    assert!(dir.join("1").exists() && dir.join("2.bad").exists() && !dir.join("3").exists());
    // Whoever says its name does not end its rest.
    let (before, mut called) = (dir.join("1").exists(), 0);
    folder
        .take_named(&Posix, b"1", 1000, 1000, &mut |_, _, _| {
            called += 1;
            Ok(())
        })
        .unwrap();
    assert!(before && called == 0);
    put(&dir, "4", b"named\n");
    folder
        .take_named(&Posix, b"4", 1000, 1000, &mut |_, _, _| {
            called += 1;
            Ok(())
        })
        .unwrap();
    assert!(called == 1 && !dir.join("4").exists());
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn however_much_lies_there_a_look_takes_some_of_it() {
    let dir = scratch("much");
    for n in 0..3000 {
        put(&dir, &format!("{n:05}"), b"x\n");
    }
    let folder = Folder::new(dir.clone());
    let counts: Vec<usize> = (0..4).map(|second| folder.take_in(&Posix, 1000, second, &mut |_, _, _| Ok(())).unwrap()).collect();
    assert_eq!(counts, [BATCH, BATCH, BATCH, 0]);
    fs::remove_dir_all(dir).unwrap();
}
