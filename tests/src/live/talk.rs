//! A conversation over a socket, line by line.

use crate::{imaptest::Wire, model::PASSWORD};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

/// How long an answer may take. Long, because the machine may be busy; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// One end of a conversation.
pub struct Talk {
    stream: Stream,
    bytes: Vec<u8>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Talk {
    /// In clear text.
    ///
    /// # Panics
    /// If nobody listens there.
    pub fn plain(to: SocketAddr) -> Talk {
        Talk::try_plain(to).unwrap_or_else(|e| panic!("{to}: {e}"))
    }

    /// In clear text.
    ///
    /// # Errors
    /// As connect(2).
    pub fn try_plain(to: SocketAddr) -> io::Result<Talk> {
        let stream = TcpStream::connect(to)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Talk { stream: Stream::Plain(stream), bytes: Vec::new() })
    }

    /// With TLS from the start.
    pub fn tls(to: SocketAddr, config: &Arc<ClientConfig>) -> Talk {
        Talk::plain(to).secure(config)
    }

    /// Goes over to TLS.
    pub fn secure(self, config: &Arc<ClientConfig>) -> Talk {
        let Stream::Plain(stream) = self.stream else { panic!("TLS within TLS") };
        assert!(self.bytes.is_empty(), "something was said in clear text ahead of the handshake");
        let name = "localhost".try_into().expect("a name");
        let connection = ClientConnection::new(config.clone(), name).expect("a good configuration");
        Talk { stream: Stream::Tls(Box::new(StreamOwned::new(connection, stream))), bytes: Vec::new() }
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// As write(2).
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(bytes),
            Stream::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }

    /// Sends text as it stands.
    ///
    /// # Panics
    /// If the other side is gone.
    pub fn send(&mut self, text: &str) {
        self.try_send(text.as_bytes()).unwrap_or_else(|e| panic!("sending {text:?}: {e}"));
    }

    /// Waits for some bytes; none at the end.
    ///
    /// # Errors
    /// As read(2).
    pub fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if !self.bytes.is_empty() {
            let n = buf.len().min(self.bytes.len());
            buf[..n].copy_from_slice(&self.bytes[..n]);
            self.bytes.drain(..n);
            return Ok(n);
        }
        match &mut self.stream {
            Stream::Plain(stream) => stream.read(buf),
            Stream::Tls(stream) => stream.read(buf),
        }
    }

    /// The next line without its end.
    ///
    /// # Errors
    /// If the other side is gone or silent.
    pub fn try_line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.bytes.windows(2).position(|w| w == b"\r\n") {
                let line: Vec<u8> = self.bytes.drain(..at + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            let mut buf = [0; 16 << 10];
            let held = std::mem::take(&mut self.bytes);
            let n = self.read(&mut buf)?;
            self.bytes = held;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.bytes.extend_from_slice(&buf[..n]);
        }
    }

    /// The next line.
    ///
    /// # Panics
    /// If none comes.
    pub fn line(&mut self) -> String {
        self.try_line().unwrap_or_else(|e| panic!("waiting for a line: {e}"))
    }

    /// The next line, which must begin so.
    ///
    /// # Panics
    /// If it does not.
    pub fn expect(&mut self, start: &str) -> String {
        let line = self.line();
        assert!(line.starts_with(start), "expected {start:?} but got {line:?}");
        line
    }

    /// Exactly so many bytes.
    ///
    /// # Panics
    /// If they do not come.
    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        let mut all = vec![0; n];
        let mut have = 0;
        while have < n {
            match self.read(&mut all[have..]).expect("the rest of a literal") {
                0 => panic!("the end after {have} of {n} bytes"),
                more => have += more,
            }
        }
        all
    }

    /// A whole SMTP reply, which must have this code; its last line.
    ///
    /// # Panics
    /// If it has another.
    pub fn reply(&mut self, code: &str) -> String {
        loop {
            let line = self.expect(code);
            if line.as_bytes().get(3) != Some(&b'-') {
                return line;
            }
        }
    }

    /// Sends an IMAP command and returns all lines to its tagged reply, which must be OK. Literals come out as lines.
    ///
    /// # Panics
    /// If it is not.
    pub fn imap(&mut self, command: &str) -> Vec<String> {
        self.send(&format!("t {command}\r\n"));
        let mut lines = Vec::new();
        loop {
            let line = self.line();
            if line.starts_with("t ") {
                assert!(line.starts_with("t OK"), "{command} got {line}");
                lines.push(line);
                return lines;
            }
            lines.push(line);
        }
    }

    /// Logs in to IMAP after the greeting was read.
    pub fn imap_login(&mut self, user: &str) {
        self.expect("* OK");
        self.imap(&format!("LOGIN {user}@example.test {PASSWORD}"));
    }

    /// Logs in to POP3.
    pub fn pop3_login(&mut self, user: &str) {
        self.expect("+OK");
        self.send(&format!("USER {user}@example.test\r\nPASS {PASSWORD}\r\n"));
        self.expect("+OK");
        self.expect("+OK");
    }

    /// The lines to the one with a dot alone; stuffing taken out.
    pub fn dotted(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.line();
            match line.strip_prefix('.') {
                Some("") => return lines,
                Some(rest) => lines.push(rest.to_owned()),
                None => lines.push(line),
            }
        }
    }
}

