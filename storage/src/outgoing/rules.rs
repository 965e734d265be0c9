//! From the configuration to what the pure parts want to know.

use crate::means;
use config::{Config, OutgoingTls};
use queue::route::{Families, Login, Pattern, Protocol, Route, Rules, Security, Socks, To};
use std::{fs, io, net::SocketAddr, path::Path, sync::Arc};

/// Where the name servers of the system are named.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// What an operator says about ways.
///
/// # Errors
/// If a file with a password cannot be read.
pub(crate) fn rules(config: &Config) -> io::Result<Rules> {
    let outgoing = &config.outgoing;
    let socks = match &outgoing.socks5 {
        None => None,
        Some(socks) => Some(Arc::new(Socks { proxy: socks.on, login: socks.login.as_ref().map(login).transpose()? })),
    };
    let mut routes = Vec::with_capacity(outgoing.routes.len());
    for route in &outgoing.routes {
        // What makes no sense was refused when the configuration was read.
        let Some(domain) = Pattern::parse(&route.domain) else { continue };
        let to = match &route.host {
            None => To::Mx,
            Some(host) if route.mx => To::MxOf(host.as_str().into()),
            Some(host) => To::Host(host.as_str().into()),
        };
        routes.push(Route {
            domain,
            to,
            port: route.port,
            security: route.tls.map(security),
            login: route.login.as_ref().map(login).transpose()?.map(Arc::new),
            protocol: if route.lmtp { Protocol::Lmtp } else { Protocol::Smtp },
            source: route.source,
        });
    }
    let addresses = config.listeners().iter().map(|listen| listen.on.ip()).filter(|ip| !ip.is_unspecified()).collect();
    Ok(Rules {
        routes,
        names: vec![config.hostname().into()],
        addresses,
        loopback: outgoing.loopback,
        families: if outgoing.prefer_ipv6 { Families::PreferV6 } else { Families::PreferV4 },
        port: outgoing.port,
        security: security(outgoing.tls),
        source4: outgoing.source4,
        source6: outgoing.source6,
        socks,
    })
}

/// Whom to ask for records.
pub(super) fn resolver(config: &Config) -> dns::Settings {
    let wanted = &config.resolver;
    let mut settings = dns::resolv_conf(&fs::read_to_string(RESOLV_CONF).unwrap_or_default());
    if !wanted.servers.is_empty() {
        settings.servers = wanted.servers.clone();
    }
    if settings.servers.is_empty() {
        // As resolv.conf(5) has it.
        settings.servers = vec![SocketAddr::from(([127, 0, 0, 1], 53))];
    }
    if let Some(timeout) = wanted.timeout_ms {
        settings.timeout_ms = timeout.into();
    }
    if let Some(attempts) = wanted.attempts {
        settings.attempts = attempts;
    }
    if let Some(means) = means::means() {
        settings.flights = means.questions() as usize;
    }
    settings
}

fn security(tls: OutgoingTls) -> Security {
    match tls {
        OutgoingTls::Never => Security::Never,
        OutgoingTls::May => Security::May,
        OutgoingTls::Must => Security::Must { verified: false },
        OutgoingTls::Verify => Security::Must { verified: true },
        OutgoingTls::Implicit => Security::Implicit { verified: true },
    }
}

fn login(credentials: &config::Credentials) -> io::Result<Login> {
    Ok(Login { user: credentials.user.as_str().into(), password: password(&credentials.password_file)?.into() })
}

/// The first line of a file.
fn password(path: &Path) -> io::Result<String> {
    let text = fs::read_to_string(path).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{}: there is no password in its first line", path.display()))),
    }
}
