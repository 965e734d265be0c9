//! Takes in what lies in the drop folder: tidied like any submission, traced to the user who left it, told when a recipient is unknown.

use crate::{
    accept::Leaving,
    disk::Posix,
    drop::{self, Letter},
    house::House,
    places::Places,
};
use mail::Envelope;
use nix::unistd::{Uid, User};
use post::{Tidy, TidyFacts};
use queue::Traits;
use ring::rand::{SecureRandom as _, SystemRandom};
use std::{
    io::{self, Read},
    sync::Arc,
};

/// Bytes that are copied at a time.
const CHUNK: usize = 64 << 10;

impl House {
    /// Takes in what programs of this host left. What cannot be taken now stays there.
    pub(crate) fn take_in(self: &Arc<House>) {
        let config = self.config();
        let dir = config.store.join(drop::FOLDER);
        match drop::take_in(&Posix, &dir, config.limits.message, &mut |letter, message| self.take_letter(letter, message)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::error!(%error, "the drop folder cannot be read"),
        }
    }

    fn take_letter(self: &Arc<House>, letter: &Letter, message: &mut dyn Read) -> io::Result<()> {
        let (now, config) = (self.now(), self.config());
        let sender = letter.envelope.sender.as_ref();
        let name = User::from_uid(Uid::from_raw(letter.uid)).ok().flatten().map(|user| user.name).unwrap_or_default();
        let (mut good, mut unknown) = (letter.envelope.clone(), Vec::new());
        good.recipients.retain(|recipient| match self.follow(recipient, sender, &mut Places::default()) {
            Ok(()) => true,
            Err(refused) => {
                unknown.push(format!("{}: {refused:?}", recipient.address));
                false
            }
        });
        if !good.recipients.is_empty() {
            let traits = if letter.eight_bit { Traits::EIGHT_BIT } else { Traits::default() };
            let leaving = Leaving { wishes: good.wishes.clone(), traits, ..Leaving::default() };
            let id = self.submit(good, "sendmail", leaving, |intake| {
                let trace =
                    format!("Received: by {} (from uid {} {name}) with local;\n\t{}\n", config.hostname(), letter.uid, now.header());
                intake.feed(trace.as_bytes());
                let mut random = [0; 8];
                SystemRandom::new().fill(&mut random).map_err(|_| io::Error::other("the system gives no random bytes"))?;
                let mut tidy = Tidy::new(TidyFacts {
                    from: sender,
                    date: now,
                    id: &format!("{:016x}", u64::from_ne_bytes(random)),
                    hostname: config.hostname(),
                });
                let (mut buf, mut out) = (vec![0; CHUNK], Vec::new());
                loop {
                    let n = message.read(&mut buf)?;
                    if n == 0 {
                        tidy.finish(&mut out);
                        intake.feed(&out);
                        return Ok(());
                    }
                    tidy.feed(&buf[..n], &mut out);
                    intake.feed(&out);
                    out.clear();
                    if intake.is_full() {
                        intake.drain();
                    }
                }
            })?;
            tracing::info!(id = format!("{id:x}"), uid = letter.uid, user = name, "taken from the drop folder");
        }
        match sender {
            Some(sender) if !unknown.is_empty() => {
                let text = format!(
                    "From: MAILER-DAEMON <postmaster@{host}>\nTo: {sender}\nSubject: Mail that was not sent\nDate: {}\nAuto-Submitted: auto-replied\n\n\
                     The message you left with sendmail could not be sent to:\n\n{}\n",
                    now.header(),
                    unknown.join("\n"),
                    host = config.hostname()
                );
                let envelope = Envelope { recipients: vec![sender.clone().into()], ..Envelope::default() };
                let leaving = Leaving { traits: Traits::REPORT, ..Leaving::default() };
                self.submit(envelope, "sendmail", leaving, |intake| {
                    intake.feed(text.as_bytes());
                    Ok(())
                })?;
            }
            _ => {}
        }
        Ok(())
    }
}
