//! BODY and BODYSTRUCTURE (RFC 3501 §7.4.2, grammar `body` in §9).

use super::{envelope, nstring, string};
use core::fmt::Write;
use mime::{Envelope, Kind, Param, Part};
use wire::Outbox;

/// Prints BODYSTRUCTURE: with extension data.
pub fn body_structure(tx: &mut Outbox, part: &Part) {
    print(tx, part, true);
}

/// Prints BODY: without extension data.
pub fn body(tx: &mut Outbox, part: &Part) {
    print(tx, part, false);
}

/// What stands for a part that is not there where the grammar wants one.
const NO_PART: &[u8] = b"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0)";

fn print(tx: &mut Outbox, part: &Part, extended: bool) {
    tx.put(b"(");
    match &part.kind {
        Kind::Multipart(parts) => {
            if parts.is_empty() {
                tx.put(NO_PART);
            }
            parts.iter().for_each(|inner| print(tx, inner, extended));
            tx.put(b" ");
            string(tx, &part.media.1);
            if extended {
                tx.put(b" ");
                params(tx, &part.params);
                placement(tx, part);
            }
        }
        Kind::Leaf | Kind::Message(_) => {
            single(tx, part, extended);
            if extended {
                tx.put(b" ");
                nstring(tx, part.md5.as_deref());
                placement(tx, part);
            }
        }
    }
    tx.put(b")");
}

/// `body-fields` and what texts and messages have beyond them.
fn single(tx: &mut Outbox, part: &Part, extended: bool) {
    string(tx, &part.media.0);
    tx.put(b" ");
    string(tx, &part.media.1);
    tx.put(b" ");
    params(tx, &part.params);
    for field in [part.id.as_deref(), part.description.as_deref(), Some(&part.encoding)] {
        tx.put(b" ");
        nstring(tx, field);
    }
    // Writing to an outbox never fails.
    let _ = write!(tx, " {}", part.body.wire);
    // `media-message` is RFC822 alone here: a client that knows no more takes `message/global` for any other part.
    if part.media.0.eq_ignore_ascii_case(b"message") && part.media.1.eq_ignore_ascii_case(b"rfc822") {
        tx.put(b" ");
        match &part.kind {
            Kind::Message(inner) => {
                envelope(tx, &inner.envelope);
                tx.put(b" ");
                print(tx, &inner.root, extended);
            }
            // One that was not read (encoded, or past a limit): the grammar demands these fields all the same.
            _ => {
                envelope(tx, &Envelope::default());
                tx.put(b" ");
                tx.put(NO_PART);
            }
        }
        let _ = write!(tx, " {}", part.lines);
    } else if part.media.0.eq_ignore_ascii_case(b"text") {
        let _ = write!(tx, " {}", part.lines);
    }
}

/// Disposition, language, location: the extension data that every part has.
fn placement(tx: &mut Outbox, part: &Part) {
    match &part.disposition {
        Some(disposition) => {
            tx.put(b" (");
            string(tx, &disposition.kind);
            tx.put(b" ");
            params(tx, &disposition.params);
            tx.put(b")");
        }
        None => tx.put(b" NIL"),
    }
    if part.language.is_empty() {
        tx.put(b" NIL");
    } else {
        for (i, tag) in part.language.iter().enumerate() {
            tx.put(if i == 0 { b" (" } else { b" " });
            string(tx, tag);
        }
        tx.put(b")");
    }
    tx.put(b" ");
    nstring(tx, part.location.as_deref());
}

fn params(tx: &mut Outbox, params: &[Param]) {
    if params.is_empty() {
        return tx.put(b"NIL");
    }
    for (i, (name, value)) in params.iter().enumerate() {
        tx.put(if i == 0 { b"(" } else { b" " });
        string(tx, name);
        tx.put(b" ");
        string(tx, value);
    }
    tx.put(b")");
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    fn show(message: &str, print: fn(&mut Outbox, &Part)) -> String {
        let mut scanner = mime::Scanner::new();
        scanner.feed(message.as_bytes());
        let mut tx = Outbox::new(1000);
        print(&mut tx, &scanner.finish().root);
        String::from_utf8(tx.bytes().to_vec()).unwrap()
    }

    const MIXED: &str = "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Language: en\nContent-Disposition: inline\n\na\n--b\n\
        Content-Type: message/rfc822\n\nSubject: s\n\nx\ny\n--b\nContent-Type: image/png; name=\"a b\"\n\
        Content-Transfer-Encoding: base64\nContent-ID: <1>\nContent-Disposition: attachment; filename=\"x\"\n\nAAAA\n--b--\n";

    #[test]
    fn a_structure_with_its_extension_data() {
        assert_eq!(
            show(MIXED, body_structure),
            r#"(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 1 1 NIL ("inline" NIL) ("en") NIL)("message" "rfc822" NIL NIL NIL "7bit" 18 (NIL "s" NIL NIL NIL NIL NIL NIL NIL NIL) ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 4 2 NIL NIL NIL NIL) 4 NIL NIL NIL NIL)("image" "png" ("name" "a b") "<1>" NIL "base64" 4 NIL ("attachment" ("filename" "x")) NIL NIL) "mixed" ("boundary" "b") NIL NIL NIL)"#
        );
    }

    #[test]
    fn a_body_without_them() {
        assert_eq!(
            show(MIXED, body),
            r#"(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 1 1)("message" "rfc822" NIL NIL NIL "7bit" 18 (NIL "s" NIL NIL NIL NIL NIL NIL NIL NIL) ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 4 2) 4)("image" "png" ("name" "a b") "<1>" NIL "base64" 4) "mixed")"#
        );
    }

    #[test]
    fn what_the_grammar_demands_is_there() {
        assert_eq!(
            show("Content-Type: multipart/mixed; boundary=b\n\n", body),
            r#"(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0) "mixed")"#
        );
        assert_eq!(
            show("Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nQQo=\n", body),
            r#"("message" "rfc822" NIL NIL NIL "base64" 6 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0) 1)"#
        );
    }
}
