//! The comparison of the books when everything is over.
//!
//! Each house answers for each message that it took, by the id it gave to it, which is in the trace field it wrote: one file in each mailbox it
//! meant, and for each recipient elsewhere a copy at the next host or a report to the sender. So a message is followed hop by hop. A report that a house
//! makes itself is followed as well: it arrives where it was sent, or the postmaster has a report that holds it.

use super::{
    Stage,
    books::{Books, Fate, Order, Ordered, Taken},
    host::{DAWN, Host},
    letters::{self, Found, Report},
    neighbours,
    plan::{Deed, Plan, USERS},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::Path,
};

/// After so many milliseconds what a peer has confirmed is in the log: 50 after the house heard of it, which takes a while on a slow line.
const JOTTED_MS: u64 = 300;
const JOTTED_SLOWLY_MS: u64 = 5000;

/// How long a transaction may take that begins in time, until its MAIL is heard.
const LATE_MS: u64 = 30_000;

/// Where a message lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// In a mailbox: house and user.
    Box(usize, &'static str),
    /// At the foreign server with that copy.
    Site(usize),
    /// Where another program took it from: house and user. It was there.
    Taken(usize, &'static str),
}

/// What a house has to do for a message.
#[derive(Debug, Default)]
pub struct Duty {
    /// Users of the house.
    pub boxes: BTreeSet<String>,
    /// Addresses elsewhere, and which recipient of the envelope led there.
    remotes: BTreeMap<String, usize>,
}

/// A time at which somebody elsewhere took a message from a house, and whether the house may not know.
struct Handover {
    /// When its transaction began, as far as is known.
    begun: u64,
    at: u64,
    /// From when on the house cannot have forgotten it.
    jotted: u64,
    shaky: bool,
    /// Whether it went to a foreign server in clear.
    clear: bool,
}

/// Writes down every promise that was not kept.
pub fn check(plan: &Plan, hosts: &[Host], stage: &mut Stage) {
    let mut wrong = Vec::new();
    let mut found: Vec<(Place, Found)> = Vec::new();
    for host in hosts {
        for user in USERS {
            found.extend(mailbox(host, &plan.hosts[host.number].domain, user).into_iter().map(|m| (Place::Box(host.number, user), m)));
        }
    }
    for (n, copy) in stage.books.copies.iter().enumerate() {
        found.push((Place::Site(n), letters::read(&copy.text)));
    }
    for one in &stage.books.moves {
        found.push((Place::Taken(one.host, one.user), one.letter.clone()));
    }
    let taken: Vec<(&Taken, Found)> = stage.books.taken.iter().map(|t| (t, letters::read(&t.text))).collect();
    for (conn, count) in &stage.books.thanked {
        let accepted = taken.iter().filter(|(t, _)| t.conn == *conn && t.fate == Fate::Accepted).count()
            + stage.books.copies.iter().filter(|c| c.conn == *conn).count();
        if *count > accepted {
            wrong.push(format!("{count} letters were acknowledged on #{conn}, and {accepted} taken"));
        }
    }
    let ledger = Ledger { plan, stage, taken: &taken, found: &found };
    for (t, letter) in &taken {
        let duty = duty(plan, t);
        match t.fate {
            Fate::Accepted => {
                boxes(plan, &stage.books, t, letter, &duty, &found, &mut wrong);
                ledger.remotes(t, &duty, &mut wrong);
            }
            Fate::Unsure => {}
        }
    }
    ledger.own_reports(&mut wrong);
    strays(plan, &stage.books, &taken, &found, &mut wrong);
    reports(&found, &mut wrong);
    neighbours::check(plan, stage, &mut wrong);
    for what in wrong {
        stage.books.wrong(what);
    }
}

/// All messages of a mailbox.
fn mailbox(host: &Host, domain: &str, user: &str) -> Vec<Found> {
    let dir = Path::new("/store/mail").join(domain).join(user).join("Maildir");
    let mut messages = Vec::new();
    for dir in [dir.join("new"), dir.join("cur")] {
        // A mailbox that never got anything is not there. What is no file is no message.
        let names = host.disk.peek(|world| world.list(&dir)).unwrap_or_default();
        let files = names.iter().filter(|(_, is_file)| *is_file).map(|(name, _)| dir.join(OsStr::from_bytes(name)));
        messages.extend(files.map(|path| letters::read(&host.disk.content(&path).expect("it was listed"))));
    }
    messages
}

/// Who is meant by the recipients of a message.
pub fn duty(plan: &Plan, taken: &Taken) -> Duty {
    let mut duty = Duty::default();
    for (n, recipient) in taken.recipients.iter().enumerate() {
        expand(plan, taken.host, &recipient.address.to_string(), n, &mut duty, &mut BTreeSet::new());
    }
    duty
}

fn expand(plan: &Plan, host: usize, address: &str, n: usize, duty: &mut Duty, seen: &mut BTreeSet<String>) {
    let here = &plan.hosts[host];
    let (local, domain) = address.rsplit_once('@').unwrap_or((address, &here.domain));
    if let Some(sender) = unwrapped(local).filter(|_| domain == here.domain) {
        duty.remotes.entry(sender).or_insert(n);
        return;
    }
    if domain != here.domain {
        duty.remotes.entry(address.to_owned()).or_insert(n);
        return;
    }
    let again = !seen.insert(address.to_owned());
    match here.forwards.get(local) {
        Some((to, keep)) if !again => {
            if *keep {
                duty.boxes.insert(local.to_owned());
            }
            to.iter().for_each(|to| expand(plan, host, to, n, duty, seen));
        }
        _ if local == "team" && !again => {
            let team = [format!("alice@{domain}"), format!("bob@{domain}"), "user7@d0.test".to_owned()];
            team.iter().for_each(|to| expand(plan, host, to, n, duty, seen));
        }
        _ if USERS.contains(&local) => drop(duty.boxes.insert(local.to_owned())),
        _ => {
            if let Some(all) = here.catch_all.as_ref().filter(|_| !again) {
                expand(plan, host, all, n, duty, seen);
            }
        }
    }
}

/// The sender behind a rewritten one.
fn unwrapped(local: &str) -> Option<String> {
    if let Some(rest) = local.strip_prefix("SRS0=") {
        let mut parts = rest.splitn(4, '=').skip(2);
        return Some((parts.next()?, parts.next()?)).map(|(domain, local)| format!("{local}@{domain}"));
    }
    let mut parts = local.strip_prefix("SRS1=")?.splitn(3, '=').skip(1);
    Some((parts.next()?, parts.next()?)).map(|(domain, rest)| format!("SRS0{rest}@{domain}"))
}

fn hostname(plan: &Plan, host: usize) -> String {
    format!("mx.{}", plan.hosts[host].domain)
}

/// Whether a message was what a house called so when it left it.
fn came_by(plan: &Plan, found: &Found, host: usize, id: &str) -> bool {
    found.way.first().is_some_and(|(by, i)| *by == hostname(plan, host) && i == id)
}

/// One file in each mailbox, and nothing in any other.
fn boxes(plan: &Plan, books: &Books, t: &Taken, letter: &Found, duty: &Duty, found: &[(Place, Found)], wrong: &mut Vec<String>) {
    for user in USERS {
        let mine: Vec<&Found> = found
            .iter()
            .filter(|(place, f)| *place == Place::Box(t.host, user) && came_by(plan, f, t.host, &t.id))
            .map(|(_, f)| f)
            .collect();
        let expected = if duty.boxes.contains(user) { books.copies(t, user) } else { 0..=0 };
        if !expected.contains(&mine.len()) {
            wrong.push(format!(
                "house {} took {} (letter {:?}) for {user} at {}.{:03}: {} in the mailbox, not {expected:?}",
                t.host,
                t.id,
                letter.number,
                t.at / 1000,
                t.at % 1000,
                mine.len()
            ));
        }
        if let Some(other) = mine.iter().find(|f| f.body != letter.body && !books.was_cut(t, user) && !books.is_damaged(t.host, &t.id)) {
            wrong.push(format!("house {} took {}, and {user} has another text: {:?}, not {:?}", t.host, t.id, other.body, letter.body));
        }
    }
}

/// Everything that was taken, and everything that lies somewhere.
struct Ledger<'a> {
    plan: &'a Plan,
    stage: &'a Stage,
    taken: &'a [(&'a Taken, Found)],
    found: &'a [(Place, Found)],
}

