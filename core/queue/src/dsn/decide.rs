//! Who is told of what, and how much comes back.

use super::{Kind, Returned};
use mail::{Address, Notify, Ret};

/// What a decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// What there is to tell: [`Kind::Double`] is for this function to find.
    pub kind: Kind,
    /// Who sent the message.
    pub sender: Option<&'a Address>,
    /// What the sender wishes for this recipient.
    pub notify: Notify,
    /// Whether the sender is known: logged in, or a client we relay for, or a program of this host.
    pub known: bool,
    /// Whether the message is a report on a report: what follows from it ends here.
    pub double: bool,
}

/// What the operator wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// What senders who did not authenticate are told.
    pub strangers: Strangers,
    /// Who gets the reports that cannot be delivered; if nobody does, they end.
    pub double_bounces: Option<Address>,
    /// Bytes of a message that come back if its sender does not say how much (RFC 3461 §4.3 leaves it to us). Beyond: its header.
    pub unsaid_max: u64,
    /// Bytes of a message that come back if its sender wants all (RFC 3461 §6.2 allows a limit). Beyond: its header.
    pub full_max: u64,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy { strangers: Strangers::Asked, double_bounces: None, unsaid_max: 64 << 10, full_max: 10 << 20 }
    }
}

/// What senders who did not authenticate are told. Their address may be forged, and then a stranger gets what we send (backscatter).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strangers {
    /// Failures of what was accepted (RFC 5321 §6.1 owes them that), and what they asked for by name (RFC 3461 §4.1). No delays unasked.
    Asked,
    /// Failures only.
    Failures,
    /// Nothing. Mail of strangers that cannot be delivered is lost: only for hosts that never relay it.
    Nothing,
}

/// Who is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told<'a> {
    /// The sender.
    Sender(&'a Address),
    /// The postmaster, by a [`Kind::Double`] report.
    Postmaster(&'a Address),
    /// Nobody.
    Nobody,
}

/// Decides whether a report is owed on one recipient, and to whom.
pub fn whom_to_tell<'a>(case: &Case<'a>, policy: &'a Policy) -> Told<'a> {
    let failed = matches!(case.kind, Kind::Failed | Kind::Double);
    let Some(sender) = case.sender else {
        // RFC 3461 §5.2.1 and RFC 5321 §6.1: never a report to nobody. Failures go to the postmaster once; what happens to that one ends.
        return match &policy.double_bounces {
            Some(postmaster) if failed && !case.double => Told::Postmaster(postmaster),
            _ => Told::Nobody,
        };
    };
    let notify = case.notify;
    let wanted = match case.kind {
        Kind::Failed | Kind::Double => notify.on_failure(),
        Kind::Delayed => notify.on_delay(),
        Kind::Delivered | Kind::Relayed | Kind::Expanded => notify.has(Notify::SUCCESS),
    };
    let owed = case.known
        || match policy.strangers {
            Strangers::Asked => failed || !notify.is_unsaid(),
            Strangers::Failures => failed,
            Strangers::Nothing => false,
        };
    if wanted && owed { Told::Sender(sender) } else { Told::Nobody }
}

/// How much of a message comes back (RFC 3461 §4.3, §6.2): all of it only if it failed, is not too large, can be put into a message (binary
/// content cannot), and comes from somebody who is known: what is sent to a forged address should be small and of little use. The postmaster gets
/// all of it as well: what comes back is most likely a report, and without its body nobody would know what it told.
pub fn returned(kind: Kind, ret: Option<Ret>, size: u64, binary: bool, known: bool, policy: &Policy) -> Returned {
    let max = match ret {
        Some(Ret::Full) => policy.full_max,
        Some(Ret::Headers) => return Returned::Header,
        None => policy.unsaid_max,
    };
    let trusted = kind == Kind::Double || kind == Kind::Failed && known;
    if trusted && !binary && size <= max { Returned::Whole } else { Returned::Header }
}
