//! The trace fields that are written ahead of a message (RFC 5321 §4.4).

use alloc::{format, string::String};
use core::net::IpAddr;
use mail::{Address, Stamp};

/// What is known of how a message came in.
#[derive(Debug)]
pub struct Trace<'a> {
    /// The reverse path; `None` is `<>`.
    pub sender: Option<&'a Address>,
    /// The recipient, if there is just one: naming several would tell them of each other (RFC 5321 §7.6).
    pub recipient: Option<&'a Address>,
    /// What the client called itself.
    pub helo: &'a str,
    /// Where it came from.
    pub peer: IpAddr,
    /// This host.
    pub hostname: &'a str,
    /// The `with` keyword.
    pub with: &'a str,
    /// TLS version and cipher, if any.
    pub tls: Option<(&'a str, &'a str)>,
    /// Who logged in, if recipients may know.
    pub login: Option<&'a Address>,
    /// The id of the message in the log.
    pub id: &'a str,
    /// When.
    pub stamp: Stamp,
}

impl Trace<'_> {
    /// `Return-Path:`, `Delivered-To:` and `Received:`, lines ended by LF as they are stored.
    pub fn fields(&self) -> String {
        let mut text = match self.sender {
            Some(sender) => format!("Return-Path: <{sender}>\n"),
            None => String::from("Return-Path: <>\n"),
        };
        if let Some(recipient) = self.recipient {
            text += &format!("Delivered-To: {recipient}\n");
        }
        let peer = match self.peer {
            IpAddr::V4(v4) => format!("[{v4}]"),
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) => format!("[{v4}]"),
                None => format!("[IPv6:{v6}]"),
            },
        };
        text += &format!("Received: from {} ({peer})\n\tby {} with {} id {}", safe(self.helo), self.hostname, self.with, self.id);
        if let Some((version, cipher)) = self.tls {
            text += &format!("\n\t({version} {cipher})");
        }
        if let Some(login) = self.login {
            text += &format!("\n\t(logged in as {})", safe(&format!("{login}")));
        }
        if let Some(recipient) = self.recipient {
            text += &format!("\n\tfor <{recipient}>");
        }
        text += &format!(";\n\t{}\n", self.stamp.header());
        text
    }
}

/// The name a client gave, without anything that could end the field or a comment in it.
fn safe(name: &str) -> String {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']' | '@' | '+');
    let name: String = name.chars().take(255).map(|c| if fits(c) { c } else { '?' }).collect();
    if name.is_empty() { String::from("unknown") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_prints_what_happened() {
        let (alice, bob) = (Address::new("alice", "a.test"), Address::new("bob", "b.test"));
        let login = Address::new("alice(x", "a.test");
        let trace = Trace {
            sender: Some(&alice),
            recipient: Some(&bob),
            helo: "client.a.test\n(x",
            peer: "::ffff:192.0.2.1".parse().unwrap(),
            hostname: "mx.b.test",
            with: "ESMTPS",
            tls: Some(("TLSv1.3", "TLS13_AES_256_GCM_SHA384")),
            login: Some(&login),
            id: "1f",
            stamp: Stamp::utc(0),
        };
        assert_eq!(
            trace.fields(),
            "Return-Path: <alice@a.test>\nDelivered-To: bob@b.test\nReceived: from client.a.test??x ([192.0.2.1])\n\
             \tby mx.b.test with ESMTPS id 1f\n\t(TLSv1.3 TLS13_AES_256_GCM_SHA384)\n\t(logged in as ?alice?x?@a.test)\n\tfor <bob@b.test>;\n\
             \tThu, 1 Jan 1970 00:00:00 +0000\n"
        );
    }
}
