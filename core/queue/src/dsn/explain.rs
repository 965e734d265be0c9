//! Status codes, and what they mean in words that everybody understands (RFC 3463).

use super::{About, Kind};
use alloc::{format, string::String};

/// The enhanced status code in front of a reply's text: `5.1.1`.
pub(super) fn enhanced(reply: &str) -> Option<&str> {
    let word = reply.split_ascii_whitespace().next()?;
    let mut parts = word.split('.');
    let class = parts.next()?;
    let number = |part: Option<&str>| {
        // RFC 3463 §2: one to three digits without leading zeros.
        part.is_some_and(|p| (1..=3).contains(&p.len()) && p.bytes().all(|c| c.is_ascii_digit()) && (p == "0" || !p.starts_with('0')))
    };
    (matches!(class, "2" | "4" | "5") && number(parts.next()) && number(parts.next()) && parts.next().is_none()).then_some(word)
}

/// The status of a recipient (RFC 3464 §2.3.4): what the peer said, if it fits its reply code, or the most general of the class.
pub fn status(kind: Kind, code: u16, reply: &str) -> &str {
    let said = enhanced(reply);
    let class = match (code / 100, kind) {
        // A peer that is out of step: what it said is no reason, and a code of success would contradict the action (RFC 3464 §2.3.4). It is tried again,
        // so what failed in the end failed for too long.
        (2 | 3, Kind::Failed | Kind::Double | Kind::Delayed) => return "4.5.0",
        (2 | 4 | 5, _) => Some((b'0' + (code / 100) as u8) as char),
        (_, Kind::Delivered | Kind::Relayed | Kind::Expanded) => Some('2'),
        (_, Kind::Delayed) => Some('4'),
        // What failed here may have failed for good, or for too long.
        (_, Kind::Failed | Kind::Double) => None,
    };
    match (said, class) {
        (Some(said), None) if !said.starts_with('2') => said,
        (Some(said), Some(class)) if said.starts_with(class) => said,
        (_, Some('2')) => "2.0.0",
        (_, Some('4')) => "4.0.0",
        _ => "5.0.0",
    }
}

impl<'a> About<'a> {
    /// The status in a report. What was not refused for good before the time that its sender set is late, whatever was heard last.
    pub(super) fn status(&self, kind: Kind) -> &'a str {
        match (status(kind, self.code, self.reply), kind) {
            (_, Kind::Delayed) if self.overdue => "4.4.7",
            (said, Kind::Failed | Kind::Double) if self.overdue && (!said.starts_with('5') || self.reply.is_empty()) => "5.4.7",
            (said, _) => said,
        }
    }
}

/// A text without its enhanced code.
fn words(reply: &str) -> &str {
    enhanced(reply).map_or(reply, |code| reply.trim_start()[code.len()..].trim_start())
}

/// The subject and the detail of a status code.
fn detail(status: &str) -> &str {
    status.split_once('.').map_or("", |(_, detail)| detail)
}

/// What happened, as a sentence.
pub(super) fn reason(kind: Kind, about: &About<'_>) -> String {
    let status = about.status(kind);
    let own = words(about.reply).trim();
    let what = match detail(status) {
        // Our own words say more than the code for them.
        _ if about.code == 0 && !own.is_empty() => {
            let mut letters = own.chars();
            let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
            format!("{first}{}.", letters.as_str().trim_end_matches('.'))
        }
        "1.1" | "1.3" => "There is no such address.".into(),
        "1.2" => "The domain behind the @ does not exist.".into(),
        "1.6" => "The recipient has moved without leaving an address.".into(),
        "1.7" | "1.8" => "The other side does not accept your address as a sender.".into(),
        "1.10" => "The domain behind the @ does not accept mail.".into(),
        "2.1" => "The mailbox is closed.".into(),
        "2.2" => "The mailbox is full.".into(),
        "2.3" | "3.4" => "The message is too large for the other side.".into(),
        "4.1" | "4.2" | "4.3" | "4.4" => "The other side could not be reached.".into(),
        "4.6" => "The message goes round in a circle.".into(),
        "4.7" => "It could not be delivered in time.".into(),
        "6.1" | "6.2" | "6.3" | "6.5" => "The other side cannot take a message of this form.".into(),
        "6.7" | "6.8" | "6.9" | "6.10" => "The other side cannot take addresses with these letters.".into(),
        "7.8" | "7.9" | "7.11" | "7.13" => "The other side did not accept our login.".into(),
        "7.10" | "7.30" => "The way to the other side cannot be protected as you asked.".into(),
        detail if detail.starts_with("7.") => "The other side refuses the message by its rules.".into(),
        _ => match (kind, status.as_bytes()[0]) {
            (Kind::Delayed, _) | (_, b'4') => "The other side could not take the message for now.".into(),
            _ => "The other side refused the message.".into(),
        },
    };
    if kind != Kind::Delayed && status.starts_with('4') { format!("It was tried for as long as is usual here. {what}") } else { what }
}

/// What the reader can do, as a sentence.
pub(super) fn advice(kind: Kind, about: &About<'_>) -> &'static str {
    match detail(about.status(kind)) {
        "1.1" | "1.2" | "1.3" => "Check the address for slips. If it is right, ask the recipient in another way for a new one.",
        "1.6" | "1.10" | "2.1" | "4.4" => "Ask the recipient in another way for another address.",
        "2.2" => "Ask the recipient in another way to make room, then send it again.",
        "2.3" | "3.4" => "Send it in smaller parts, or put large files elsewhere and send a link.",
        "4.6" | "3.5" | "7.8" | "7.9" | "7.11" | "7.13" => "Only those who run the servers can put that right. Please tell them.",
        "6.7" | "6.8" | "6.9" | "6.10" => "Ask the recipient for an address of plain letters, or use a sender address of plain letters.",
        "7.10" | "7.30" => "Send it without that wish if it may be read on its way.",
        detail if detail.starts_with("7.") => "Those who run the other server decide about that. Their own words may say why.",
        detail if detail.starts_with("4.") => "Try again later, or ask the recipient in another way.",
        _ => "Try again later. If it fails again, show this report to those who run your mail system.",
    }
}
