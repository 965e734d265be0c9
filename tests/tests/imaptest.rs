//! Scripts written for imaptest, against live servers. `GROUP=name` runs those whose name holds the word.

use hikyaku_tests::{
    dialog::{Imap, Stage},
    drive::Host,
    imaptest::{Server, Wire, report, run_all},
    live::{Live, Runtime, Setup},
    model::{ImapOffice, PASSWORD, Shared, World},
};

/// Groups there may be; each gets an account.
const ACCOUNTS: usize = 100;

struct LiveServer {
    live: Live,
    used: usize,
}

impl Server for LiveServer {
    fn account(&mut self, _: &str) -> (String, String) {
        self.used += 1;
        assert!(self.used <= ACCOUNTS, "more groups than accounts");
        (format!("user{}@example.test", self.used), PASSWORD.into())
    }

    fn connect(&mut self) -> Box<dyn Wire> {
        Box::new(self.live.connect(self.live.ports.imap))
    }
}

/// Sessions over the model, a world for each group.
struct Model(Shared);

struct Session(Host<imap::Server, ImapOffice>);

impl Server for Model {
    fn account(&mut self, _: &str) -> (String, String) {
        self.0 = World::new().shared();
        ("alice@example.test".into(), PASSWORD.into())
    }

    fn connect(&mut self) -> Box<dyn Wire> {
        let mut options = vec![(0, "plaintext".into(), "yes".into()), (0, "tls".into(), "never".into())];
        let mut host = Imap::open("imap", &mut options, self.0.clone()).unwrap();
        host.drive();
        Box::new(Session(host))
    }
}

impl Wire for Session {
    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.0.send(bytes, &mut |left| left);
        Ok(())
    }

    fn receive(&mut self) -> Result<Vec<u8>, String> {
        match std::mem::take(&mut self.0.output) {
            none if none.is_empty() => Err("the session says nothing more".into()),
            some => Ok(some),
        }
    }
}

#[test]
fn over_the_model() {
    let only = std::env::var("GROUP").unwrap_or_default();
    if let Some(outcomes) = run_all(&mut Model(World::new().shared()), &only) {
        report("over the model", &outcomes);
    }
}

fn all(runtime: Runtime) {
    let accounts = (1..=ACCOUNTS).map(|n| format!("user{n}")).collect();
    let live = Live::start(runtime, &Setup { accounts, ..Setup::default() });
    let only = std::env::var("GROUP").unwrap_or_default();
    if let Some(outcomes) = run_all(&mut LiveServer { live, used: 0 }, &only) {
        report(runtime.name(), &outcomes);
    }
}

#[test]
fn on_threads() {
    all(Runtime::Threads);
}

#[test]
fn on_smol() {
    all(Runtime::Smol);
}
