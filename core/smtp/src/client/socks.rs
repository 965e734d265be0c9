//! The way through a SOCKS5 proxy (RFC 1928), with a name and password if it wants them (RFC 1929).

use alloc::{boxed::Box, vec::Vec};
use core::{fmt, net::IpAddr};
use wire::{Inbox, Outbox};

/// Whom a proxy is to connect to.
#[derive(Clone, PartialEq, Eq)]
pub struct Socks {
    /// The peer.
    pub to: Destination,
    /// Its port.
    pub port: u16,
    /// A name and a password, each at most 255 bytes.
    pub login: Option<(Box<str>, Box<str>)>,
}

/// A peer, as the proxy is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Its address.
    Address(IpAddr),
    /// Its name, which the proxy looks up.
    Name(Box<str>),
}

/// Nothing secret in logs.
impl fmt::Debug for Socks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socks").field("to", &self.to).field("port", &self.port).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Begin,
    Method,
    Login,
    Connect,
}

pub(super) enum Outcome {
    Wait,
    Again,
    Through,
    Refused(&'static str),
}

impl State {
    pub(super) fn go(&mut self, socks: &Socks, rx: &mut Inbox, tx: &mut Outbox) -> Outcome {
        match self {
            State::Begin => {
                tx.put(if socks.login.is_some() { &[5, 2, 0, 2] } else { &[5, 1, 0] });
                *self = State::Method;
                Outcome::Again
            }
            State::Method => {
                let Some(&[version, method]) = rx.bytes().first_chunk() else { return Outcome::Wait };
                rx.take(2);
                match (version, method, &socks.login) {
                    (5, 0, _) => self.connect(socks, tx),
                    (5, 2, Some((user, password))) if user.len() <= 255 && password.len() <= 255 => {
                        let mut request = Vec::with_capacity(3 + user.len() + password.len());
                        request.extend_from_slice(&[1, user.len() as u8]);
                        request.extend_from_slice(user.as_bytes());
                        request.push(password.len() as u8);
                        request.extend_from_slice(password.as_bytes());
                        tx.put(&request);
                        *self = State::Login;
                        Outcome::Again
                    }
                    (5, 255, _) => Outcome::Refused("the proxy lets nobody in that way"),
                    _ => Outcome::Refused("the proxy does not speak SOCKS5"),
                }
            }
            State::Login => {
                let Some(&[_, status]) = rx.bytes().first_chunk() else { return Outcome::Wait };
                rx.take(2);
                if status == 0 { self.connect(socks, tx) } else { Outcome::Refused("the proxy refused the login") }
            }
            State::Connect => {
                let Some(&[version, reply, _, kind]) = rx.bytes().first_chunk() else { return Outcome::Wait };
                if version != 5 {
                    return Outcome::Refused("the proxy does not speak SOCKS5");
                }
                if reply != 0 {
                    return Outcome::Refused(refusal(reply));
                }
                let address = match kind {
                    1 => 4,
                    4 => 16,
                    3 => match rx.bytes().get(4) {
                        Some(len) => 1 + usize::from(*len),
                        None => return Outcome::Wait,
                    },
                    _ => return Outcome::Refused("the proxy does not speak SOCKS5"),
                };
                let whole = 4 + address + 2;
                if rx.bytes().len() < whole {
                    return Outcome::Wait;
                }
                rx.take(whole);
                Outcome::Through
            }
        }
    }

    fn connect(&mut self, socks: &Socks, tx: &mut Outbox) -> Outcome {
        let mut request = Vec::from([5, 1, 0]);
        match &socks.to {
            Destination::Address(IpAddr::V4(ip)) => {
                request.push(1);
                request.extend_from_slice(&ip.octets());
            }
            Destination::Address(IpAddr::V6(ip)) => {
                request.push(4);
                request.extend_from_slice(&ip.octets());
            }
            Destination::Name(name) => {
                let Ok(len) = u8::try_from(name.len()) else { return Outcome::Refused("the name is too long for the proxy") };
                request.extend_from_slice(&[3, len]);
                request.extend_from_slice(name.as_bytes());
            }
        }
        request.extend_from_slice(&socks.port.to_be_bytes());
        tx.put(&request);
        *self = State::Connect;
        Outcome::Again
    }
}

/// RFC 1928 §6.
fn refusal(reply: u8) -> &'static str {
    match reply {
        2 => "the proxy does not allow this connection",
        3 => "the proxy says that the network cannot be reached",
        4 => "the proxy says that the host cannot be reached",
        5 => "the proxy says that the host refused the connection",
        6 => "the proxy says that the host did not answer in time",
        _ => "the proxy could not connect",
    }
}
