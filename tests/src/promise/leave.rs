//! Programs of this host that leave mail, and are killed while they do.

use super::local_message;
use crate::live::Live;
use fastrand::Rng;
use std::{
    fs, io,
    io::Write as _,
    os::unix::{net::UnixStream, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

/// The user of those who have no rights, where we may choose.
const NOBODY: u32 = 65534;

/// `sendmail` of a server.
#[derive(Debug, Clone)]
pub struct Sendmail {
    binary: PathBuf,
    config: PathBuf,
}

impl Sendmail {
    /// Of this server.
    pub fn of(live: &Live) -> Sendmail {
        Sendmail { binary: live.runtime.binary(), config: live.dir.join("hikyaku.ron") }
    }

    /// Runs it once, as one of us or as nobody, and kills it now and then at any moment. Returns whether it said that the message is promised.
    pub fn run(&self, sender: &str, to: &[String], letter: u64, random: &mut Rng) -> bool {
        let mut command = Command::new(&self.binary);
        command.arg("--config").arg(&self.config).args(["sendmail", "-i", "-f", sender, "--"]).args(to);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        if rustix::process::geteuid().is_root() && random.bool() {
            command.uid(NOBODY);
        }
        // Nobody may be unable to run what lies in our directories.
        let child = command.spawn().or_else(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => command.uid(0).spawn(),
            _ => Err(error),
        });
        let mut child = child.expect("a program that can be started");
        let mut input = child.stdin.take().expect("it is piped");
        let message = local_message(letter);
        thread::scope(|scope| {
            // One that was killed does not read all.
            scope.spawn(move || _ = input.write_all(message.as_bytes()));
            if random.u8(0..3) == 0 {
                thread::sleep(Duration::from_micros(random.u64(0..20_000)));
                child.kill().expect("a child can be killed");
            }
            child.wait().expect("a child can be waited for").success()
        })
    }
}

/// Says that something lies there, as `sendmail` does, and waits for no answer.
pub fn ring(live: &Live) {
    // It does not say of what, so the server finds it when it looks, once a second.
    let bell = UnixStream::connect(live.dir.join("store").join(storage::drop::BELL));
    _ = bell.and_then(|mut bell| bell.write_all(&http::client::request(http::Method::Post, "/drop", b"")));
}

/// What lies in the drop folder of a server to be taken in.
///
/// # Errors
/// If something was put aside.
pub fn waiting(live: &Live) -> Result<usize, String> {
    let mut count = 0;
    for name in names(&live.dir.join("store/drop")) {
        if name.ends_with(".bad") {
            return Err(format!("{name}: a file of the drop folder was put aside"));
        }
        count += usize::from(!name.starts_with('.'));
    }
    Ok(count)
}

fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned())).collect()
}