impl Ledger<'_> {
    /// A copy at the next host for each recipient elsewhere, or a report.
    fn remotes(&self, t: &Taken, duty: &Duty, wrong: &mut Vec<String>) {
        for (address, n) in &duty.remotes {
            let recipient = &t.recipients[*n];
            let handovers = self.handovers(t.host, &t.id, address);
            let (all, sure) = (handovers.len(), self.sure(t.host, &t.id, &handovers));
            let reported = self.reported(t.host, &t.id, &[address, &recipient.address.to_string()]);
            let what = || format!("house {} took {} from {:?} for {address}", t.host, t.id, t.sender);
            if sure > 1 {
                wrong.push(format!("{}: handed on {all} times, {sure} times with nothing in between", what()));
            }
            if reported.len() > 1 && !self.stage.books.is_forgotten(t.host, &t.id) {
                wrong.push(format!("{}: {} reports of its failure", what(), reported.len()));
            }
            if sure > 0 && !reported.is_empty() {
                wrong.push(format!("{}: handed on and reported as failed", what()));
            }
            // Without a sender, it is the postmaster who hears of it.
            let wanted = t.sender.is_none() || recipient.notify.on_failure();
            // Nobody is told of what had failed already, either.
            let dropped = self.orders(t.host, &t.id).any(|o| o.order == Order::Drop);
            self.timely(t, address, &handovers, wrong);
            self.obeyed(t.host, &t.id, address, &handovers, wrong);
            let damaged = self.stage.books.is_damaged(t.host, &t.id);
            if all == 0 && reported.is_empty() && wanted && !dropped && !damaged {
                wrong.push(format!("{}: neither handed on nor reported", what()));
            }
            if !reported.is_empty() && !wanted {
                wrong.push(format!("{}: reported although nobody wanted that", what()));
            }
        }
    }

    /// What operators did to a message.
    fn orders(&self, host: usize, id: &str) -> impl Iterator<Item = &Ordered> {
        let id = id.to_owned();
        self.stage.books.orders.iter().filter(move |o| o.host == host && o.id == id)
    }

    /// Nothing is sent that was given up, and nothing while it is held; what is under way ends first.
    fn obeyed(&self, host: usize, id: &str, address: &str, handovers: &[Handover], wrong: &mut Vec<String>) {
        // The record of a report also gives up what it reports on.
        if self.stage.books.is_forgotten(host, id) {
            return;
        }
        for order in self.orders(host, id).filter(|o| o.done && !o.active && o.waiting.iter().any(|w| w == address)) {
            let until = match order.order {
                Order::Cancel | Order::Drop => u64::MAX,
                Order::Hold => {
                    let released = self.orders(host, id).filter(|o| o.order == Order::Release && o.at >= order.at).map(|o| o.at).min();
                    released.unwrap_or(u64::MAX).min(self.plan.calm_at)
                }
                _ => continue,
            };
            if let Some(handover) = handovers.iter().find(|h| h.begun > order.at && h.begun < until) {
                wrong.push(format!(
                    "{:?} of {id} in house {host} at {}, and {address} has it since {}",
                    order.order,
                    order.at / 1000,
                    handover.at / 1000
                ));
            }
        }
    }

    /// What was wished for is kept: not too soon, not too late, not in clear.
    fn timely(&self, t: &Taken, address: &str, handovers: &[Handover], wrong: &mut Vec<String>) {
        let jumps = self.plan.deeds.iter().any(|(_, deed)| matches!(deed, Deed::Jump(host, _) if *host == t.host));
        let at = |seconds: i64| u64::try_from(seconds - DAWN).unwrap_or(0) * 1000;
        for handover in handovers {
            let mut what = |what: &str| {
                let begun = handover.begun / 1000;
                wrong.push(format!("house {} took {} for {address} with {:?}, and sent it {what} at {begun}", t.host, t.id, t.wishes));
            };
            let ordered = self.orders(t.host, &t.id).next().is_some();
            if t.wishes.hold_until.is_some_and(|until| handover.at < at(until.seconds)) && !jumps && !ordered {
                what("too soon");
            }
            let by = t.wishes.by.filter(|by| by.or_return && !jumps);
            if by.is_some_and(|by| handover.begun > at(by.at.seconds) + LATE_MS) {
                what("too late");
            }
            if handover.clear && (t.wishes.require_tls || self.plan.hosts[t.host].must_tls) {
                what("in clear");
            }
        }
    }

    /// The times at which somebody elsewhere took a message of a house for an address.
    fn handovers(&self, host: usize, id: &str, address: &str) -> Vec<Handover> {
        let mut handovers: Vec<Handover> = Vec::new();
        for (place, f) in self.found {
            let Place::Site(copy) = place else { continue };
            let copy = &self.stage.books.copies[*copy];
            if came_by(self.plan, f, host, id) && copy.recipients.iter().any(|r| r == address) {
                let shaky = self.stage.net.was_faulty(copy.conn);
                let jotted = copy.at + self.jotted_ms(copy.conn);
                handovers.push(Handover { begun: copy.begun, at: copy.at, jotted, shaky, clear: !copy.secured });
            }
        }
        for (next, f) in self.taken {
            let named = next.recipients.iter().any(|r| r.address.to_string() == *address);
            if named && came_by(self.plan, f, host, id) {
                let shaky = self.stage.net.was_faulty(next.conn) || next.fate == Fate::Unsure;
                // When that began is not written down; what was already on the line may arrive after an order.
                let (begun, jotted) = (if shaky { 0 } else { next.at }, next.at + self.jotted_ms(next.conn));
                handovers.push(Handover { begun, at: next.at, jotted, shaky, clear: false });
            }
        }
        handovers
    }

    fn jotted_ms(&self, conn: usize) -> u64 {
        if self.stage.net.is_slow(conn) { JOTTED_SLOWLY_MS } else { JOTTED_MS }
    }

    /// How many of these the house must know of.
    fn sure(&self, host: usize, id: &str, handovers: &[Handover]) -> usize {
        let books = &self.stage.books;
        if books.is_forgotten(host, id) {
            return 0;
        }
        // What is remembered of a delivery is written with the next group, or soon: a crash before that may forget it, and so may a bad disk.
        let troubled = self.plan.hosts[host].restarted;
        let forgets = |h: &Handover, fell: u64| fell >= h.at && (troubled || fell <= h.jotted || books.was_late(host, h.at, fell));
        let crashed = |h: &Handover| books.crashes.iter().any(|c| c.host == host && forgets(h, c.at));
        handovers.iter().filter(|h| !h.shaky && !crashed(h)).count()
    }

    /// Reports on the failure of a message of a house, by their names: those that are somewhere, and those that a report for the postmaster holds.
    fn reported(&self, host: usize, id: &str, names: &[&str]) -> BTreeSet<&str> {
        // On its way to a sender elsewhere, a report is the next house's duty.
        let carried = self.taken.iter().filter(|(t, _)| t.fate == Fate::Accepted).map(|(_, f)| f);
        let all = self.found.iter().map(|(_, f)| f).chain(carried);
        let tells = |report: &Report| came_by(self.plan, &report.of, host, id) && names.iter().any(|name| report.is_failure_of(name));
        let each = all.flat_map(|f| [Some(f), f.report.as_ref().map(|r| &*r.of)]).flatten();
        each.filter(|f| f.report.as_ref().is_some_and(tells)).map(|f| f.message_id.as_str()).collect()
    }

    /// What houses wrote themselves and sent to others arrives once, or the postmaster hears of it.
    fn own_reports(&self, wrong: &mut Vec<String>) {
        let own = |f: &Found| {
            let (by, id) = f.way.first().filter(|_| f.report.is_some())?;
            let host = self.plan.hosts.iter().position(|h| hostname(self.plan, h.number) == *by)?;
            let brought = self.taken.iter().any(|(t, _)| t.host == host && t.id == *id);
            (!brought).then(|| (host, id.clone()))
        };
        let mut reports: BTreeSet<(usize, String, String)> = BTreeSet::new();
        for (place, f) in self.found {
            if let (Place::Site(copy), Some((host, id))) = (place, own(f)) {
                reports.extend(self.stage.books.copies[*copy].recipients.iter().map(|to| (host, id.clone(), to.clone())));
            }
            if let Some(report) = &f.report
                && let Some((host, id)) = own(&report.of)
            {
                reports.extend(report.fates.iter().map(|(to, _)| (host, id.clone(), to.clone())));
            }
        }
        for (next, f) in self.taken {
            if let Some((host, id)) = own(f) {
                reports.extend(next.recipients.iter().map(|to| (host, id.clone(), to.address.to_string())));
            }
        }
        for (host, id, to) in reports {
            let (handovers, reported) = (self.handovers(host, &id, &to), self.reported(host, &id, &[&to]));
            let (all, sure) = (handovers.len(), self.sure(host, &id, &handovers));
            self.obeyed(host, &id, &to, &handovers, wrong);
            if handovers.iter().any(|h| h.clear) && self.plan.hosts[host].must_tls {
                wrong.push(format!("house {host} made report {id} for {to} and sent it in clear"));
            }
            let what = || format!("house {host} made report {id} for {to}");
            if sure > 1 {
                wrong.push(format!("{}: handed on {all} times, {sure} times with nothing in between", what()));
            }
            if reported.len() > 1 && !self.stage.books.is_forgotten(host, &id) || sure > 0 && !reported.is_empty() {
                wrong.push(format!("{}: handed on {all} times, and {} reports that it failed", what(), reported.len()));
            }
        }
    }
}

