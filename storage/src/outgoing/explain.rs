//! What would become of mail to an address: the same decisions, taken for nobody and told in words.

use crate::{
    control::{Explanation, Refused, Step},
    house::House,
};
use dns::Query;
use mail::{Notify, Recipient};
use post::Destiny;
use queue::route::{self, Hop, Security, Verdict};
use std::{cell::RefCell, thread, time::Duration};
use wire::Tick;

/// How often it is looked whether DNS has answered, and how often at most: some seconds in all.
const LOOK: Duration = Duration::from_millis(20);
const LOOKS: u32 = 750;

impl House {
    /// See [`crate::control::Operator::explain`].
    pub(super) fn explanation(&self, address: &str) -> Result<Explanation, Refused> {
        let Some(parsed) = smtp::path(address) else { return Err(Refused::Nonsense(format!("{address:?} is no address"))) };
        let mut steps = Vec::new();
        let config = self.config();
        let recipient = Recipient { address: parsed.clone(), notify: Notify::default(), original: None };
        match self.accounts().expand(&recipient, self.now()) {
            Err(post::Refused::NoMailbox) => steps.push(Step::new("refused", "the domain is served here, but there is no such mailbox")),
            Err(post::Refused::Loop) => steps.push(Step::new("refused", "aliases and forwards lead from it only back to itself")),
            Err(post::Refused::TooMany) => steps.push(Step::new("refused", "aliases and forwards lead from it to too many places")),
            Ok(expansion) => {
                for missing in &expansion.missing {
                    steps.push(Step::new("missing", format!("an alias or a forward names {missing}, which is not there")));
                }
                for destiny in &expansion.to {
                    match destiny {
                        Destiny::Mailbox { account, recipient } if recipient.address == *account => {
                            steps.push(Step::new("mailbox", format!("{account} gets it")));
                        }
                        Destiny::Mailbox { account, recipient } => {
                            steps.push(Step::new("mailbox", format!("{account} gets it, as {}", recipient.address)));
                        }
                        Destiny::Remote { recipient, owner, forwarded } => {
                            let to = &recipient.address;
                            if *to != parsed {
                                let how = if *forwarded { "forward" } else { "alias" };
                                steps.push(Step::new(how, format!("it goes to {to}")));
                            } else if !config.relay.domains.iter().any(|d| **d == *to.domain) {
                                steps.push(Step::new("relay", "the domain is not served here: only from those who log in or may relay"));
                            }
                            if let Some(owner) = owner {
                                steps.push(Step::new("owner", format!("{owner} hears of failures, not the sender")));
                            }
                            self.explain_route(&to.domain, &mut steps);
                        }
                    }
                }
            }
        }
        Ok(Explanation { address: parsed.to_string(), steps })
    }

    fn explain_route(&self, domain: &str, steps: &mut Vec<Step>) {
        let site = self.outgoing().site(domain);
        if *site != *domain {
            steps.push(Step::new("route", format!("the configuration sends it to {}", site.trim_start_matches(['=', '@']))));
        }
        for _ in 0..LOOKS {
            let mut inner = self.outgoing().inner();
            let (now, dice, rules) = (Tick(self.now_ms()), inner.dice.u64(), inner.rules.clone());
            let resolver = RefCell::new(&mut inner.resolver);
            let facts = |query: &Query| resolver.borrow_mut().look_up(now, query);
            match route::route(&site, &rules, &facts, dice) {
                Verdict::Known(Ok(hops)) => return steps.extend(hops.iter().enumerate().map(|(n, hop)| step(n, hop))),
                Verdict::Known(Err(none)) => {
                    let so = if none.permanent() { "it would come back" } else { "it would wait" };
                    return steps.push(Step::new("no way", format!("{}: {} {}", so, none.status(), none.words())));
                }
                Verdict::Need(_) => {}
            }
            drop(inner);
            // Somebody dials what the resolver asks for.
            self.outgoing().ring();
            thread::sleep(LOOK);
        }
        steps.push(Step::new("no way", "DNS does not answer"));
    }
}

fn step(n: usize, hop: &Hop) -> Step {
    let tls = match hop.security {
        Security::Never => "in clear text",
        Security::May => "with TLS where it is offered",
        Security::Must { verified: false } => "only with TLS",
        Security::Must { verified: true } => "only with TLS and a valid certificate",
        Security::Implicit { verified: false } => "with TLS from the first byte on",
        Security::Implicit { verified: true } => "with TLS from the first byte on and a valid certificate",
    };
    let login = hop.login.as_ref().map_or_else(String::new, |login| format!(", as {}", login.user));
    let proxy = hop.socks.as_ref().map_or_else(String::new, |socks| format!(", through the proxy {}", socks.proxy));
    let from = hop.from.map_or_else(String::new, |from| format!(", from {from}"));
    Step::new(if n == 0 { "host" } else { "or else" }, format!("{} [{}] {tls}{login}{proxy}{from}", hop.host, hop.address))
}
