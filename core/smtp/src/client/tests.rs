//! Conversations of the client with servers, as scripts.

use super::*;
use alloc::{string::ToString as _, vec};
use mail::{Address, Notify, Recipient, Wishes};

mod header;

/// A conversation: what the server says (`S`), what the client is to say before that (`C`), a handshake (`T`).
fn settings() -> Settings {
    Settings {
        helo: "client.test".into(),
        protocol: Protocol::Smtp,
        security: Security::May,
        name: "mx.test".into(),
        login: None,
        plaintext_login: false,
        socks: None,
        idle_ms: 1000,
    }
}

fn job(to: &[&str]) -> Job {
    let recipients = to.iter().map(|t| Recipient::from(Address::parse(t).unwrap())).collect();
    Job {
        id: 1,
        sender: Address::parse("alice@client.test"),
        recipients,
        wishes: Wishes::default(),
        due_in: None,
        size: 20,
        eight_bit: false,
        binary: false,
        utf8: false,
        raw: false,
    }
}

#[derive(Default)]
struct Host {
    jobs: Vec<Job>,
    content: Vec<u8>,
    read: usize,
    form: Option<Form>,
    reports: Vec<Report>,
    trouble: Option<Trouble>,
}

impl Office for Host {
    fn next(&mut self, _: Offer) -> Option<Box<Job>> {
        (!self.jobs.is_empty()).then(|| Box::new(self.jobs.remove(0)))
    }
    fn open(&mut self, form: Form) -> Result<u64, wire::Fault> {
        (self.form, self.read) = (Some(form), 0);
        Ok(self.content.len() as u64)
    }
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, wire::Fault> {
        let n = buf.len().min(self.content.len() - self.read).min(7);
        buf[..n].copy_from_slice(&self.content[self.read..self.read + n]);
        self.read += n;
        Ok(n)
    }
    fn report(&mut self, report: Report) {
        self.reports.push(report);
    }
    fn trouble(&mut self, trouble: Trouble) {
        self.trouble = Some(trouble);
    }
}

/// Plays a script of lines: `S: ...` is said by the server, `C: ...` expected of the client, `T: ok` or `T: no` ends a handshake, `X` hangs up.
/// What the server says arrives in pieces of `cut` bytes. Returns the host and how it ended.
fn play(settings: Settings, host: &mut Host, script: &str, cut: usize) -> Option<Why> {
    use wire::Question as _;
    let (mut rx, mut tx, mut now) = (Inbox::new(INBOX_LIMIT), Outbox::new(OUTBOX_MARK), Tick(0));
    let mut session = Client::new(settings, now);
    let mut said = Vec::new();
    let mut lines = script.lines().map(str::trim).filter(|l| !l.is_empty()).peekable();
    let mut coming: Vec<u8> = Vec::new();
    for _ in 0..10_000 {
        match session.step(now, &mut rx, &mut tx) {
            Step::Ask(ask) => {
                let answer = ask.put_to(host);
                session.tell(now, News::Answer(answer), &mut tx);
                continue;
            }
            Step::Flush => {}
            Step::Body(_) => unreachable!(),
            Step::StartTls(want) => {
                assert!(rx.is_empty() && coming.is_empty());
                assert!(matches!(want, Want::Connect(expect) if &*expect.name == "mx.test"));
                let line = lines.next();
                let outcome = match line {
                    Some("T: ok") => Ok(wire::Tls::default()),
                    Some("T: no") => Err("bad certificate".into()),
                    line => panic!("a handshake, and the script says {line:?}"),
                };
                session.tell(now, News::Secured(outcome), &mut tx);
                continue;
            }
            Step::Close(why) => {
                said.extend_from_slice(tx.bytes());
                let n = tx.bytes().len();
                tx.sent(n);
                for line in lines {
                    let line = line.strip_prefix("C: ").unwrap_or_else(|| panic!("closed ({why:?}) before {line}"));
                    let want = alloc::format!("{line}\r\n").into_bytes();
                    assert!(said.starts_with(&want), "{line}: {:?}", String::from_utf8_lossy(&said));
                    said.drain(..want.len());
                }
                assert!(said.is_empty(), "{:?}", String::from_utf8_lossy(&said));
                return Some(why);
            }
            Step::Read if coming.is_empty() => {
                said.extend_from_slice(tx.bytes());
                let n = tx.bytes().len();
                tx.sent(n);
                while let Some(line) = lines.next_if(|l| l.starts_with("C: ")) {
                    let want = alloc::format!("{}\r\n", &line[3..]).into_bytes();
                    assert!(said.starts_with(&want), "{line} in {:?}", String::from_utf8_lossy(&said));
                    said.drain(..want.len());
                }
                match lines.next() {
                    Some("X") => rx.end(),
                    Some("...") => now = session.deadline().unwrap(),
                    Some(line) if line.starts_with("S: ") => {
                        coming = alloc::format!("{}\r\n", &line[3..]).into_bytes();
                        while let Some(more) = lines.next_if(|l| l.starts_with("S: ")) {
                            coming.extend_from_slice(alloc::format!("{}\r\n", &more[3..]).as_bytes());
                        }
                    }
                    None => return None,
                    Some(line) => panic!("{line}; the client said {:?}", String::from_utf8_lossy(&said)),
                }
            }
            Step::Read => {}
        }
        let n = coming.len().min(cut).min(rx.spare().len());
        rx.spare()[..n].copy_from_slice(&coming[..n]);
        rx.filled(n);
        coming.drain(..n);
        if matches!(tx.bytes().len(), n if n > 0) {
            said.extend_from_slice(tx.bytes());
            let n = tx.bytes().len();
            tx.sent(n);
        }
    }
    panic!("it never ends");
}

