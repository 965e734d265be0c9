//! The client's side of a few mechanisms: who logs in to another server.

use crate::LINE_MAX;
use alloc::{
    boxed::Box,
    format,
    string::{String, ToString as _},
    vec::Vec,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use core::fmt;
use hmac::{Hmac, Mac};
use md5::Md5;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// More rounds than this are an attempt to keep us busy: a million take half a second.
const ROUNDS_MAX: u32 = 1_000_000;

/// Fewer give the password away to who listens (RFC 7677 §4).
const ROUNDS_MIN: u32 = 4096;

/// Who to be.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name.
    pub user: Box<str>,
    /// The password.
    pub password: Box<str>,
    /// Random and printable, for one exchange (RFC 5802 §5.1).
    pub nonce: Box<str>,
}

/// Nothing secret in logs.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// An exchange as the client sees it.
#[derive(Debug)]
pub struct Client {
    credentials: Credentials,
    state: State,
}

#[derive(Debug)]
enum State {
    Scram,
    /// Both sent; the server is to prove that it knows the password too.
    ScramSent([u8; 32]),
    CramMd5,
    Plain,
    Login,
    LoginNamed,
    Done,
}

/// Why an exchange cannot go on. Send `*` (RFC 4954 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientError {
    /// The challenge makes no sense.
    Syntax,
    /// The server does not know the password (RFC 5802 §3), or plays with us.
    Impostor,
}

impl Client {
    /// Chooses the strongest mechanism among those a server offers. Without TLS (`private` says whether there is some) only such that do not
    /// give the password away.
    pub fn choose<'a>(offered: impl Iterator<Item = &'a str> + Clone, private: bool, credentials: Credentials) -> Option<Client> {
        let has = |name: &str| offered.clone().any(|word| word.eq_ignore_ascii_case(name));
        let state = if has("SCRAM-SHA-256") {
            State::Scram
        } else if has("CRAM-MD5") && !private {
            State::CramMd5
        } else if has("PLAIN") && private {
            State::Plain
        } else if has("LOGIN") && private {
            State::Login
        } else if has("CRAM-MD5") {
            State::CramMd5
        } else {
            return None;
        };
        Some(Client { credentials, state })
    }

    /// Its name, as AUTH says it.
    pub fn name(&self) -> &'static str {
        match self.state {
            State::Scram | State::ScramSent(_) | State::Done => "SCRAM-SHA-256",
            State::CramMd5 => "CRAM-MD5",
            State::Plain => "PLAIN",
            State::Login | State::LoginNamed => "LOGIN",
        }
    }

    /// What is sent without being asked, in base64; nothing where the server speaks first.
    pub fn initial(&mut self) -> Option<String> {
        let Credentials { user, password, nonce } = &self.credentials;
        match self.state {
            State::Plain => {
                let response = STANDARD.encode(format!("\0{user}\0{password}"));
                self.state = State::Done;
                Some(response)
            }
            State::Scram => Some(STANDARD.encode(format!("n,,n={},r={nonce}", escaped(user)))),
            _ => None,
        }
    }

    /// Answers a challenge, both in base64.
    ///
    /// # Errors
    /// Says why it cannot.
    pub fn respond(&mut self, challenge: &str) -> Result<String, ClientError> {
        if challenge.len() > LINE_MAX {
            return Err(ClientError::Syntax);
        }
        let challenge = STANDARD.decode(challenge.trim()).map_err(|_| ClientError::Syntax)?;
        let Credentials { user, password, .. } = &self.credentials;
        let (response, next) = match &self.state {
            State::Scram => self.scram(&challenge)?,
            State::ScramSent(expected) => {
                let text = core::str::from_utf8(&challenge).map_err(|_| ClientError::Syntax)?;
                let said = text.strip_prefix("v=").and_then(|v| STANDARD.decode(v).ok()).ok_or(ClientError::Impostor)?;
                if !bool::from(said.ct_eq(expected)) {
                    return Err(ClientError::Impostor);
                }
                (Vec::new(), State::Done)
            }
            State::CramMd5 => {
                let mac = hmac::<Hmac<Md5>>(password.as_bytes(), &challenge);
                let digest: String = mac.iter().map(|b| format!("{b:02x}")).collect();
                (format!("{user} {digest}").into_bytes(), State::Done)
            }
            // Whatever the prompts say: nobody agreed on their words.
            State::Login => (user.as_bytes().to_vec(), State::LoginNamed),
            State::LoginNamed => (password.as_bytes().to_vec(), State::Done),
            State::Plain | State::Done => return Err(ClientError::Syntax),
        };
        self.state = next;
        Ok(STANDARD.encode(response))
    }

    /// Whether the server has proved what it must, so that its word that we are in can be believed.
    pub fn is_satisfied(&self) -> bool {
        !matches!(self.state, State::ScramSent(_) | State::Scram)
    }

    /// The second message of SCRAM (RFC 5802 §3).
    fn scram(&self, challenge: &[u8]) -> Result<(Vec<u8>, State), ClientError> {
        let Credentials { user, password, nonce } = &self.credentials;
        let first = core::str::from_utf8(challenge).map_err(|_| ClientError::Syntax)?;
        let mut fields = first.split(',');
        let mut field = |name: &str| fields.next().and_then(|f| f.strip_prefix(name)).ok_or(ClientError::Syntax);
        let (both, salt, rounds) = (field("r=")?, field("s=")?, field("i=")?);
        let salt = STANDARD.decode(salt).map_err(|_| ClientError::Syntax)?;
        let rounds: u32 = rounds.parse().map_err(|_| ClientError::Syntax)?;
        if !both.starts_with(&**nonce) || both.len() == nonce.len() || !(ROUNDS_MIN..=ROUNDS_MAX).contains(&rounds) {
            return Err(ClientError::Impostor);
        }
        let salted: [u8; 32] = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password.as_bytes(), &salt, rounds);
        let client_key = hmac::<Hmac<Sha256>>(&salted, b"Client Key");
        let stored_key = Sha256::digest(&client_key);
        let without_proof = format!("c=biws,r={both}");
        let message = format!("n={},r={nonce},{first},{without_proof}", escaped(user));
        let signature = hmac::<Hmac<Sha256>>(&stored_key, message.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(key, sign)| key ^ sign).collect();
        let server_key = hmac::<Hmac<Sha256>>(&salted, b"Server Key");
        let expected = hmac::<Hmac<Sha256>>(&server_key, message.as_bytes());
        let expected = expected.try_into().expect("SHA-256 gives 32 bytes");
        Ok((format!("{without_proof},p={}", STANDARD.encode(proof)).into_bytes(), State::ScramSent(expected)))
    }
}

