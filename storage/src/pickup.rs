//! Takes in what lies in the drop folder: tidied like any submission, traced to the user who left it, told when a recipient is unknown.

use crate::{accept::Leaving, drop::Letter, house::House, places::Places, supervise::guarded};
use nix::unistd::{Uid, User};
use post::{Tidy, TidyFacts};
use queue::{Dropped, Traits, route::NoRoute};
use ring::rand::{SecureRandom as _, SystemRandom};
use std::{
    io::{self, Read},
    net::IpAddr,
    sync::Arc,
};

/// Bytes that are copied at a time.
const CHUNK: usize = 64 << 10;

impl House {
    /// Takes in what programs of this host left. What cannot be taken now stays there. Call it about once a second, where blocking is allowed and
    /// nothing else waits: what is there may be much, and anybody may leave it.
    pub fn pick_up(self: &Arc<House>) {
        guarded("drop folder", || self.take_in());
    }

    /// The same for one file: whoever left it says its name, so that it does not wait for what others left.
    pub(crate) fn pick_up_named(self: &Arc<House>, name: &[u8]) {
        if self.spool().is_fenced() {
            return;
        }
        let mut take = |file: &Dropped<'_>, letter: &Letter, message: &mut dyn Read| self.take_letter(*file, letter, message);
        let largest = self.config().limits.message;
        if let Err(error) = self.folder().take_named(self.disk(), name, largest, self.now().seconds, &mut take) {
            tracing::error!(%error, "the drop folder cannot be flushed");
        }
    }

    fn take_in(self: &Arc<House>) {
        if self.spool().is_fenced() {
            // What lies there is another server's to take.
            return;
        }
        let config = self.config();
        let mut take = |file: &Dropped<'_>, letter: &Letter, message: &mut dyn Read| self.take_letter(*file, letter, message);
        match self.folder().take_in(self.disk(), config.limits.message, self.now().seconds, &mut take) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::error!(%error, "the drop folder cannot be read or flushed"),
        }
    }

    fn take_letter(self: &Arc<House>, file: Dropped<'_>, letter: &Letter, message: &mut dyn Read) -> io::Result<()> {
        let (now, config) = (self.now(), self.config());
        let sender = letter.envelope.sender.as_ref();
        let name = User::from_uid(Uid::from_raw(letter.uid)).ok().flatten().map(|user| user.name).unwrap_or_default();
        let (mut good, mut nowhere) = (letter.envelope.clone(), Vec::new());
        // Whoever left it is gone and cannot be refused: the queue tells what became of those it cannot be delivered to.
        let held = config.is_held(sender, &good.recipients, IpAddr::from([127, 0, 0, 1]));
        good.recipients.retain(|recipient| {
            let mut places = Places::default();
            let followed = self.follow(recipient, sender, &mut places).map_err(no_route);
            // One that a disk cannot count now is not known to be full.
            let is_full = places.mailboxes.iter().any(|(account, _)| matches!(self.check_quota(account, 1), Err(imap::Refusal::OverQuota)));
            match followed.and(if is_full { Err(NoRoute::Full) } else { Ok(()) }) {
                Ok(()) => true,
                Err(none) => {
                    nowhere.push((recipient.clone(), none));
                    false
                }
            }
        });
        let traits = Traits::default().with_if(Traits::EIGHT_BIT, letter.eight_bit).with_if(Traits::HELD, held);
        let leaving =
            Leaving { wishes: good.wishes.clone(), traits, nowhere: &nowhere, verp: letter.verp, file: Some(file), ..Leaving::default() };
        let client = format!("uid {} {name}", letter.uid);
        let id = self.submit(good, "sendmail", client.trim_end(), leaving, |intake| {
            let trace = format!("Received: by {} (from {}) with local;\n\t{}\n", config.hostname(), client.trim_end(), now.header());
            intake.feed(trace.as_bytes());
            let mut random = [0; 8];
            SystemRandom::new().fill(&mut random).map_err(|_| io::Error::other("the system gives no random bytes"))?;
            let mut tidy = Tidy::new(TidyFacts {
                from: sender,
                date: now,
                id: &format!("{:016x}", u64::from_ne_bytes(random)),
                hostname: config.hostname(),
            });
            let (mut buf, mut text, mut out) = (vec![0; CHUNK], Vec::with_capacity(CHUNK), Vec::new());
            let mut cr = false;
            loop {
                let n = message.read(&mut buf)?;
                if n == 0 {
                    tidy.finish(&mut out);
                    intake.feed(&out);
                    return Ok(());
                }
                lines(&buf[..n], &mut cr, &mut text);
                tidy.feed(&text, &mut out);
                intake.feed(&out);
                out.clear();
                if intake.is_full() {
                    intake.drain();
                }
            }
        })?;
        tracing::info!(id = format!("{id:x}"), uid = letter.uid, user = name, "taken from the drop folder");
        Ok(())
    }
}

/// What of these bytes SMTP would take too (RFC 5321 §2.3.8): a file that was made by hand may hold a NUL, or a carriage return alone, which other hosts
/// take for the end of a line, and a dot after it for the end of the message. `cr` says whether the last byte was one.
fn lines(bytes: &[u8], cr: &mut bool, out: &mut Vec<u8>) {
    out.clear();
    for &byte in bytes {
        if std::mem::replace(cr, byte == b'\r') && byte != b'\n' {
            out.push(b' ');
        }
        if !matches!(byte, b'\r' | 0) {
            out.push(byte);
        }
    }
}

fn no_route(refused: post::Refused) -> NoRoute {
    match refused {
        post::Refused::NoMailbox => NoRoute::NoMailbox,
        post::Refused::Loop => NoRoute::Circle,
        post::Refused::TooMany => NoRoute::TooMany,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_as_they_are_stored_and_hide_nothing() {
        let text = b"a\r\nb\n\r.\r\nc\0d\r\r\ne\r";
        for cut in 1..=text.len() {
            let (mut cr, mut all, mut out) = (false, Vec::new(), Vec::new());
            for piece in text.chunks(cut) {
                lines(piece, &mut cr, &mut out);
                all.extend_from_slice(&out);
            }
            assert_eq!(all, b"a\nb\n .\ncd \ne", "{cut}");
        }
    }
}
