//! What can be configured of mail that leaves, and of what it becomes. Field names are the names in the file; times are in seconds unless they say otherwise.

use crate::net::Network;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

/// Whose mail is taken besides that of `domains`, and from whom.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Relay {
    /// Domains that others deliver and this host keeps mail for while they cannot be reached: it is their backup MX.
    pub domains: Vec<String>,
    /// Networks whose hosts may send to anybody without login.
    pub clients: Vec<Network>,
    /// Clients that may send to anybody without login because they show this certificate: SHA-256 of its DER, in hexadecimal digits.
    pub certificates: Vec<String>,
}

/// How mail leaves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Outgoing {
    /// What this host calls itself; `hostname` if not given.
    pub helo: Option<String>,
    /// The address to come from for peers with an IPv4 address; the system chooses if not given.
    pub source4: Option<IpAddr>,
    /// The same for IPv6.
    pub source6: Option<IpAddr>,
    /// A SOCKS5 proxy that all connections go through.
    pub socks5: Option<Socks5>,
    /// Whether the IPv6 addresses of a host are tried first.
    pub prefer_ipv6: bool,
    /// What is wanted of TLS where no route says otherwise.
    pub tls: OutgoingTls,
    /// PEM file of the authorities that are trusted; those of the system if not given.
    pub trust: Option<PathBuf>,
    /// The port of other servers.
    pub port: u16,
    /// The charset of header fields that are neither ASCII nor UTF-8: they are encoded anew from that (RFC 2047).
    pub charset: String,
    /// Whether DNS may lead to this machine itself. Only tests want that: any stranger's zone could make us speak to whatever listens here.
    pub loopback: bool,
    /// Where mail for some domains goes instead of their MX hosts; the most exact one counts.
    pub routes: Vec<Route>,
}

/// A SOCKS5 proxy (RFC 1928).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Socks5 {
    /// Its address and port.
    pub on: SocketAddr,
    /// Who to be there (RFC 1929).
    #[serde(default)]
    pub login: Option<Credentials>,
}

/// A name and the file that holds its password.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// The name.
    pub user: String,
    /// A file with the password in its first line, readable by `user` and nobody else.
    pub password_file: PathBuf,
}

/// What is wanted of TLS towards a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum OutgoingTls {
    /// Never, not even where it is offered.
    Never,
    /// Where it is offered, with any certificate (RFC 7435).
    #[default]
    May,
    /// Always, with any certificate; without it mail waits.
    Must,
    /// Always, with a certificate that a trusted authority gave to this host.
    Verify,
    /// From the first byte on, verified (port 465).
    Implicit,
}

/// Where mail for some domains goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// A domain, `.domain` for all below it, or `*` for all that no other route names (a smart host).
    pub domain: String,
    /// A host or an address in brackets; the MX hosts of the domain if not given.
    #[serde(default)]
    pub host: Option<String>,
    /// Whether the MX records of that host are looked up as well.
    #[serde(default)]
    pub mx: bool,
    /// Its port; that of `outgoing` if not given.
    #[serde(default)]
    pub port: Option<u16>,
    /// What is wanted of TLS; what `outgoing` wants if not given.
    #[serde(default)]
    pub tls: Option<OutgoingTls>,
    /// Who to be there.
    #[serde(default)]
    pub login: Option<Credentials>,
    /// Whether to speak LMTP (RFC 2033).
    #[serde(default)]
    pub lmtp: bool,
    /// The address to come from.
    #[serde(default)]
    pub source: Option<IpAddr>,
}

/// Who is asked for DNS records.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Resolver {
    /// The servers; those of `/etc/resolv.conf` if not given.
    pub servers: Vec<SocketAddr>,
    /// How long a server may take, in milliseconds; that of `/etc/resolv.conf` if not given.
    pub timeout_ms: Option<u32>,
    /// How often each is asked; as `/etc/resolv.conf` says if not given.
    pub attempts: Option<u32>,
}

