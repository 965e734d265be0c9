//! Password hashes: ours, and those that accounts bring along from other servers.

use argon2::{Argon2, PasswordHasher as _, PasswordVerifier as _};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::rand::{SecureRandom as _, SystemRandom};
use sha1::{Digest as _, Sha1};
use sha2::{Sha256, Sha512};
use std::fmt;
use subtle::ConstantTimeEq as _;

/// Longest password in bytes: SHA-crypt's work grows with the square of it.
pub const PASSWORD_BYTES_MAX: usize = 1024;
/// Longest hash as text; the longest known kind has 150.
const TEXT_BYTES_MAX: usize = 512;
/// OWASP's first choice for argon2id: 19 MiB, two passes, one lane.
const ARGON2_KIB: u32 = 19_456;
const ARGON2_PASSES: u32 = 2;
const ARGON2_LANES: u32 = 1;
/// What verifying one hash may cost, so that a strange line in the accounts file cannot stop the server: memory in bytes ...
const MEMORY_MAX: u64 = 256 << 20;
/// ... passes of argon2 ...
const PASSES_MAX: u32 = 32;
/// ... the cost of bcrypt, a power of two (14 is about a second) ...
const BCRYPT_COST_MAX: u32 = 15;
/// ... and rounds of SHA-crypt, which takes 5,000 if not said.
const ROUNDS_MAX: u32 = 2_000_000;

/// A hash that is known how to verify. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Hash {
    text: Box<str>,
    kind: Kind,
}

/// Why a text is no hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashError {
    /// It has no known prefix, or what follows is broken.
    Unknown,
    /// It would cost too much to verify.
    TooDear,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// With the bytes of memory that it takes.
    Argon2(u64),
    Sha256Crypt,
    Sha512Crypt,
    /// The same.
    Yescrypt(u64),
    Bcrypt,
    Salted(Digest),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Digest {
    Sha1,
    Sha256,
    Sha512,
}

impl Hash {
    /// Hashes a new password with argon2id and a fresh salt.
    ///
    /// # Panics
    /// If the password is longer than [`PASSWORD_BYTES_MAX`], or the system has no random numbers.
    pub fn of(password: &str) -> Hash {
        assert!(password.len() <= PASSWORD_BYTES_MAX, "the caller checks the length");
        let mut salt = [0; 16];
        SystemRandom::new().fill(&mut salt).expect("the system has random numbers");
        let hash = ours().hash_password_with_salt(password.as_bytes(), &salt).expect("the parameters are right");
        Hash { text: hash.to_string().into(), kind: Kind::Argon2(u64::from(ARGON2_KIB) * 1024) }
    }

    /// Recognises `$argon2id$`, `$argon2i$`, `$5$`, `$6$`, `$y$`, `$2a$`, `$2b$`, `$2y$`, `{SSHA}`, `{SSHA256}` and `{SSHA512}`, also behind a
    /// scheme in braces as LDAP and Dovecot write it (`{CRYPT}$6$...`).
    ///
    /// # Errors
    /// If it is none of them, or verifying it would cost too much.
    pub fn parse(text: &str) -> Result<Hash, HashError> {
        if text.len() > TEXT_BYTES_MAX || !text.is_ascii() {
            return Err(HashError::Unknown);
        }
        let schemes = ["{CRYPT}", "{SHA256-CRYPT}", "{SHA512-CRYPT}", "{BLF-CRYPT}", "{ARGON2ID}", "{ARGON2I}"];
        let scheme = schemes.iter().find(|s| text.get(..s.len()).is_some_and(|t| t.eq_ignore_ascii_case(s)));
        let text = &text[scheme.map_or(0, |s| s.len())..];
        let digests = [("{SSHA}", Digest::Sha1), ("{SSHA256}", Digest::Sha256), ("{SSHA512}", Digest::Sha512)];
        let kind =
            if let Some((scheme, digest)) = digests.iter().find(|(s, _)| text.get(..s.len()).is_some_and(|t| t.eq_ignore_ascii_case(s))) {
                let bytes = STANDARD.decode(&text[scheme.len()..]).map_err(|_| HashError::Unknown)?;
                if bytes.len() < digest.len() {
                    return Err(HashError::Unknown);
                }
                Kind::Salted(*digest)
            } else if text.starts_with("$argon2i") {
                check_argon2(text)?
            } else if text.starts_with("$5$") || text.starts_with("$6$") {
                check_sha_crypt(text)?
            } else if text.starts_with("$y$") {
                check_yescrypt(text)?
            } else {
                check_bcrypt(text)?
            };
        Ok(Hash { text: text.into(), kind })
    }

