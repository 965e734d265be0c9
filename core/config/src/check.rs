//! What types cannot say: a configuration that parses may still make no sense.

use crate::{
    Config, Listen, Problem, Speak, TlsMode,
    error::nearest,
    locate::Step::{self, Field, Item},
    parse::listed,
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

/// The levels of a log, the least talkative first.
pub(crate) const LEVELS: [&str; 4] = ["error", "warn", "info", "debug"];
/// Most domains, so that a look-up table of them stays small.
const DOMAINS_MAX: usize = 10_000;
/// Most listeners: each costs a descriptor for ever.
const LISTENERS_MAX: usize = 256;
/// RFC 5321 §4.5.3.1.8: a server takes at least 100 recipients.
const RECIPIENTS_MIN: u32 = 100;
/// One record of the spool holds all recipients of a message.
const RECIPIENTS_MAX: u32 = 10_000;
/// RFC 5321 §4.5.3.1.7: a server takes at least 64 K octets of message.
const MESSAGE_MIN: u64 = 64 << 10;

/// Every problem, in the order of the file; lowers domains on the way.
pub(crate) fn check(config: &mut Config, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut say = |path: &[Step<'_>], message: String| problems.push(Problem::on(text, path, message));
    domains(config, &mut say);
    paths(config, &mut say);
    listeners(&config.listen, !config.certificates.is_empty(), &mut say);
    people(config, &mut say);
    limits(config, &mut say);
    crate::check_sending::check(config, &mut say);
    if !matches!(config.imap.separator, '/' | '.') {
        say(&[Field("imap"), Field("separator")], format!("the separator must be '/' or '.', not {:?}", config.imap.separator));
    }
    if !LEVELS.contains(&&*config.log.level) {
        let level = &config.log.level;
        let hint = nearest(level, &LEVELS).map_or_else(|| format!("known are {}", listed(&LEVELS)), |n| format!("did you mean `{n}`?"));
        say(&[Field("log"), Field("level")], format!("there is no log level `{level}`; {hint}"));
    }
    problems.sort_by_key(|p| (p.line, p.column));
    problems
}

/// Whether `name` can be the domain of an address: labels of letters (of any script), digits and inner hyphens (RFC 5321 §4.1.2,
/// RFC 6531 §3.3), in all at most 253 bytes, and not a number address.
pub fn is_domain(name: &str) -> bool {
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.chars().all(|c| c.is_alphanumeric() || c == '-' || (!c.is_ascii() && !c.is_control() && !c.is_whitespace()))
    };
    let last_is_number = name.rsplit('.').next().is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()));
    name.len() <= 253 && name.split('.').all(label) && !last_is_number
}