/// Nothing is in a mailbox that nobody brought, and what may have been taken is there once at most.
fn strays(plan: &Plan, books: &Books, taken: &[(&Taken, Found)], found: &[(Place, Found)], wrong: &mut Vec<String>) {
    let mut unknown: BTreeMap<(usize, &str, &str), usize> = BTreeMap::new();
    for (place, f) in found {
        let (Place::Box(host, user), Some((by, id))) = (place, f.way.first()) else { continue };
        if taken.iter().any(|(t, _)| t.fate == Fate::Accepted && t.host == *host && t.id == *id) && *by == hostname(plan, *host) {
            continue;
        }
        // What may be torn may not even say any more how it came.
        let torn = |t: &Taken| t.host == *host && (books.is_damaged(*host, &t.id) || books.was_cut(t, user));
        if taken.iter().any(|(t, letter)| torn(t) && letter.message_id == f.message_id) {
            continue;
        }
        *unknown.entry((*host, *user, id)).or_default() += 1;
        if f.report.is_some() && *by == hostname(plan, *host) {
            // Nobody brings a report: the house makes it.
            continue;
        }
        let unsure = taken.iter().any(|(t, letter)| t.fate == Fate::Unsure && t.host == *host && letter.message_id == f.message_id);
        if !unsure {
            wrong.push(format!("{user} of house {host} has {id} ({}), which nobody brought", f.message_id));
        }
    }
    for ((host, user, id), count) in unknown {
        let most = *books.copies(&Taken { id: id.to_owned(), ..Taken::nothing(host) }, user).end();
        if count > most {
            wrong.push(format!("{user} of house {host} has {id}, which nobody brought or was not acknowledged, {count} times, not {most}"));
        }
    }
}

/// Nobody hears of a report that a report could not be delivered but the postmaster of the house.
fn reports(found: &[(Place, Found)], wrong: &mut Vec<String>) {
    for (place, f) in found {
        let Some(report) = &f.report else { continue };
        let postmaster = postmaster_of(place);
        if report.is_double() && ![Place::Box(postmaster, USERS[0]), Place::Taken(postmaster, USERS[0])].contains(place) {
            wrong.push(format!("a report on a report is at {place:?}: {}", f.message_id));
        }
    }
}

fn postmaster_of(place: &Place) -> usize {
    match place {
        Place::Box(host, _) | Place::Taken(host, _) => *host,
        Place::Site(_) => usize::MAX,
    }
}