    /// Whether `password` is the one. Takes milliseconds to a second if [`Hash::is_dear`]. Compares in constant time.
    pub fn verify(&self, password: &str) -> bool {
        let bytes = password.as_bytes();
        if bytes.len() > PASSWORD_BYTES_MAX {
            return false;
        }
        match self.kind {
            Kind::Argon2(_) => Argon2::default().verify_password(bytes, &*self.text).is_ok(),
            Kind::Sha256Crypt => sha_crypt::PasswordVerifier::verify_password(&sha_crypt::ShaCrypt::SHA256, bytes, &*self.text).is_ok(),
            Kind::Sha512Crypt => sha_crypt::PasswordVerifier::verify_password(&sha_crypt::ShaCrypt::SHA512, bytes, &*self.text).is_ok(),
            Kind::Yescrypt(_) => yescrypt::PasswordVerifier::verify_password(&yescrypt::Yescrypt::default(), bytes, &*self.text).is_ok(),
            Kind::Bcrypt => bcrypt::verify(bytes, &self.text).unwrap_or(false),
            Kind::Salted(digest) => digest.verify(bytes, &self.text),
        }
    }

    /// Whether verifying takes so much processor and memory that it should not be done by many threads at a time.
    pub fn is_dear(&self) -> bool {
        !matches!(self.kind, Kind::Salted(_))
    }

    /// Whether there is memory to verify a password now. It is tried, because the process may have a limit, and an allocation that is refused later would
    /// end it.
    pub fn has_room(&self) -> bool {
        match self.kind {
            Kind::Argon2(bytes) | Kind::Yescrypt(bytes) => {
                usize::try_from(bytes).is_ok_and(|bytes| Vec::<u8>::new().try_reserve_exact(bytes).is_ok())
            }
            Kind::Sha256Crypt | Kind::Sha512Crypt | Kind::Bcrypt | Kind::Salted(_) => true,
        }
    }

    /// As it is written to the accounts file.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// The name of its kind, for lists.
    pub fn kind(&self) -> &'static str {
        match self.kind {
            Kind::Argon2(_) => "argon2",
            Kind::Sha256Crypt => "sha256-crypt",
            Kind::Sha512Crypt => "sha512-crypt",
            Kind::Yescrypt(_) => "yescrypt",
            Kind::Bcrypt => "bcrypt",
            Kind::Salted(Digest::Sha1) => "ssha",
            Kind::Salted(Digest::Sha256) => "ssha256",
            Kind::Salted(Digest::Sha512) => "ssha512",
        }
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ***", self.kind())
    }
}

impl fmt::Display for HashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HashError::Unknown => "not a known hash (argon2id, $5$, $6$, $y$, $2b$, {SSHA}, {SSHA256} or {SSHA512})",
            HashError::TooDear => "the hash would take too much memory or time to verify",
        })
    }
}

impl Digest {
    fn len(self) -> usize {
        match self {
            Digest::Sha1 => 20,
            Digest::Sha256 => 32,
            Digest::Sha512 => 64,
        }
    }

    /// `{SCHEME}` and the base64 of the digest of password and salt, followed by the salt.
    fn verify(self, password: &[u8], text: &str) -> bool {
        let Some(bytes) = text.split_once('}').and_then(|(_, b)| STANDARD.decode(b).ok()) else { return false };
        let (digest, salt) = bytes.split_at(self.len());
        match self {
            Digest::Sha1 => Sha1::new().chain_update(password).chain_update(salt).finalize().ct_eq(digest).into(),
            Digest::Sha256 => Sha256::new().chain_update(password).chain_update(salt).finalize().ct_eq(digest).into(),
            Digest::Sha512 => Sha512::new().chain_update(password).chain_update(salt).finalize().ct_eq(digest).into(),
        }
    }
}

