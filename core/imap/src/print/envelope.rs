//! ENVELOPE (RFC 3501 §7.4.2).

use super::nstring;
use mime::{Correspondent, Envelope};
use wire::Outbox;

/// Prints an envelope with its parentheses.
pub fn envelope(tx: &mut Outbox, envelope: &Envelope) {
    // An absent or empty Sender or Reply-To is From: "the client is not expected to know to do this" (RFC 3501 §7.4.2).
    let or_from = |list| if <[Correspondent]>::is_empty(list) { &envelope.from[..] } else { list };
    tx.put(b"(");
    nstring(tx, envelope.date.as_deref());
    tx.put(b" ");
    nstring(tx, envelope.subject.as_deref());
    let lists = [&envelope.from[..], or_from(&envelope.sender), or_from(&envelope.reply_to), &envelope.to, &envelope.cc, &envelope.bcc];
    for list in lists {
        tx.put(b" ");
        correspondents(tx, list);
    }
    tx.put(b" ");
    nstring(tx, envelope.in_reply_to.as_deref());
    tx.put(b" ");
    nstring(tx, envelope.message_id.as_deref());
    tx.put(b")");
}

fn correspondents(tx: &mut Outbox, list: &[Correspondent]) {
    if list.is_empty() {
        return tx.put(b"NIL");
    }
    tx.put(b"(");
    for who in list {
        let fields = [&who.name, &who.route, &who.mailbox, &who.host];
        for (i, field) in fields.into_iter().enumerate() {
            tx.put(if i == 0 { b"(" } else { b" " });
            nstring(tx, field.as_deref());
        }
        tx.put(b")");
    }
    tx.put(b")");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        // RFC 3501 §8
        let mut scanner = mime::Scanner::new();
        scanner.feed(
            b"Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\nFrom: Terry Gray <gray@cac.washington.edu>\r\n\
              Subject: IMAP4rev1 WG mtg summary and minutes\r\nTo: imap@cac.washington.edu\r\n\
              cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\n\
              Message-Id: <B27397-0100000@cac.washington.edu>\r\nMIME-Version: 1.0\r\n\
              Content-Type: TEXT/PLAIN; CHARSET=US-ASCII\r\n\r\n",
        );
        let mut tx = Outbox::new(1000);
        envelope(&mut tx, &scanner.finish().envelope);
        let expect = r#"("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev1 WG mtg summary and minutes" (("Terry Gray" NIL "gray" "cac.washington.edu")) (("Terry Gray" NIL "gray" "cac.washington.edu")) (("Terry Gray" NIL "gray" "cac.washington.edu")) ((NIL NIL "imap" "cac.washington.edu")) ((NIL NIL "minutes" "CNRI.Reston.VA.US")("John Klensin" NIL "KLENSIN" "MIT.EDU")) NIL NIL "<B27397-0100000@cac.washington.edu>")"#;
        assert_eq!(core::str::from_utf8(tx.bytes()).unwrap(), expect);
    }
}
