//! A server that may have little address space (`ulimit -v`, `LimitAS=`): whoever has no place is told so, and nothing aborts.

use hikyaku_tests::{
    live::{Live, Mailer, Runtime, Setup, Talk},
    model::PASSWORD,
};
use std::{fs, io, process::Command, sync::Barrier, thread};

/// Each test on both runtimes.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod on_threads {
            $(#[test] fn $name() { super::$name(super::Runtime::Threads); })*
        }
        mod on_smol {
            $(#[test] fn $name() { super::$name(super::Runtime::Smol); })*
        }
    };
}

on_both!(whoever_does_not_fit_is_told_so, a_password_that_takes_all_memory_has_to_wait, too_little_for_anybody_is_said);

/// Clients at the same time: more than there are places.
const CLIENTS: usize = 200;

/// How a dialog ended that did not come to its end.
#[derive(Debug)]
enum End {
    /// The server said that there is no place.
    Refused,
    /// It sent the client away during the handshake, when nothing can be said.
    Cut,
    /// It said something else, or nothing.
    Wrong(String),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> End {
        End::Wrong(error.to_string())
    }
}

/// Says something, and hears lines until one begins with `until`.
fn say(talk: &mut Talk, words: &str, until: &str) -> Result<(), End> {
    // A server that has no place does not wait for what is said; its last word is there all the same.
    let said = talk.try_send(words.as_bytes());
    loop {
        match talk.try_line() {
            Ok(line) if line.starts_with(until) => return Ok(said?),
            Ok(line) if line.starts_with("421") || line.starts_with("* BYE") => return Err(End::Refused),
            Ok(line) if line.starts_with(['4', '5']) || line.contains(" NO ") || line.contains(" BAD ") => return Err(End::Wrong(line)),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The first words over TLS: the client has done its part of the handshake before the server has.
fn say_first(talk: &mut Talk, words: &str, until: &str) -> Result<(), End> {
    say(talk, words, until).map_err(|end| if let End::Wrong(_) = end { End::Cut } else { end })
}

/// Mail to alice over TLS.
fn smtp(live: &Live, n: usize) -> Result<Talk, End> {
    let mut talk = Talk::try_plain(([127, 0, 0, 1], live.ports.smtp).into())?;
    say(&mut talk, "", "220 ")?;
    say(&mut talk, "EHLO client.example.test\r\n", "250 ")?;
    say(&mut talk, "STARTTLS\r\n", "220 ")?;
    let mut talk = live.secure(talk);
    say_first(&mut talk, "EHLO client.example.test\r\n", "250 ")?;
    say(&mut talk, "MAIL FROM:<carol@example.org>\r\n", "250 ")?;
    say(&mut talk, "RCPT TO:<alice@example.test>\r\n", "250 ")?;
    say(&mut talk, "DATA\r\n", "354 ")?;
    say(&mut talk, &format!("Subject: {n}\r\n\r\n{}.\r\n", "words and more words\r\n".repeat(1000)), "250 ")?;
    Ok(talk)
}

/// Reads it.
fn imap(live: &Live) -> Result<Talk, End> {
    let mut talk = Talk::try_plain(([127, 0, 0, 1], live.ports.imap).into())?;
    say(&mut talk, "", "* OK ")?;
    say(&mut talk, "s STARTTLS\r\n", "s OK ")?;
    let mut talk = live.secure(talk);
    say_first(&mut talk, &format!("a LOGIN alice@example.test {PASSWORD}\r\n"), "a OK ")?;
    say(&mut talk, "b SELECT INBOX\r\n", "b OK ")?;
    say(&mut talk, "c FETCH 1:* (UID FLAGS ENVELOPE BODYSTRUCTURE BODY.PEEK[])\r\n", "c OK ")?;
    Ok(talk)
}

fn whoever_does_not_fit_is_told_so(runtime: Runtime) {
    let extra = "limits: (connections_per_address: 1000),".into();
    let mut live = Live::start(runtime, &Setup { address_space: Some(400_000), extra, ..Setup::default() });
    let all_done = Barrier::new(CLIENTS);
    let ends: Vec<Result<(), End>> = thread::scope(|scope| {
        let clients = (0..CLIENTS).map(|n| {
            let (all_done, live) = (&all_done, &live);
            scope.spawn(move || {
                let end = if n % 2 == 0 { smtp(live, n) } else { imap(live) };
                // Nobody leaves before everybody has been there.
                all_done.wait();
                end.map(drop)
            })
        });
        clients.collect::<Vec<_>>().into_iter().map(|client| client.join().expect("a client does not panic")).collect()
    });
    assert!(live.is_up(), "it ended");
    let served = ends.iter().filter(|end| end.is_ok()).count();
    let wrong: Vec<&String> = ends.iter().filter_map(|end| if let Err(End::Wrong(why)) = end { Some(why) } else { None }).collect();
    let cut = ends.iter().filter(|end| matches!(end, Err(End::Cut))).count();
    println!("{}: {served} of {CLIENTS} served, {cut} cut, {} KiB of address space", runtime.name(), live.widest_kib());
    assert!(wrong.is_empty(), "{} were neither served nor refused: {:?}", wrong.len(), &wrong[..3.min(wrong.len())]);
    assert!(served >= 20, "only {served} were served");
    Mailer::new(live.connect(live.ports.smtp), "EHLO").mail("carol@example.org", &["bob@example.test"], "Subject: after\r\n\r\nHello\r\n");
    let output = Command::new(runtime.binary()).args(["--config", "hikyaku.ron", "status"]).current_dir(&live.dir).output().unwrap();
    let status = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(status.lines().any(|line| line.starts_with("memory ") && line.contains(" to each listener")), "{status}");
    live.stop();
}

fn a_password_that_takes_all_memory_has_to_wait(runtime: Runtime) {
    let mut live = Live::start(runtime, &Setup { address_space: Some(250_000), ..Setup::default() });
    let path = live.dir.join("store/accounts.ron");
    let accounts = fs::read_to_string(&path).unwrap();
    let hash = accounts.split('"').find(|part| part.starts_with("{SSHA}")).unwrap();
    let dear = "$argon2id$v=19$m=262144,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$6G4RVhNf4sYzxbGJQzsImNwnF3BnniV+nogjylwdjiA";
    fs::write(live.dir.join("store/new"), accounts.replacen(hash, dear, 1)).unwrap();
    fs::rename(live.dir.join("store/new"), &path).unwrap();
    let mut talk = live.connect_tls(live.ports.imaps);
    talk.expect("* OK");
    talk.send(&format!("a LOGIN alice@example.test {PASSWORD}\r\n"));
    talk.expect("a NO [UNAVAILABLE]");
    let mut talk = live.connect_tls(live.ports.imaps);
    talk.imap_login("bob");
    live.stop();
}

fn too_little_for_anybody_is_said(runtime: Runtime) {
    let mut live = Live::new(runtime);
    live.stop();
    let binary = runtime.binary();
    let run = |command: &str| {
        let script = format!("ulimit -v 90000 && exec \"$0\" --config hikyaku.ron {command}");
        let output = Command::new("sh").args(["-c", &script]).arg(&binary).current_dir(&live.dir).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
    };
    for command in ["serve", "check"] {
        let (code, said) = run(command);
        assert!(
            code == Some(1) && said.contains("this process may have 88 MiB of memory") && said.contains("raise the limit"),
            "{code:?} {said}"
        );
    }
}
