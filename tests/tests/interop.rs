//! Programs that nobody here wrote, against both runtimes. The scripts are in tests/interop; `SCRIPT=mutt` runs one.

use hikyaku_tests::{
    live::{Live, Runtime, Setup},
    model::PASSWORD,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

fn scripts() -> Vec<PathBuf> {
    let only = std::env::var("SCRIPT").unwrap_or_default();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop");
    let mut scripts: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    scripts.retain(|s| s.extension().is_some_and(|e| e == "sh" || e == "py") && !s.ends_with("common.sh") && name(s).contains(&only));
    scripts.sort();
    scripts
}

fn name(script: &Path) -> String {
    script.file_stem().unwrap().to_string_lossy().into_owned()
}

/// The program that a script needs, if it is not installed.
fn missing(script: &Path) -> Option<String> {
    let text = fs::read_to_string(script).unwrap();
    let needs =
        text.lines().nth(1).and_then(|l| l.strip_prefix("# needs: ")).unwrap_or_else(|| panic!("{}: needs nothing?", script.display()));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| dir.join(needs).is_file());
    (!found).then(|| needs.to_owned())
}

fn all(runtime: Runtime) {
    let live = Live::start(runtime, &Setup { accounts: scripts().iter().map(|s| name(s)).collect(), ..Setup::default() });
    let mut failed = Vec::new();
    for script in scripts() {
        let name = name(&script);
        if let Some(program) = missing(&script) {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{program} is not installed");
            println!("skipped: {name}: {program} is not installed");
            continue;
        }
        let dir = live.dir.join(format!("interop-{name}"));
        fs::create_dir(&dir).unwrap();
        let ports = live.ports;
        let numbers = [
            ("SMTP", ports.smtp),
            ("SUBMISSION", ports.submission),
            ("SUBMISSIONS", ports.submissions),
            ("LMTP", ports.lmtp),
            ("IMAP", ports.imap),
            ("IMAPS", ports.imaps),
            ("POP3", ports.pop3),
            ("POP3S", ports.pop3s),
        ];
        let output = Command::new(&script)
            .envs(numbers.map(|(name, port)| (name, port.to_string())))
            .env("HOST", "localhost")
            .env("BIN", runtime.binary())
            .env("CA", live.authority())
            .env("ADDRESS", format!("{name}@example.test"))
            .env("PASSWORD", PASSWORD)
            .env("DIR", &dir)
            .env("HOME", &dir)
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let good = said.lines().filter(|l| l.starts_with("ok ")).count();
        println!("{}: {name}: {good} ok", runtime.name());
        if !output.status.success() || said.contains("fail ") {
            failed.push(format!("{name}:\n{said}{}", String::from_utf8_lossy(&output.stderr)));
        }
    }
    assert!(failed.is_empty(), "{}:\n{}", runtime.name(), failed.join("\n"));
}

#[test]
fn on_threads() {
    all(Runtime::Threads);
}

#[test]
fn on_smol() {
    all(Runtime::Smol);
}
