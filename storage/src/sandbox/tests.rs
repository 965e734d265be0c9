//! What must fail in a process that closed itself in, and what must not.

use super::*;
use crate::admin::Source;
use rustix::net::{AddressFamily, SocketType, socket};
use std::{
    env, fs,
    io::ErrorKind::PermissionDenied,
    net::TcpListener,
    os::unix::fs::{PermissionsExt as _, symlink},
    process::Command,
    thread,
};

const DIR: &str = "HIKYAKU_TEST_SANDBOX";

/// There is no way back out, so a process of its own goes in.
#[test]
fn what_must_fail_fails_and_the_rest_goes_on() {
    if let Some(dir) = env::var_os(DIR) {
        return inside(Path::new(&dir));
    }
    let dir = env::temp_dir().canonicalize().unwrap().join(format!("hikyaku-sandbox-{}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    for name in ["etc", "store/tmp", "disk/example.test", "outside", "home/alice", "run", "later", "live", "archive/org"] {
        fs::create_dir_all(dir.join(name)).unwrap();
    }
    symlink(dir.join("disk"), dir.join("store/mail")).unwrap();
    // As certbot keeps certificates: the name stays, and what it leads to gets another one.
    fs::write(dir.join("archive/org/cert1.pem"), "old").unwrap();
    fs::write(dir.join("archive/org/cert2.pem"), "new").unwrap();
    symlink("../archive/org/cert1.pem", dir.join("live/cert.pem")).unwrap();
    fs::write(dir.join("outside/secret"), "secret").unwrap();
    fs::write(dir.join("etc/aliases"), "").unwrap();
    let account = "(version: 1, accounts: [(address: \"alice@example.test\", hash: \"{SSHA}ev3P3p8pGsxpYfBqdhSjbVQRyidzYWx0\", maildir: \"HOME/Maildir\")])";
    fs::write(dir.join("store/accounts.ron"), account.replace("HOME", dir.join("home/alice").to_str().unwrap())).unwrap();
    let test = "sandbox::tests::what_must_fail_fails_and_the_rest_goes_on";
    let done = Command::new(env::current_exe().unwrap()).args(["--exact", test, "--nocapture"]).env(DIR, &dir).output().unwrap();
    fs::remove_dir_all(&dir).unwrap();
    assert!(done.status.success(), "{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
}

fn config(dir: &Path, extra: &str) -> config::Config {
    let text = format!(
        "(domains: [\"example.test\"], store: \"store\", aliases: [\"etc/aliases\"], certificates: [(chain: \"live/cert.pem\", key: \"live/cert.pem\")], control: (socket: Some(\"run/control\")){extra})"
    );
    config::parse("test", &text).unwrap().rooted(dir)
}

fn inside(dir: &Path) {
    let config = self::config(dir, "");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let held = enter(Needs::of(&config, &Source::File(dir.join("etc/hikyaku.ron"))));
    // What an older kernel or another system cannot do is not tried, and it must have said so.
    let holds = |name: &str| held.by.contains(&name);
    assert_eq!(held.by.len() + held.missing.len(), 5, "{held:?}");
    assert!(!held.missing.iter().any(|missing| missing.starts_with("core dumps")), "{held:?}");
    assert_eq!(rustix::process::getrlimit(Resource::Core).maximum, Some(0));
    println!("{held:?}");
    // A thread that begins later is in it too.
    thread::scope(|scope| {
        scope.spawn(|| {
            allowed(dir);
            if holds("landlock") {
                no_files(dir);
                no_port(&format!("127.0.0.1:{}", port.port()));
            }
            if holds("seccomp") {
                no_calls();
            }
            if cfg!(target_os = "linux") && held.missing.is_empty() {
                let status = fs::read_to_string("/proc/self/status").unwrap();
                assert!(status.contains("NoNewPrivs:\t1") && status.contains("Seccomp:\t2"), "{status}");
            }
        });
    });
}

/// What a server does.
fn allowed(dir: &Path) {
    let file = dir.join("store/tmp/1");
    fs::write(&file, "mail").unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "the mask of modes");
    // From the store to another disk, to a Maildir outside that is only made now, and back.
    let maildir = dir.join("home/alice/Maildir/new");
    fs::create_dir_all(&maildir).unwrap();
    fs::hard_link(&file, maildir.join("1")).unwrap();
    fs::rename(&file, dir.join("store/mail/example.test/1")).unwrap();
    fs::rename(maildir.join("1"), &file).unwrap();
    assert!(fs::read_dir(&maildir).unwrap().next().is_none());
    // A file that was replaced is read again.
    assert_eq!(fs::read_to_string(dir.join("etc/aliases")).unwrap(), "");
    assert_eq!(fs::read_to_string(dir.join("live/cert.pem")).unwrap(), "old");
    assert_eq!(fs::read_to_string(dir.join("archive/org/cert2.pem")).unwrap(), "new");
    drop(std::os::unix::net::UnixListener::bind(dir.join("run/control")).unwrap());
    fs::remove_file(dir.join("run/control")).unwrap();
    fs::read("/etc/passwd").unwrap();
    drop(TcpListener::bind("127.0.0.1:0").unwrap());
}

fn no_files(dir: &Path) {
    let kind = |done: io::Result<()>| done.unwrap_err().kind();
    let secret = dir.join("outside/secret");
    assert_eq!(kind(fs::read(&secret).map(drop)), PermissionDenied);
    assert_eq!(kind(fs::write(&secret, "")), PermissionDenied);
    assert_eq!(kind(fs::read_dir(dir.join("outside")).map(drop)), PermissionDenied);
    assert_eq!(kind(fs::create_dir(dir.join("outside/new"))), PermissionDenied);
    assert_eq!(kind(fs::write(dir.join("etc/aliases"), "evil: |command")), PermissionDenied);
    assert!(fs::hard_link(&secret, dir.join("store/stolen")).is_err() && fs::rename(&secret, dir.join("store/stolen")).is_err());
    // A link in the store leads nowhere else.
    symlink(&secret, dir.join("store/link")).unwrap();
    let error = fs::read(dir.join("store/link")).unwrap_err();
    assert_eq!(error.kind(), PermissionDenied);
    // The operator is told why.
    let said = explained(&secret, false, error).to_string();
    assert!(said.contains("outside of what the server closed itself in with") && said.contains("restart"), "{said}");
    assert!(reaches(&dir.join("later/Maildir"), true).is_err() && reaches(&dir.join("etc/hikyaku.ron"), true).is_err());
    assert!(reaches(&dir.join("store/mail/example.test/bob/Maildir"), true).is_ok() && reaches(&dir.join("etc/new.pem"), false).is_ok());
    assert!(needs::check(&config(dir, "")).is_ok());
    for extra in [
        ", srs: (secret_file: Some(\"outside/secret.new\"))",
        ", outgoing: (trust: Some(\"outside/ca.pem\"))",
        ", maildirs: \"/var/elsewhere/{local}\"",
    ] {
        let said = needs::check(&config(dir, extra)).unwrap_err();
        assert!(said.contains("restart it"), "{said}");
    }
}

fn no_port(on: &str) {
    // Since Linux 6.7.
    if let Err(error) = TcpListener::bind(on) {
        assert_eq!(error.kind(), PermissionDenied);
    }
}

fn no_calls() {
    let denied = |done: io::Result<()>| assert_eq!(done.unwrap_err().kind(), PermissionDenied);
    denied(Command::new("/bin/true").spawn().map(drop));
    denied(socket(AddressFamily::NETLINK, SocketType::RAW, None).map(drop).map_err(Into::into));
    denied(socket(AddressFamily::from_raw(17), SocketType::RAW, None).map(drop).map_err(Into::into));
    denied(nix::unistd::chroot("/").map_err(Into::into));
    // To become oneself is nothing that the system would refuse.
    denied(nix::unistd::setuid(nix::unistd::getuid()).map_err(Into::into));
}