fn domains(config: &mut Config, say: &mut dyn FnMut(&[Step<'_>], String)) {
    if config.domains.is_empty() {
        say(&[Field("domains")], "name at least one domain whose mail is delivered here: domains: [\"example.org\"]".into());
    }
    if config.domains.len() > DOMAINS_MAX {
        say(&[Field("domains")], format!("there are more than {DOMAINS_MAX} domains"));
    }
    let mut seen = BTreeMap::new();
    for (i, domain) in config.domains.iter_mut().enumerate() {
        *domain = domain.strip_suffix('.').unwrap_or(domain).to_lowercase();
        if !is_domain(domain) {
            say(&[Field("domains"), Item(i)], format!("`{domain}` is no domain name"));
        } else if let Some(first) = seen.insert(domain.clone(), i) {
            say(&[Field("domains"), Item(i)], format!("`{domain}` is given twice; it is also number {}", first + 1));
        }
    }
    if let Some(name) = &mut config.hostname {
        *name = name.strip_suffix('.').unwrap_or(name).to_lowercase();
        if !is_domain(name) || !name.is_ascii() {
            // RFC 5321 §4.1.2: greetings carry a Domain, which is ASCII; `Received:` of other servers break otherwise.
            say(&[Field("hostname")], format!("`{name}` is no host name (letters, digits, hyphens and dots)"));
        }
    } else if config.domains.first().is_some_and(|d| !d.is_ascii()) {
        say(&[Field("domains"), Item(0)], "give `hostname` too: a host name is ASCII and this domain is not".into());
    }
}

fn paths(config: &Config, say: &mut dyn FnMut(&[Step<'_>], String)) {
    let template = &config.maildirs;
    let known = template.replace("{domain}", "").replace("{local}", "");
    if config.store.as_os_str().is_empty() {
        say(&[Field("store")], "the store has no path".into());
    }
    if !template.contains("{local}") {
        say(&[Field("maildirs")], "`{local}` is missing: all accounts would share one Maildir".into());
    } else if config.domains.len() > 1 && !template.contains("{domain}") {
        say(&[Field("maildirs")], "`{domain}` is missing: accounts of the same name in two domains would share one Maildir".into());
    } else if known.contains(['{', '}']) {
        say(&[Field("maildirs")], "only `{domain}` and `{local}` can be put in".into());
    } else if template.split('/').any(|part| part == "..") {
        say(&[Field("maildirs")], "`..` would lead out of the store; give an absolute path instead".into());
    }
    for (i, certificate) in config.certificates.iter().enumerate() {
        for (name, path) in [("chain", &certificate.chain), ("key", &certificate.key)] {
            if path.as_os_str().is_empty() {
                say(&[Field("certificates"), Item(i), Field(name)], format!("the {name} has no path"));
            }
        }
    }
}

fn listeners(listen: &[Listen], certificates: bool, say: &mut dyn FnMut(&[Step<'_>], String)) {
    if listen.len() > LISTENERS_MAX {
        say(&[Field("listen")], format!("there are more than {LISTENERS_MAX} listeners"));
    }
    let mut seen: BTreeMap<SocketAddr, usize> = BTreeMap::new();
    for (i, l) in listen.iter().enumerate() {
        // Port 0 is a port that the system chooses, so two of them are no clash.
        if l.on.port() != 0
            && let Some(first) = seen.insert(l.on, i)
        {
            say(&[Field("listen"), Item(i), Field("on")], format!("{} is taken by listener {} of this list", l.on, first + 1));
        }
        if l.tls == TlsMode::Implicit && !certificates {
            say(&[Field("listen"), Item(i), Field("tls")], "implicit TLS needs a certificate: give `certificates`".into());
        }
        let near = match l.on.ip() {
            IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
        };
        if l.speak == Speak::Lmtp && !near {
            // RFC 2033 §1: LMTP is not for wide area networks; it delivers without asking who sends.
            say(&[Field("listen"), Item(i), Field("on")], "LMTP asks for no login: let it listen on 127.0.0.1 or a private address".into());
        }
    }
}

fn people(config: &Config, say: &mut dyn FnMut(&[Step<'_>], String)) {
    let separator = config.detail_separator;
    if separator.is_alphanumeric() || separator.is_control() || separator.is_whitespace() || matches!(separator, '@' | '"' | '/' | '.') {
        say(&[Field("detail_separator")], format!("{separator:?} cannot separate a user from a detail; '+' or '-' is usual"));
    }
    if let Some(postmaster) = &config.postmaster {
        match mail::Address::parse(postmaster) {
            None => say(&[Field("postmaster")], format!("`{postmaster}` is no address")),
            Some(a) if !config.domains.iter().any(|d| **d == *a.domain) => {
                let known: Vec<&str> = config.domains.iter().map(String::as_str).collect();
                let hint = nearest(&a.domain, &known).map_or(String::new(), |n| format!("; did you mean `{}@{n}`?", a.local));
                say(&[Field("postmaster")], format!("`{}` is not among `domains`{hint}", a.domain));
            }
            Some(_) => {}
        }
    }
    if config.user.as_deref().is_some_and(|u| u.is_empty() || u.contains(['/', '\0', ':'])) {
        say(&[Field("user")], "this is no user name".into());
    }
}

fn limits(config: &Config, say: &mut dyn FnMut(&[Step<'_>], String)) {
    let l = &config.limits;
    if l.message < MESSAGE_MIN {
        say(&[Field("limits"), Field("message")], format!("messages of {MESSAGE_MIN} bytes must be taken (RFC 5321)"));
    }
    if l.recipients < RECIPIENTS_MIN {
        say(&[Field("limits"), Field("recipients")], format!("{RECIPIENTS_MIN} recipients must be taken (RFC 5321)"));
    }
    if l.recipients > RECIPIENTS_MAX {
        say(&[Field("limits"), Field("recipients")], format!("at most {RECIPIENTS_MAX}"));
    }
    let positive = [
        ("connections", l.connections),
        ("connections_per_address", l.connections_per_address),
        ("login_failures", l.login_failures),
        ("login_wait", l.login_wait),
    ];
    for (name, value) in positive {
        if value == 0 {
            say(&[Field("limits"), Field(name)], format!("`{name}` must be at least 1"));
        }
    }
}
