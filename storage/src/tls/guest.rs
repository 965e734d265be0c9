//! TLS of one connection: what its handshakes need, what they led to, and clients that show who they are.

use super::Handshake;
use crate::house::House;
use rustls::{
    DigitallySignedStruct, DistinguishedName, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, UnixTime};
use sha2::{Digest as _, Sha256};
use std::{
    fmt::Write as _,
    sync::{Arc, OnceLock},
};
use wire::{Tls, Want};

/// What a connection needs for its handshakes, as things are at that moment, and whoever is to know what they led to.
pub struct Keys {
    house: Arc<House>,
    led_to: Arc<OnceLock<Tls>>,
}

impl Keys {
    /// Of a connection of which nobody asks.
    pub fn new(house: Arc<House>) -> Keys {
        Keys { house, led_to: Arc::default() }
    }

    /// Of a connection whose office looks there.
    pub(crate) fn known_to(house: Arc<House>, led_to: Arc<OnceLock<Tls>>) -> Keys {
        Keys { house, led_to }
    }

    /// As [`House::handshake`].
    ///
    /// # Errors
    /// Why there cannot be one.
    pub fn handshake(&self, want: &Want) -> Result<Handshake, Box<str>> {
        self.house.handshake(want)
    }

    /// A handshake is over.
    pub fn shook(&self, want: &Want, secured: Result<&Tls, &str>) {
        self.house.metrics().shook_hands(*want == Want::Accept, secured.map_or("none", |tls| &tls.version));
        if let Ok(tls) = secured {
            // There is no TLS inside of TLS, so this is the first.
            let _ = self.led_to.set(tls.clone());
        }
    }
}

/// SHA-256 of a certificate, in lower-case hexadecimal digits.
pub(super) fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let mut digits = String::with_capacity(64);
    for byte in Sha256::digest(certificate) {
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

/// Asks a client for a certificate and takes any, or none, but has it prove that it has the key. What it may do with it is decided by its fingerprint:
/// nobody needs an authority to know a few machines by sight.
#[derive(Debug)]
pub(super) struct Anybody(pub Arc<CryptoProvider>);

impl ClientCertVerifier for Anybody {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
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
    use crate::tls::{describe, of};
    use config::{Certificate, Config};
    use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConnection, crypto::ring};
    use rustls_pki_types::{PrivateKeyDer, pem::PemObject as _};

    /// The fingerprint that the server sees of a client that has this certificate, or none.
    fn seen(config: &Config, shown: Option<&rcgen::CertifiedKey<rcgen::KeyPair>>) -> Option<String> {
        let server = of(config).unwrap().unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&config.certificates[0].chain).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let client = match shown {
            Some(made) => {
                let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![made.cert.der().clone()], key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        let mut ends: [Connection; 2] = [
            ClientConnection::new(Arc::new(client), "mx.example.test".try_into().unwrap()).unwrap().into(),
            ServerConnection::new(server).unwrap().into(),
        ];
        for _ in 0..8 {
            let [from, to] = &mut ends;
            let mut bytes = Vec::new();
            while from.wants_write() {
                from.write_tls(&mut bytes).unwrap();
            }
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                to.read_tls(&mut rest).unwrap();
                to.process_new_packets().unwrap();
            }
            ends.swap(0, 1);
        }
        assert!(ends.iter().all(|end| !end.is_handshaking()));
        describe(&ends[1], None).certificate
    }

    #[test]
    fn a_client_is_known_by_its_certificate_where_one_may_relay() {
        let at = std::env::temp_dir().join(format!("hikyaku-guest-{}", std::process::id()));
        std::fs::create_dir_all(&at).unwrap();
        let make = |name: &str| rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        let (own, friend) = (make("mx.example.test"), make("friend"));
        let (chain, key) = (at.join("crt"), at.join("key"));
        std::fs::write(&chain, own.cert.pem()).unwrap();
        std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
        let mut config = Config { certificates: vec![Certificate { chain, key }], ..Config::default() };
        assert_eq!(seen(&config, Some(&friend)), None);
        let print = fingerprint(friend.cert.der());
        assert_eq!(print.len(), 64);
        config.relay.certificates.push(print.clone());
        assert_eq!(seen(&config, Some(&friend)), Some(print));
        assert_eq!(seen(&config, None), None);
        std::fs::remove_dir_all(at).unwrap();
    }
}
