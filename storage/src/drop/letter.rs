//! A file of the drop folder: an envelope of lines, and the message behind it.

use mail::{Address, Envelope, Notify, Recipient, Ret};
use std::io::{self, BufRead as _, Read, Write};

/// The first line of a file.
pub(super) const MAGIC: &str = "hikyaku drop 1";
/// Longest envelope, in bytes: ten thousand recipients.
pub(super) const ENVELOPE_MAX: u64 = 4 << 20;
/// Longest id of an envelope (RFC 3461 §4.4) and longest original recipient (§4.2): what is longer, no record holds.
pub(super) const ENVID_MAX: usize = 100;
pub(super) const ORCPT_MAX: usize = 500;

/// What a file says besides its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Who left it: the owner of the file.
    pub uid: u32,
    /// From whom and for whom, and what they wish.
    pub envelope: Envelope,
    /// Whether it was said to be 8-bit.
    pub eight_bit: bool,
    /// Whether each recipient elsewhere gets a sender that names it (VERP).
    pub verp: bool,
}

/// Writes the envelope; the message follows it, with LF line ends.
///
/// # Errors
/// If it cannot be written, or holds a line end.
pub fn write_envelope(letter: &Letter, out: &mut dyn Write) -> io::Result<()> {
    let mut text = format!("{MAGIC}\n");
    let mut line = |words: String| {
        if words.contains(['\n', '\r', '\0']) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a line end in an address"));
        }
        text += &words;
        text.push('\n');
        Ok(())
    };
    let Envelope { sender, recipients, wishes } = &letter.envelope;
    if let Some(Address { local, domain }) = sender {
        line(format!("from {domain} {local}"))?;
    }
    match wishes.ret {
        Some(Ret::Full) => line("ret full".into())?,
        Some(Ret::Headers) => line("ret headers".into())?,
        None => {}
    }
    if let Some(envid) = &wishes.envid {
        line(format!("envid {envid}"))?;
    }
    if letter.eight_bit {
        line("body 8bit".into())?;
    }
    if letter.verp {
        line("verp".into())?;
    }
    for Recipient { address: Address { local, domain }, notify, original } in recipients {
        if !notify.is_unsaid() {
            line(format!("notify {}", notify.0))?;
        }
        if let Some(original) = original {
            line(format!("orcpt {original}"))?;
        }
        line(format!("to {domain} {local}"))?;
    }
    text.push('\n');
    out.write_all(text.as_bytes())
}

/// Reads the envelope. Returns where the message begins.
pub(super) fn read_envelope(uid: u32, file: &mut dyn io::BufRead) -> io::Result<(Letter, u64)> {
    let bad = || io::Error::from(io::ErrorKind::InvalidData);
    let mut letter = Letter { uid, envelope: Envelope::default(), eight_bit: false, verp: false };
    let mut lines = Read::take(file, ENVELOPE_MAX);
    let mut line = String::new();
    let (mut notify, mut original) = (Notify::default(), None);
    for n in 0.. {
        line.clear();
        lines.read_line(&mut line)?;
        let text = line.strip_suffix('\n').ok_or_else(bad)?;
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let address = || rest.split_once(' ').filter(|(domain, _)| !domain.is_empty()).map(|(domain, local)| Address::new(local, domain));
        match word {
            _ if n == 0 => {
                if text != MAGIC {
                    return Err(bad());
                }
            }
            "from" => letter.envelope.sender = Some(address().ok_or_else(bad)?),
            "ret" => letter.envelope.wishes.ret = Some(if rest == "full" { Ret::Full } else { Ret::Headers }),
            "envid" if rest.len() <= ENVID_MAX && rest.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) => {
                letter.envelope.wishes.envid = Some(rest.into())
            }
            "body" => letter.eight_bit = true,
            "verp" => letter.verp = true,
            "notify" => notify = Notify(rest.parse().ok().filter(|bits| *bits < 16).ok_or_else(bad)?),
            "orcpt" if rest.len() <= ORCPT_MAX && rest.contains(';') && !rest.contains(char::is_control) => original = Some(rest.into()),
            "to" => {
                let address = address().ok_or_else(bad)?;
                letter.envelope.recipients.push(Recipient { address, notify: std::mem::take(&mut notify), original: original.take() });
            }
            "" => break,
            _ => return Err(bad()),
        }
    }
    if letter.envelope.recipients.is_empty() { Err(bad()) } else { Ok((letter, ENVELOPE_MAX - lines.limit())) }
}
