//! Scripts written for imaptest, against live servers. `GROUP=name` runs those whose name holds the word.

use hikyaku_tests::{
    imaptest::{Server, Wire, report, run_all},
    live::{Live, Runtime, Setup},
    model::PASSWORD,
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