/// The queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    /// When a message that could not be delivered is tried again.
    pub retry: Retry,
    /// After how long the sender is told that a message is late; never if 0.
    pub warn_after: u32,
    /// After how long a message comes back.
    pub give_up_after: u32,
    /// Connections to other servers at the same time.
    pub connections: u32,
    /// Connections to one destination at the same time.
    pub per_destination: u32,
    /// Recipients of one transaction.
    pub recipients: u32,
    /// How long a connection that has nothing to do is kept.
    pub idle: u32,
    /// Which messages wait for an operator instead of being sent.
    pub hold: Vec<HoldRule>,
    /// For how many days `hikyaku trace` knows what became of a message.
    pub story_days: u32,
}

/// When a message that could not be delivered is tried again.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub enum Retry {
    /// After a minute at first, then after half as long again each time, up to four hours, a little earlier or later by chance.
    #[default]
    Smooth,
    /// As Courier does: 5, 5, 15, then 5, 5, 30, then 5, 5, 60 minutes, and so on with 5, 5, 120.
    Courier,
    /// After so many seconds each; the last one again and again.
    List(Vec<u32>),
}

/// Which messages are held. All that is given must match; `*` stands for anything.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HoldRule {
    /// The sender.
    pub sender: Option<String>,
    /// A recipient.
    pub recipient: Option<String>,
    /// The network the client is in.
    pub client: Option<Network>,
}

/// What senders are told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reports {
    /// A directory with texts that replace the ones that come with the program.
    pub templates: Option<PathBuf>,
    /// Who gets reports that cannot be delivered; the postmaster if not given.
    pub double_bounces: Option<String>,
    /// What senders are told who did not log in and may not relay.
    pub strangers: Strangers,
    /// The largest message that comes back whole if its sender does not say how much, in bytes; of larger ones, the header does.
    pub return_max: u64,
    /// The largest message that comes back whole if its sender wants it to, in bytes.
    pub return_max_asked: u64,
}

impl Default for Reports {
    fn default() -> Reports {
        Reports { templates: None, double_bounces: None, strangers: Strangers::Asked, return_max: 64 << 10, return_max_asked: 10 << 20 }
    }
}

/// What senders are told whose address may be forged, so that a stranger would get it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Strangers {
    /// Failures, and what they asked for by name.
    #[default]
    Asked,
    /// Failures.
    Failures,
    /// Nothing: mail of strangers that cannot be delivered is lost.
    Nothing,
}

/// Sender rewriting for forwarded mail.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Srs {
    /// The domain of rewritten senders, one of `domains`; the first of them if not given.
    pub domain: Option<String>,
    /// The file that holds the secret; made in `store` if not given.
    pub secret_file: Option<PathBuf>,
}

/// How the server is asked and told things while it runs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Control {
    /// The socket of the commands; `control.sock` in `store` if not given.
    pub socket: Option<PathBuf>,
    /// A group whose members may use it, besides root and `user`.
    pub group: Option<String>,
    /// Where Prometheus finds its metrics; nowhere if not given.
    pub metrics: Option<SocketAddr>,
}

/// How much may be sent in an hour; no limit if 0.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rate {
    /// Messages of one account.
    pub account_messages: u32,
    /// Recipients of one account.
    pub account_recipients: u32,
    /// Messages of one client address that did not log in.
    pub address_messages: u32,
    /// Its recipients.
    pub address_recipients: u32,
}

/// What addresses mean beyond accounts.
pub type Addresses = BTreeMap<String, String>;

impl Default for Outgoing {
    fn default() -> Outgoing {
        Outgoing {
            helo: None,
            source4: None,
            source6: None,
            socks5: None,
            prefer_ipv6: false,
            tls: OutgoingTls::May,
            trust: None,
            port: 25,
            charset: "windows-1252".into(),
            loopback: false,
            routes: Vec::new(),
        }
    }
}

impl Default for Queue {
    fn default() -> Queue {
        Queue {
            retry: Retry::Smooth,
            warn_after: 4 * 3600,
            give_up_after: 5 * 86_400,
            connections: 500,
            per_destination: 20,
            recipients: 100,
            idle: 5,
            hold: Vec::new(),
            story_days: 7,
        }
    }
}
