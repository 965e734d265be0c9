//! Certificates: PEM files in, a rustls configuration that chooses by server name out; and what a handshake needs, at either end.

mod client;
mod guest;

pub(crate) use client::BUNDLES;
pub use client::{Clients, server_name};
pub use guest::Keys;

use crate::house::House;
use config::{Certificate, Config};
use rustls::{
    ClientConfig, ClientConnection, CommonState, Connection, ServerConfig, ServerConnection,
    crypto::ring,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem, pem::PemObject};
use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};
use wire::{Expect, Want};

/// One side of a handshake, with all it needs.
#[derive(Debug, Clone)]
pub enum Handshake {
    /// As a server.
    Accept(Arc<ServerConfig>),
    /// As a client, with whom it wants to speak.
    Connect(Arc<ClientConfig>, ServerName<'static>),
}

impl Handshake {
    /// The state of a connection before its first byte.
    ///
    /// # Errors
    /// If the library refuses.
    pub fn begin(self) -> Result<Connection, rustls::Error> {
        match self {
            Handshake::Accept(config) => ServerConnection::new(config).map(Connection::from),
            Handshake::Connect(config, name) => ClientConnection::new(config, name).map(Connection::from),
        }
    }
}

impl House {
    /// What a session needs for the handshake it wants, as things are now.
    ///
    /// # Errors
    /// Why there cannot be one, for the log.
    pub fn handshake(&self, want: &Want) -> Result<Handshake, Box<str>> {
        match want {
            Want::Accept => self.tls().map(Handshake::Accept).ok_or_else(|| "no certificate".into()),
            Want::Connect(expect) => Ok(Handshake::Connect(self.client_tls(expect), server_name(expect)?)),
        }
    }

    /// How to be the client of a server of which that is expected.
    pub fn client_tls(&self, expect: &Expect) -> Arc<ClientConfig> {
        self.clients().of(expect)
    }
}

/// Reads the certificates and keys of a configuration. Clients are asked for a certificate if there are some that may relay by one.
///
/// # Errors
/// As [`load`].
pub fn of(config: &Config) -> Result<Option<Arc<ServerConfig>>, TlsError> {
    read_all(&config.certificates, !config.relay.certificates.is_empty())
}

/// Reads certificates and keys. `None` if there are none: TLS is not offered then.
///
/// # Errors
/// If a file cannot be read or is not what it should be; the error names it.
pub fn load(certificates: &[Certificate]) -> Result<Option<Arc<ServerConfig>>, TlsError> {
    read_all(certificates, false)
}

fn read_all(certificates: &[Certificate], asks: bool) -> Result<Option<Arc<ServerConfig>>, TlsError> {
    let mut names = BTreeMap::new();
    let mut first = None;
    for certificate in certificates {
        let pair = Arc::new(pair(certificate)?);
        for name in names_of(&pair.cert[0], &certificate.chain)? {
            // The first certificate of a name stays: order in the configuration is preference.
            names.entry(name).or_insert_with(|| pair.clone());
        }
        first.get_or_insert(pair);
    }
    let Some(first) = first else { return Ok(None) };
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().map_err(TlsError::Library)?;
    let builder = if asks { builder.with_client_cert_verifier(Arc::new(guest::Anybody(provider))) } else { builder.with_no_client_auth() };
    let mut config = builder.with_cert_resolver(Arc::new(ByName { names, first }));
    config.ticketer = ring::Ticketer::new().map_err(TlsError::Library)?;
    Ok(Some(Arc::new(config)))
}

/// What sessions are told of a finished handshake. `server_name` is what a client asked for.
pub fn describe(connection: &CommonState, server_name: Option<&str>) -> wire::Tls {
    wire::Tls {
        version: connection.protocol_version().and_then(|v| v.as_str()).unwrap_or("TLS").replace('_', "."),
        cipher: connection.negotiated_cipher_suite().and_then(|s| s.suite().as_str()).unwrap_or("unknown").to_owned(),
        server_name: server_name.map(str::to_owned),
        certificate: connection.peer_certificates().and_then(|chain| chain.first()).map(|own| guest::fingerprint(own)),
    }
}

/// Why there is no TLS.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// The file cannot be read.
    Unreadable(PathBuf, io::Error),
    /// The file is not PEM.
    NotPem(PathBuf, pem::Error),
    /// There is no certificate in the file.
    NoCertificate(PathBuf),
    /// There is no private key in the file.
    NoKey(PathBuf),
    /// The certificate cannot be used.
    BadCertificate(PathBuf, String),
    /// The key cannot be used, or is not that of the certificate.
    BadKey(PathBuf, rustls::Error),
    /// The library refuses to work.
    Library(rustls::Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::Unreadable(path, e) => write!(f, "{}: {e}", path.display()),
            TlsError::NotPem(path, e) => write!(f, "{}: not a PEM file: {e}", path.display()),
            TlsError::NoCertificate(path) => write!(f, "{}: holds no certificate (-----BEGIN CERTIFICATE-----)", path.display()),
            TlsError::NoKey(path) => write!(f, "{}: holds no private key (-----BEGIN PRIVATE KEY-----)", path.display()),
            TlsError::BadCertificate(path, e) => write!(f, "{}: this certificate cannot be used: {e}", path.display()),
            TlsError::BadKey(path, rustls::Error::InconsistentKeys(_)) => {
                write!(f, "{}: this key does not belong to the certificate", path.display())
            }
            TlsError::BadKey(path, e) => write!(f, "{}: this key cannot be used: {e}", path.display()),
            TlsError::Library(e) => write!(f, "TLS: {e}"),
        }
    }
}

