//! Times of a large mailbox: `cargo run --release -p hikyaku-tests --example mailbox_bench -- [MESSAGES] [DIRECTORY]`.

use imap::{Change, Need};
use mail::{Flags, MailboxName, Stamp, System, Uid};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};
use storage::{
    disk::Posix,
    mailbox::{Content, Cursor, Deposit, Mailbox, Mailboxes, Options},
};

fn main() {
    let mut args = std::env::args().skip(1);
    let count: u64 = args.next().map_or(100_000, |n| n.parse().expect("a number of messages"));
    let root = args.next().map_or_else(|| std::env::temp_dir().join(format!("hikyaku-bench-{}", std::process::id())), PathBuf::from);
    std::fs::create_dir_all(&root).expect("a directory to write to");
    let (boxes, inbox) = open(&root);
    timed("deliver", count, || (0..count).for_each(|i| deliver(&inbox, i)));
    timed("first select (moves 200 files)", 1, || drop(inbox.select(false).expect("select")));
    timed("move the rest to cur/", count, || {
        while std::fs::read_dir(root.join("Maildir/new")).expect("new/").next().is_some() {
            boxes.chores();
        }
    });
    std::thread::sleep(std::time::Duration::from_millis(2100));
    boxes.chores();
    timed("close", 1, || hikyaku_tests::close(&boxes).expect("close"));
    drop((boxes, inbox));

    let mut opened = None;
    timed("open after a start", 1, || opened = Some(open(&root)));
    let (boxes, inbox) = opened.expect("it was opened");
    let (mut view, selected) = inbox.select(false).expect("select");
    timed("select again", 1, || drop(inbox.select(false).expect("select")));
    let each = |need: Need| selected.uids.chunks(64).map(|uids| inbox.describe(uids, need).expect("describe").len() as u64).sum::<u64>();
    timed("describe all: flags", count, || assert_eq!(each(Need::default()), count));
    timed("describe all: flags, size, date", count, || assert_eq!(each(Need { size: true, date: true, structure: false }), count));
    timed("describe all: structure", count, || assert_eq!(each(Need { structure: true, ..Need::default() }), count));
    timed("read all", count, || {
        let (mut cursor, mut buf) = (Cursor::default(), Vec::with_capacity(32 << 10));
        for uids in selected.uids.chunks(64) {
            for detail in inbox.describe(uids, Need { size: true, ..Need::default() }).expect("describe") {
                buf = inbox.read(&mut cursor, detail.uid, detail.span, 0, std::mem::take(&mut buf)).expect("read");
                assert_eq!(buf.len() as u64, detail.span.wire);
            }
        }
    });
    timed("sync, nothing new", 1, || drop(view.sync().expect("sync")));
    timed("store one flag", 1, || drop(inbox.store(&selected.uids[..1], Change::Add, &Flags::system(System::SEEN)).expect("store")));
    timed("sync", 1, || assert_eq!(view.sync().expect("sync").flags.len(), 1));
    timed("deliver one", 1, || deliver(&inbox, count));
    timed("sync", 1, || assert_eq!(view.sync().expect("sync").new.len(), 1));
    std::fs::write(root.join("Maildir/cur/1.stranger:2,S"), "x\n").expect("a file");
    timed("sync after another program's change", 1, || assert_eq!(view.sync().expect("sync").new.len(), 1));
    timed("store a thousand", 1000, || {
        drop(inbox.store(&selected.uids[..1000], Change::Add, &Flags::system(System::DELETED)).expect("store"))
    });
    let doomed: Vec<Uid> = inbox.doomed(None, true).expect("doomed").iter().map(|d| d.uid).collect();
    timed("remove a thousand", 1000, || drop(inbox.remove(&doomed, &[]).expect("remove")));
    timed("their files", 1000, || hikyaku_tests::settle(&boxes).expect("checkpoint"));
    std::fs::remove_dir_all(&root).expect("the directory can be removed");
}

fn timed(what: &str, count: u64, work: impl FnOnce()) {
    let (start, cpu) = (Instant::now(), cpu());
    work();
    let (took, worked) = (start.elapsed(), self::cpu() - cpu);
    println!(
        "{what:<40} {took:>10.2?} {:>9.2} us each, of which {:>9.2} of this thread",
        took.as_secs_f64() * 1e6 / count as f64,
        worked * 1e6 / count as f64
    );
}

/// Seconds that this thread has worked: on a busy machine the other number says little.
fn cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn open(root: &Path) -> (Mailboxes, Arc<Mailbox>) {
    let boxes = Mailboxes::new(Arc::new(Posix), Options { host: "mx.test".into(), root: root.to_owned(), ..Options::default() });
    let inbox = boxes.open(&root.join("Maildir"), &MailboxName::inbox()).expect("the inbox");
    (boxes, inbox)
}

fn deliver(inbox: &Mailbox, i: u64) {
    let text = format!(
        "From: a@example.test\nTo: b@example.test\nSubject: message {i}\nDate: Tue, 24 Nov 2026 06:37:27 +0000\n\n{}",
        "text\n".repeat(180)
    );
    let wire = text.len() as u64 + text.matches('\n').count() as u64;
    let base = maildir::base_name(1_795_502_247 + i as i64, &format!("L{i:x}N0"), "mx.test", text.len() as u64, wire);
    let mut scanner = mime::Scanner::new();
    scanner.feed(text.as_bytes());
    let structure = scanner.finish();
    inbox.confirm(&inbox.reserve().expect("reserve"));
    let deposit = Deposit {
        base: &base,
        content: Content::Bytes(&[text.as_bytes()]),
        flags: &Flags::default(),
        date: Stamp::utc(1_795_502_247 + i as i64),
        size: text.len() as u64,
        wire,
        structure: Some(&structure),
        record: None,
    };
    inbox.deliver(&deposit).expect("deliver");
}
