//! Lines between those who log and the one who writes them.

use std::{
    collections::VecDeque,
    io::Write,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Bytes of lines that wait, also those that are being written. Some thousand lines: a reader that stands still for a moment loses none.
const BYTES: usize = 1 << 20;
/// Errors have some room of their own: what a peer causes does not push them out.
const BYTES_FOR_ERRORS: usize = BYTES + BYTES / 4;
/// Bytes that are written in one go.
const PIECE: usize = 64 << 10;
/// How long the first line that waits stays alone: waking the writer for each line of a busy server costs as much as all else of the line.
const GATHER: Duration = Duration::from_millis(10);

/// A bounded ring.
pub struct Ring {
    state: Mutex<State>,
    /// Rung when there is something to write.
    more: Condvar,
    /// Rung when everything is written.
    written: Condvar,
}

struct State {
    /// Whether lines wait.
    is_open: bool,
    lines: VecDeque<String>,
    bytes: usize,
    /// Lost since that was last told.
    lost: u64,
    total: u64,
}

impl Ring {
    pub const fn new() -> Ring {
        let state = State { is_open: false, lines: VecDeque::new(), bytes: 0, lost: 0, total: 0 };
        Ring { state: Mutex::new(state), more: Condvar::new(), written: Condvar::new() }
    }

    /// Lines wait for somebody who writes, from now on.
    pub fn open(&self) {
        self.state().is_open = true;
    }

    /// Takes a line, or loses it; never waits. `told` makes the line that says how many were lost. Gives it back if lines do not wait.
    pub fn push(&self, line: String, is_error: bool, told: impl FnOnce(u64) -> String) -> Result<(), String> {
        let mut state = self.state();
        if !state.is_open {
            return Err(line);
        }
        if state.bytes + line.len() > if is_error { BYTES_FOR_ERRORS } else { BYTES } {
            (state.lost, state.total) = (state.lost + 1, state.total + 1);
            return Ok(());
        }
        let is_first = state.lines.is_empty();
        state.tell(told);
        state.add(line);
        drop(state);
        if is_first {
            self.more.notify_one();
        }
        Ok(())
    }

    /// Writes some of what waits; waits for something for no longer than this.
    pub fn write(&self, out: &mut impl Write, patience: Duration, told: impl FnOnce(u64) -> String) {
        let mut state = self.state();
        if state.lines.is_empty() && !patience.is_zero() {
            state = self.more.wait_timeout_while(state, patience, |state| state.lines.is_empty()).unwrap_or_else(PoisonError::into_inner).0;
            if !state.lines.is_empty() {
                drop(state);
                std::thread::sleep(GATHER.min(patience));
                state = self.state();
            }
        }
        let mut piece = String::new();
        while let Some(line) = state.lines.front()
            && (piece.is_empty() || piece.len() + line.len() <= PIECE)
        {
            piece.push_str(line);
            state.lines.pop_front();
        }
        drop(state);
        // If this fails there is nobody to tell.
        let _ = out.write_all(piece.as_bytes());
        let mut state = self.state();
        state.bytes -= piece.len();
        if state.lines.is_empty() {
            // Also if nobody logs any more.
            state.tell(told);
        }
        if state.lines.is_empty() {
            self.written.notify_all();
        }
    }

    pub fn wait_until_written(&self, limit: Duration) {
        let state = self.state();
        if state.is_open {
            // Either way it is over.
            drop(self.written.wait_timeout_while(state, limit, |state| state.bytes > 0));
        }
    }

    /// Whether something waits.
    pub fn has_more(&self) -> bool {
        self.state().bytes > 0
    }

    /// How many were lost.
    pub fn lost_lines(&self) -> u64 {
        self.state().total
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, line: String) {
        self.bytes += line.len();
        self.lines.push_back(line);
    }

    fn tell(&mut self, told: impl FnOnce(u64) -> String) {
        match std::mem::take(&mut self.lost) {
            0 => {}
            lost => self.add(told(lost)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted_and_told_when_it_flows_again() {
        let ring = Ring::new();
        let told = |lines: u64| format!("lost {lines}\n");
        assert_eq!(ring.push("nobody writes".into(), true, told), Err("nobody writes".into()));
        ring.open();
        let line = "x".repeat(1023) + "\n";
        for _ in 0..2000 {
            ring.push(line.clone(), false, told).unwrap();
        }
        ring.push("an error\n".into(), true, told).unwrap();
        assert_eq!(ring.lost_lines(), 2000 - 1024);
        let mut out = Vec::new();
        while ring.state().bytes > 0 {
            ring.write(&mut out, Duration::ZERO, told);
        }
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 1024 + 2);
        assert!(text.ends_with("lost 976\nan error\n"), "{}", &text[text.len() - 100..]);
        ring.wait_until_written(Duration::from_secs(60));
        // Lost, and nothing is logged after it.
        for _ in 0..1025 {
            ring.push(line.clone(), false, told).unwrap();
        }
        let mut out = Vec::new();
        while ring.state().bytes > 0 {
            ring.write(&mut out, Duration::ZERO, told);
        }
        assert!(out.ends_with(b"\nlost 1\n"));
    }
}
