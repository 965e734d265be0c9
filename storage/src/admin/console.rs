//! Where a command reads and writes.

use super::Failure;
use crate::account::PASSWORD_BYTES_MAX;
use indicatif::{ProgressBar, ProgressDrawTarget};
use rustix::termios::{LocalModes, OptionalActions, Termios, isatty, tcgetattr, tcsetattr};
use std::io::{self, BufRead, Read as _, Write};

/// Standard input, output and error, or what stands for them in a test.
pub struct Console<'a> {
    /// Where answers come from.
    pub input: &'a mut dyn BufRead,
    /// For what was asked for.
    pub out: &'a mut dyn Write,
    /// For questions, progress and what is wrong.
    pub err: &'a mut dyn Write,
    /// Whether `input` is the terminal on standard input: passwords are asked for twice and not shown.
    pub terminal: bool,
    /// Whether `err` shows colours and moving bars.
    pub colours: bool,
}

impl Console<'_> {
    /// Lets `work` use the console of the process.
    pub fn of_process<T>(work: impl FnOnce(&mut Console<'_>) -> T) -> T {
        let (terminal, colours) = (isatty(io::stdin()), isatty(io::stderr()));
        let (mut input, mut out, mut err) = (io::stdin().lock(), io::stdout().lock(), io::stderr().lock());
        work(&mut Console { input: &mut input, out: &mut out, err: &mut err, terminal, colours })
    }

    /// A bar of so many steps on standard error; it is not shown where nothing can move.
    pub(super) fn bar(&self, steps: usize) -> ProgressBar {
        let target = if self.colours { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        ProgressBar::with_draw_target(Some(steps as u64), target)
    }

    /// A new password: on a terminal asked for twice, otherwise the first line.
    pub(super) fn new_password(&mut self, whose: &str) -> Result<String, Failure> {
        if !self.terminal {
            return self.secret_line().and_then(fit);
        }
        let first = self.ask(&format!("New password for {whose}: ")).and_then(fit)?;
        if self.ask("Once more: ")? != first {
            return Err(Failure::new("the two are not the same; nothing is changed"));
        }
        Ok(first)
    }

    fn ask(&mut self, question: &str) -> Result<String, Failure> {
        write!(self.err, "{question}")?;
        self.err.flush()?;
        let silence = Silence::begin()?;
        let line = self.secret_line();
        drop(silence);
        // The Return that was typed was not shown either.
        writeln!(self.err)?;
        line
    }

    fn secret_line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        // Two more for the line end.
        (&mut *self.input).take(PASSWORD_BYTES_MAX as u64 + 2).read_line(&mut line)?;
        let len = line.trim_end_matches(['\r', '\n']).len();
        line.truncate(len);
        Ok(line)
    }
}

/// Checks a new password; says what is wrong without showing it.
pub(super) fn fit(password: String) -> Result<String, Failure> {
    if password.is_empty() {
        Err(Failure::new("the password is empty"))
    } else if password.len() > PASSWORD_BYTES_MAX {
        Err(Failure::new(format!("the password is longer than {PASSWORD_BYTES_MAX} bytes")))
    } else if password.contains('\0') {
        // It could never be sent: NUL separates the parts of SASL PLAIN (RFC 4616 §2).
        Err(Failure::new("the password holds a NUL"))
    } else {
        Ok(password)
    }
}

/// Standard input does not show what is typed, until this is dropped.
struct Silence(Termios);

impl Silence {
    fn begin() -> io::Result<Silence> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Silence(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // If the terminal is gone, there is nobody to show anything to.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
