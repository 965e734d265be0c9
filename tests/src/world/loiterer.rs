//! Strangers who take places at a house and do nothing with them.

use super::{
    Act, Life, Stage,
    net::{Actor, End, Got},
};
use std::io;

/// How often it says something: often enough for the patience that RFC 5321 asks for.
const EVERY: u64 = 240_000;

/// A stranger who loiters.
pub struct Loiterer {
    end: Option<End>,
    next: u64,
    until: u64,
}

impl Loiterer {
    /// One that stays until then, if it is let.
    pub fn new(until: u64) -> Loiterer {
        Loiterer { end: None, next: 0, until }
    }
}

impl Act for Loiterer {
    fn act(&mut self, me: Actor, stage: &mut Stage) -> Life {
        let Some(end) = self.end else { return Life::Goes };
        let mut room = [0; 1024];
        loop {
            match stage.net.receive(end, &mut room) {
                Got::Bytes(_) => {}
                Got::Nothing => break,
                Got::End | Got::Reset => {
                    stage.net.close(end);
                    return Life::Ends;
                }
            }
        }
        let now = stage.net.now;
        if now >= self.until || (now >= self.next && !stage.net.send(end, b"NOOP\r\n")) {
            stage.net.close(end);
            return Life::Ends;
        }
        if now >= self.next {
            self.next = now + EVERY;
        }
        stage.net.wake(me, self.next.min(self.until));
        Life::Goes
    }

    fn dialled(&mut self, me: Actor, stage: &mut Stage, result: Result<End, io::ErrorKind>) -> Life {
        let Ok(end) = result else { return Life::Ends };
        self.end = Some(end);
        self.next = stage.net.now + EVERY;
        self.act(me, stage)
    }

    fn end(&self) -> Option<End> {
        self.end
    }
}