fn ours() -> Argon2<'static> {
    let params = argon2::Params::new(ARGON2_KIB, ARGON2_PASSES, ARGON2_LANES, None).expect("the parameters are right");
    Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
}

fn check_argon2(text: &str) -> Result<Kind, HashError> {
    let hash = argon2::password_hash::phc::PasswordHash::new(text).map_err(|_| HashError::Unknown)?;
    let params = argon2::Params::try_from(&hash).map_err(|_| HashError::Unknown)?;
    argon2::Algorithm::try_from(hash.algorithm.as_str()).map_err(|_| HashError::Unknown)?;
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err(HashError::Unknown);
    }
    let memory = u64::from(params.m_cost()) * 1024;
    if memory > MEMORY_MAX || params.t_cost() > PASSES_MAX { Err(HashError::TooDear) } else { Ok(Kind::Argon2(memory)) }
}

fn check_sha_crypt(text: &str) -> Result<Kind, HashError> {
    let (kind, len) = if text.starts_with("$5$") { (Kind::Sha256Crypt, 43) } else { (Kind::Sha512Crypt, 86) };
    let mut fields = text[3..].split('$').peekable();
    if let Some(rounds) = fields.next_if(|f| f.starts_with("rounds=")) {
        let rounds: u32 = rounds["rounds=".len()..].parse().map_err(|_| HashError::Unknown)?;
        if rounds > ROUNDS_MAX {
            return Err(HashError::TooDear);
        }
    }
    let salt = fields.next().is_some_and(|s| s.len() <= 16);
    let hash = fields.next().is_some_and(|h| h.len() == len && is_crypt64(h));
    if salt && hash && fields.next().is_none() { Ok(kind) } else { Err(HashError::Unknown) }
}

fn check_yescrypt(text: &str) -> Result<Kind, HashError> {
    let mut fields = text[3..].split('$');
    let params: yescrypt::Params = fields.next().and_then(|p| p.parse().ok()).ok_or(HashError::Unknown)?;
    let salt = fields.next().is_some_and(is_crypt64);
    let hash = fields.next().is_some_and(|h| h.len() == 43 && is_crypt64(h));
    if !salt || !hash || fields.next().is_some() {
        return Err(HashError::Unknown);
    }
    let memory = params.n().saturating_mul(u64::from(params.r())).saturating_mul(128);
    if memory > MEMORY_MAX || params.p() > PASSES_MAX { Err(HashError::TooDear) } else { Ok(Kind::Yescrypt(memory)) }
}

fn check_bcrypt(text: &str) -> Result<Kind, HashError> {
    let parts: bcrypt::HashParts = text.parse().map_err(|_| HashError::Unknown)?;
    if !(4..=31).contains(&parts.get_cost()) {
        return Err(HashError::Unknown);
    }
    if parts.get_cost() > BCRYPT_COST_MAX { Err(HashError::TooDear) } else { Ok(Kind::Bcrypt) }
}

