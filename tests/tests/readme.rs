//! The README's way to a real domain, followed word for word by `relay/readme` in namespaces with a name server of their own, on both runtimes.

use hikyaku_tests::live::Runtime;
use std::{path::Path, process::Command};

fn follow(runtime: Runtime) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("relay/readme");
    let binaries = runtime.binary();
    let output = Command::new(script).arg(runtime.name()).env("BIN", binaries.parent().unwrap()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    if said.starts_with("skipped: ") {
        println!("{said}");
        return;
    }
    let (ok, failed) = (said.lines().filter(|line| line.starts_with("ok ")).count(), said.contains("\nfail "));
    println!("{}: README: {ok} ok", runtime.name());
    assert!(output.status.success() && !failed && ok > 30, "{}:\n{said}{}", runtime.name(), String::from_utf8_lossy(&output.stderr));
}

#[test]
fn with_threads() {
    follow(Runtime::Threads);
}

#[test]
fn with_smol() {
    follow(Runtime::Smol);
}