impl std::error::Error for TlsError {}

fn pair(certificate: &Certificate) -> Result<CertifiedKey, TlsError> {
    let (chain_path, key_path) = (&certificate.chain, &certificate.key);
    let chain = CertificateDer::pem_slice_iter(&read(chain_path)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| TlsError::NotPem(chain_path.clone(), e))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate(chain_path.clone()));
    }
    let key = PrivateKeyDer::from_pem_slice(&read(key_path)?).map_err(|e| match e {
        pem::Error::NoItemsFound => TlsError::NoKey(key_path.clone()),
        e => TlsError::NotPem(key_path.clone(), e),
    })?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|e| TlsError::BadKey(key_path.clone(), e))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|e| TlsError::Unreadable(path.to_owned(), e))
}

/// The DNS names of a certificate, in lower case, `*.` included.
fn names_of(certificate: &CertificateDer<'_>, path: &Path) -> Result<Vec<String>, TlsError> {
    let parsed = webpki::EndEntityCert::try_from(certificate).map_err(|e| TlsError::BadCertificate(path.to_owned(), format!("{e:?}")))?;
    Ok(parsed.valid_dns_names().map(str::to_ascii_lowercase).collect())
}

/// Chooses by the name the client asked for; the first certificate is for those who asked for none or for another.
#[derive(Debug)]
struct ByName {
    names: BTreeMap<String, Arc<CertifiedKey>>,
    first: Arc<CertifiedKey>,
}

impl ByName {
    fn find(&self, name: &str) -> &Arc<CertifiedKey> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        // A wildcard stands for exactly one label (RFC 6125 §6.4.3).
        let wild = || name.split_once('.').and_then(|(_, parent)| self.names.get(&format!("*.{parent}")));
        self.names.get(&name).or_else(wild).unwrap_or(&self.first)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(hello.server_name().map_or(&self.first, |name| self.find(name)).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(at: &Path, stem: &str, names: &[&str]) -> Certificate {
        let made = rcgen::generate_simple_self_signed(names.iter().map(|n| n.to_string()).collect::<Vec<_>>()).unwrap();
        let (chain, key) = (at.join(format!("{stem}.crt")), at.join(format!("{stem}.key")));
        fs::write(&chain, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        Certificate { chain, key }
    }

    fn folder(name: &str) -> PathBuf {
        let at = std::env::temp_dir().join(format!("hikyaku-tls-{name}-{}", std::process::id()));
        fs::create_dir_all(&at).unwrap();
        at
    }

    #[test]
    fn a_name_finds_its_certificate() {
        let at = folder("names");
        let all = [files(&at, "a", &["mx.example.test"]), files(&at, "b", &["*.lists.test", "Imap.example.test"])];
        assert!(load(&all).unwrap().is_some());
        let pairs: Vec<_> = all.iter().map(|c| Arc::new(pair(c).unwrap())).collect();
        let mut names = BTreeMap::new();
        for (c, p) in all.iter().zip(&pairs) {
            for n in names_of(&p.cert[0], &c.chain).unwrap() {
                names.insert(n, p.clone());
            }
        }
        let by_name = ByName { names, first: pairs[0].clone() };
        let of = |name| pairs.iter().position(|p| Arc::ptr_eq(p, by_name.find(name))).unwrap();
        assert_eq!(
            ["mx.example.test", "imap.example.test", "A.LISTS.test.", "lists.test", "a.b.lists.test", "x"].map(of),
            [0, 1, 1, 0, 0, 0]
        );
        fs::remove_dir_all(at).unwrap();
    }

    #[test]
    fn an_error_names_its_file() {
        let at = folder("errors");
        let (a, b) = (files(&at, "a", &["a.test"]), files(&at, "b", &["b.test"]));
        let empty = at.join("empty");
        fs::write(&empty, "nothing").unwrap();
        let mistake = |chain: &Path, key: &Path| {
            load(&[Certificate { chain: chain.to_owned(), key: key.to_owned() }]).expect_err("a mistake").to_string()
        };
        assert!(mistake(&a.chain, &b.key).ends_with("b.key: this key does not belong to the certificate"));
        assert!(mistake(&empty, &a.key).contains("empty: holds no certificate"));
        assert!(mistake(&a.chain, &empty).contains("empty: holds no private key"));
        assert!(mistake(&at.join("none"), &a.key).contains("none: No such file"));
        assert!(load(&[]).unwrap().is_none());
        fs::remove_dir_all(at).unwrap();
    }
}