/// Whether all of it is in crypt(3)'s own base64 alphabet.
fn is_crypt64(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by crypt(3) of libxcrypt, the argon2 reference library, and OpenSSL's digests: a hash of `secret`, and of a longer one.
    const SECRET: &[&str] = &[
        "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$6G4RVhNf4sYzxbGJQzsImNwnF3BnniV+nogjylwdjiA",
        "$argon2i$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$CGnMwRlC4t6fgZqms/SAxnSrO+OnnnJAx0bHMz6m8vE",
        "$5$saltstring$C3o4O1TC6aRHF4FI.QSZMXtHbaj2gSXr4sUc/3NcUi.",
        "$5$rounds=10000$saltstringsaltst$nRVJUfBu7b60x4u50TScFun8GLsggmlJvebgklaft49",
        "$6$saltstring$AIsRs/Ee56G/tC8MEHhvReZTfx8u3rXXMl6eYrjCG9ibix19DxoMBLogdTET5Ukw9Sf7eZTITsuk0Ry5qulYz.",
        "$6$rounds=1400$anotherlongsalts$Twf2eP6WMY29NT9yg1Nff0x6Ul/TWD9vkV2VVPyEX7uifmXI0FHGx3rX27ttfZtfB9phxv3003yyBPq3nGFb8.",
        "$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a",
        "$2a$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a",
        "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a",
        "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$GmcwIgvdUC9qLWcKCi6gklUa1dM3ziD43YxYNURLKy0",
        "$y$j75$F5Jx5fExrKuPp53xLKQ..1$l5YiXCKNY/N9ezall4xjJAFS/wg.kWVcFXfOzyxVn1.",
        "{SSHA}lHFzXul4wnzRItssVcTnvXWRjNgBAgMEBQYHCA==",
        "{ssha}5en6G6MezRroT3XKqkdPOmY/BfQ=",
        "{SSHA256}A7N1lAy5bBb4T6qH9e85zAvHBmzNPhRFbZ105DjjWDIBAgMEBQYHCA==",
        "{SSHA512}KO8EsMPQTwZrxxbOkDAOOXEeVCc2grMQg1pnZwZhC1bBQLby8zCmFn7qTZRvoTd+yQdROQQNYHWpTUST4zjTdQECAwQFBgcI",
        "{CRYPT}$5$saltstring$C3o4O1TC6aRHF4FI.QSZMXtHbaj2gSXr4sUc/3NcUi.",
    ];
    const LONGER: &[&str] = &[
        "$argon2id$v=19$m=64,t=1,p=2$c2FsdHNhbHRzYWx0c2FsdA$GrEoz6kSkojtcYUW4akoCS0J+BqAxeGbLSbb9v4Ly1w",
        "$5$saltstring$tV/79FUyRyNvGfmciS94zbnccDZxa8C4Dhg8hsaSdS0",
        "$6$saltstring$BZNXVNEeZ7x0s3z1BkdgXzBo7hoNCv1F6doJQJwt7UVZHKe344jOeXz6NblpYc2627UnaAcbq7WprH91juetH1",
        "$2b$05$abcdefghijklmnopqrstuuY8YJcx7OeCJ9JYO3w834ps8x/8H3Gfy",
        "$y$j75$F5Jx5fExrKuPp53xLKQ..1$S3/9Akd/Py.Mr8xWfrjx70QyhyFIp7YNTJ016/dxuT2",
    ];

    #[test]
    fn hashes_of_other_servers() {
        for (password, hashes) in [("secret", SECRET), ("pässwörd €", LONGER)] {
            for text in hashes {
                let hash = Hash::parse(text).expect(text);
                assert!(hash.verify(password), "{text}");
                assert!(!hash.verify("Secret"), "{text}");
                assert!(!hash.verify(""), "{text}");
                assert!(!format!("{hash:?}").contains("salt"));
            }
        }
    }

    #[test]
    fn our_own() {
        let hash = Hash::of("hikyaku");
        assert!(hash.reveal().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        let again = Hash::parse(hash.reveal()).unwrap();
        assert!(again.verify("hikyaku") && !again.verify("hikyaku "));
        assert_ne!(Hash::of("hikyaku"), hash, "each has its own salt");
        assert!(!hash.verify(&"x".repeat(PASSWORD_BYTES_MAX + 1)));
    }

    #[test]
    fn what_is_no_hash() {
        let dear = [
            "$argon2id$v=19$m=4194304,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$Y2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2M",
            "$6$rounds=999999999$saltstring$AIsRs/Ee56G/tC8MEHhvReZTfx8u3rXXMl6eYrjCG9ibix19DxoMBLogdTET5Ukw9Sf7eZTITsuk0Ry5qulYz.",
            "$2b$31$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a",
        ];
        for text in dear {
            assert_eq!(Hash::parse(text), Err(HashError::TooDear), "{text}");
        }
        for text in SECRET.iter().chain(LONGER).chain(&dear) {
            for cut in 0..text.len() {
                // A shorter one may still be a hash (of a shorter salt); it must not panic either way.
                if let Ok(hash) = Hash::parse(&text[..cut]) {
                    assert!(hash.is_dear() || !hash.verify("another"));
                }
            }
        }
        for text in
            ["", "secret", "{PLAIN}secret", "$1$salt$qJH7.N4xYta3aEG/dfqo/0", "$y$", "$5$", "{SSHA}", "{SSHA}AAAA", "{", "é", "$2b$"]
        {
            assert_eq!(Hash::parse(text), Err(HashError::Unknown), "{text}");
        }
    }
}
