//! TLS as a client: whom to trust, and what to ask a server for.

use super::{TlsError, read};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::{Arc, LazyLock, OnceLock},
};
use wire::Expect;

/// Where systems keep the authorities they trust, as one PEM file.
pub(crate) const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
    "/usr/local/etc/ssl/cert.pem",
];

/// Servers whose sessions are kept to be resumed: a queue speaks to a few of them again and again, and to most only once.
const SESSIONS: usize = 4096;

/// How this host is a TLS client.
///
/// There are two ways, and they share no sessions: one that is resumed is not verified again.
#[derive(Debug, Default)]
pub struct Clients {
    /// The authorities of the operator's file; those of the system if there is none, read when they are needed first.
    trust: Option<RootCertStore>,
    verified: OnceLock<Arc<ClientConfig>>,
    any: OnceLock<Arc<ClientConfig>>,
}

impl Clients {
    /// Trusts the authorities in that file, or those of the system.
    ///
    /// # Errors
    /// If the file cannot be read or holds no certificate that can be used.
    pub fn load(trust: Option<&Path>) -> Result<Clients, TlsError> {
        let trust = trust.map(authorities).transpose()?;
        Ok(Clients { trust, ..Clients::default() })
    }

    /// The configuration for what is expected of a server.
    pub fn of(&self, expect: &Expect) -> Arc<ClientConfig> {
        let config = if expect.verified { &self.verified } else { &self.any };
        config.get_or_init(|| Arc::new(self.make(expect.verified))).clone()
    }

    fn make(&self, verified: bool) -> ClientConfig {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("the provider knows both versions of TLS");
        let mut config = if verified {
            builder.with_root_certificates(self.trust.clone().unwrap_or_else(|| SYSTEM.clone())).with_no_client_auth()
        } else {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))).with_no_client_auth()
        };
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        config
    }
}

/// What to ask a server for: a name (SNI, RFC 6066 §3), or an address, which is not sent.
///
/// # Errors
/// If the name is none and a certificate is to be valid for it.
pub fn server_name(expect: &Expect) -> Result<ServerName<'static>, Box<str>> {
    match ServerName::try_from(expect.name.trim_end_matches('.').to_owned()) {
        Ok(name) => Ok(name),
        Err(_) if expect.verified => Err(format!("no certificate can be valid for the name {:?}", expect.name).into()),
        // Without SNI.
        Err(_) => Ok(ServerName::IpAddress(IpAddr::V4(Ipv4Addr::UNSPECIFIED).into())),
    }
}

/// The authorities the system trusts; Mozilla's, as this program was built, where it keeps none that can be read.
static SYSTEM: LazyLock<RootCertStore> = LazyLock::new(|| {
    if let Some(found) = BUNDLES.iter().find_map(|path| authorities(Path::new(path)).ok()) {
        return found;
    }
    tracing::info!("no bundle of authorities on this system: using the built-in one");
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
});

fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let pem = read(path)?;
    let mut roots = RootCertStore::empty();
    // A bundle has always some that no library reads; the rest is good.
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok));
    if roots.is_empty() { Err(TlsError::NoCertificate(path.into())) } else { Ok(roots) }
}

/// Takes any certificate, but has the server prove that it has the key: who listens hears nothing, and who sits in between has to be the one who
/// answers (RFC 7435, opportunistic security).
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{Handshake, load};
    use config::Certificate;
    use rustls::Connection;
    use std::{fs, path::PathBuf};

    fn server(name: &str) -> (Arc<rustls::ServerConfig>, PathBuf) {
        let at = std::env::temp_dir().join(format!("hikyaku-client-{name}-{}", std::process::id()));
        fs::create_dir_all(&at).unwrap();
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        let (chain, key) = (at.join("crt"), at.join("key"));
        fs::write(&chain, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        (load(&[Certificate { chain: chain.clone(), key }]).unwrap().unwrap(), at)
    }

    /// Both ends in memory. Says whether the session was resumed.
    fn shake(server: &Arc<rustls::ServerConfig>, clients: &Clients, expect: &Expect) -> Result<bool, String> {
        let name = server_name(expect)?;
        let mut ends = [
            Handshake::Connect(clients.of(expect), name).begin().map_err(|e| e.to_string())?,
            Handshake::Accept(server.clone()).begin().map_err(|e| e.to_string())?,
        ];
        let mut quiet = 0;
        while quiet < 4 {
            let [from, to] = &mut ends;
            let mut wire = Vec::new();
            while from.wants_write() {
                from.write_tls(&mut wire).map_err(|e| e.to_string())?;
            }
            quiet = if wire.is_empty() { quiet + 1 } else { 0 };
            let mut rest = &wire[..];
            while !rest.is_empty() {
                to.read_tls(&mut rest).map_err(|e| e.to_string())?;
                to.process_new_packets().map_err(|e| e.to_string())?;
            }
            ends.swap(0, 1);
        }
        assert!(ends.iter().all(|end| !end.is_handshaking()));
        Ok(ends.iter().any(|end| matches!(end, Connection::Client(c) if c.handshake_kind() == Some(rustls::HandshakeKind::Resumed))))
    }

    #[test]
    fn any_certificate_will_do_unless_it_is_to_be_verified() {
        let (mx, at) = server("mx.example.test");
        let expect = |name: &str, verified| Expect { name: name.into(), verified };
        let of_system = Clients::default();
        for name in ["mx.example.test", "other.test.", "192.0.2.1", "no_name-", ""] {
            shake(&mx, &of_system, &expect(name, false)).unwrap();
        }
        assert!(shake(&mx, &of_system, &expect("mx.example.test", true)).unwrap_err().contains("invalid peer certificate"));
        assert!(shake(&mx, &of_system, &expect("no name", true)).unwrap_err().contains("no certificate can be valid"));
        let trusting = Clients::load(Some(&at.join("crt"))).unwrap();
        assert_eq!(shake(&mx, &trusting, &expect("mx.example.test", true)), Ok(false));
        assert_eq!(shake(&mx, &trusting, &expect("mx.example.test.", true)), Ok(true));
        assert!(shake(&mx, &trusting, &expect("other.test", true)).unwrap_err().contains("certificate"));
        fs::remove_dir_all(at).unwrap();
    }

    #[test]
    fn what_is_not_verified_vouches_for_nothing() {
        let (mx, at) = server("mx2.example.test");
        let clients = Clients::default();
        let expect = |verified| Expect { name: "mx2.example.test".into(), verified };
        shake(&mx, &clients, &expect(false)).unwrap();
        assert_eq!(shake(&mx, &clients, &expect(false)), Ok(true));
        assert!(shake(&mx, &clients, &expect(true)).is_err());
        assert!(Clients::load(Some(&at.join("key"))).unwrap_err().to_string().contains("holds no certificate"));
        fs::remove_dir_all(at).unwrap();
    }
}
