//! The threads of connections. One that is done waits a while for the next: to start a thread costs five times what it costs to wake one.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};
use storage::supervise::guarded;

/// The stack of a thread: address space, most of which is never touched. The deepest user is a TLS handshake.
const STACK: usize = 512 << 10;
/// How long an idle thread stays.
const PATIENCE: Duration = Duration::from_secs(5);

type Job = Box<dyn FnOnce() + Send>;

/// Threads, as many as there are connections at the same time.
#[derive(Default)]
pub struct Crew {
    bench: Mutex<Bench>,
    call: Condvar,
}

#[derive(Default)]
struct Bench {
    idle: usize,
    /// Never more than `idle`: each of them is about to be taken.
    jobs: VecDeque<Job>,
}

impl Crew {
    /// Does `job` on a thread of its own. Its panic ends it and nothing else.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn hand(self: &Arc<Crew>, job: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let job: Job = Box::new(job);
        let mut bench = self.bench();
        if bench.idle > bench.jobs.len() {
            bench.jobs.push_back(job);
            drop(bench);
            self.call.notify_one();
            return Ok(());
        }
        drop(bench);
        let crew = self.clone();
        thread::Builder::new().stack_size(STACK).spawn(move || crew.work(job))?;
        Ok(())
    }

    fn work(&self, mut job: Job) {
        loop {
            guarded("connection", job);
            let mut bench = self.bench();
            bench.idle += 1;
            bench = self.call.wait_timeout_while(bench, PATIENCE, |b| b.jobs.is_empty()).unwrap_or_else(PoisonError::into_inner).0;
            bench.idle -= 1;
            match bench.jobs.pop_front() {
                Some(next) => job = next,
                None => return,
            }
        }
    }

    fn bench(&self) -> MutexGuard<'_, Bench> {
        self.bench.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn jobs_run_side_by_side_and_survive_a_panic() {
        let crew = Arc::<Crew>::default();
        let (tell, told) = mpsc::channel();
        for round in 0..3 {
            crew.hand(|| std::panic::resume_unwind(Box::new("a session's panic"))).unwrap();
            // All of them wait for each other, so each needs a thread.
            let meet = Arc::new(std::sync::Barrier::new(8));
            for _ in 0..8 {
                let (meet, tell) = (meet.clone(), tell.clone());
                crew.hand(move || {
                    meet.wait();
                    tell.send(round).unwrap();
                })
                .unwrap();
            }
            assert_eq!(told.iter().take(8).collect::<Vec<_>>(), [round; 8]);
        }
    }
}
