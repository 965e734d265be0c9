//! An authority of our own, a certificate from it, and a client that trusts nobody else.

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer, pki_types::pem::PemObject};
use std::{fs, path::Path, sync::Arc};

/// Writes `ca.pem`, `server.pem` and `server.key`, unless they are there.
pub fn make(dir: &Path) {
    if dir.join("server.key").exists() {
        return;
    }
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "Hikyaku test authority");
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority_key = KeyPair::generate().expect("randomness");
    let authority_cert = authority.self_signed(&authority_key).expect("good parameters");
    let issuer = Issuer::new(authority, authority_key);

    let names = ["mx.example.test", "localhost", "127.0.0.1"].map(String::from).to_vec();
    let mut server = CertificateParams::new(names).expect("good names");
    server.distinguished_name.push(DnType::CommonName, "mx.example.test");
    server.use_authority_key_identifier_extension = true;
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let server_key = KeyPair::generate().expect("randomness");
    let server_cert = server.signed_by(&server_key, &issuer).expect("good parameters");

    let files = [("ca.pem", authority_cert.pem()), ("server.pem", server_cert.pem()), ("server.key", server_key.serialize_pem())];
    for (name, text) in files {
        fs::write(dir.join(name), text).expect("a writable directory");
    }
}

/// A client that trusts the authority in `dir`.
pub fn client(dir: &Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(dir.join("ca.pem")).expect("a certificate");
    roots.add(authority).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}