fn run(settings: Settings, jobs: Vec<Job>, content: &[u8], script: &str) -> (Vec<Report>, Option<Trouble>, Option<Why>) {
    let mut outcome = None;
    for cut in [1, 5, 4096] {
        let mut host = Host { jobs: jobs.clone(), content: content.to_vec(), ..Host::default() };
        let why = play(settings.clone(), &mut host, script, cut);
        let this = (host.reports, host.trouble, why);
        if let Some(before) = &outcome {
            assert_eq!(&this, before, "cut into {cut}");
        }
        outcome = Some(this);
    }
    outcome.unwrap()
}

fn fates(report: &Report) -> Vec<(Fate, u16, String)> {
    report.each.iter().map(|o| (o.fate, o.reply.code, o.reply.text.to_string())).collect()
}

#[test]
fn pipelined_with_one_recipient_refused() {
    let script = "
        S: 220 mx.test ESMTP
        C: EHLO client.test
        S: 250-mx.test hello
        S: 250-PIPELINING
        S: 250-SIZE 1000
        S: 250 8BITMIME
        C: MAIL FROM:<alice@client.test> SIZE=15
        C: RCPT TO:<bob@mx.test>
        C: RCPT TO:<nobody@mx.test>
        C: DATA
        S: 250 2.1.0 ok
        S: 250 2.1.5 ok
        S: 550 5.1.1 who?
        S: 354 go
        C: ..dot
        C: two
        C: .
        S: 250 2.0.0 queued as 1
        ...
        C: QUIT
        S: 221 bye";
    let (reports, trouble, why) = run(
        settings(),
        vec![job(&["bob@mx.test", "nobody@mx.test"])],
        b".dot\r\ntwo\r\n\r\n"[..11].as_ref(),
        &script.replace("SIZE=15", "SIZE=11"),
    );
    assert_eq!((trouble, why), (None, Some(Why::Done)));
    assert_eq!(fates(&reports[0]), [(Fate::Delivered, 250, "queued as 1".to_string()), (Fate::Failed, 550, "who?".to_string())]);
    assert_eq!(reports[0].each[1].reply.status, (5, 1, 1));
}

