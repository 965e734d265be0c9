//! Answers of an office that has trouble.

use super::{ClientOffice, ImapOffice, PopOffice, SmtpOffice};
use sasl::Denied;
use wire::{Fault, Question};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Not now.
    Later,
    /// Not ever.
    Never,
    /// No room: the mailbox, the quota, the disk.
    Full,
    /// The message is too large.
    TooLarge,
    /// Whatever it was about is gone.
    Gone,
    /// A limit of the host is reached: too many logins, keywords, mailboxes.
    Limit,
    /// A loop, a read-only mailbox, a name that cannot be: refused for a reason of its own.
    Refused,
}

impl Trouble {
    /// Each with its word in dialogs.
    pub const WORDS: [(&'static str, Trouble); 7] = [
        ("later", Trouble::Later),
        ("never", Trouble::Never),
        ("full", Trouble::Full),
        ("toolarge", Trouble::TooLarge),
        ("gone", Trouble::Gone),
        ("limit", Trouble::Limit),
        ("refused", Trouble::Refused),
    ];

    /// By its word.
    pub fn from_word(word: &str) -> Option<Trouble> {
        Trouble::WORDS.iter().find(|(w, _)| *w == word).map(|(_, t)| *t)
    }

    fn fault(self) -> Fault {
        if matches!(self, Trouble::Later | Trouble::Limit | Trouble::Full) { Fault::Later } else { Fault::Never }
    }

    fn denied(self) -> Denied {
        match self {
            Trouble::Never | Trouble::Gone => Denied::Wrong,
            Trouble::Limit => Denied::TooMany,
            Trouble::Refused => Denied::Disabled,
            Trouble::Later | Trouble::Full | Trouble::TooLarge => Denied::Later,
        }
    }

    fn smtp(self) -> smtp::Refusal {
        match self {
            Trouble::Later => smtp::Refusal::Fault(Fault::Later),
            Trouble::Never => smtp::Refusal::Fault(Fault::Never),
            Trouble::Full => smtp::Refusal::MailboxFull,
            Trouble::TooLarge => smtp::Refusal::TooLarge,
            Trouble::Gone => smtp::Refusal::NoMailbox,
            Trouble::Limit => smtp::Refusal::NoRoom,
            Trouble::Refused => smtp::Refusal::Loop,
        }
    }

    fn imap(self) -> imap::Refusal {
        match self {
            Trouble::Later => imap::Refusal::Fault(Fault::Later),
            Trouble::Never => imap::Refusal::Fault(Fault::Never),
            Trouble::Full => imap::Refusal::OverQuota,
            Trouble::TooLarge => imap::Refusal::TooLarge,
            Trouble::Gone => imap::Refusal::Gone,
            Trouble::Limit => imap::Refusal::Limit,
            Trouble::Refused => imap::Refusal::ReadOnly,
        }
    }
}

/// An office that can be made to fail.
pub trait Troubled<A: Question<Self>> {
    /// Answers `ask` with trouble, and leaves the office as it would be then. A question that cannot fail gets its answer.
    fn fail(&mut self, ask: A, trouble: Trouble) -> A::Answer;

    /// Answers a question for bytes with fewer bytes than there are, which is how a truncated file looks. `None` if it is no such question.
    fn shorten(&mut self, answer: &mut A::Answer);
}

impl Troubled<smtp::Ask> for SmtpOffice {
    fn fail(&mut self, ask: smtp::Ask, trouble: Trouble) -> smtp::Answer {
        use smtp::{Answer, Ask};
        match ask {
            Ask::Login(_) => Answer::Login(Err(trouble.denied())),
            Ask::Sender(..) => Answer::Sender(Err(trouble.smtp())),
            Ask::Recipient(_) => Answer::Recipient(Err(trouble.smtp())),
            Ask::Open(_) => Answer::Open(Err(trouble.fault())),
            Ask::Commit => {
                smtp::Office::abandon(self, smtp::Loss::Unfinished);
                Answer::Commit(Err(trouble.smtp()))
            }
            Ask::Abandon(loss) => Ask::Abandon(loss).put_to(self),
        }
    }

    fn shorten(&mut self, _: &mut smtp::Answer) {}
}

impl Troubled<smtp::client::Ask> for ClientOffice {
    fn fail(&mut self, ask: smtp::client::Ask, trouble: Trouble) -> smtp::client::Answer {
        use smtp::client::{Answer, Ask};
        match ask {
            Ask::Next(_) => Answer::Next(None),
            Ask::Open(_) => Answer::Open(Err(trouble.fault())),
            Ask::Read(_) => Answer::Read(Err(trouble.fault())),
            Ask::Report(_) | Ask::Trouble(_) => ask.put_to(self),
        }
    }

    fn shorten(&mut self, answer: &mut smtp::client::Answer) {
        if let smtp::client::Answer::Read(Ok((_, n))) = answer {
            // A short read is not the end: the rest comes with the next.
            self.at -= *n / 2;
            *n -= *n / 2;
        }
    }
}

impl Troubled<pop3::Ask> for PopOffice {
    fn fail(&mut self, ask: pop3::Ask, trouble: Trouble) -> pop3::Answer {
        use pop3::{Answer, Ask};
        match ask {
            Ask::Login(_) => Answer::Login(Err(trouble.denied())),
            Ask::Open => Answer::Open(Err(trouble.fault())),
            Ask::Read { .. } => Answer::Read(Err(trouble.fault())),
            Ask::Remove(_) => Answer::Remove(Err(trouble.fault())),
        }
    }

    fn shorten(&mut self, answer: &mut pop3::Answer) {
        if let pop3::Answer::Read(Ok(bytes)) = answer {
            bytes.truncate(bytes.len() / 2);
        }
    }
}

impl Troubled<imap::Ask> for ImapOffice {
    fn fail(&mut self, ask: imap::Ask, trouble: Trouble) -> imap::Answer {
        use imap::{Answer, Ask};
        match ask {
            Ask::Login(_) => Answer::Login(Err(trouble.denied())),
            Ask::List => Answer::List(Err(trouble.imap())),
            Ask::Create(..) | Ask::Delete(_) | Ask::Rename(..) | Ask::Subscribe(..) => Answer::Done(Err(trouble.imap())),
            Ask::Status(_) => Answer::Status(Err(trouble.imap())),
            Ask::Select(..) => {
                imap::Office::unselect(self);
                Answer::Select(Err(trouble.imap()))
            }
            Ask::Sync => Answer::Sync(Err(trouble.imap())),
            Ask::Describe(..) => Answer::Describe(Err(trouble.imap())),
            Ask::Read { .. } => Answer::Read(Err(trouble.imap())),
            Ask::Store(..) => Answer::Store(Err(trouble.imap())),
            Ask::Expunge(_) => Answer::Expunge(Err(trouble.imap())),
            Ask::Copy(..) => Answer::Copy(Err(trouble.imap())),
            Ask::Move(..) => Answer::Move(Err(trouble.imap())),
            Ask::Append(_) => Answer::Append(Err(trouble.imap())),
            Ask::Commit => {
                imap::Office::abandon(self);
                Answer::Commit(Err(trouble.imap()))
            }
            Ask::Unselect | Ask::Watch(_) | Ask::Abandon => ask.put_to(self),
        }
    }

    fn shorten(&mut self, answer: &mut imap::Answer) {
        if let imap::Answer::Read(Ok(bytes)) = answer {
            bytes.truncate(bytes.len() / 2);
        }
    }
}
