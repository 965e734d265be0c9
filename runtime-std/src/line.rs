//! A connection to a peer, with or without TLS: read, write, shake hands, hang up. Never blocks without a limit.

use crate::bell::{Bell, Ear, wait_for};
use rustix::{
    event::PollFlags,
    net::{Shutdown, shutdown},
};
use rustls::Connection;
use std::{
    io::{self, ErrorKind, Read, Write},
    os::fd::OwnedFd,
    sync::Arc,
};
use storage::{
    clock::now,
    tls::{Handshake, describe},
};
use wire::{Inbox, Outbox, Patience, Tick, Tls, limits::LAST_WORDS_MS};

/// How long a TLS handshake may take.
const HANDSHAKE_MS: u64 = 60_000;
/// How long, and for how many reads, a peer is listened to after the last word. See [`Line::linger`].
const LINGER_MS: u64 = 2_000;
const LINGER_READS: u32 = 64;

/// A connection, whoever made it: a stream, local or not, or datagrams of one peer.
pub struct Line {
    socket: Arc<OwnedFd>,
    tls: Option<Box<Connection>>,
    /// Whether the peer is owed the last word, because it came to us.
    lingers: bool,
    /// Says that the peer is sent away, also to who waits for it to read.
    bell: Option<Arc<Bell>>,
    patience: Patience,
}

impl Line {
    /// To a peer that came. The socket must not block.
    pub fn accepted(socket: Arc<OwnedFd>) -> Line {
        Line { socket, tls: None, lingers: true, bell: None, patience: Patience::new() }
    }

    /// To a peer that was called. The socket must not block.
    pub fn dialed(socket: Arc<OwnedFd>) -> Line {
        Line { lingers: false, ..Line::accepted(socket) }
    }

