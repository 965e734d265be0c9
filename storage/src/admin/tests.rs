//! Commands as somebody types them, on a real directory.

use super::*;

struct Desk {
    dir: PathBuf,
}

struct Said {
    code: ExitCode,
    out: String,
    err: String,
    boot: Option<Boot>,
}

impl Desk {
    fn new(name: &str) -> Desk {
        let dir = std::env::temp_dir().join(format!("hikyaku-admin-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        Desk { dir }
    }

    /// A store of our own, made by `init`.
    fn at(name: &str) -> Desk {
        let desk = Desk::new(name);
        desk.type_in(&format!("init example.test --dir {}", desk.dir.display()), "").fine();
        desk
    }

    fn type_in(&self, line: &str, input: &str) -> Said {
        let mut args = vec![OsString::from("hikyaku")];
        args.extend(line.split(' ').map(OsString::from));
        if !line.starts_with("init") && !line.starts_with("demo") && self.config().exists() {
            args.extend(["--config".into(), self.config().into()]);
        }
        let (mut out, mut err, mut input) = (Vec::new(), Vec::new(), input.as_bytes());
        let mut console = Console { input: &mut input, out: &mut out, err: &mut err, terminal: false, colours: false };
        let outcome = run("hikyaku", Needs { threads: 0, connection: 1 }, args, &mut console);
        let (code, boot) = match outcome {
            Outcome::Exit(code) => (code, None),
            Outcome::Serve(boot) => (ExitCode::SUCCESS, Some(*boot)),
        };
        Said { code, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap(), boot }
    }

    fn config(&self) -> PathBuf {
        self.dir.join("hikyaku.ron")
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Said {
    fn fine(self) -> Said {
        assert_eq!(self.code, ExitCode::SUCCESS, "{}{}", self.out, self.err);
        self
    }

    fn wrong(self, why: &str) -> Said {
        assert_ne!(self.code, ExitCode::SUCCESS, "{}", self.out);
        assert!(self.err.contains(why), "{}", self.err);
        self
    }
}

#[test]
fn from_nothing_to_a_server() {
    let desk = Desk::new("init");
    let said = desk.type_in(&format!("init Example.Test. --dir {}", desk.dir.display()), "").fine();
    for part in ["account add you@example.test", "mail.example.test.  A ", "10 mail.example.test.", "v=spf1"] {
        assert!(said.out.contains(part), "{}", said.out);
    }
    desk.type_in(&format!("init example.test --dir {}", desk.dir.display()), "").wrong("exists already");
    let said = desk.type_in("check", "").fine();
    assert!(said.out.contains("this file system"), "{}", said.out);
    assert!(said.out.contains("notice ") && said.out.contains("there are no accounts yet"), "{}", said.out);
    desk.type_in("account add alice@example.test", "secret\n").fine();
    let said = desk.type_in("check", "").fine();
    assert!(said.out.contains("1 accounts") && said.out.contains("valid until"), "{}", said.out);
    let boot = desk.type_in("serve", "").fine().boot.unwrap();
    assert_eq!(boot.config.store, desk.dir.join("store"));
    assert_eq!(boot.source.read().unwrap(), boot.config);
    assert!(crate::tls::load(&boot.config.certificates).unwrap().is_some());
}

#[test]
fn the_life_of_an_account() {
    let desk = Desk::at("account");
    assert!(desk.type_in("account list", "").fine().err.contains("no accounts"));
    desk.type_in("account add Alice@example.test", "secret\r\n").fine();
    desk.type_in("account add alice@example.test", "secret\n").wrong("already");
    desk.type_in("account add bob@exampel.test", "secret\n").wrong("did you mean bob@example.test?");
    desk.type_in("account add bob", "secret\n").wrong("`bob` is no address; write it as user@example.test");
    desk.type_in("account add bob@example.test", "\n").wrong("the password is empty");
    desk.type_in("account add bob@example.test --hash nonsense", "").wrong("not a known hash");
    desk.type_in("account add a/b@example.test", "secret\n").wrong("--maildir");
    desk.type_in("account add bob@example.test --hash {SSHA}5en6G6MezRroT3XKqkdPOmY/BfQ= --quota 1048576", "").fine();
    let list = desk.type_in("account list", "").fine().out;
    assert!(list.contains("alice@example.test  argon2    -") && list.contains("bob@example.test    ssha      1.0 MiB  yes"), "{list}");
    assert!(!list.contains("5en6"));
    desk.type_in("account passwd bbo@example.test", "x\n").wrong("did you mean bob@example.test?");
    desk.type_in("account passwd bob", "other\n").fine();
    assert!(desk.type_in("account list", "").fine().out.matches("argon2").count() == 2);
    let mail = desk.dir.join("store/mail/example.test/bob/Maildir");
    fs::create_dir_all(mail.join("cur")).unwrap();
    let said = desk.type_in("account remove bob@example.test", "").fine();
    assert!(said.out.contains("its mail stays in") && mail.exists());
    desk.type_in("account remove bob@example.test", "").wrong("no account");
    desk.type_in("account add bob@example.test", "x\n").fine();
    desk.type_in("account remove bob@example.test --delete-mail", "").fine();
    assert!(!mail.parent().unwrap().exists() && mail.parent().unwrap().parent().unwrap().exists());
}

#[test]
fn many_accounts_at_once() {
    let desk = Desk::at("many");
    let mut lines = String::from("# bench\n\n");
    for i in 0..1000 {
        writeln!(lines, "user{i:04}@example.test {{SSHA}}5en6G6MezRroT3XKqkdPOmY/BfQ=").unwrap();
    }
    assert!(desk.type_in("account add --stdin --hashed", &lines).fine().out.contains("1000 accounts"));
    desk.type_in("account add --stdin --hashed", &lines).wrong("user0000@example.test already");
    desk.type_in("account add --stdin", "x@example.test secret word\ny@example.test\n").wrong("line 2: expected an address");
    desk.type_in("account add --stdin", "x@example.test secret word\n").fine();
    let config = desk.type_in("serve", "").boot.unwrap().config;
    let accounts = crate::account::Accounts::load(Arc::new(crate::disk::Posix), &config).unwrap();
    assert_eq!(accounts.all().len(), 1001);
    let proof = |user: &str, password: &str| sasl::Proof::Password {
        act_as: String::new(),
        user: user.into(),
        password: sasl::Secret::new(password.into()),
    };
    let peer = std::net::IpAddr::from([127, 0, 0, 1]);
    assert!(accounts.verify(proof("user0999@example.test", "secret"), peer, 0).is_ok());
    assert!(accounts.verify(proof("x", "secret word"), peer, 0).is_ok());
}

#[test]
fn a_demo_from_nothing() {
    let desk = Desk::new("demo");
    // Around a port that the system gave; somebody may be there all the same, so a few times.
    let (ports, boot) = (0..20)
        .find_map(|_| {
            let given = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
            let ports = given.saturating_sub(2024).min(62_000);
            let said = desk.type_in(&format!("demo --ports {ports} --dir {}", desk.dir.display()), "");
            said.boot.map(|boot| (ports, boot))
        })
        .unwrap();
    let line = format!("demo --ports {ports} --dir {}", desk.dir.display());
    assert_eq!(boot.welcome.len(), 2);
    assert_eq!(boot.config.hostname(), "mx.example.test");
    assert!(boot.config.listen.iter().all(|l| l.on.ip().is_loopback()));
    assert!(crate::tls::load(&boot.config.certificates).unwrap().is_some());
    let text = String::from_utf8(boot.welcome[0].message.clone()).unwrap();
    assert!(text.contains("To: alice@example.test\r\n") && !text.replace("\r\n", "").contains('\n'));
    assert!(
        boot.notes.contains(&format!("smtps://127.0.0.1:{}", 2465 + ports)) && boot.notes.contains("bob@example.test:hikyaku"),
        "{}",
        boot.notes
    );
    let house = crate::house::House::open(boot.config.clone(), Arc::new(crate::disk::Posix)).unwrap();
    house.welcome(&boot.welcome);
    house.close();
    drop(house);
    let new = fs::read_dir(desk.dir.join("mail/example.test/bob/Maildir/new")).unwrap().next().unwrap().unwrap();
    assert_eq!(fs::read_to_string(new.path()).unwrap().replace('\n', "\r\n").into_bytes(), boot.welcome[1].message);
    assert!(desk.type_in(&line, "").fine().boot.unwrap().welcome.is_empty(), "a kept store welcomes once");
    let scratch = desk.type_in(&format!("demo --ports {ports}"), "").fine().boot.unwrap();
    let dir = scratch.config.store.clone();
    assert!(dir.is_dir());
    drop(scratch);
    assert!(!dir.exists());
    let taken = std::net::TcpListener::bind(boot.config.listen[3].on).unwrap();
    desk.type_in(&line, "").wrong("Is another demo running?");
    drop(taken);
}

#[test]
fn accounts_can_come_before_the_first_start() {
    let desk = Desk::new("early");
    fs::write(desk.config(), "(domains: [\"example.test\"], store: \"deep/store\")").unwrap();
    desk.type_in("account list", "").fine();
    assert!(!desk.dir.join("deep").exists(), "who only looks makes nothing");
    desk.type_in("account add alice@example.test", "secret\n").fine();
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(desk.dir.join("deep/store")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o711);
    assert!(desk.type_in("account list", "").fine().out.contains("alice@example.test"));
}

#[test]
fn what_is_wrong_is_said() {
    let desk = Desk::at("wrong");
    desk.type_in("serv", "").wrong("tip: a similar subcommand exists: 'serve'");
    desk.type_in("account add a@b --config /nowhere/x.ron", "").wrong("cannot be used multiple times");
    fs::set_permissions(desk.dir.join("tls/key.pem"), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    fs::remove_dir_all(desk.dir.join("store")).unwrap();
    let said = desk.type_in("check", "").wrong("2 things are wrong");
    assert!(said.out.contains("WRONG  ") && said.out.contains("chmod 600"), "{}", said.out);
    fs::write(desk.config(), "(domian: [])").unwrap();
    let said = desk.type_in("check", "").wrong("did you mean `domains`?");
    assert!(said.err.contains("hikyaku.ron:1:2:"), "{}", said.err);
    fs::write(desk.config(), "(domains: [\"example.test\"], certificates: [(chain: \"none\", key: \"none\")])").unwrap();
    desk.type_in("check", "").wrong("wrong");
}

#[test]
fn the_spool_is_looked_at() {
    use ::queue::{Accept, Content, Target, Targets};
    let desk = Desk::at("spool");
    assert!(desk.type_in("spool list", "").fine().err.contains("0 messages"));
    assert!(desk.type_in("spool check", "").fine().out.contains("no records"));
    let dir = desk.dir.join("store/spool");
    let options = crate::spool::Options { segment: 1 << 16, ..Default::default() };
    let spool = crate::spool::Spool::open(Arc::new(crate::disk::Posix), &dir, options, &mut |_, _| {}).unwrap();
    let keywords = std::collections::BTreeSet::new();
    let targets = [Target {
        account: "alice@example.test",
        mailbox: "INBOX",
        base: "1.L1N0.x,S=5,W=5",
        recipient: "alice@example.test",
        system: mail::System::default(),
        keywords: ::queue::Keywords::new(&keywords),
        date: Stamp::utc(1_770_000_000),
        uid_validity: 1,
        uid_upto: 1,
        mod_seq_upto: 1,
    }];
    let mut entry = spool.entry();
    let accept = Accept {
        id: entry.id(),
        stamp: Stamp::utc(1_770_000_000),
        sender: Some("bob@example.test"),
        targets: Targets::new(&targets),
        wire_size: 5,
        content: Content::Inline(b"Hello"),
        ..Accept::default()
    };
    entry.commit(&[&accept.head(), b"Hello"]).unwrap();
    // The server has it open meanwhile.
    let list = desk.type_in("spool list", "").fine();
    assert!(list.out.contains("5 B   bob@example.test  alice@example.test") && list.err.contains("1 messages"), "{}{}", list.out, list.err);
    let check = desk.type_in("spool check", "").fine().out;
    assert!(check.contains("records: 1 accepted") && check.contains("all checksums are right"), "{check}");
}

#[test]
fn mailboxes_are_counted() {
    let desk = Desk::at("mailbox");
    desk.type_in("account add alice@example.test", "x\n").fine();
    assert!(desk.type_in("mailbox list", "").fine().err.contains("no mailboxes yet"));
    let maildir = desk.dir.join("store/mail/example.test/alice/Maildir");
    for (path, bytes) in
        [("new/1.a.x,S=5,W=6", 9), ("cur/2.b.x:2,S", 2), ("cur/3.c.x:2,F", 3), ("cur/.hidden", 1), (".Sent.v1%2E0/cur/4.d.x,S=2048:2,S", 1)]
    {
        let path = maildir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x".repeat(bytes)).unwrap();
    }
    fs::create_dir_all(maildir.join(".NoMailbox")).unwrap();
    let list = desk.type_in("mailbox list alice", "").fine().out;
    let rows: Vec<Vec<&str>> = list.lines().skip(1).map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["alice@example.test", "INBOX", "3", "2", "10", "B"]);
    assert_eq!(rows[1], ["alice@example.test", "Sent/v1.0", "1", "0", "2.0", "KiB"]);
    assert_eq!(rows.len(), 2);
    // Nothing has been indexed yet.
    let check = desk.type_in("mailbox check", "").wrong("2 indexes differ").out;
    assert!(check.contains("differs alice@example.test INBOX: 3 messages, 14 B\n        3 files are not in the index"), "{check}");
    desk.type_in("mailbox rebuild", "").fine();
    let check = desk.type_in("mailbox check alice", "").fine().out;
    assert!(check.contains("ok     alice@example.test INBOX: 3 messages, 14 B"), "{check}");
    let config = desk.type_in("serve", "").boot.unwrap().config;
    let house = crate::house::House::open(config, Arc::new(crate::disk::Posix)).unwrap();
    desk.type_in("mailbox rebuild", "").wrong("the server is running");
    drop(house);
    desk.type_in("mailbox list alise", "").wrong("no account `alise`");
}

#[test]
fn pages_and_completions() {
    let desk = Desk::new("pages");
    desk.type_in(&format!("man {}", desk.dir.join("man").display()), "").fine();
    let page = fs::read_to_string(desk.dir.join("man/hikyaku-account-add.1")).unwrap();
    assert!(page.contains("hashed"), "{page}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(desk.type_in(&format!("completions {shell}"), "").fine().out.contains("hikyaku"));
    }
    assert!(desk.type_in("--help", "").fine().out.contains("hikyaku demo"));
    assert!(desk.type_in("--version", "").fine().out.starts_with("hikyaku "));
}

#[test]
fn sizes_and_tables() {
    assert_eq!([0, 1023, 1024, 1536, 5 << 30].map(size), ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "5.0 GiB"]);
    assert_eq!(table(&[vec!["a".into(), "b".into()], vec!["long".into(), String::new()]]), "a     b\nlong\n");
}
