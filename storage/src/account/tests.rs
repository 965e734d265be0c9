//! Logins and look-ups, on a real file.

use super::{file::Record, *};
use crate::disk::Posix;
use sasl::Secret;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

struct Scratch(PathBuf, Config);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let dir = std::env::temp_dir().join(format!("hikyaku-account-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir(&dir).unwrap();
        let config = Config {
            domains: vec!["example.test".into(), "other.test".into()],
            hostname: Some("mx.example.test".into()),
            store: dir.clone(),
            ..Config::default()
        };
        Scratch(dir, config)
    }

    fn put(&self, accounts: &[(&str, &str)]) {
        file::change::<_, FileError>(&Posix, &self.1.accounts_path(), |records| {
            for (address, password) in accounts {
                let address = Address::parse(address).unwrap();
                records.retain(|r| r.address != address);
                records.push(Record { disabled: password.contains("off"), ..Record::new(address, cheap(password)) });
            }
            Ok(())
        })
        .unwrap();
    }

    fn load(&self) -> Accounts {
        Accounts::load_at(Arc::new(Posix), &self.1, Clock::system()).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn cheap(password: &str) -> Hash {
    use base64::Engine as _;
    use sha1::Digest as _;
    let digest = sha1::Sha1::digest(password.as_bytes());
    Hash::parse(&format!("{{SSHA}}{}", base64::engine::general_purpose::STANDARD.encode(digest))).unwrap()
}

fn login(accounts: &Accounts, user: &str, password: &str, now_ms: u64) -> Result<String, Denied> {
    act(accounts, "", user, password, now_ms)
}

fn act(accounts: &Accounts, act_as: &str, user: &str, password: &str, now_ms: u64) -> Result<String, Denied> {
    let proof = Proof::Password { act_as: act_as.into(), user: user.into(), password: Secret::new(password.into()) };
    accounts.verify(proof, PEER, now_ms).map(|l| l.account)
}

fn found(accounts: &Accounts, local: &str, domain: &str) -> Option<String> {
    accounts.find(&Address::new(local, domain)).map(|a| a.name())
}

#[test]
fn who_gets_what() {
    let s = Scratch::new("find");
    s.put(&[("bob@example.test", "x"), ("alice@example.test", "x"), ("alice@other.test", "x"), ("alice+own@example.test", "x")]);
    let a = s.load();
    let some = |n: &str| Some(n.to_owned());
    assert_eq!(found(&a, "Alice", "Example.TEST"), some("alice@example.test"));
    assert_eq!(found(&a, "alice+tag", "example.test"), some("alice@example.test"));
    assert_eq!(found(&a, "alice+own", "example.test"), some("alice+own@example.test"));
    assert_eq!(found(&a, "Postmaster", "other.test"), some("bob@example.test"), "the first account of the file");
    assert_eq!(found(&a, "postmaster", ""), some("bob@example.test"));
    assert_eq!(found(&a, "alice", ""), None);
    assert_eq!(found(&a, "nobody", "example.test"), None);
    assert_eq!(found(&a, "alice", "elsewhere.test"), None);
    assert_eq!(a.rule(&Address::new("alice", "elsewhere.test")), post::Ruling::Foreign);
    assert_eq!(a.rule(&Address::new("nobody", "other.test")), post::Ruling::NoMailbox);
    assert!(a.owns("alice@example.test", &Address::new("alice+x", "example.test")));
    assert!(!a.owns("alice@example.test", &Address::new("alice", "other.test")));
    assert!(!a.owns("alice@example.test", &Address::new("bob", "example.test")));
    assert_eq!(a.find(&Address::new("bob", "example.test")).unwrap().maildir, s.0.join("mail/example.test/bob/Maildir"));
}

#[test]
fn logins() {
    let s = Scratch::new("login");
    s.put(&[("bob@example.test", "secret"), ("alice@example.test", "x"), ("alice@other.test", "y"), ("carl@example.test", "off")]);
    let a = s.load();
    let bob = Ok("bob@example.test".to_owned());
    assert_eq!(login(&a, "bob@example.test", "secret", 0), bob);
    assert_eq!(login(&a, "BOB@Example.Test", "secret", 0), bob);
    assert_eq!(login(&a, "bob", "secret", 0), bob);
    assert_eq!(login(&a, "bob", "Secret", 0), Err(Denied::Wrong));
    assert_eq!(login(&a, "bob", "", 0), Err(Denied::Wrong));
    assert_eq!(login(&a, "alice", "x", 0), Err(Denied::Wrong), "two have this name");
    assert_eq!(login(&a, "bob+tag@example.test", "secret", 0), Err(Denied::Wrong));
    assert_eq!(login(&a, "", "secret", 0), Err(Denied::Wrong));
    assert_eq!(login(&a, "carl", "off", 0), Err(Denied::Disabled));
    assert_eq!(login(&a, "carl", "on", 0), Err(Denied::Wrong));
    assert_eq!(act(&a, "bob", "bob@example.test", "secret", 0), bob);
    assert_eq!(act(&a, "alice@other.test", "bob", "secret", 0), Err(Denied::Disabled));
    assert_eq!(act(&a, "alice@other.test", "bob", "wrong", 0), Err(Denied::Wrong));
    assert_eq!(login(&a, "bob", &"x".repeat(5000), 0), Err(Denied::Wrong));
}

#[test]
fn guessing_ends() {
    let mut s = Scratch::new("guess");
    s.1.limits.login_failures = 3;
    s.put(&[("bob@example.test", "secret")]);
    let a = s.load();
    for user in ["bob", "nobody", "bob"] {
        assert_eq!(login(&a, user, "guess", 1000), Err(Denied::Wrong));
    }
    assert_eq!(login(&a, "bob", "secret", 1001), Err(Denied::TooMany));
    assert_eq!(login(&a, "nobody", "secret", 1001), Err(Denied::TooMany));
    assert_eq!(login(&a, "bob", "secret", 301_001), Ok("bob@example.test".into()));
}

#[test]
fn the_remembered_password_is_the_current_one() {
    let s = Scratch::new("memory");
    s.put(&[("bob@example.test", "secret")]);
    let a = s.load();
    assert!(login(&a, "bob", "secret", 0).is_ok());
    assert!(login(&a, "bob", "secret", 1).is_ok());
    s.put(&[("bob@example.test", "changed")]);
    a.reload(&s.1).unwrap();
    assert_eq!(login(&a, "bob", "secret", 2), Err(Denied::Wrong));
    assert!(login(&a, "bob", "changed", 3).is_ok());
}

#[test]
fn a_change_is_seen_and_a_mistake_is_not() {
    let s = Scratch::new("reload");
    let a = s.load();
    assert_eq!(found(&a, "bob", "example.test"), None, "no file, no accounts");
    s.put(&[("bob@example.test", "secret")]);
    assert_eq!(found(&a, "bob", "example.test"), Some("bob@example.test".into()), "a miss looks at once");
    std::fs::write(s.1.accounts_path(), "(version: 1, accounts: [oops").unwrap();
    assert_eq!(found(&a, "nobody", "example.test"), None);
    assert!(login(&a, "bob", "secret", 0).is_ok());
    assert!(a.reload(&s.1).is_err());
    assert!(login(&a, "bob", "secret", 0).is_ok());
    assert!(Accounts::load(Arc::new(Posix), &s.1).is_err());
}

#[test]
fn what_does_not_fit_together() {
    let s = Scratch::new("fit");
    let put = |address: &str, maildir: Option<&str>| {
        let r = Record { maildir: maildir.map(PathBuf::from), ..Record::new(Address::parse(address).unwrap(), cheap("x")) };
        file::change::<_, FileError>(&Posix, &s.1.accounts_path(), |records| {
            records.push(r);
            Ok(())
        })
        .unwrap();
    };
    put("a@example.test", Some("m/one"));
    put("b@example.test", Some("m/one"));
    put("../c@example.test", None);
    let error = Accounts::load(Arc::new(Posix), &s.1).err().unwrap().to_string();
    assert!(error.contains("a@example.test and b@example.test have the same Maildir"), "{error}");
    assert!(error.contains("\"../c\"@example.test: this cannot be the name of a directory"), "{error}");
}

#[test]
fn two_programs_change_one_file() {
    let s = Scratch::new("race");
    std::thread::scope(|scope| {
        for t in 0..4 {
            let s = &s;
            scope.spawn(move || {
                for i in 0..10 {
                    s.put(&[(&format!("u{t}-{i}@example.test"), "x")]);
                }
            });
        }
    });
    assert_eq!(s.load().all().len(), 40);
    assert_eq!(std::fs::read_dir(&s.0).unwrap().count(), 3, "the file, its lock, and the secret of senders");
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(s.1.accounts_path()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn unknown_names_cost_a_hash() {
    let s = Scratch::new("decoy");
    let a = s.load();
    let State { book, .. } = a.state();
    assert!(a.decoy(&book, "nobody").is_dear());
    s.put(&[("bob@example.test", "x")]);
    a.reload(&s.1).unwrap();
    let State { book, .. } = a.state();
    assert!(!a.decoy(&book, "nobody").is_dear(), "as long as that of the others");
}

#[test]
fn aliases_forwards_and_senders_that_come_back() {
    let s = Scratch::new("paths");
    let list = s.1.store.join("list");
    std::fs::write(&list, "# a list\nbob@far.test\nstaff\n").unwrap();
    let aliases = s.1.store.join("aliases");
    std::fs::write(&aliases, "staff: alice\nall: :include:list\n@example.test: staff\n").unwrap();
    let config = Config { aliases: vec![aliases.clone()], ..s.1.clone() };
    file::change::<_, FileError>(&Posix, &config.accounts_path(), |records| {
        let carol = Record::new(Address::parse("carol@example.test").unwrap(), cheap("x"));
        let forward = vec![Address::parse("carol@far.test").unwrap()];
        records.push(Record::new(Address::parse("alice@example.test").unwrap(), cheap("x")));
        records.push(Record { forward, keep: false, ..carol });
        Ok(())
    })
    .unwrap();
    let looked = Accounts::load(Arc::new(Posix), &config).unwrap();
    assert!(looked.rewritten(&Address::parse("x@far.test").unwrap(), mail::Stamp::utc(0)).is_none());
    assert!(!config.srs_secret().exists(), "who only looks leaves nothing behind");
    let accounts = Accounts::load_at(Arc::new(Posix), &config, Clock::system()).unwrap();
    let now = mail::Stamp::utc(1_700_000_000);
    let to = |path: &str| {
        let expansion = accounts.expand(&Address::parse(path).unwrap().into(), now).unwrap();
        let shown = expansion.to.into_iter().map(|to| match to {
            post::Destiny::Mailbox { account, .. } => account.to_string(),
            post::Destiny::Remote { recipient, .. } => recipient.address.to_string(),
        });
        shown.collect::<Vec<_>>()
    };
    assert_eq!(to("all@example.test"), ["bob@far.test", "alice@example.test"]);
    assert_eq!(to("carol@example.test"), ["carol@far.test"]);
    assert_eq!(to("anybody@example.test"), ["alice@example.test"]);
    let sender = Address::parse("x@far.test").unwrap();
    let rewritten = accounts.rewritten(&sender, now).unwrap();
    assert_eq!(to(&rewritten.to_string()), ["x@far.test"]);
    assert_eq!(accounts.rewritten(&Address::parse("alice@example.test").unwrap(), now), None);
    let again = Accounts::load(Arc::new(Posix), &config).unwrap();
    assert_eq!(again.rewritten(&sender, now), Some(rewritten), "the secret stays");
    std::fs::write(&aliases, "staff: alice\nbad\n").unwrap();
    let error = accounts.reload(&config).unwrap_err().to_string();
    assert!(error.contains("aliases:2: a colon is missing"), "{error}");
    assert_eq!(to("staff@example.test"), ["alice@example.test"], "what was known stays");
    let alice = |path: &str| accounts.owns("alice@example.test", &Address::parse(path).unwrap());
    assert!(alice("staff@example.test") && alice("Alice+x@example.test") && !alice("all@example.test") && !alice("carol@example.test"));
    let nobody = post::Client::default();
    assert!(accounts.may_send(nobody, &Address::parse("all@example.test").unwrap()));
    assert!(!accounts.may_send(nobody, &Address::parse("x@far.test").unwrap()));
}

#[test]
fn changed_aliases_are_noticed() {
    let s = Scratch::new("aliases");
    let (aliases, list) = (s.1.store.join("aliases"), s.1.store.join("list"));
    std::fs::write(&aliases, "all: :include:list\n").unwrap();
    std::fs::write(&list, "one@far.test\n").unwrap();
    let ms = Arc::new(AtomicU64::new(0));
    let ticks = ms.clone();
    let clock = Clock::new(crate::mailbox::system_clock(), move || ticks.load(Relaxed));
    let config = Config { aliases: vec![aliases], ..s.1.clone() };
    let accounts = Accounts::load_at(Arc::new(Posix), &config, clock).unwrap();
    let to = || {
        ms.fetch_add(LOOK_MS, Relaxed);
        let all = Address::parse("all@example.test").unwrap().into();
        let found = accounts.expand(&all, mail::Stamp::utc(0)).unwrap().to;
        let Some(post::Destiny::Remote { recipient, .. }) = found.into_iter().next() else { panic!() };
        recipient.address.to_string()
    };
    assert_eq!(to(), "one@far.test");
    std::fs::write(&list, "second@far.test\n").unwrap();
    assert_eq!(to(), "second@far.test");
    std::fs::write(&list, "a b\n").unwrap();
    assert_eq!(to(), "second@far.test", "what is wrong changes nothing");
    std::fs::write(&list, "third-one@far.test\n").unwrap();
    assert_eq!(to(), "third-one@far.test", "the mistake was in an included file, and so was its end");
}