#[test]
fn nobody_is_taken_but_the_message_is_wanted() {
    let script = "
        S: 220 mx.test
        C: EHLO client.test
        S: 250-mx.test
        S: 250 PIPELINING
        C: MAIL FROM:<alice@client.test>
        C: RCPT TO:<bob@mx.test>
        C: DATA
        S: 250 ok
        S: 450 4.2.0 greylisted
        S: 354 go
        C: .
        S: 554 no recipients
        ...
        C: QUIT
        X";
    let (reports, _, why) = run(settings(), vec![job(&["bob@mx.test"])], b"x\r\n", script);
    assert_eq!(fates(&reports[0]), [(Fate::Deferred, 450, "greylisted".to_string())]);
    assert_eq!(why, Some(Why::Done));
}

#[test]
fn an_old_server_gets_helo_and_one_command_at_a_time() {
    let script = "
        S: 220 old
        C: EHLO client.test
        S: 502 what?
        C: HELO client.test
        S: 250 old.test
        C: MAIL FROM:<alice@client.test>
        S: 250 ok
        C: RCPT TO:<bob@mx.test>
        S: 250 ok
        C: DATA
        S: 354 go
        C: x
        C: .
        S: 250 ok";
    let (reports, ..) = run(settings(), vec![job(&["bob@mx.test"])], b"x", script);
    assert_eq!(reports[0].each[0].fate, Fate::Delivered);
}

#[test]
fn a_refused_transaction_is_reset_before_the_next() {
    let script = "
        S: 220 mx
        C: EHLO client.test
        S: 250 mx.test
        C: MAIL FROM:<alice@client.test>
        S: 250 ok
        C: RCPT TO:<bob@mx.test>
        S: 550 no
        C: RSET
        S: 250 ok
        C: MAIL FROM:<alice@client.test>
        S: 550 5.7.1 not you
        ...
        C: QUIT
        S: 221 bye";
    let (reports, ..) = run(settings(), vec![job(&["bob@mx.test"]), job(&["bob@mx.test"])], b"x\r\n", script);
    assert_eq!(reports.len(), 2);
    assert!(reports.iter().all(|r| r.each[0].fate == Fate::Failed));
}

#[test]
fn who_refuses_a_long_content_is_not_asked_again_on_this_line() {
    let line = "x".repeat(70);
    let content = alloc::format!("{line}\r\n").repeat(OUTBOX_MARK / 70);
    let script = alloc::format!(
        "
        S: 220 mx
        C: EHLO client.test
        S: 250 mx.test
        C: MAIL FROM:<alice@client.test>
        S: 250 ok
        C: RCPT TO:<bob@mx.test>
        S: 250 ok
        C: DATA
        S: 354 go
        {}C: .
        S: 552 too much
        S: 500 x?
        C: QUIT",
        alloc::format!("C: {line}\n").repeat(OUTBOX_MARK / 70)
    );
    let (reports, trouble, why) = run(settings(), vec![job(&["bob@mx.test"]), job(&["bob@mx.test"])], content.as_bytes(), &script);
    assert_eq!((reports.len(), trouble, why), (1, None, Some(Why::Done)), "the second is for another connection");
}

#[test]
fn tls_is_taken_where_it_is_offered_and_what_was_offered_before_is_forgotten() {
    let script = "
        S: 220 mx
        C: EHLO client.test
        S: 250-mx.test
        S: 250-PIPELINING
        S: 250 STARTTLS
        C: STARTTLS
        S: 220 go
        T: ok
        C: EHLO client.test
        S: 250 mx.test
        C: MAIL FROM:<alice@client.test>
        S: 250 ok
        C: RCPT TO:<bob@mx.test>
        X";
    let (reports, ..) = run(settings(), vec![job(&["bob@mx.test"])], b"x\r\n", script);
    assert_eq!(fates(&reports[0]), [(Fate::Deferred, 450, "the server hung up".to_string())]);
}

#[test]
fn where_tls_fails_it_is_told_whether_it_may_go_without() {
    let begin = "
        S: 220 mx
        C: EHLO client.test
        S: 250-mx.test
        S: 250 STARTTLS
        C: STARTTLS
        S: 220 go
        T: no";
    let (_, trouble, _) = run(settings(), vec![], b"", begin);
    assert!(trouble.unwrap().without_tls);
    let must = Settings { security: Security::Must { verified: true }, ..settings() };
    let (_, trouble, _) = run(must.clone(), vec![], b"", begin);
    assert!(!trouble.unwrap().without_tls);
    let (_, trouble, _) = run(must, vec![], b"", "S: 220 mx\nC: EHLO client.test\nS: 250 mx.test\nC: QUIT");
    assert_eq!(trouble.unwrap().reply.status, (4, 7, 4));
}

