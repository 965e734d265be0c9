//! A connection to a peer, with or without TLS: read, write, shake hands, hang up. Never waits without a limit.

use crate::bell::Ear;
use crate::drive::{instant, now};
use async_io::{Async, Timer};
use futures_lite::{
    AsyncRead, AsyncWrite, AsyncWriteExt as _, FutureExt as _, Stream as _,
    future::{poll_fn, yield_now},
};
use futures_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};
use std::{
    io::{self, ErrorKind},
    net::{Shutdown, TcpStream},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use wire::{Inbox, Outbox, Tick, Tls};

/// How long a peer may take to read anything at all of what is written to it.
const WRITE_LIMIT: Duration = Duration::from_secs(5 * 60);
/// How long a TLS handshake may take.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(60);
/// How long, and for how many reads, a peer is listened to after the last word. See [`Line::linger`].
const LINGER_LIMIT: Duration = Duration::from_secs(2);
const LINGER_READS: u32 = 64;
/// After how many reads others get their turn, although more input is there.
const TURN: u32 = 32;

type Socket = Async<TcpStream>;

/// A connection.
pub struct Line {
    stream: Stream,
    alarm: Alarm,
    reads: u32,
}

enum Stream {
    Clear(Socket),
    Secret(Box<TlsStream<Socket>>),
    /// A handshake failed and took the socket with it.
    Lost,
}

impl Line {
    /// In clear text.
    pub fn new(socket: Async<TcpStream>) -> Line {
        Line { stream: Stream::Clear(socket), alarm: Alarm::new(), reads: 0 }
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
    /// If the peer is gone, or reads nothing for [`WRITE_LIMIT`].
    pub async fn flush(&mut self, tx: &mut Outbox) -> io::Result<()> {
        while !tx.is_empty() {
            match patiently(|cx| self.stream.poll_write(cx, tx.bytes())).await? {
                0 => return Err(ErrorKind::WriteZero.into()),
                n => tx.sent(n),
            }
        }
        patiently(|cx| self.stream.poll_flush(cx)).await
    }

    /// Writes all of the outbox, then shakes hands as a server.
    ///
    /// # Errors
    /// What went wrong, for the log.
    pub async fn secure(&mut self, config: Option<Arc<ServerConfig>>, tx: &mut Outbox) -> Result<Tls, Box<str>> {
        let Some(config) = config else { return Err("no certificate".into()) };
        self.flush(tx).await.map_err(text)?;
        let Stream::Clear(socket) = std::mem::replace(&mut self.stream, Stream::Lost) else { return Err("TLS inside TLS".into()) };
        // In a box of its own: its state is large, and no connection without TLS should carry room for it.
        let shaken = Box::pin(TlsAcceptor::from(config).accept(socket).or(async {
            Timer::after(HANDSHAKE_LIMIT).await;
            Err(io::Error::new(ErrorKind::TimedOut, "handshake took too long"))
        }));
        let stream = shaken.await.map_err(text)?;
        let tls = storage::tls::describe(stream.get_ref().1);
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

    /// Ends the connection. With `linger`, the last reply reaches a peer that is still sending.
    pub async fn hang_up(mut self, linger: bool) {
        // All of this is courtesy: a peer that is gone already loses nothing.
        if let Stream::Secret(tls) = &mut self.stream {
            let _ = Box::pin(tls.close().or(async {
                Timer::after(LINGER_LIMIT).await;
                Ok(())
            }))
            .await;
        }
        if linger {
            Box::pin(self.linger()).await;
        }
    }

    /// Closing a socket with unread input makes TCP send a reset, and a reset makes the peer's system throw away the last reply before
    /// anybody read it. So say that nothing more will be sent, and listen until the peer hangs up.
    async fn linger(mut self) {
        let Some(socket) = self.stream.socket() else { return };
        if socket.get_ref().shutdown(Shutdown::Write).is_err() {
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

/// Writes something, however long the peer takes to make room, within [`WRITE_LIMIT`].
async fn patiently<T>(mut write: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>) -> io::Result<T> {
    let mut timer = None;
    poll_fn(|cx| match write(cx) {
        Poll::Pending => {
            ready!(Pin::new(timer.get_or_insert_with(|| Timer::after(WRITE_LIMIT))).poll(cx));
            Poll::Ready(Err(ErrorKind::TimedOut.into()))
        }
        written => written,
    })
    .await
}

/// A timer that is set anew only if it would ring too late: a deadline moves with each command, and most never come.
struct Alarm {
    timer: Timer,
    set: Tick,
}

impl Alarm {
    fn new() -> Alarm {
        Alarm { timer: Timer::never(), set: Tick(u64::MAX) }
    }

    fn poll(&mut self, cx: &mut Context<'_>, deadline: Option<Tick>) -> Poll<()> {
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
