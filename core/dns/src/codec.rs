//! Messages: a question to octets, octets to what they say about it (RFC 1035 §4.1 by hickory-proto).

use crate::{
    fact::{Found, Kind, Record},
    limits::{CHAIN_MAX, PAYLOAD, RECORDS_MAX, RECORDS_READ_MAX},
};
use alloc::{boxed::Box, vec::Vec};
use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query as Asked, ResponseCode},
    rr::{DNSClass, Name, RData, RecordType},
};

/// A question as it goes to one server.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    /// Guards against lies from afar, with the port and the case of the letters.
    pub(crate) id: u16,
    /// The name with letters in random case (draft-vixie-dnsext-dns0x20): who cannot see the question cannot answer in the same.
    name: Name,
    kind: Kind,
    /// Whether EDNS0 is spoken.
    pub(crate) edns: bool,
}

/// What a message is to a question.
#[derive(Debug)]
pub(crate) enum Heard {
    /// No answer to it: a lie, or an answer to another question.
    Foreign,
    /// An answer to it, but for the case of its letters: a lie, or a server that does not keep case.
    OtherCase,
    /// There is more than fits into a datagram.
    Truncated,
    /// The server does not understand questions like this one: perhaps EDNS0 is too new for it.
    NotUnderstood,
    /// The server has no answer.
    Refused,
    /// This is it.
    Answer(Answer),
}

/// What an answer says.
#[derive(Debug)]
pub(crate) enum Answer {
    /// This is known, for so many seconds.
    Known(Found, u32),
    /// The name is an alias; what is behind it was not said. The TTL of the way so far, and how many aliases it has.
    Chase(Box<str>, u32, usize),
}

impl Question {
    /// Writes the question anew; `dice` decides the case of letters. `None` if the name cannot be put on a wire.
    pub(crate) fn new(name: &str, kind: Kind, id: u16, edns: bool, dice: &mut dyn FnMut() -> u64) -> Option<Question> {
        let mut text = name.as_bytes().to_vec();
        for letters in text.chunks_mut(64) {
            let bits = dice();
            for (at, c) in letters.iter_mut().enumerate() {
                if c.is_ascii_alphabetic() && bits >> at & 1 == 1 {
                    *c ^= 0x20;
                }
            }
        }
        let name = Name::from_labels(text.split(|c| *c == b'.')).ok()?;
        Some(Question { id, name, kind, edns })
    }

    /// As it is sent. Recursion is desired, and to know of validation (RFC 6840 §5.7).
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut message = Message::new(self.id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.metadata.authentic_data = true;
        message.add_query(Asked::query(self.name.clone(), wire_kind(self.kind)));
        if self.edns {
            let mut edns = Edns::new();
            edns.set_max_payload(PAYLOAD).set_version(0);
            message.set_edns(edns);
        }
        message.to_vec().expect("a name of legal length fits into a message")
    }

    /// Reads what a server sent. `strict`: the letters must have the same case.
    pub(crate) fn hear(&self, bytes: &[u8], strict: bool) -> Heard {
        let short = |at: usize| bytes.get(at..at + 2).map_or(0, |b| u16::from_be_bytes([b[0], b[1]]));
        // The header before the rest: a message that announces 65,535 questions would be given room for them.
        let answers_one = bytes.len() >= 12 && bytes[2] & 0x80 != 0 && short(4) == 1;
        if !answers_one || short(0) != self.id {
            return Heard::Foreign;
        }
        if u32::from(short(6)) + u32::from(short(8)) + u32::from(short(10)) > RECORDS_READ_MAX {
            return Heard::Refused;
        }
        let Ok(message) = Message::from_vec(bytes) else { return self.hear_broken(bytes, strict) };
        match message.queries.first().map(|asked| self.is_asked(asked, strict)) {
            Some(Same::Yes) => {}
            Some(Same::OtherCase) => return Heard::OtherCase,
            Some(Same::No) | None => return Heard::Foreign,
        }
        if message.metadata.truncation {
            return Heard::Truncated;
        }
        match message.metadata.response_code {
            ResponseCode::NoError => self.read(&message, false),
            ResponseCode::NXDomain => self.read(&message, true),
            ResponseCode::FormErr | ResponseCode::NotImp | ResponseCode::BADVERS | ResponseCode::BADSIG if self.edns => {
                Heard::NotUnderstood
            }
            _ => Heard::Refused,
        }
    }

    /// A message that breaks off or has a broken record. If it says so itself, the rest is to be had over TCP; servers that know no EDNS0
    /// may answer with nothing but a header.
    fn hear_broken(&self, bytes: &[u8], strict: bool) -> Heard {
        use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
        match Asked::read(&mut BinDecoder::new(bytes).clone(12)).map(|asked| self.is_asked(&asked, strict)) {
            Ok(Same::Yes) if bytes[2] & 2 != 0 => Heard::Truncated,
            Ok(Same::Yes) => Heard::Refused,
            Ok(Same::OtherCase) => Heard::OtherCase,
            Ok(Same::No) | Err(_) => Heard::Foreign,
        }
    }

