//! A connection to a peer, with or without TLS: read, write, shake hands, hang up. Never waits without a limit.

use crate::bell::{Bell, Ear};
use async_io::{Async, Timer};
use futures_lite::{
    AsyncRead, AsyncWrite, AsyncWriteExt as _, FutureExt as _, Stream as _,
    future::{poll_fn, poll_once, yield_now},
};
use futures_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use rustix::{
    io::Errno,
    net::{Shutdown, shutdown},
};
use std::{
    io::{self, ErrorKind},
    os::fd::OwnedFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use storage::{
    clock::{instant, now},
    tls::{Handshake, describe},
};
use wire::{Inbox, Outbox, Patience, Tick, Tls, limits::LAST_WORDS_MS};

/// How long a TLS handshake may take.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(60);
/// How long, and for how many reads, a peer is listened to after the last word. See [`Line::linger`].
const LINGER_LIMIT: Duration = Duration::from_secs(2);
const LINGER_READS: u32 = 64;
/// After how many reads others get their turn, although more input is there.
const TURN: u32 = 32;

/// A connection, whoever made it: a stream, local or not, or datagrams of one peer.
pub struct Line {
    stream: Stream,
    alarm: Alarm,
    reads: u32,
    /// Whether the peer is owed the last word, because it came to us.
    lingers: bool,
    /// Says that the peer is sent away, also to who waits for it to read.
    bell: Option<Arc<Bell>>,
    patience: Patience,
}

enum Stream {
    Clear(Socket),
    Secret(Box<TlsStream<Socket>>),
    /// A handshake failed and took the socket with it.
    Lost,
}

impl Line {
    /// To a peer that came.
    pub fn accepted(socket: Async<OwnedFd>) -> Line {
        let stream = Stream::Clear(Socket(socket));
        Line { stream, alarm: Alarm::new(), reads: 0, lingers: true, bell: None, patience: Patience::new() }
    }

    /// To a peer that was called.
    pub fn dialed(socket: Async<OwnedFd>) -> Line {
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
    pub async fn wait(&mut self, rx: &mut Inbox, tx: &mut Outbox, ear: &mut Ear, deadline: Option<Tick>) -> io::Result<()> {
        self.flush(tx).await?;
        assert!(!rx.is_full() && !rx.ended(), "a session wants input that it left no room for");
        self.reads = self.reads.wrapping_add(1);
        if self.reads.is_multiple_of(TURN) {
            yield_now().await;
        }
        poll_fn(|cx| {
            match self.stream.poll_read(cx, rx.spare()) {
                Poll::Ready(Ok(n)) if n > 0 => {
                    rx.filled(n);
                    return Poll::Ready(());
                }
                // A reset says the same as an end, only less politely.
                Poll::Ready(_) => {
                    rx.end();
                    return Poll::Ready(());
                }
                Poll::Pending => {}
            }
            // While nothing comes, a connection holds no buffer.
            rx.rest();
            tx.rest();
            if ear.poll_rung(cx).is_ready() || self.alarm.poll(cx, deadline).is_ready() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        Ok(())
    }

    /// Writes all of the outbox.
    ///
    /// # Errors
    /// If the peer is gone, reads less than [`Patience`] allows, or was sent away and reads nothing.
    pub async fn flush(&mut self, tx: &mut Outbox) -> io::Result<()> {
        while !tx.is_empty() {
            let (bell, patience) = (self.bell.as_deref(), &mut self.patience);
            match patiently(bell, patience, |cx| self.stream.poll_write(cx, tx.bytes())).await? {
                0 => return Err(ErrorKind::WriteZero.into()),
                n => {
                    tx.sent(n);
                    patience.took(n);
                }
            }
        }
        patiently(self.bell.as_deref(), &mut self.patience, |cx| self.stream.poll_flush(cx)).await
    }

    /// A peer that was called and takes nothing more may have said why before it hung up. Reads that, and ends the input; what waits to be written is
    /// for nobody. Says whether there was anything.
    pub async fn hear_out(&mut self, rx: &mut Inbox, tx: &mut Outbox) -> bool {
        if self.lingers || rx.ended() {
            return false;
        }
        let before = rx.bytes().len();
        while !rx.is_full() {
            match poll_once(poll_fn(|cx| self.stream.poll_read(cx, rx.spare()))).await {
                Some(Ok(n)) if n > 0 => rx.filled(n),
                _ => break,
            }
        }
        rx.end();
        tx.sent(tx.bytes().len());
        rx.bytes().len() > before
    }

    /// Writes all of the outbox, then shakes hands.
    ///
    /// # Errors
    /// What went wrong, for the log.
    pub async fn secure(&mut self, handshake: Handshake, tx: &mut Outbox) -> Result<Tls, Box<str>> {
        self.flush(tx).await.map_err(text)?;
        let Stream::Clear(socket) = std::mem::replace(&mut self.stream, Stream::Lost) else { return Err("TLS inside TLS".into()) };
        let bell = self.bell.clone();
        let shaken = async {
            match handshake {
                Handshake::Accept(config) => TlsAcceptor::from(config).accept(socket).await.map(TlsStream::Server),
                Handshake::Connect(config, name) => TlsConnector::from(config).connect(name, socket).await.map(TlsStream::Client),
            }
        };
        // In a box of its own: its state is large, and no connection without TLS should carry room for it.
        let shaken = Box::pin(
            shaken
                .or(async {
                    Timer::after(HANDSHAKE_LIMIT).await;
                    Err(io::Error::new(ErrorKind::TimedOut, "handshake took too long"))
                })
                .or(poll_fn(|cx| match &bell {
                    Some(bell) => bell
                        .poll_sent_away(cx)
                        .map(|()| Err(io::Error::new(ErrorKind::TimedOut, "the peer was sent away during the handshake"))),
                    None => Poll::Pending,
                })),
        );
        let stream = shaken.await.map_err(text)?;
        let asked = if let TlsStream::Server(server) = &stream { server.get_ref().1.server_name() } else { None };
        let tls = describe(stream.get_ref().1, asked);
        self.stream = Stream::Secret(Box::new(stream));
        Ok(tls)
    }

    /// Says why there is no session, and hangs up.
    pub async fn refuse(mut self, reply: &[u8]) {
        let mut tx = Outbox::new(0);
        tx.put(reply);
        if self.flush(&mut tx).await.is_ok() {
            self.hang_up(true).await;
        }
    }

    /// Ends the connection. With `linger`, the last reply to a peer that came reaches it although it is still sending.
    pub async fn hang_up(mut self, linger: bool) {
        // All of this is courtesy: a peer that is gone already loses nothing.
        if let Stream::Secret(tls) = &mut self.stream {
            let _ = Box::pin(tls.close().or(async {
                Timer::after(LINGER_LIMIT).await;
                Ok(())
            }))
            .await;
        }
        if linger && self.lingers {
            Box::pin(self.linger()).await;
        }
    }

    /// Closing a socket with unread input makes TCP send a reset, and a reset makes the peer's system throw away the last reply before
    /// anybody read it. So say that nothing more will be sent, and listen until the peer hangs up.
    async fn linger(mut self) {
        let Some(socket) = self.stream.socket() else { return };
        if shutdown(&socket.0, Shutdown::Write).is_err() {
            return;
        }
        let until = now().after(LINGER_LIMIT.as_millis() as u64);
        let mut room = vec![0; 2048];
        for _ in 0..LINGER_READS {
            let more = poll_fn(|cx| match self.stream.poll_read(cx, &mut room) {
                Poll::Ready(Ok(n)) if n > 0 => Poll::Ready(true),
                Poll::Ready(_) => Poll::Ready(false),
                Poll::Pending => self.alarm.poll(cx, Some(until)).map(|()| false),
            });
            if !more.await {
                return;
            }
        }
    }
}

impl Stream {
    fn socket(&self) -> Option<&Socket> {
        match self {
            Stream::Clear(socket) => Some(socket),
            Stream::Secret(tls) => Some(tls.get_ref().0),
            Stream::Lost => None,
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Stream::Clear(socket) => Pin::new(socket).poll_read(cx, buf),
            Stream::Secret(tls) => Pin::new(tls).poll_read(cx, buf),
            Stream::Lost => Poll::Ready(Ok(0)),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Stream::Clear(socket) => Pin::new(socket).poll_write(cx, bytes),
            Stream::Secret(tls) => Pin::new(tls).poll_write(cx, bytes),
            Stream::Lost => Poll::Ready(Err(ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Secret(tls) => Pin::new(tls).poll_flush(cx),
            Stream::Clear(_) | Stream::Lost => Poll::Ready(Ok(())),
        }
    }
}

fn text(e: io::Error) -> Box<str> {
    e.to_string().into()
}

/// Writes something, however long the peer takes to make room, as long as there is patience and nobody sends it away.
async fn patiently<T>(
    bell: Option<&Bell>,
    patience: &mut Patience,
    mut write: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>,
) -> io::Result<T> {
    let (mut waits, mut last_words, left_ms) = (None, false, patience.left_ms());
    let written = poll_fn(|cx| match write(cx) {
        Poll::Pending => {
            let (_, timer) = waits.get_or_insert_with(|| (now(), Timer::after(Duration::from_millis(left_ms))));
            if !last_words && bell.is_some_and(|bell| bell.poll_sent_away(cx).is_ready()) {
                last_words = true;
                timer.set_after(Duration::from_millis(LAST_WORDS_MS));
            }
            ready!(Pin::new(timer).poll(cx));
            Poll::Ready(Err(ErrorKind::TimedOut.into()))
        }
        written => written,
    })
    .await;
    if let Some((began, _)) = waits {
        patience.waited(now().since(began));
    }
    written
}

/// The socket as it is: read(2) and write(2) are the same for every kind.
struct Socket(Async<OwnedFd>);

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            match rustix::io::read(&self.0, &mut *room) {
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => ready!(self.0.poll_readable(cx))?,
                read => return Poll::Ready(Ok(read?)),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match rustix::io::write(&self.0, bytes) {
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => ready!(self.0.poll_writable(cx))?,
                written => return Poll::Ready(Ok(written?)),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Says that nothing more will be written.
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match shutdown(&self.0, Shutdown::Write) {
            // The peer is gone already.
            Err(Errno::NOTCONN) => Poll::Ready(Ok(())),
            closed => Poll::Ready(Ok(closed?)),
        }
    }
}

/// A timer that is set anew only if it would ring too late: a deadline moves with each command, and most never come.
pub struct Alarm {
    timer: Timer,
    set: Tick,
}

impl Alarm {
    /// One that is not set.
    pub fn new() -> Alarm {
        Alarm { timer: Timer::never(), set: Tick(u64::MAX) }
    }

    /// Ready when the deadline has passed.
    pub fn poll(&mut self, cx: &mut Context<'_>, deadline: Option<Tick>) -> Poll<()> {
        let Some(deadline) = deadline else { return Poll::Pending };
        if deadline < self.set {
            self.set(deadline);
        }
        loop {
            if now() >= deadline {
                return Poll::Ready(());
            }
            ready!(Pin::new(&mut self.timer).poll_next(cx));
            self.set(deadline);
        }
    }

    fn set(&mut self, at: Tick) {
        // One millisecond more: a tick is rounded down.
        self.timer.set_at(instant(at.after(1)));
        self.set = at;
    }
}