impl Wire for Talk {
    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.try_send(bytes).map_err(|e| e.to_string())
    }

    fn receive(&mut self) -> Result<Vec<u8>, String> {
        let mut buf = vec![0; 16 << 10];
        match self.read(&mut buf).map_err(|e| e.to_string())? {
            0 => Err("the server hung up".into()),
            n => {
                buf.truncate(n);
                Ok(buf)
            }
        }
    }
}

/// An SMTP or LMTP client that has said hello.
pub struct Mailer(pub Talk);

impl Mailer {
    /// Greets; `hello` is EHLO or LHLO.
    ///
    /// # Panics
    /// If the server does not answer.
    pub fn new(talk: Talk, hello: &str) -> Mailer {
        Mailer::try_new(talk, hello).unwrap_or_else(|e| panic!("{hello}: {e}"))
    }

    /// Greets.
    ///
    /// # Errors
    /// If the connection fails.
    pub fn try_new(mut talk: Talk, hello: &str) -> io::Result<Mailer> {
        talk.try_line()?;
        talk.try_send(format!("{hello} client.example.test\r\n").as_bytes())?;
        while talk.try_line()?.starts_with("250-") {}
        Ok(Mailer(talk))
    }

    /// Sends a message whose lines all end with CRLF and returns the replies to its end: one, or with LMTP one for each recipient.
    ///
    /// # Errors
    /// If the connection fails on the way.
    pub fn try_mail(&mut self, from: &str, to: &[&str], message: &str, replies: usize) -> io::Result<Vec<String>> {
        let mut commands = format!("MAIL FROM:<{from}>\r\n");
        to.iter().for_each(|to| commands += &format!("RCPT TO:<{to}>\r\n"));
        commands += "DATA\r\n";
        self.0.try_send(commands.as_bytes())?;
        for _ in 0..to.len() + 1 {
            self.0.try_line()?;
        }
        let line = self.0.try_line()?;
        if !line.starts_with("354") {
            return Ok(vec![line]);
        }
        self.0.try_send(format!("{}.\r\n", stuffed(message)).as_bytes())?;
        (0..replies).map(|_| self.0.try_line()).collect()
    }

    /// The same, and returns for each recipient whether it was acknowledged: some may be refused before the message is sent.
    ///
    /// # Errors
    /// If the connection fails on the way.
    pub fn try_mail_each(&mut self, from: &str, to: &[&str], message: &str, lmtp: bool) -> io::Result<Vec<bool>> {
        let mut taken = vec![false; to.len()];
        self.0.try_send(format!("MAIL FROM:<{from}>\r\n").as_bytes())?;
        if !self.0.try_line()?.starts_with("250") {
            return Ok(taken);
        }
        for (to, taken) in to.iter().zip(&mut taken) {
            self.0.try_send(format!("RCPT TO:<{to}>\r\n").as_bytes())?;
            *taken = self.0.try_line()?.starts_with("250");
        }
        self.0.try_send(b"DATA\r\n")?;
        if !self.0.try_line()?.starts_with("354") {
            taken.fill(false);
            self.0.try_send(b"RSET\r\n")?;
            self.0.try_line()?;
            return Ok(taken);
        }
        self.0.try_send(format!("{}.\r\n", stuffed(message)).as_bytes())?;
        let mut all = None;
        for taken in taken.iter_mut().filter(|taken| **taken) {
            *taken = match all {
                Some(taken) => taken,
                None => self.0.try_line()?.starts_with("250"),
            };
            all = (!lmtp).then_some(*taken);
        }
        Ok(taken)
    }

    /// Sends a message that must be taken.
    ///
    /// # Panics
    /// If it is not.
    pub fn mail(&mut self, from: &str, to: &[&str], message: &str) {
        let replies = self.try_mail(from, to, message, 1).expect("a connection");
        assert!(replies[0].starts_with("250"), "{replies:?}");
    }
}

/// A message as DATA sends it.
fn stuffed(message: &str) -> String {
    message.split("\r\n").map(|l| if l.starts_with('.') { format!(".{l}") } else { l.to_owned() }).collect::<Vec<_>>().join("\r\n")
}
