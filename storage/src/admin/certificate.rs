//! Certificates that sign themselves, and when a certificate ends.

use super::Failure;
use mail::{Civil, Stamp};
use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};
use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

/// How long a certificate of ours is valid. Nobody checks it against an authority, so its end would only be a surprise.
const YEARS: i64 = 10;

/// Writes a certificate that signs itself for these names and addresses, and its key, which only the owner may read. Directories are made.
pub(super) fn self_signed(names: &[&str], chain: &Path, key: &Path, now: Stamp) -> Result<(), Failure> {
    let mut params = CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>())?;
    params.distinguished_name.push(DnType::CommonName, names[0]);
    // From yesterday, so that a client whose clock is slow takes it.
    let from = Stamp::utc(now.seconds - 86_400).civil();
    let day = |years: i64, c: Civil| date_time_ymd(i32::try_from(c.year + years).unwrap_or(i32::MAX), c.month, c.day.min(28));
    (params.not_before, params.not_after) = (day(0, from), day(YEARS, from));
    let pair = KeyPair::generate()?;
    let certificate = params.self_signed(&pair)?;
    write(chain, certificate.pem().as_bytes(), 0o644)?;
    write(key, pair.serialize_pem().as_bytes(), 0o600)
}

/// Seconds since 1970 at which a certificate in DER ends; `None` if it cannot be read. Walks to the `validity` of RFC 5280 §4.1.
pub(super) fn end_of(der: &[u8]) -> Option<i64> {
    let (certificate, _) = element(der, 0x30)?;
    let (mut rest, _) = element(certificate, 0x30)?;
    if let Some((_, after)) = element(rest, 0xa0) {
        rest = after;
    }
    // Serial number, signature algorithm, issuer.
    for tag in [0x02, 0x30, 0x30] {
        rest = element(rest, tag)?.1;
    }
    let (validity, _) = element(rest, 0x30)?;
    let after = &validity[validity.len() - any(validity)?.1.len()..];
    let (tag, digits) = (*after.first()?, any(after)?.0);
    let digits = std::str::from_utf8(digits).ok()?.strip_suffix('Z')?;
    // RFC 5280 §4.1.2.5.1: two digits of a year below 50 are of this century.
    let (year, digits) = match tag {
        0x17 => {
            let year: i64 = digits.get(..2)?.parse().ok()?;
            (year + if year < 50 { 2000 } else { 1900 }, digits.get(2..)?)
        }
        0x18 => (digits.get(..4)?.parse().ok()?, digits.get(4..)?),
        _ => return None,
    };
    let two = |at: usize| digits.get(at..at + 2)?.parse::<u8>().ok();
    let civil = Civil { year, month: two(0)?, day: two(2)?, hour: two(4)?, minute: two(6)?, second: two(8)? };
    Stamp::from_civil(civil, 0).map(|s| s.seconds)
}

fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    if *der.first()? == tag { any(der) } else { None }
}

/// The content of an element, and what follows it.
fn any(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, head) = match *der.get(1)? {
        short @ 0..=0x7f => (usize::from(short), 2),
        long @ 0x81..=0x83 => {
            let n = usize::from(long - 0x80);
            (der.get(2..2 + n)?.iter().fold(0, |len, b| len << 8 | usize::from(*b)), 2 + n)
        }
        _ => return None,
    };
    Some((der.get(head..head.checked_add(len)?)?, &der[head + len..]))
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let make = || {
        if let Some(dir) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
        }
        OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?.write_all(bytes)
    };
    make().map_err(|e| Failure::at(path, e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls_pki_types::{CertificateDer, pem::PemObject as _};

    #[test]
    fn the_end_of_a_certificate() {
        let dir = std::env::temp_dir().join(format!("hikyaku-certificate-{}", std::process::id()));
        let (chain, key) = (dir.join("tls/cert.pem"), dir.join("tls/key.pem"));
        let now = Stamp::utc(1_770_000_000);
        self_signed(&["mx.example.test", "127.0.0.1"], &chain, &key, now).unwrap();
        let made = config::Certificate { chain: chain.clone(), key };
        assert!(crate::tls::load(&[made]).unwrap().is_some());
        let der = CertificateDer::from_pem_slice(&fs::read(&chain).unwrap()).unwrap();
        let end = Stamp::utc(end_of(&der).unwrap()).civil();
        assert_eq!((end.year, end.month, end.day), (2036, 2, 1));
        for cut in 0..der.len().min(200) {
            assert_eq!(end_of(&der[..cut]), None);
        }
        fs::remove_dir_all(dir).unwrap();
    }
}
