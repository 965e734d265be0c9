//! A resolver whose servers answer anything.

use dns::{INBOX_LIMIT, Kind, OUTBOX_MARK, Query, Resolver, Settings, Transport};
use wire::{Inbox, Outbox, Session, Step, Tick};

/// The bytes are what servers send, in pieces of up to 256 octets behind a length. The first octet of a piece says whether it gets the id, or
/// the id and the question that are expected. Whatever comes, every question ends, and soon.
pub fn dns_resolver(data: &[u8]) {
    let _ = dns::resolv_conf(&String::from_utf8_lossy(data));
    let servers = vec!["192.0.2.1:53".parse().expect("an address"), "192.0.2.2:53".parse().expect("an address")];
    let settings = Settings { servers, cache_max: 4, trust_ad: true, ..Settings::default() };
    let mut resolver = Resolver::new(settings);
    let (mut rest, mut count) = (data, data.len() as u64);
    let mut dice = || {
        count = count.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
        count
    };
    let mut now = Tick(0);
    for kind in [Kind::A, Kind::Aaaa, Kind::Mx, Kind::Txt, Kind::Ptr, Kind::Cname, Kind::Tlsa] {
        let query = Query::new("a.test", kind).expect("a name");
        let mut exchanges = 0;
        while resolver.look_up(now, &query).is_none() {
            now = now.max(resolver.deadline().expect("a question that is not answered waits for something"));
            let mut exchange = resolver.next(now, &mut dice).expect("it is due");
            exchanges += 1;
            assert!(exchanges < 200, "a question does not end");
            let (mut rx, mut tx) = (Inbox::new(INBOX_LIMIT), Outbox::new(OUTBOX_MARK));
            loop {
                match exchange.step(now, &mut rx, &mut tx) {
                    Step::Read => {}
                    Step::Close(_) => break,
                    step => panic!("an exchange only reads and ends: {step:?}"),
                }
                let Some(message) = piece(&mut rest, tx.bytes(), exchange.transport()) else {
                    now = exchange.deadline().expect("it waits");
                    continue;
                };
                let room = rx.spare();
                let n = message.len().min(room.len());
                room[..n].copy_from_slice(&message[..n]);
                rx.filled(n);
            }
            let _ = resolver.done(now, exchange);
        }
    }
}

fn piece(rest: &mut &[u8], question: &[u8], transport: Transport) -> Option<Vec<u8>> {
    let (&size, after) = rest.split_first()?;
    let (piece, after) = after.split_at(usize::from(size).min(after.len()));
    *rest = after;
    let (&mode, body) = piece.split_first()?;
    let question = if transport == Transport::Tcp { &question[2..] } else { question };
    let mut message = match mode % 3 {
        0 => body.to_vec(),
        1 => [&question[..2], body].concat(),
        // Flags and counts come from the piece, all else up to the end of the question (its name is `a.test`) from us.
        _ => {
            let (head, tail) = body.split_at(body.len().min(10));
            let mut header = [0; 10];
            header[..head.len()].copy_from_slice(head);
            header[2..4].copy_from_slice(&[0, 1]);
            [&question[..2], &header, &question[12..24], tail].concat()
        }
    };
    if transport == Transport::Tcp && mode < 0x80 {
        message.splice(0..0, (message.len() as u16).to_be_bytes());
    }
    Some(message)
}
