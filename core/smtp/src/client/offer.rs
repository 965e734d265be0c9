//! What a server offers in its reply to EHLO (RFC 5321 §4.1.1.1).

use super::office::Offer;
use alloc::string::String;

/// Takes a line of the reply. The first one is the server's name.
pub(super) fn note(line: u32, text: &str, offer: &mut Offer, mechanisms: &mut String) {
    let mut words = text.split_ascii_whitespace();
    let Some(keyword) = words.next() else { return };
    if line == 0 {
        offer.name = keyword.into();
        return;
    }
    let is = |known: &str| keyword.eq_ignore_ascii_case(known);
    if is("SIZE") {
        offer.size = Some(words.next().and_then(|n| n.parse().ok()).unwrap_or(0));
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
        offer.deliver_by = true;
    } else if is("MT-PRIORITY") {
        offer.priority = true;
    } else if is("REQUIRETLS") {
        offer.require_tls = true;
    } else if is("STARTTLS") {
        // Kept with the mechanisms: neither is of use to who gives out jobs.
        mechanisms.push_str(" STARTTLS ");
    } else if is("LIMITS") {
        for word in words {
            match word.split_once('=') {
                Some((name, value)) if name.eq_ignore_ascii_case("RCPTMAX") => offer.recipients_max = value.parse().ok().filter(|n| *n > 0),
                Some((name, value)) if name.eq_ignore_ascii_case("MAILMAX") => offer.mails_max = value.parse().ok().filter(|n| *n > 0),
                _ => {}
            }
        }
    } else if is("AUTH") || keyword.get(..5).is_some_and(|k| k.eq_ignore_ascii_case("AUTH=")) {
        // `AUTH=LOGIN` is what servers said before there was a standard.
        for word in keyword.get(5..).into_iter().chain(words) {
            mechanisms.push(' ');
            mechanisms.push_str(word);
        }
    }
}