/// A name within SCRAM (RFC 5802 §5.1).
fn escaped(user: &str) -> String {
    user.to_string().replace('=', "=3D").replace(',', "=2C")
}

fn hmac<M: Mac + hmac::KeyInit>(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = <M as hmac::KeyInit>::new_from_slice(key).expect("any length of key will do");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(offered: &str, private: bool, user: &str, password: &str, nonce: &str) -> Option<Client> {
        let credentials = Credentials { user: user.into(), password: password.into(), nonce: nonce.into() };
        Client::choose(offered.split(' '), private, credentials)
    }

    fn plain(response: &str) -> String {
        String::from_utf8(STANDARD.decode(response).unwrap()).unwrap()
    }

    #[test]
    fn scram_as_in_rfc_7677() {
        let mut client = client("PLAIN scram-sha-256", false, "user", "pencil", "rOprNGfwEbeRWgbNEkqO").unwrap();
        assert_eq!(client.name(), "SCRAM-SHA-256");
        assert_eq!(plain(&client.initial().unwrap()), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let first = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        assert_eq!(
            plain(&client.respond(&STANDARD.encode(first)).unwrap()),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert!(!client.is_satisfied());
        let proof = STANDARD.encode("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        assert_eq!(client.respond(&proof), Ok(String::new()));
        assert!(client.is_satisfied());
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_found_out() {
        for first in ["r=other,s=QUJD,i=4096", "r=nonce,s=QUJD,i=4096", "r=nonceX,s=QUJD,i=1", "r=nonceX,s=QUJD,i=4000000000"] {
            let mut client = client("SCRAM-SHA-256", true, "u", "p", "nonce").unwrap();
            assert_eq!(client.respond(&STANDARD.encode(first)), Err(ClientError::Impostor), "{first}");
        }
        let mut client = client("SCRAM-SHA-256", true, "u", "p", "nonce").unwrap();
        client.respond(&STANDARD.encode("r=nonceX,s=QUJD,i=4096")).unwrap();
        assert_eq!(client.respond(&STANDARD.encode("v=QUJD")), Err(ClientError::Impostor));
    }

    #[test]
    fn the_others() {
        let mut cram = client("CRAM-MD5", false, "tim", "tanstaaftanstaaf", "").unwrap();
        assert_eq!(cram.initial(), None);
        // RFC 2195 §2.
        let challenge = STANDARD.encode("<1896.697170952@postoffice.reston.mci.net>");
        assert_eq!(plain(&cram.respond(&challenge).unwrap()), "tim b913a602c7eda7a495b4e6e7334d3890");
        let mut login = client("LOGIN", true, "u", "p", "").unwrap();
        assert_eq!(plain(&login.respond("VXNlcm5hbWU6").unwrap()), "u");
        assert_eq!(plain(&login.respond("UGFzc3dvcmQ6").unwrap()), "p");
        assert_eq!(login.respond("UGFzc3dvcmQ6"), Err(ClientError::Syntax));
        assert_eq!(plain(&client("LOGIN PLAIN", true, "u", "p", "").unwrap().initial().unwrap()), "\0u\0p");
        assert!(client("LOGIN PLAIN", false, "u", "p", "").is_none(), "a password in clear");
        assert!(client("GSSAPI", true, "u", "p", "").is_none());
    }
}
