//! Trips of a toy session: dial, handshake, datagrams, failure, the way home.

use super::*;
use config::Config;
use futures_lite::future::block_on;
use futures_rustls::rustls;
use std::{
    fs,
    io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
};
use storage::{disk::Posix, outgoing::Transport};
use wire::{Expect, News, Ring, Sink, Step, Tick, Want};

/// Shakes hands if it is to, says a word, and is done when it has heard it back.
struct Caller {
    want: Option<Want>,
    word: &'static [u8],
    said: bool,
    home: bool,
}

fn caller(want: Option<Want>, word: &'static [u8]) -> Caller {
    Caller { want, word, said: false, home: false }
}

impl Session for Caller {
    type Ask = Never;
    type Answer = ();

    fn step<'a>(&mut self, _: Tick, rx: &'a mut Inbox, tx: &mut Outbox) -> Step<'a, Never> {
        if let Some(want) = self.want.take() {
            return Step::StartTls(want);
        }
        if self.home {
            return Step::Close(Why::Shutdown);
        }
        if !self.said {
            tx.put(self.word);
            self.said = true;
        }
        match rx.bytes() {
            heard if heard == self.word => {
                rx.take(self.word.len());
                Step::Close(Why::Done)
            }
            _ if rx.ended() => Step::Close(Why::Gone),
            _ => Step::Read,
        }
    }

    fn tell(&mut self, _: Tick, news: News<()>, _: &mut Outbox) {
        match news {
            News::Secured(Ok(tls)) => assert!(tls.version.starts_with("TLSv1.") && tls.server_name.is_none()),
            News::Nudge(Nudge::Shutdown) => self.home = true,
            news => panic!("{news:?}"),
        }
    }

    fn deadline(&self) -> Option<Tick> {
        Some(now().after(20_000))
    }
}

/// What a caller asks: nothing.
enum Never {}

impl Question<Office> for Never {
    type Answer = ();

    fn put_to(self, _: &mut Office) {}

    fn waits(&self) -> bool {
        false
    }
}

/// Tells how it ended.
struct Office(mpsc::Sender<Result<Why, ErrorKind>>);

impl Sink for Office {
    fn body(&mut self, _: &[u8]) {}

    fn is_full(&self) -> bool {
        false
    }

    fn drain(&mut self) {}
}

impl Traveller for Office {
    type Session = Caller;

    fn bell(&mut self, _: Arc<dyn Ring>) {}

    fn unreachable(self, _: Caller, error: &io::Error) {
        self.0.send(Err(error.kind())).unwrap();
    }

    fn closed(self, _: Caller, why: Why) {
        self.0.send(Ok(why)).unwrap();
    }
}

struct Scratch {
    at: PathBuf,
    house: Arc<House>,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.at);
    }
}

fn scratch(name: &str) -> Scratch {
    let at = std::env::temp_dir().join(format!("hikyaku-smol-travel-{name}-{}", std::process::id()));
    let config = Config { domains: vec!["example.test".into()], store: at.clone(), ..Config::default() };
    Scratch { at, house: House::open(config, Arc::new(Posix)).unwrap() }
}

fn dial(to: SocketAddr, transport: Transport) -> Dial {
    Dial { to, from: Some("127.0.0.1".parse().unwrap()), transport, timeout_ms: 10_000 }
}

fn go(it: &Scratch, dial: Dial, caller: Caller) -> Result<Why, ErrorKind> {
    let (tell, told) = mpsc::channel();
    block_on(carry(dial, caller, Office(tell), Inbox::new(2000), Outbox::new(1000), it.house.clone()));
    told.recv().unwrap()
}

/// Echoes one line, in TLS if there is a certificate.
fn echo(tls: Option<Arc<rustls::ServerConfig>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut connection = tls.map(|config| rustls::ServerConnection::new(config).unwrap());
        let mut line = String::new();
        match &mut connection {
            Some(tls) => {
                let mut secret = rustls::Stream::new(tls, &mut socket);
                BufReader::new(&mut secret).read_line(&mut line).unwrap();
                secret.write_all(line.as_bytes()).unwrap();
                // Until the peer has hung up.
                let _ = secret.read(&mut [0]);
            }
            None => {
                BufReader::new(&mut socket).read_line(&mut line).unwrap();
                socket.write_all(line.as_bytes()).unwrap();
            }
        }
    });
    at
}

fn server_config(at: &Path) -> Arc<rustls::ServerConfig> {
    let made = rcgen::generate_simple_self_signed(vec!["mx.example.test".to_owned()]).unwrap();
    let (chain, key) = (at.join("crt"), at.join("key"));
    fs::write(&chain, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    storage::tls::load(&[config::Certificate { chain, key }]).unwrap().unwrap()
}

#[test]
fn a_stream_in_clear_text_and_in_tls() {
    let it = scratch("stream");
    assert_eq!(go(&it, dial(echo(None), Transport::Tcp), caller(None, b"hi\n")), Ok(Why::Done));
    let want = |verified| Some(Want::Connect(Expect { name: "mx.example.test".into(), verified }));
    let tls = server_config(&it.at);
    assert_eq!(go(&it, dial(echo(Some(tls)), Transport::Tcp), caller(want(false), b"hi\n")), Ok(Why::Done));
}

#[test]
fn datagrams_stay_apart() {
    let it = scratch("datagrams");
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = peer.local_addr().unwrap();
    let echo = thread::spawn(move || {
        let mut room = [0; 2000];
        let (n, from) = peer.recv_from(&mut room).unwrap();
        // What others send is not heard.
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"lie", from).unwrap();
        peer.send_to(&room[..n], from).unwrap();
        n
    });
    let word = &[7; 1200];
    assert_eq!(go(&it, dial(at, Transport::Udp), caller(None, word)), Ok(Why::Done));
    assert_eq!(echo.join().unwrap(), word.len());
}

#[test]
fn nobody_is_there() {
    let it = scratch("nobody");
    let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(go(&it, dial(at, Transport::Tcp), caller(None, b"hi")), Err(ErrorKind::ConnectionRefused));
    let elsewhere = Dial { from: Some("192.0.2.1".parse().unwrap()), ..dial(at, Transport::Tcp) };
    assert_eq!(go(&it, elsewhere, caller(None, b"hi")), Err(ErrorKind::AddrNotAvailable));
}

#[test]
fn a_server_that_stops_calls_everybody_home() {
    let it = scratch("home");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = silent.local_addr().unwrap();
    let ended = thread::scope(|scope| {
        let ended = scope.spawn(|| go(&it, dial(at, Transport::Tcp), caller(None, b"hi")));
        let (mut peer, _) = silent.accept().unwrap();
        peer.read_exact(&mut [0; 2]).unwrap();
        it.house.stop_guests();
        ended.join().unwrap()
    });
    assert_eq!(ended, Ok(Why::Shutdown));
    assert_eq!(go(&it, dial(at, Transport::Tcp), caller(None, b"hi")), Ok(Why::Shutdown));
}
