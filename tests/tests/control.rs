//! A running server is asked and told over its socket, by the command line and by whoever speaks HTTP.

use hikyaku_tests::live::{Live, Mailer, Runtime, Setup};
use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    process::{Command, Output},
};

fn ask(live: &Live, args: &[&str]) -> Output {
    Command::new(live.runtime.binary()).arg("--config").arg(live.dir.join("hikyaku.ron")).args(args).output().unwrap()
}

fn fine(live: &Live, args: &[&str]) -> String {
    let output = ask(live, args);
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{args:?}: {out}{err}");
    out + &err
}

fn wrong(live: &Live, args: &[&str]) -> String {
    let output = ask(live, args);
    assert_eq!(output.status.code(), Some(1), "{args:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn the_command_line_asks_the_server() {
    for runtime in Runtime::ALL {
        let mut live = Live::new(runtime);
        let mut mailer = Mailer::new(live.connect(live.ports.smtp), "EHLO");
        mailer.mail("stranger@elsewhere.test", &["alice@example.test"], "Message-ID: <one@elsewhere.test>\r\nSubject: x\r\n\r\nhi\r\n");
        let status = fine(&live, &["status"]);
        assert!(status.contains("queue    0 waiting, 0 being sent, 0 held"), "{status}");
        for what in ["alice@example.test", "STRANGER@elsewhere.test", "<one@elsewhere.test>", "one@elsewhere.test"] {
            let told = fine(&live, &["trace", what]);
            assert!(told.contains("accepted by smtp from 127.0.0.1: from <stranger@elsewhere.test>"), "{told}");
            assert!(told.contains("delivered to alice@example.test after 0 s"), "{told}");
        }
        assert!(wrong(&live, &["trace", "nobody@example.test"]).contains("nothing is told of nobody@example.test"));
        assert!(fine(&live, &["queue", "list"]).contains("0 messages"));
        assert!(wrong(&live, &["queue", "show", "7"]).contains("there is no message 7 in the queue"));
        assert!(fine(&live, &["explain", "alice@example.test", "--json"]).contains("\"steps\""));
        assert!(fine(&live, &["reload"]).contains("reloaded"));
        std::fs::rename(live.dir.join("store/accounts.ron"), live.dir.join("kept")).unwrap();
        std::fs::write(live.dir.join("store/accounts.ron"), "nonsense").unwrap();
        assert!(wrong(&live, &["reload"]).contains("accounts.ron"));
        std::fs::rename(live.dir.join("kept"), live.dir.join("store/accounts.ron")).unwrap();
        assert!(fine(&live, &["stop"]).contains("stopping"));
        live.stop();
        assert!(wrong(&live, &["status"]).contains("no server is running"));
    }
}

#[test]
fn others_speak_http() {
    for runtime in Runtime::ALL {
        let port = free_port();
        let extra = format!("control: (metrics: Some(\"127.0.0.1:{port}\")),");
        let live = Live::start(runtime, &Setup { extra, ..Setup::default() });
        let path = live.dir.join("store/control.sock");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o660);
        let mut socket = UnixStream::connect(&path).unwrap();
        // Two at once, on one connection that then ends.
        socket.write_all(b"GET /queue HTTP/1.1\r\nHost: x\r\n\r\nPOST /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut said = String::new();
        socket.read_to_string(&mut said).unwrap();
        assert!(said.contains("Transfer-Encoding: chunked\r\n") && said.contains("{\"messages\":[],"), "{said}");
        assert!(said.contains("HTTP/1.1 404 ") && said.contains("Connection: close\r\n"), "{said}");
        let mut metrics = TcpStream::connect(("127.0.0.1", port)).unwrap();
        metrics.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut said = String::new();
        metrics.read_to_string(&mut said).unwrap();
        assert!(said.contains("hikyaku_start_time_seconds ") && said.ends_with("# EOF\n"), "{said}");
        let mut other = TcpStream::connect(("127.0.0.1", port)).unwrap();
        other.write_all(b"POST /stop HTTP/1.0\r\n\r\n").unwrap();
        let mut said = String::new();
        other.read_to_string(&mut said).unwrap();
        assert!(said.starts_with("HTTP/1.1 404 "), "{said}");
    }
}
