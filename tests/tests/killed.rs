//! Servers fall under load: kill -9, and the power cut of a file system. What was promised holds. `ROUNDS=20` falls more often, `SEED=n` begins
//! elsewhere.

use hikyaku_tests::{
    live::{Live, Runtime, Setup},
    promise::Ledger,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

/// How long others may hold what is taken from them.
const PATIENCE: Duration = Duration::from_secs(30);

/// Falls in an ordinary run.
const USUAL: u64 = 3;

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

fn fall_again_and_again(ledger: &Ledger, live: &mut Live, fall: &dyn Fn(&mut Live)) {
    let seed = number("SEED", 1);
    for round in 0..number("ROUNDS", USUAL) {
        let mut random = fastrand::Rng::with_seed(seed + round);
        ledger.load(live, seed + round, Duration::from_millis(random.u64(50..1200)), fall);
        if random.bool() {
            ledger.load_while_down(live, seed + round, fall);
        }
        live.restart();
        match ledger.check(live) {
            Ok(there) => println!("{}: round {round}: {there}", live.runtime.name()),
            Err(wrong) => panic!("{}, SEED={seed}, round {round}:\n{wrong}", live.runtime.name()),
        }
    }
    // What recovery left must also survive an orderly end.
    live.stop();
    live.restart();
    ledger.check(live).unwrap_or_else(|wrong| panic!("{}, SEED={seed}, after an orderly end:\n{wrong}", live.runtime.name()));
}

fn kill_nine(runtime: Runtime) {
    let ledger = Ledger::default();
    fall_again_and_again(&ledger, &mut Live::start(runtime, &ledger.setup()), &Live::kill);
}

/// A file system of its own in a file.
struct Volume {
    image: PathBuf,
    mount: PathBuf,
    device: String,
}

impl Volume {
    /// `None` where root does not allow it, or the tools are missing.
    fn new(image: PathBuf, mount: PathBuf) -> Option<Volume> {
        fs::File::create(&image).and_then(|f| f.set_len(1 << 30)).expect("room for an image");
        let device = output(Command::new("losetup").args(["--find", "--show"]).arg(&image))?;
        let volume = Volume { image, mount, device: device.trim().to_owned() };
        let made = output(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&volume.device)).is_some();
        (made && volume.mount() && output(Command::new("xfs_io").arg("-V")).is_some()).then_some(volume)
    }

    fn mount(&self) -> bool {
        output(Command::new("mount").args(["-t", "ext4"]).arg(&self.device).arg(&self.mount)).is_some()
    }

    fn unmount(&self) -> bool {
        output(Command::new("umount").arg(&self.mount)).is_some()
    }

    /// From here on nothing reaches the disk, not even the journal.
    fn cut_power(&self) {
        output(Command::new("xfs_io").args(["-x", "-c", "shutdown"]).arg(&self.mount)).expect("xfs_io can cut the power");
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        self.unmount();
        output(Command::new("losetup").arg("--detach").arg(&self.device));
        _ = fs::remove_file(&self.image);
    }
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    if !output.status.success() {
        println!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a test of this file in a mount namespace of its own: whoever makes another one meanwhile gets a copy of all mounts, and a file system
/// without power that somebody still holds stays without power.
fn in_private(test: &str, act: impl FnOnce()) {
    if std::env::var_os("PRIVATE_MOUNTS").is_some() {
        return act();
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "--"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env("PRIVATE_MOUNTS", "yes");
    if output(Command::new("unshare").args(["--mount", "--propagation", "private", "true"])).is_none() {
        println!("skipped: no mount namespaces here, so nothing whose power can be cut");
        return;
    }
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    said.lines().filter(|l| l.contains(": round ") || l.starts_with("skipped")).for_each(|l| println!("{l}"));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

fn power_cut(runtime: Runtime) {
    let dir = std::env::temp_dir().join(format!("hikyaku-power-{}-{}", std::process::id(), runtime.name()));
    fs::create_dir_all(dir.join("store")).unwrap();
    let _remains = Remains(&dir);
    let Some(volume) = Volume::new(dir.join("image"), dir.join("store")) else {
        println!("skipped: no loop-mounted ext4 whose power can be cut here (it takes root, losetup, mkfs.ext4 and xfs_io)");
        return;
    };
    let ledger = Ledger::default();
    let mut live = Live::start(runtime, &Setup { dir: Some(dir.clone()), ..ledger.setup() });
    // Accounts were written there, too, and are not what is tested.
    output(Command::new("sync").arg("-f").arg(dir.join("store/accounts.ron"))).unwrap();
    fall_again_and_again(&ledger, &mut live, &|live| {
        volume.cut_power();
        // What is acknowledged from here on would be a lie; give it time to be told.
        std::thread::sleep(Duration::from_millis(50));
        live.kill();
        // Programs that leave mail hold it until they find out.
        let begin = Instant::now();
        while !volume.unmount() {
            assert!(begin.elapsed() < PATIENCE, "somebody holds the volume");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(volume.mount(), "the volume cannot be mounted again");
    });
    live.stop();
}

struct Remains<'a>(&'a Path);

impl Drop for Remains<'_> {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(self.0);
    }
}

#[test]
fn kill_nine_on_threads() {
    kill_nine(Runtime::Threads);
}

#[test]
fn kill_nine_on_smol() {
    kill_nine(Runtime::Smol);
}

#[test]
fn power_cut_on_threads() {
    in_private("power_cut_on_threads", || power_cut(Runtime::Threads));
}

#[test]
fn power_cut_on_smol() {
    in_private("power_cut_on_smol", || power_cut(Runtime::Smol));
}