    fn is_asked(&self, asked: &Asked, strict: bool) -> Same {
        if asked.query_type != wire_kind(self.kind) || asked.query_class != DNSClass::IN || asked.name != self.name {
            Same::No
        } else if strict && !asked.name.eq_case(&self.name) {
            Same::OtherCase
        } else {
            Same::Yes
        }
    }

    /// Follows aliases through the answer to the records of the kind.
    fn read(&self, message: &Message, no_domain: bool) -> Heard {
        let mut name = &self.name;
        let mut ttl = u32::MAX;
        let mut hops = 0;
        // RFC 1034 §3.6.2: aliases are followed unless they are what was asked for.
        while self.kind != Kind::Cname
            && let Some((target, alias_ttl)) = message.answers.iter().find_map(|r| match &r.data {
                RData::CNAME(target) if r.name == *name && r.dns_class == DNSClass::IN => Some((&target.0, r.ttl)),
                _ => None,
            })
        {
            hops += 1;
            if hops > CHAIN_MAX {
                return Heard::Refused;
            }
            ttl = ttl.min(alias_ttl);
            name = target;
        }
        let mut records = Vec::new();
        for record in message.answers.iter().filter(|r| r.name == *name && r.dns_class == DNSClass::IN) {
            if (self.kind == Kind::Mx || records.len() < RECORDS_MAX)
                && let Some(one) = self.record(&record.data)
            {
                ttl = ttl.min(record.ttl);
                records.push(one);
            }
        }
        let alias = (hops > 0).then(|| text(name));
        Heard::Answer(if !records.is_empty() {
            let secure = message.metadata.authentic_data;
            Answer::Known(Found::Records { records, alias, secure, ttl }, ttl)
        } else if no_domain {
            // RFC 6604 §3: it speaks of the last name of the chain.
            Answer::Known(Found::NoDomain, ttl.min(negative_ttl(message).unwrap_or(0)))
        } else if let Some(negative) = negative_ttl(message) {
            Answer::Known(Found::NoData, ttl.min(negative))
        } else if let Some(target) = alias {
            Answer::Chase(target, ttl, hops)
        } else if message.authorities.iter().any(|r| r.record_type() == RecordType::NS) && !message.metadata.recursion_available {
            // A referral (RFC 2308 §2.2): this server asks nobody and does not know.
            return Heard::Refused;
        } else {
            Answer::Known(Found::NoData, 0)
        })
    }

    fn record(&self, data: &RData) -> Option<Record> {
        Some(match (self.kind, data) {
            (Kind::A, RData::A(a)) => Record::A(a.0),
            (Kind::Aaaa, RData::AAAA(aaaa)) => Record::Aaaa(aaaa.0),
            (Kind::Mx, RData::MX(mx)) => Record::Mx { preference: mx.preference, exchange: text(&mx.exchange) },
            (Kind::Txt, RData::TXT(txt)) => Record::Txt(txt.txt_data.concat().into()),
            (Kind::Ptr, RData::PTR(name)) => Record::Ptr(text(&name.0)),
            (Kind::Cname, RData::CNAME(name)) => Record::Cname(text(&name.0)),
            (Kind::Tlsa, RData::TLSA(tlsa)) => Record::Tlsa {
                usage: tlsa.cert_usage.into(),
                selector: tlsa.selector.into(),
                matching: tlsa.matching.into(),
                data: tlsa.cert_data.as_slice().into(),
            },
            _ => return None,
        })
    }
}

/// How near the question of a message is to ours.
enum Same {
    Yes,
    OtherCase,
    No,
}

/// For how long there is nothing (RFC 2308 §5): the TTL of the SOA record or its own last field, whichever is less.
fn negative_ttl(message: &Message) -> Option<u32> {
    message.authorities.iter().find_map(|r| match &r.data {
        RData::SOA(soa) => Some(r.ttl.min(soa.minimum)),
        _ => None,
    })
}

/// Lower case without a final dot; the root is `.`. Odd octets are escaped, so that no query is ever made of them.
fn text(name: &Name) -> Box<str> {
    let mut text = name.to_ascii();
    text.make_ascii_lowercase();
    if text.len() > 1 && text.ends_with('.') {
        text.pop();
    }
    text.into()
}

fn wire_kind(kind: Kind) -> RecordType {
    match kind {
        Kind::A => RecordType::A,
        Kind::Aaaa => RecordType::AAAA,
        Kind::Mx => RecordType::MX,
        Kind::Txt => RecordType::TXT,
        Kind::Ptr => RecordType::PTR,
        Kind::Cname => RecordType::CNAME,
        Kind::Tlsa => RecordType::TLSA,
    }
}
