//! What a peer can make a session allocate: never more than its budget, whatever it sends.
#![allow(unsafe_code)] // A global allocator cannot be had without it; nothing else here needs it.

use hikyaku_tests::{
    dialog::{Client, Imap, Pop3, Smtp, Stage},
    model::World,
};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

/// Most that one session may hold at any moment, inbox and outbox included.
const BUDGET: usize = 1 << 20;

/// Counts what each thread holds, and the most it ever held.
struct Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

fn count(more: usize, less: usize) {
    let held = HELD.get().saturating_add(more).saturating_sub(less);
    HELD.set(held);
    PEAK.set(PEAK.get().max(held));
}

// SAFETY: every call goes to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(0, layout.size());
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both are there while bytes move.
        count(size, 0);
        count(0, layout.size());
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Runs `act` and returns the most it held beyond what was there before.
fn peak(act: impl FnOnce()) -> usize {
    let before = HELD.get();
    PEAK.set(before);
    act();
    PEAK.get() - before
}

/// Sends a beginning and then a piece over and over, and checks what that cost. What the session says is thrown away, as are its
/// messages.
fn hostile<P: Stage>(what: &str, hall: &str, begin: &str, piece: &[u8], times: usize) {
    let mut options = vec![(0, "plaintext".into(), "yes".into()), (0, "tls".into(), "never".into())];
    let mut host = P::open(hall, &mut options, World::new().shared()).unwrap();
    host.forgetful = true;
    let peak = peak(|| {
        host.drive();
        host.send(begin.as_bytes(), &mut |left| left);
        for _ in 0..times {
            if host.closed.is_some() {
                break;
            }
            host.send(piece, &mut |left| left);
        }
    });
    println!("{hall}, {what}: {} KiB", peak >> 10);
    assert!(peak < BUDGET, "{hall}, {what}: {peak} bytes");
}

const BLOCK: usize = 100_000;

#[test]
fn a_line_of_a_hundred_megabytes() {
    let block = vec![b'x'; BLOCK];
    for hall in ["smtp", "submission", "lmtp"] {
        hostile::<Smtp>("a line", hall, "", &block, 1000);
        hostile::<Smtp>("a line of NULs", hall, "", &vec![0; BLOCK], 1000);
    }
    hostile::<Pop3>("a line", "pop3", "", &block, 1000);
    hostile::<Imap>("a line", "imap", "", &block, 1000);
    hostile::<Imap>("a line", "imap", "a login alice hikyaku\r\na select inbox\r\na ", &block, 1000);
    hostile::<Imap>("a quoted string", "imap", "a login \"", &block, 1000);
}

#[test]
fn a_message_of_a_hundred_megabytes() {
    let lines = b"0123456789\r\n".repeat(BLOCK / 12);
    for (hall, hello) in [("smtp", "EHLO"), ("lmtp", "LHLO")] {
        let begin = format!("{hello} a\r\nMAIL FROM:<>\r\nRCPT TO:<alice@example.test>\r\n");
        hostile::<Smtp>("DATA", hall, &format!("{begin}DATA\r\n"), &lines, 1000);
        hostile::<Smtp>("DATA of one line", hall, &format!("{begin}DATA\r\n"), &vec![b'x'; BLOCK], 1000);
        hostile::<Smtp>("BDAT", hall, &format!("{begin}BDAT 100000000\r\n"), &lines, 1000);
        let chunk = format!("BDAT {}\r\n{}", lines.len(), String::from_utf8_lossy(&lines));
        hostile::<Smtp>("many BDAT", hall, &begin, chunk.as_bytes(), 1000);
    }
    hostile::<Imap>("APPEND", "imap", "a login alice hikyaku\r\na append inbox {100000000+}\r\n", &lines, 1000);
}

#[test]
fn recipients_and_commands_without_end() {
    let begin = "EHLO a\r\nMAIL FROM:<>\r\n";
    let local = "x".repeat(400);
    hostile::<Smtp>("recipients", "smtp", begin, b"RCPT TO:<alice+tag@example.test>\r\n", 100_000);
    let long = format!("RCPT TO:<alice+{local}@example.test>\r\n");
    hostile::<Smtp>("long recipients", "smtp", begin, long.as_bytes(), 100_000);
    hostile::<Smtp>("long recipients", "lmtp", "LHLO a\r\nMAIL FROM:<>\r\n", long.as_bytes(), 100_000);
    hostile::<Smtp>("pipelined", "smtp", "EHLO a\r\n", &b"NOOP\r\n".repeat(10_000), 10);
    hostile::<Smtp>("nonsense", "smtp", "EHLO a\r\n", &b"\r\n".repeat(10_000), 10);
    hostile::<Pop3>("pipelined", "pop3", "USER alice\r\nPASS hikyaku\r\n", &b"LIST\r\nUIDL\r\n".repeat(10_000), 10);
    hostile::<Imap>("pipelined", "imap", "a login alice hikyaku\r\n", &b"a noop\r\na list \"\" *\r\n".repeat(1000), 10);
    hostile::<Imap>("tags", "imap", "", &[b"t".repeat(60_000).as_slice(), b" noop\r\n"].concat(), 100);
}

