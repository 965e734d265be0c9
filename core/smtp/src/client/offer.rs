//! What a server offers in its reply to EHLO (RFC 5321 §4.1.1.1).

use super::limits::{MECHANISMS_MAX, NAME_MAX};
use super::office::Offer;
use alloc::string::String;

/// What is of no use to who gives out jobs.
#[derive(Debug, Default)]
pub(super) struct Way {
    /// STARTTLS (RFC 3207).
    pub start_tls: bool,
    /// The mechanisms of AUTH (RFC 4954), each after a space.
    pub mechanisms: String,
}

/// Takes a line of the reply. The first one is the server's name.
pub(super) fn note(line: u32, text: &str, offer: &mut Offer, way: &mut Way) {
    let mut words = text.split_ascii_whitespace();
    let Some(keyword) = words.next() else { return };
    if line == 0 {
        offer.name = name(keyword);
        return;
    }
    let is = |known: &str| keyword.eq_ignore_ascii_case(known);
    let mut number = || words.next().and_then(|n| n.parse().ok()).unwrap_or(0);
    if is("SIZE") {
        offer.size = Some(number());
    } else if is("PIPELINING") {
        offer.pipelining = true;
    } else if is("8BITMIME") {
        offer.eight_bit = true;
    } else if is("CHUNKING") {
        offer.chunking = true;
    } else if is("BINARYMIME") {
        offer.binary = true;
    } else if is("SMTPUTF8") {
        offer.utf8 = true;
    } else if is("DSN") {
        offer.dsn = true;
    } else if is("DELIVERBY") {
        offer.deliver_by = Some(number());
    } else if is("MT-PRIORITY") {
        offer.priority = true;
    } else if is("REQUIRETLS") {
        offer.require_tls = true;
    } else if is("STARTTLS") {
        way.start_tls = true;
    } else if is("LIMITS") {
        for (limit, value) in words.filter_map(|word| word.split_once('=')) {
            let is = |known: &str| limit.eq_ignore_ascii_case(known);
            // RFC 9422 §4: none of them is 0; what makes no sense is as good as not said.
            let value = value.parse().ok().filter(|n| *n > 0);
            if is("RCPTMAX") {
                offer.recipients_max = value;
            } else if is("MAILMAX") {
                offer.mails_max = value;
            } else if is("RCPTDOMAINMAX") {
                offer.domains_max = value;
            }
        }
    } else if is("AUTH") || keyword.get(..5).is_some_and(|k| k.eq_ignore_ascii_case("AUTH=")) {
        // `AUTH=LOGIN` is what servers said before there was a standard.
        for word in keyword.get(5..).into_iter().chain(words) {
            if way.mechanisms.len() + 1 + word.len() <= MECHANISMS_MAX {
                way.mechanisms.push(' ');
                way.mechanisms.push_str(word);
            }
        }
    }
}

/// A server's name for itself, as much of it as a name can have.
pub(super) fn name(word: &str) -> alloc::boxed::Box<str> {
    word.char_indices().take_while(|(at, c)| at + c.len_utf8() <= NAME_MAX).map(|(_, c)| c).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(lines: &[&str]) -> (Offer, Way) {
        let (mut offer, mut way) = (Offer::default(), Way::default());
        lines.iter().zip(0..).for_each(|(text, line)| note(line, text, &mut offer, &mut way));
        (offer, way)
    }

    #[test]
    fn what_is_understood() {
        let (offer, way) = offered(&[
            "mx.test hello",
            "size 100",
            "DeliverBy 240",
            "AUTH=LOGIN",
            "AUTH PLAIN X",
            "LIMITS RCPTMAX=20 MAILMAX=0 RCPTDOMAINMAX=3 y",
        ]);
        assert_eq!((&*offer.name, offer.size, offer.deliver_by), ("mx.test", Some(100), Some(240)));
        assert_eq!((offer.recipients_max, offer.mails_max, offer.domains_max), (Some(20), None, Some(3)));
        assert_eq!((way.mechanisms.as_str(), way.start_tls), (" LOGIN PLAIN X", false));
        assert!(!offered(&["STARTTLS"]).1.start_tls, "that is its name");
        assert_eq!(offered(&["x", "SIZE", "DELIVERBY"]).0.size, Some(0));
    }

    #[test]
    fn a_boaster_is_not_remembered_whole() {
        let (offer, way) = offered(&[&"ü".repeat(1000), &format_auth()]);
        assert_eq!(offer.name.len(), 254);
        assert!(way.mechanisms.len() <= MECHANISMS_MAX);
    }

    fn format_auth() -> String {
        ["AUTH", &" X".repeat(1000)].concat()
    }
}
