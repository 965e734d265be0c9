//! The command line's end of the control socket.

use http::{Method, client};
use serde::{Deserialize, de::DeserializeOwned};
use std::{
    fmt,
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long an answer may take: a trace may read some gigabytes, and DNS may be slow.
const PATIENCE: Duration = Duration::from_secs(300);

/// Asks the server behind a socket.
pub struct Client {
    path: PathBuf,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum AskError {
    /// Nobody listens.
    NoServer(PathBuf, io::Error),
    /// The connection broke.
    Broken(io::Error),
    /// What came is no answer.
    Garbled,
    /// The server says no, with this status and for this reason.
    Refused(u16, String),
}

#[derive(Deserialize)]
struct Trouble {
    error: String,
}

impl Client {
    /// Asks behind that socket.
    pub fn new(path: &Path) -> Client {
        Client { path: path.into() }
    }

    /// Asks for something.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn get<T: DeserializeOwned>(&self, path: &str, asks: &[(&str, &str)]) -> Result<T, AskError> {
        self.ask(Method::Get, &client::target(path, asks.iter().copied()), b"")
    }

    /// Says something.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &[u8]) -> Result<T, AskError> {
        self.ask(Method::Post, path, body)
    }

    fn ask<T: DeserializeOwned>(&self, method: Method, target: &str, body: &[u8]) -> Result<T, AskError> {
        let bytes = self.carry(&client::request(method, target, body))?;
        let (status, body) = client::response(&bytes).ok_or(AskError::Garbled)?;
        if status != 200 {
            let why = serde_json::from_slice::<Trouble>(body).map_or_else(|_| format!("status {status}"), |trouble| trouble.error);
            return Err(AskError::Refused(status, why));
        }
        serde_json::from_slice(body).map_err(|_| AskError::Garbled)
    }

    fn carry(&self, request: &[u8]) -> Result<Vec<u8>, AskError> {
        let mut socket = UnixStream::connect(&self.path).map_err(|error| AskError::NoServer(self.path.clone(), error))?;
        let mut talk = || {
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.set_write_timeout(Some(PATIENCE))?;
            socket.write_all(request)?;
            let mut bytes = Vec::new();
            socket.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        talk().map_err(AskError::Broken)
    }
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskError::NoServer(path, error) if error.kind() == io::ErrorKind::PermissionDenied => {
                write!(f, "{}: {error}; only root, the user of the server and members of `control.group` may ask", path.display())
            }
            AskError::NoServer(path, error) => {
                write!(
                    f,
                    "no server is running that listens on {}: {error}\nAnother socket can be named with --socket PATH",
                    path.display()
                )
            }
            AskError::Broken(error) => write!(f, "the server did not answer: {error}"),
            AskError::Garbled => f.write_str("what came is no answer of this version; are the server and the command of one version?"),
            AskError::Refused(_, why) => f.write_str(why),
        }
    }
}
