//! A header beyond ASCII, and servers that take it or do not.

use super::*;

#[test]
fn a_header_beyond_ascii_goes_as_the_peer_may_take_it() {
    let go = |offers: &str, mail: &str| {
        format!(
            "
        S: 220 mx
        C: EHLO client.test
        S: 250-mx.test
        {offers}
        S: 250 PIPELINING
        C: MAIL FROM:<alice@client.test>{mail}
        C: RCPT TO:<bob@mx.test>
        C: DATA
        S: 250 ok
        S: 250 ok
        S: 354 go
        C: x
        C: .
        S: 250 ok"
        )
    };
    let (both, eight) = ("S: 250-8BITMIME\n        S: 250-SMTPUTF8", "S: 250-8BITMIME");
    for (utf8, raw, offers, mail, form) in [
        (true, false, both, " BODY=8BITMIME SMTPUTF8", Form::AsIs),
        (true, false, eight, " BODY=8BITMIME", Form::Header),
        (true, false, "S: 250-HELP", "", Form::SevenBit),
        // RFC 6532 §3: what is no UTF-8 is never called so.
        (false, true, both, " BODY=8BITMIME", Form::Header),
        (false, true, eight, " BODY=8BITMIME", Form::Header),
        (false, true, "S: 250-SMTPUTF8", "", Form::SevenBit),
    ] {
        let letter = Job { utf8, raw, eight_bit: true, ..job(&["bob@mx.test"]) };
        let mut host = Host { jobs: vec![letter], content: b"x\r\n".to_vec(), ..Host::default() };
        play(settings(), &mut host, &go(offers, mail), 7);
        assert_eq!((host.form, host.reports[0].each[0].fate), (Some(form), Fate::Delivered), "{offers}");
    }
}
