//! Hikyaku on threads: one for each connection, waiting in poll(2). Nothing but POSIX.
//!
//! This binary knows sockets, threads and signals. What mail is, it has from the core; where mail is, from storage.

mod bell;
mod crew;
mod drive;
mod line;
mod listen;
mod lobby;
mod serve;
mod travel;

use std::{
    env,
    io::{self, Write as _},
    process::ExitCode,
    sync::Arc,
};
use storage::{
    admin::{self, Console, Outcome},
    disk::Posix,
};

fn main() -> ExitCode {
    let boot = match Console::of_process(|console| admin::run("hikyaku", serve::needs(), env::args_os(), console)) {
        Outcome::Exit(code) => return code,
        Outcome::Serve(boot) => boot,
    };
    match serve::serve(*boot, Arc::new(Posix)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without standard error there is nobody to tell; the exit code remains.
            let _ = writeln!(io::stderr(), "hikyaku: {error}");
            ExitCode::FAILURE
        }
    }
}