    /// Nothing is waited for once this bell has sent the peer away.
    pub fn heed(&mut self, bell: Arc<Bell>) {
        self.bell = Some(bell);
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
        if ear.wait(&self.socket, PollFlags::IN, deadline.map(|d| d.since(now())))? {
            if let Some(tls) = &mut self.tls {
                match tls.read_tls(&mut Raw(&self.socket)) {
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
                match Raw(&self.socket).read(rx.spare()) {
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
    /// If the peer is gone, reads less than [`Patience`] allows, or was sent away and reads nothing.
    pub fn flush(&mut self, tx: &mut Outbox) -> io::Result<()> {
        while !tx.is_empty() {
            let n = match &mut self.tls {
                Some(tls) => tls.writer().write(tx.bytes())?,
                None => patiently(&self.socket, self.bell.as_deref(), &mut self.patience, |socket| socket.write(tx.bytes()))?,
            };
            tx.sent(n);
            self.push()?;
        }
        Ok(())
    }

    /// A peer that was called and takes nothing more may have said why before it hung up. Reads that, and ends the input; what waits to be written is
    /// for nobody. Says whether there was anything.
    pub fn hear_out(&mut self, rx: &mut Inbox, tx: &mut Outbox) -> bool {
        if self.lingers || rx.ended() {
            return false;
        }
        let before = rx.bytes().len();
        while !rx.is_full() {
            let n = match &mut self.tls {
                None => Raw(&self.socket).read(rx.spare()),
                Some(tls) => match tls.reader().read(rx.spare()) {
                    Err(e) if is_nothing(&e) => match tls.read_tls(&mut Raw(&self.socket)) {
                        Ok(n) if n > 0 && tls.process_new_packets().is_ok() => continue,
                        _ => break,
                    },
                    read => read,
                },
            };
            match n {
                Ok(n) if n > 0 => rx.filled(n),
                _ => break,
            }
        }
        rx.end();
        tx.sent(tx.bytes().len());
        rx.bytes().len() > before
    }

    /// Writes what TLS has to say.
    fn push(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                patiently(&self.socket, self.bell.as_deref(), &mut self.patience, |socket| tls.write_tls(socket))?;
            }
        }
        Ok(())
    }

    /// Writes all of the outbox, then shakes hands.
    ///
    /// # Errors
    /// What went wrong, for the log.
    pub fn secure(&mut self, handshake: Handshake, tx: &mut Outbox) -> Result<Tls, Box<str>> {
        self.flush(tx).and_then(|()| self.shake_hands(handshake)).map_err(|e| e.to_string().into())
    }

    fn shake_hands(&mut self, handshake: Handshake) -> io::Result<Tls> {
        let limit = now().after(HANDSHAKE_MS);
        self.tls = Some(Box::new(handshake.begin().map_err(io::Error::other)?));
        loop {
            self.push()?;
            let tls = self.tls.as_mut().expect("it was put there");
            if !tls.is_handshaking() {
                let asked = if let Connection::Server(server) = &**tls { server.server_name() } else { None };
                return Ok(describe(tls, asked));
            }
            if !wait_for(&self.socket, PollFlags::IN, limit.since(now()).min(LAST_WORDS_MS))? {
                if self.bell.as_ref().is_some_and(|bell| bell.is_sent_away()) {
                    return Err(io::Error::new(ErrorKind::TimedOut, "the peer was sent away during the handshake"));
                }
                if now() >= limit {
                    return Err(io::Error::new(ErrorKind::TimedOut, "handshake took too long"));
                }
                continue;
            }
            match tls.read_tls(&mut Raw(&self.socket)) {
                Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "peer hung up during the handshake")),
                Err(e) if is_nothing(&e) => continue,
                read => read?,
            };
            if let Err(error) = tls.process_new_packets() {
                // The peer is told what is wrong, if it still listens.
                let _ = self.push();
                return Err(io::Error::other(error));
            }
        }
    }

    /// Says why there is no session, and hangs up.
    pub fn refuse(mut self, reply: &[u8]) {
        let mut tx = Outbox::new(0);
        tx.put(reply);
        if self.flush(&mut tx).is_ok() {
            self.hang_up(true);
        }
    }

    /// Ends the connection. With `linger`, the last reply to a peer that came reaches it although it is still sending.
    pub fn hang_up(mut self, linger: bool) {
        // All of this is courtesy: a peer that is gone already loses nothing.
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = self.push();
        }
        if linger && self.lingers {
            self.linger();
        }
    }

    /// Closing a socket with unread input makes TCP send a reset, and a reset makes the peer's system throw away the last reply before
    /// anybody read it. So say that nothing more will be sent, and listen until the peer hangs up.
    fn linger(&self) {
        let limit = now().after(LINGER_MS);
        if shutdown(&self.socket, Shutdown::Write).is_err() {
            return;
        }
        let mut room = [0; 2048];
        for _ in 0..LINGER_READS {
            if !matches!(wait_for(&self.socket, PollFlags::IN, limit.since(now())), Ok(true)) {
                return;
            }
            match Raw(&self.socket).read(&mut room) {
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

/// Writes something, however long the peer takes to make room, as long as there is patience and nobody sends it away. The bell is looked at from time to
/// time: few peers are waited for here, and fewer are sent away meanwhile.
fn patiently(
    socket: &OwnedFd,
    bell: Option<&Bell>,
    patience: &mut Patience,
    mut write: impl FnMut(&mut Raw<'_>) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut last_words = false;
    loop {
        match write(&mut Raw(socket)) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                if last_words || patience.left_ms() == 0 {
                    return Err(ErrorKind::TimedOut.into());
                }
                last_words = bell.is_some_and(Bell::is_sent_away);
                let began = now();
                wait_for(socket, PollFlags::OUT, patience.left_ms().min(LAST_WORDS_MS))?;
                patience.waited(now().since(began));
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Ok(n) => {
                patience.took(n);
                return Ok(n);
            }
            written => return written,
        }
    }
}

/// The socket as it is: read(2) and write(2) are the same for every kind.
struct Raw<'a>(&'a OwnedFd);

impl Read for Raw<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(self.0, room)?)
    }
}

impl Write for Raw<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(self.0, bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
