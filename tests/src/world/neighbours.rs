//! One mailbox in trouble is nobody else's: who is refused for a fault, and when what was taken is there.

use super::{
    Stage,
    books::{Fate, Refused, Taken},
    check::duty,
    host::Host,
    ills::home,
    plan::Plan,
};
/// What was just taken is in the mailboxes it is for, unless there is a reason for it not to be.
pub fn prompt(plan: &Plan, hosts: &[Host], stage: &mut Stage, from: usize) {
    for n in from..stage.books.taken.len() {
        let taken = &stage.books.taken[n];
        // Without power there is nobody to hear that it was taken.
        if taken.fate != Fate::Accepted || hosts[taken.host].is_dark() {
            continue;
        }
        let (host, boxes) = (taken.host, duty(plan, taken).boxes);
        let late: Vec<&String> = boxes.iter().filter(|user| !is_there(&hosts[host], user, taken)).collect();
        if late.iter().any(|user| !stage.books.may_refuse(host, [user].into_iter(), taken.at)) {
            let what = format!("house {host} took {} at {}, and it is not there: {late:?}", taken.id, taken.at / 1000);
            stage.books.wrong(what);
        }
    }
}

fn is_there(host: &Host, user: &str, taken: &Taken) -> bool {
    let (maildir, unique) = (home(&host.domain, user).join("Maildir"), format!(".L{}N", taken.id));
    let mut found = false;
    for dir in ["new", "cur"] {
        let names = host.disk.peek(|world| world.list(&maildir.join(dir))).unwrap_or_default();
        found |= names.iter().any(|(name, _)| name.windows(unique.len()).any(|w| w == unique.as_bytes()));
    }
    found
}

/// Nobody was refused for a fault who had nothing to do with it.
pub fn check(plan: &Plan, stage: &Stage, wrong: &mut Vec<String>) {
    for Refused { host, at, recipients, what } in &stage.books.refused {
        let as_taken = Taken { recipients: recipients.clone(), ..Taken::nothing(*host) };
        if !stage.books.may_refuse(*host, duty(plan, &as_taken).boxes.iter(), *at) {
            let to: Vec<String> = recipients.iter().map(|r| r.address.to_string()).collect();
            wrong.push(format!("house {host} refused {to:?} at {}.{:03}, and nothing was wrong with them: {what}", at / 1000, at % 1000));
        }
    }
}