#[test]
fn more_than_a_reply_before_the_handshake_is_an_attack() {
    let script = "
        S: 220 mx
        C: EHLO client.test
        S: 250-mx.test
        S: 250 STARTTLS
        C: STARTTLS
        S: 220 go
        S: 250 injected";
    let mut host = Host::default();
    play(settings(), &mut host, script, 4096);
    assert!(host.trouble.unwrap().reply.text.contains("before the handshake"));
}

#[test]
fn logins() {
    let login = Credentials { user: "u".into(), password: "p".into(), nonce: "n".into() };
    let with = Settings { login: Some(login), security: Security::Implicit { verified: true }, ..settings() };
    let script = "
        T: ok
        S: 220 mx
        C: EHLO client.test
        S: 250-mx.test
        S: 250 AUTH LOGIN PLAIN
        C: AUTH PLAIN AHUAcA==
        S: 535 5.7.8 no
        C: QUIT";
    let (_, trouble, _) = run(with.clone(), vec![], b"", script);
    assert_eq!(trouble.unwrap().at, Stage::Login);
    let clear = Settings { security: Security::May, ..with };
    let (_, trouble, _) = run(clear, vec![], b"", "S: 220 mx\nC: EHLO client.test\nS: 250-mx.test\nS: 250 AUTH PLAIN\nC: QUIT");
    assert!(trouble.unwrap().reply.text.contains("no way to log in"));
}

#[test]
fn lmtp_tells_of_each_recipient() {
    let lmtp = Settings { protocol: Protocol::Lmtp, ..settings() };
    let script = "
        S: 220 mx
        C: LHLO client.test
        S: 250-mx.test
        S: 250 PIPELINING
        C: MAIL FROM:<alice@client.test>
        C: RCPT TO:<a@mx.test>
        C: RCPT TO:<b@mx.test>
        C: RCPT TO:<c@mx.test>
        C: DATA
        S: 250 ok
        S: 250 ok
        S: 550 no
        S: 250 ok
        S: 354 go
        C: x
        C: .
        S: 250 2.1.5 there
        X";
    let (reports, ..) = run(lmtp, vec![job(&["a@mx.test", "b@mx.test", "c@mx.test"])], b"x\r\n", script);
    let fates: Vec<Fate> = reports[0].each.iter().map(|o| o.fate).collect();
    assert_eq!(fates, [Fate::Delivered, Fate::Failed, Fate::Deferred]);
}

#[test]
fn what_the_peer_cannot_take_is_known_without_asking() {
    let hello = "
        S: 220 mx
        C: EHLO client.test
        S: 250-mx.test
        S: 250 SIZE 10";
    let end = "\n...\nC: QUIT\nS: 221 bye";
    let (reports, ..) = run(settings(), vec![job(&["bob@mx.test"])], b"x\r\n", &[hello, end].concat());
    assert_eq!(reports[0].each[0].reply.status, (5, 3, 4));
    assert!(!reports[0].each[0].by_peer);
    let mut small = job(&["grüße@mx.test", "bob@bücher.test"]);
    small.size = 3;
    let go = "
        C: MAIL FROM:<alice@client.test> SIZE=3
        S: 250 ok
        C: RCPT TO:<bob@xn--bcher-kva.test>
        S: 451 later
        C: RSET
        S: 250 ok";
    let (reports, ..) = run(settings(), vec![small], b"x\r\n", &[hello, go, end].concat());
    assert_eq!(reports[0].each[0].reply.status, (5, 6, 7));
    assert_eq!(reports[0].each[1].fate, Fate::Deferred);
}

