//! A connection to a peer, with or without TLS: read, write, shake hands, hang up. Never blocks without a limit.

use crate::bell::{Ear, wait_for};
use crate::drive::now;
use rustix::event::PollFlags;
use rustls::{ServerConfig, ServerConnection};
use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    sync::Arc,
};
use wire::{Inbox, Outbox, Tick, Tls};

/// How long a peer may take to read anything at all of what is written to it.
const WRITE_MS: u64 = 5 * 60_000;
/// How long a TLS handshake may take.
const HANDSHAKE_MS: u64 = 60_000;
/// How long, and for how many reads, a peer is listened to after the last word. See [`Line::linger`].
const LINGER_MS: u64 = 2_000;
const LINGER_READS: u32 = 64;

/// A connection.
pub struct Line {
    socket: Arc<TcpStream>,
    tls: Option<Box<ServerConnection>>,
}

impl Line {
    /// In clear text. The socket must not block.
    pub fn new(socket: Arc<TcpStream>) -> Line {
        Line { socket, tls: None }
    }

    /// Writes all of the outbox; then waits for bytes, the bell or the deadline, and reads what came. At the end of input, the inbox is
    /// told so.
    ///
    /// # Errors
    /// As [`Line::flush`].
    pub fn wait(&mut self, rx: &mut Inbox, tx: &mut Outbox, ear: &mut Ear, deadline: Option<Tick>) -> io::Result<()> {
        self.flush(tx)?;
        assert!(!rx.is_full() && !rx.ended(), "a session wants input that it left no room for");
        if self.take(rx)? {
            return Ok(());
        }
        // While nothing comes, a connection holds no buffer.
        rx.rest();
        tx.rest();
        if ear.wait(&self.socket, deadline.map(|d| d.since(now())))? {
            if let Some(tls) = &mut self.tls {
                match tls.read_tls(&mut &*self.socket) {
                    Err(e) if is_nothing(&e) => return Ok(()),
                    Err(_) => rx.end(),
                    Ok(_) => {
                        let fate = tls.process_new_packets();
                        self.push()?;
                        if fate.is_err() {
                            rx.end();
                        }
                        self.take(rx)?;
                    }
                }
            } else {
                match (&*self.socket).read(rx.spare()) {
                    Ok(n) if n > 0 => rx.filled(n),
                    Err(e) if is_nothing(&e) => {}
                    // A reset says the same as an end, only less politely.
                    Ok(_) | Err(_) => rx.end(),
                }
            }
        }
        Ok(())
    }

    /// Moves decrypted bytes into the inbox. Says whether there was news.
    fn take(&mut self, rx: &mut Inbox) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else { return Ok(false) };
        match tls.reader().read(rx.spare()) {
            Ok(n) if n > 0 => {
                rx.filled(n);
                Ok(true)
            }
            Err(e) if is_nothing(&e) => Ok(false),
            Ok(_) | Err(_) => {
                rx.end();
                Ok(true)
            }
        }
    }

    /// Writes all of the outbox.
    ///
    /// # Errors
    /// If the peer is gone, or reads nothing for [`WRITE_MS`].
    pub fn flush(&mut self, tx: &mut Outbox) -> io::Result<()> {
        while !tx.is_empty() {
            let n = match &mut self.tls {
                Some(tls) => tls.writer().write(tx.bytes())?,
                None => patiently(&self.socket, |mut socket| socket.write(tx.bytes()))?,
            };
            tx.sent(n);
            self.push()?;
        }
        Ok(())
    }

    /// Writes what TLS has to say.
    fn push(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                patiently(&self.socket, |mut socket| tls.write_tls(&mut socket))?;
            }
        }
        Ok(())
    }

    /// Writes all of the outbox, then shakes hands as a server.
    ///
    /// # Errors
    /// What went wrong, for the log.
    pub fn secure(&mut self, config: Option<Arc<ServerConfig>>, tx: &mut Outbox) -> Result<Tls, Box<str>> {
        let Some(config) = config else { return Err("no certificate".into()) };
        self.flush(tx).and_then(|()| self.shake_hands(config)).map_err(|e| e.to_string().into())
    }

    fn shake_hands(&mut self, config: Arc<ServerConfig>) -> io::Result<Tls> {
        let limit = now().after(HANDSHAKE_MS);
        let tls = self.tls.insert(Box::new(ServerConnection::new(config).map_err(io::Error::other)?));
        while tls.is_handshaking() {
            if !wait_for(&self.socket, PollFlags::IN, limit.since(now()))? {
                return Err(io::Error::new(ErrorKind::TimedOut, "handshake took too long"));
            }
            match tls.read_tls(&mut &*self.socket) {
                Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "peer hung up during the handshake")),
                Err(e) if is_nothing(&e) => continue,
                read => read?,
            };
            let fate = tls.process_new_packets();
            while tls.wants_write() {
                patiently(&self.socket, |mut socket| tls.write_tls(&mut socket))?;
            }
            fate.map_err(io::Error::other)?;
        }
        Ok(storage::tls::describe(tls))
    }

    /// Says why there is no session, and hangs up.
    pub fn refuse(mut self, reply: &[u8]) {
        let mut tx = Outbox::new(0);
        tx.put(reply);
        if self.flush(&mut tx).is_ok() {
            self.hang_up(true);
        }
    }

    /// Ends the connection. With `linger`, the last reply reaches a peer that is still sending.
    pub fn hang_up(mut self, linger: bool) {
        // All of this is courtesy: a peer that is gone already loses nothing.
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = self.push();
        }
        if linger {
            self.linger();
        }
    }

    /// Closing a socket with unread input makes TCP send a reset, and a reset makes the peer's system throw away the last reply before
    /// anybody read it. So say that nothing more will be sent, and listen until the peer hangs up.
    fn linger(&self) {
        let limit = now().after(LINGER_MS);
        if self.socket.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let mut room = [0; 2048];
        for _ in 0..LINGER_READS {
            if !matches!(wait_for(&self.socket, PollFlags::IN, limit.since(now())), Ok(true)) {
                return;
            }
            match (&*self.socket).read(&mut room) {
                Ok(n) if n > 0 => {}
                Err(e) if is_nothing(&e) => {}
                _ => return,
            }
        }
    }
}

/// Not an error: try again later.
fn is_nothing(e: &io::Error) -> bool {
    matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Writes something, however long the peer takes to make room, within [`WRITE_MS`].
fn patiently(socket: &TcpStream, mut write: impl FnMut(&TcpStream) -> io::Result<usize>) -> io::Result<usize> {
    let limit = now().after(WRITE_MS);
    loop {
        match write(socket) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                if !wait_for(socket, PollFlags::OUT, limit.since(now()))? {
                    return Err(ErrorKind::TimedOut.into());
                }
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            written => return written,
        }
    }
}
