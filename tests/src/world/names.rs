//! Name servers of a world: a zone, answered by real messages, and what a name server may do instead.

use super::{
    Act, Life, Stage,
    net::{Actor, Datagram, End, Got, Net},
};
use hickory_proto::{
    op::{Message, MessageType, OpCode, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, AAAA, CNAME, MX, SOA},
    },
};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    rc::Rc,
};

/// What the world knows of names.
#[derive(Debug, Default)]
pub struct Zone {
    names: BTreeMap<String, Vec<Fact>>,
    /// What the servers do instead of answering.
    pub lies: Lies,
}

/// One record.
#[derive(Debug, Clone)]
pub enum Fact {
    /// Mail goes there.
    Mx(u16, String),
    /// A host.
    Host(IpAddr),
    /// Another name of a host.
    Alias(String),
}

/// How likely a name server does something else than to answer, of 256 each.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lies {
    /// It says nothing.
    pub silent: u8,
    /// It answers a question that nobody asked.
    pub wrong_id: u8,
    /// It says that it cannot.
    pub servfail: u8,
    /// It says that the answer does not fit a datagram.
    pub truncate: u8,
    /// It sends octets that are no message.
    pub rubbish: u8,
}

impl Zone {
    /// Adds a record.
    pub fn add(&mut self, name: &str, fact: Fact) {
        self.names.entry(name.to_owned()).or_default().push(fact);
    }

    /// Whether there is such a name.
    pub fn has(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    fn answer(&self, question: &Message, name: &Name, kind: RecordType) -> Message {
        let mut reply = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
        reply.metadata.recursion_desired = true;
        reply.metadata.recursion_available = true;
        reply.add_queries(question.queries.iter().cloned());
        let mut owner = name.clone();
        let mut key = text(name);
        // A chain of aliases is in one answer, as resolvers give it.
        for _ in 0..8 {
            let facts = self.names.get(&key).map_or(&[][..], |facts| &facts[..]);
            let Some(Fact::Alias(to)) = facts.iter().find(|f| matches!(f, Fact::Alias(_))) else { break };
            let target = named(to);
            reply.add_answer(Record::from_rdata(owner, 300, RData::CNAME(CNAME(target.clone()))));
            owner = target;
            key = to.clone();
        }
        let Some(facts) = self.names.get(&key) else {
            reply.metadata.response_code = ResponseCode::NXDomain;
            reply.add_authority(authority());
            return reply;
        };
        let mut any = false;
        for fact in facts {
            let data = match (fact, kind) {
                (Fact::Mx(preference, to), RecordType::MX) => RData::MX(MX::new(*preference, named(to))),
                (Fact::Host(IpAddr::V4(ip)), RecordType::A) => RData::A(A(*ip)),
                (Fact::Host(IpAddr::V6(ip)), RecordType::AAAA) => RData::AAAA(AAAA(*ip)),
                _ => continue,
            };
            any = true;
            reply.add_answer(Record::from_rdata(owner.clone(), 300, data));
        }
        if !any {
            reply.add_authority(authority());
        }
        reply
    }

    /// What a server says to a question, if anything.
    fn reply(&self, net: &mut Net, question: &[u8], datagram: bool) -> Option<Vec<u8>> {
        let question = Message::from_vec(question).expect("our resolver asks in messages");
        let [query] = &question.queries[..] else { panic!("one question at a time") };
        let lies = self.lies;
        if net.happens(lies.silent) {
            return None;
        }
        if net.happens(lies.rubbish) {
            let n = net.dice.usize(0..40);
            return Some((0..n).map(|_| net.dice.u8(..)).collect());
        }
        let mut reply = self.answer(&question, query.name(), query.query_type());
        if net.happens(lies.servfail) {
            reply = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
            reply.metadata.response_code = ResponseCode::ServFail;
            reply.add_queries(question.queries.iter().cloned());
        }
        if datagram && net.happens(lies.truncate) {
            reply.answers.clear();
            reply.metadata.truncation = true;
        }
        if net.happens(lies.wrong_id) {
            reply.metadata.id ^= 1;
        }
        Some(reply.to_vec().expect("a reply can be written"))
    }
}

/// A name server that is asked by datagrams.
pub struct NameServer {
    /// Its address.
    pub at: SocketAddr,
    /// What it knows.
    pub zone: Rc<RefCell<Zone>>,
}

impl NameServer {
    /// Answers a datagram.
    pub fn hear(&self, net: &mut Net, datagram: &Datagram) {
        let reply = self.zone.borrow().reply(net, &datagram.bytes, true);
        if let Some(reply) = reply {
            net.datagram(self.at, datagram.from, &reply);
        }
    }
}

/// A name server that is asked over a stream.
pub struct NameStream {
    /// Its end.
    pub end: End,
    /// What it knows.
    pub zone: Rc<RefCell<Zone>>,
    /// What arrived and is not yet a question.
    pub held: Vec<u8>,
    /// How long it waits.
    pub until: u64,
}

impl Act for NameStream {
    fn act(&mut self, me: Actor, stage: &mut Stage) -> Life {
        let net = &mut stage.net;
        let mut room = [0; 512];
        loop {
            match net.receive(self.end, &mut room) {
                Got::Bytes(n) => self.held.extend_from_slice(&room[..n]),
                Got::Nothing if net.now < self.until => {
                    net.wake(me, self.until);
                    return Life::Goes;
                }
                Got::Nothing | Got::End | Got::Reset => {
                    net.close(self.end);
                    return Life::Ends;
                }
            }
            // RFC 1035 §4.2.2: two octets of length before each message.
            while let Some((head, rest)) = self.held.split_first_chunk::<2>() {
                let len = usize::from(u16::from_be_bytes(*head));
                let Some(question) = rest.get(..len).map(<[u8]>::to_vec) else { break };
                self.held.drain(..2 + len);
                if let Some(reply) = self.zone.borrow().reply(net, &question, false) {
                    let mut framed = (reply.len() as u16).to_be_bytes().to_vec();
                    framed.extend_from_slice(&reply);
                    net.send(self.end, &framed);
                }
            }
        }
    }

    fn end(&self) -> Option<End> {
        Some(self.end)
    }
}

/// A name as it is looked for: in lower case, without the dot at the end.
fn text(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase()
}

fn named(text: &str) -> Name {
    let text = if text.is_empty() { "." } else { text };
    let mut name = Name::from_ascii(text).expect("zones hold names");
    name.set_fqdn(true);
    name
}

fn authority() -> Record {
    let soa = SOA::new(named("ns.world.test"), named("postmaster.world.test"), 1, 3600, 600, 86_400, 60);
    Record::from_rdata(named("test"), 60, RData::SOA(soa))
}