#[test]
fn wishes_are_passed_on_or_told_to_be_lost() {
    let mut wished = job(&["bob@mx.test"]);
    wished.recipients[0].notify = Notify::SUCCESS.with(Notify::FAILURE);
    wished.recipients[0].original = Some("rfc822;Bob+x@mx.test".into());
    wished.wishes.envid = Some("a+b".into());
    wished.wishes.ret = Some(mail::Ret::Headers);
    wished.eight_bit = true;
    let script = "
        S: 220 mx
        C: EHLO client.test
        S: 250-mx.test
        S: 250-8BITMIME
        S: 250 DSN
        C: MAIL FROM:<alice@client.test> BODY=8BITMIME RET=HDRS ENVID=a+2Bb
        S: 250 ok
        C: RCPT TO:<bob@mx.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bob+2Bx@mx.test
        S: 250 ok
        C: DATA
        S: 354 go
        C: x
        C: .
        S: 250 ok";
    let (reports, ..) = run(settings(), vec![wished.clone()], b"x\r\n", script);
    assert_eq!(reports[0].each[0].fate, Fate::Delivered);
    let script = "
        S: 220 mx
        C: EHLO client.test
        S: 250 mx.test
        C: MAIL FROM:<alice@client.test>
        S: 250 ok
        C: RCPT TO:<bob@mx.test>
        S: 250 ok
        C: DATA
        S: 354 go
        C: x
        C: .
        S: 250 ok";
    let mut host = Host { jobs: vec![wished], content: b"x\r\n".to_vec(), ..Host::default() };
    play(settings(), &mut host, script, 7);
    assert_eq!(host.form, Some(Form::SevenBit));
    assert_eq!(host.reports[0].each[0].fate, Fate::Relayed);
}

#[test]
fn binary_goes_in_chunks() {
    let mut binary = job(&["bob@mx.test"]);
    binary.binary = true;
    let script = "
        S: 220 mx
        C: EHLO client.test
        S: 250-mx.test
        S: 250-CHUNKING
        S: 250 BINARYMIME
        C: MAIL FROM:<alice@client.test> BODY=BINARYMIME
        S: 250 ok
        C: RCPT TO:<bob@mx.test>
        S: 250 ok
        C: BDAT 7
        C: .x\ny.
        S: 250 go on
        C: BDAT 0 LAST
        S: 250 done"
        .replace("\\n", "\n");
    let mut host = Host { jobs: vec![binary], content: b".x-y.\r\n".to_vec(), ..Host::default() };
    play(settings(), &mut host, &script.replace(".x\ny.", ".x-y."), 4096);
    assert_eq!(host.reports[0].each[0].fate, Fate::Delivered);
}

#[test]
fn a_proxy_is_gone_through() {
    let socks = Socks { to: Destination::Name("mx.test".into()), port: 25, login: Some(("u".into(), "pw".into())) };
    let mut session = Client::new(Settings { socks: Some(socks), ..settings() }, Tick(0));
    let (mut rx, mut tx) = (Inbox::new(INBOX_LIMIT), Outbox::new(OUTBOX_MARK));
    let mut talk = |input: &[u8], want: &[u8]| {
        for byte in input {
            rx.spare()[0] = *byte;
            rx.filled(1);
            assert!(matches!(session.step(Tick(0), &mut rx, &mut tx), Step::Read));
        }
        if input.is_empty() {
            assert!(matches!(session.step(Tick(0), &mut rx, &mut tx), Step::Read));
        }
        assert_eq!(tx.bytes(), want);
        let n = tx.bytes().len();
        tx.sent(n);
    };
    talk(b"", &[5, 2, 0, 2]);
    talk(&[5, 2], b"\x01\x01u\x02pw");
    talk(&[1, 0], b"\x05\x01\x00\x03\x07mx.test\x00\x19");
    talk(&[5, 0, 0, 1, 1, 2, 3, 4, 0, 9], b"");
    talk(b"220 hi\r\n", b"EHLO client.test\r\n");
}