#[test]
fn imap_arguments_without_end() {
    let begin = "a login alice hikyaku\r\na select inbox\r\n";
    hostile::<Imap>("literals", "imap", begin, b"a login {60000+}\r\n", 10_000);
    hostile::<Imap>("literals before login", "imap", "a login", b" {60000+}\r\n", 10_000);
    hostile::<Imap>("small literals", "imap", &format!("{begin}a fetch 1 "), b"{1+}\r\nx", 1_000_000);
    hostile::<Imap>("parentheses", "imap", &format!("{begin}a search "), &b"(".repeat(1000), 100);
    hostile::<Imap>("keys", "imap", &format!("{begin}a search "), &b"or not all not ".repeat(100), 100);
    hostile::<Imap>("ranges", "imap", &format!("{begin}a fetch 1"), &b",1:4294967295".repeat(1000), 100);
    let ranges = [b"a fetch 1".as_slice(), &b",1".repeat(30_000), b" flags\r\n"].concat();
    hostile::<Imap>("lists of ranges", "imap", begin, &ranges, 100);
    let ranges = [b"a search 1".as_slice(), &b",1".repeat(30_000), b" or 1 not 2:3\r\n"].concat();
    hostile::<Imap>("searches of ranges", "imap", begin, &ranges, 100);
    let keywords: String = (0..3000).map(|n| format!("$keyword{n} ")).collect();
    hostile::<Imap>("keywords", "imap", begin, format!("a store 1 +flags ({keywords})\r\n").as_bytes(), 100);
    let names = format!("a fetch 1 body[header.fields ({})]\r\n", "x ".repeat(20_000));
    hostile::<Imap>("header names", "imap", begin, names.as_bytes(), 100);
    let mailbox = format!("a create \"{}\"\r\n", "a/".repeat(20_000));
    hostile::<Imap>("levels", "imap", begin, mailbox.as_bytes(), 100);
}

#[test]
fn a_server_that_says_too_much() {
    let block = vec![b'x'; BLOCK];
    hostile::<Client>("a line", "client", "", &block, 1000);
    hostile::<Client>("a line of a reply", "client", "220 ", &block, 1000);
    let line = [b"250-AUTH ".as_slice(), &b"MECHANISM".repeat(400), b"\r\n"].concat();
    hostile::<Client>("lines of a reply", "client", "220 mx\r\n", &line, 100_000);
    hostile::<Client>("replies", "client", "220 mx\r\n250 mx\r\n", &b"250 ok\r\n".repeat(10_000), 10);
    let long = [b"550-".as_slice(), &b"no".repeat(2000), b"\r\n"].concat();
    hostile::<Client>("refusals", "client", "", &long, 100_000);
}

/// A message is scanned as it passes; what is kept of it is bounded however it is nested.
#[test]
fn nesting_a_million_deep() {
    let mut worst = Vec::new();
    let mut scan = |what: &str, pieces: &mut dyn FnMut(&mut mime::Scanner)| {
        let mut kept = None;
        let peak = peak(|| {
            let mut scanner = mime::Scanner::new();
            pieces(&mut scanner);
            kept = Some(scanner.finish());
        });
        println!("{what}: {} KiB", peak >> 10);
        worst.push((peak, what.to_owned()));
    };
    scan("multiparts in multiparts", &mut |scanner| {
        for depth in 0..1_000_000 {
            scanner.feed(format!("Content-Type: multipart/mixed; boundary=b{depth}\r\n\r\n--b{depth}\r\n").as_bytes());
        }
    });
    scan("messages in messages", &mut |scanner| {
        for _ in 0..1_000_000 {
            scanner.feed(b"Content-Type: message/rfc822\r\n\r\n");
        }
    });
    scan("parts beside parts", &mut |scanner| {
        scanner.feed(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n");
        for _ in 0..1_000_000 {
            scanner.feed(b"--b\r\nContent-Type: text/plain; name=x\r\nContent-Description: y\r\n\r\nz\r\n");
        }
    });
    scan("addresses", &mut |scanner| {
        scanner.feed(b"To: a@b");
        for _ in 0..1_000_000 {
            scanner.feed(b",\r\n Somebody <somebody@example.test>");
        }
        scanner.feed(b"\r\n\r\n");
    });
    scan("parameters", &mut |scanner| {
        scanner.feed(b"Content-Type: text/plain");
        for number in 0..1_000_000 {
            scanner.feed(format!(";\r\n p{number}=v").as_bytes());
        }
        scanner.feed(b"\r\n\r\n");
    });
    scan("one header line", &mut |scanner| {
        scanner.feed(b"Subject: ");
        for _ in 0..1000 {
            scanner.feed(&[b'x'; BLOCK]);
        }
    });
    scan("header fields", &mut |scanner| {
        for _ in 0..1_000_000 {
            scanner.feed(b"Subject: again and again\r\nFrom: a@b\r\nContent-Type: text/plain\r\n");
        }
    });
    worst.retain(|(peak, _)| *peak >= BUDGET);
    assert!(worst.is_empty(), "{worst:?}");
}