/// A session that has said EHLO and got this offer, up to its first question.
fn ready(offer: &[u8]) -> (Client, Inbox, Outbox) {
    let mut session = Client::new(settings(), Tick(0));
    let (mut rx, mut tx) = (Inbox::new(INBOX_LIMIT), Outbox::new(OUTBOX_MARK));
    put(&mut rx, b"220 mx\r\n");
    put(&mut rx, offer);
    assert!(matches!(session.step(Tick(0), &mut rx, &mut tx), Step::Ask(Ask::Next(_))));
    drain(&mut tx);
    (session, rx, tx)
}

fn put(rx: &mut Inbox, bytes: &[u8]) {
    rx.spare()[..bytes.len()].copy_from_slice(bytes);
    rx.filled(bytes.len());
}

fn drain(tx: &mut Outbox) -> Vec<u8> {
    let bytes = tx.bytes().to_vec();
    tx.sent(bytes.len());
    bytes
}

#[test]
fn a_nudge_while_the_host_is_asked_is_not_lost() {
    let (mut session, mut rx, mut tx) = ready(b"250 mx\r\n");
    session.tell(Tick(0), News::Nudge(Nudge::Changed), &mut tx);
    session.tell(Tick(0), News::Answer(Answer::Next(None)), &mut tx);
    assert!(
        matches!(session.step(Tick(0), &mut rx, &mut tx), Step::Ask(Ask::Next(_))),
        "what it was about may have come too late for the answer"
    );
    session.tell(Tick(0), News::Answer(Answer::Next(None)), &mut tx);
    assert!(matches!(session.step(Tick(0), &mut rx, &mut tx), Step::Read));
}

/// Sends the content until the session says something else than `Read`; a block every `ms`.
fn stream(session: &mut Client, rx: &mut Inbox, tx: &mut Outbox, ms: u64, most: u32) -> (u32, Vec<u8>) {
    let (mut now, mut blocks, mut said) = (Tick(0), 0, Vec::new());
    loop {
        let answer = match session.step(now, rx, tx) {
            Step::Ask(Ask::Open(_)) => Answer::Open(Ok(4_000_000)),
            Step::Ask(Ask::Read(buffer)) if blocks < most => {
                blocks += 1;
                let n = buffer.len();
                Answer::Read(Ok((buffer, n)))
            }
            Step::Ask(Ask::Read(buffer)) => Answer::Read(Ok((buffer, 0))),
            Step::Flush => {
                said.extend(drain(tx));
                now = now.after(ms);
                continue;
            }
            _ => break,
        };
        session.tell(now, News::Answer(answer), tx);
    }
    said.extend(drain(tx));
    (blocks, said)
}

#[test]
fn a_peer_that_takes_a_block_now_and_then_is_given_up() {
    let take = |ms: u64| {
        let (mut session, mut rx, mut tx) = ready(b"250-mx\r\n250 PIPELINING\r\n");
        session.tell(Tick(0), News::Answer(Answer::Next(Some(Box::new(job(&["bob@mx.test"]))))), &mut tx);
        put(&mut rx, b"250 ok\r\n250 ok\r\n354 go\r\n");
        stream(&mut session, &mut rx, &mut tx, ms, 250).0
    };
    assert_eq!(take(10), 250);
    assert!(take(179_000) < 250, "each block in time, and all of them too slow");
}

#[test]
fn chunks_go_ahead_as_far_as_their_replies_surely_fit() {
    let (mut session, mut rx, mut tx) = ready(b"250-mx\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 BINARYMIME\r\n");
    let mut binary = job(&["bob@mx.test"]);
    binary.binary = true;
    session.tell(Tick(0), News::Answer(Answer::Next(Some(Box::new(binary)))), &mut tx);
    put(&mut rx, b"250 ok\r\n250 ok\r\n");
    assert_eq!(stream(&mut session, &mut rx, &mut tx, 0, 100).0, limits::CHUNKS_MAX);
    put(&mut rx, b"250 ok\r\n");
    assert_eq!(stream(&mut session, &mut rx, &mut tx, 0, 100).0, 1, "one more for each reply");
    put(&mut rx, b"552 5.3.4 too large\r\n");
    assert_eq!(stream(&mut session, &mut rx, &mut tx, 0, 100).0, 0, "nothing more is sent in vain");
    put(&mut rx, &b"503 no\r\n".repeat(limits::CHUNKS_MAX as usize - 1));
    let Step::Ask(Ask::Report(report)) = session.step(Tick(0), &mut rx, &mut tx) else { panic!("all are answered") };
    assert_eq!(fates(&report), [(Fate::Failed, 552, "too large".to_string())]);
}

#[test]
fn why_the_server_hung_up_on_the_content_is_heard() {
    for (said, fate, text) in [
        ("552 5.3.4 too large", Fate::Failed, "too large"),
        ("421 4.3.2 too busy", Fate::Deferred, "too busy"),
        ("250 thanks", Fate::Deferred, "the server hung up"),
        ("", Fate::Deferred, "the server hung up"),
    ] {
        let (mut session, mut rx, mut tx) = ready(b"250 mx\r\n");
        session.tell(Tick(0), News::Answer(Answer::Next(Some(Box::new(job(&["bob@mx.test", "carol@mx.test"]))))), &mut tx);
        put(&mut rx, b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n");
        loop {
            match session.step(Tick(0), &mut rx, &mut tx) {
                Step::Ask(Ask::Open(_)) => session.tell(Tick(0), News::Answer(Answer::Open(Ok(4_000_000))), &mut tx),
                Step::Ask(Ask::Read(buffer)) => session.tell(Tick(0), News::Answer(Answer::Read(Ok((buffer, 1000)))), &mut tx),
                Step::Flush => break,
                step => panic!("{step:?}"),
            }
        }
        drain(&mut tx);
        put(&mut rx, said.as_bytes());
        put(&mut rx, if said.is_empty() { b"" } else { b"\r\n" });
        rx.end();
        let Step::Ask(Ask::Report(report)) = session.step(Tick(0), &mut rx, &mut tx) else { panic!("it goes on") };
        assert!(report.each.iter().all(|each| (each.fate, &*each.reply.text) == (fate, text)), "{said}: {report:?}");
        session.tell(Tick(0), News::Answer(Answer::Report), &mut tx);
        assert!(matches!(session.step(Tick(0), &mut rx, &mut tx), Step::Close(Why::Gone)), "{said}");
    }
}

#[test]
fn an_address_is_never_a_command() {
    let mut evil = job(&["bob@mx.test"]);
    evil.recipients.push(Address { local: "x\r\nDATA".into(), domain: "mx.test".into() }.into());
    evil.recipients.push(Address { local: "x".into(), domain: "mx.test>\r\nDATA".into() }.into());
    let script = "
        S: 220 mx
        C: EHLO client.test
        S: 250-mx.test
        S: 250-SMTPUTF8
        S: 250 PIPELINING
        C: MAIL FROM:<alice@client.test>
        C: RCPT TO:<bob@mx.test>
        C: DATA
        X";
    let (reports, ..) = run(settings(), vec![evil], b"x", script);
    let status: Vec<_> = reports[0].each.iter().map(|o| (o.fate, o.reply.status)).collect();
    assert_eq!(status, [(Fate::Deferred, (4, 4, 2)), (Fate::Failed, (5, 1, 3)), (Fate::Failed, (5, 1, 3))]);
}

#[test]
fn a_proxy_that_speaks_before_the_handshake_is_not_believed() {
    let socks = Socks { to: Destination::Address([192, 0, 2, 1].into()), port: 465, login: None };
    let settings = Settings { socks: Some(socks), security: Security::Implicit { verified: true }, ..settings() };
    let mut session = Client::new(settings, Tick(0));
    let (mut rx, mut tx) = (Inbox::new(INBOX_LIMIT), Outbox::new(OUTBOX_MARK));
    assert!(matches!(session.step(Tick(0), &mut rx, &mut tx), Step::Read));
    put(&mut rx, b"\x05\0\x05\0\0\x01\x7f\0\0\x01\0\x19220 mx\r\n");
    let Step::Ask(Ask::Trouble(trouble)) = session.step(Tick(0), &mut rx, &mut tx) else { panic!("it goes on") };
    assert_eq!((trouble.at, trouble.reply.status), (Stage::Tls, (4, 7, 5)));
}
