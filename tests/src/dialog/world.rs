//! What happens in the world while a dialog is played: `* verb ...` lines.

use super::parse::unescape;
use crate::model::{Account, DOMAIN, Mailbox, World};
use mail::{Flags, Keyword, MailboxName, SpecialUse, Stamp, System, Uid};
use std::{fs, path::Path};

/// Does what a line says.
///
/// # Errors
/// Says what is wrong with the line, or what is not as it says.
pub fn happen(world: &mut World, line: &str) -> Result<(), String> {
    if let Some(letter) = line.strip_prefix("letter ") {
        return super::client::letter(world, letter);
    }
    let (line, text) = match line.split_once(" text=") {
        Some((line, text)) => (line, Some(unescape(text).ok_or("no such escape")?)),
        None => (line, None),
    };
    let mut words = line.split_whitespace();
    let verb = words.next().ok_or("what happens?")?;
    let who = words.next().ok_or("to whom?")?;
    let who = if who.contains('@') { who.to_owned() } else { format!("{who}@{DOMAIN}") };
    let (pairs, rest): (Vec<&str>, Vec<&str>) = words.partition(|w| w.contains('=') && !w.starts_with(['+', '-', '=']));
    let pair = |key: &str| pairs.iter().filter_map(|p| p.split_once('=')).find(|(k, _)| *k == key).map(|(_, v)| v);
    if let Some((key, _)) = pairs.iter().filter_map(|p| p.split_once('=')).find(|(k, _)| !KEYS.contains(k)) {
        return Err(format!("no such key: {key}"));
    }
    if verb == "account" {
        world.add_account(&who, pair("password").unwrap_or(crate::model::PASSWORD));
        return Ok(());
    }
    let name = mailbox_name(pair("mailbox").unwrap_or("INBOX"))?;
    let date = Stamp::utc(match pair("date") {
        Some(date) => date.parse().map_err(|_| "no such date")?,
        None => world.now,
    });
    if verb == "create" {
        let special_use = match pair("use") {
            Some(used) => Some(SpecialUse::NAMES.iter().find(|(_, n)| *n == used).ok_or("no such use")?.0),
            None => None,
        };
        world.make(&who, &mailbox_name(rest.first().ok_or("which?")?)?, special_use);
        return Ok(());
    }
    let account = world.accounts.get_mut(&who).ok_or_else(|| format!("nobody is called {who}"))?;
    match verb {
        "deliver" => {
            let times = pair("times").map_or(Ok(1), str::parse).map_err(|_| "how often?")?;
            let flags = flags(pair("flags").unwrap_or(""))?;
            for _ in 0..times {
                let mailbox = here(account, &name)?;
                let bytes = match (&text, pair("file"), pair("size")) {
                    (Some(text), ..) => text.clone(),
                    (None, Some(file), _) => {
                        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("dialogs/messages").join(file);
                        fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?
                    }
                    (None, None, size) => plain(mailbox.uid_next, &who, size.map_or(Ok(0), str::parse).map_err(|_| "no size")?),
                };
                let uid = mailbox.put(&bytes, flags.clone(), date);
                if let (Some(recent), Some(last)) = (pair("recent"), mailbox.messages.last_mut()) {
                    last.recent = recent != "no";
                    assert_eq!(last.uid, uid);
                }
            }
        }
        "expunge" => {
            let uids = uids(rest.first().ok_or("which?")?)?;
            here(account, &name)?.remove(|m| uids.contains(&m.uid.get()));
        }
        "flag" => {
            let uids = uids(rest.first().ok_or("which?")?)?;
            let (sign, set) = rest.get(1).and_then(|w| w.split_at_checked(1)).ok_or("which flags?")?;
            let set = flags(set)?;
            for uid in uids.iter().filter_map(|n| Uid::new(*n)) {
                here(account, &name)?.flag(uid, |now| match sign {
                    "+" => now.add(&set),
                    "-" => now.remove(&set),
                    _ => *now = set.clone(),
                });
            }
        }
        "delete" => {
            let name = mailbox_name(rest.first().ok_or("which?")?)?;
            account.mailboxes.remove(&name).ok_or("no such mailbox")?;
        }
        "subscribe" => _ = account.subscribed.insert(mailbox_name(rest.first().ok_or("which?")?)?),
        "unsubscribe" => _ = account.subscribed.remove(&mailbox_name(rest.first().ok_or("which?")?)?),
        "readonly" => here(account, &name)?.read_only = true,
        "disable" => account.disabled = true,
        "quota" => account.quota = Some(rest.first().and_then(|n| n.parse().ok()).ok_or("how much?")?),
        "count" => {
            let want: usize = rest.first().and_then(|n| n.parse().ok()).ok_or("how many?")?;
            let have = here(account, &name)?.messages.len();
            if have != want {
                return Err(format!("there are {have} messages"));
            }
        }
        "last" => {
            let want = text.ok_or("what text?")?;
            let have = here(account, &name)?.messages.last().map(|m| m.bytes.clone()).ok_or("there is no message")?;
            if *have != *want {
                return Err(format!("the last message is {}", have.escape_ascii()));
            }
        }
        _ => return Err(format!("no such verb: {verb}")),
    }
    Ok(())
}

const KEYS: [&str; 9] = ["mailbox", "flags", "date", "times", "size", "file", "recent", "use", "password"];

fn here<'a>(account: &'a mut Account, name: &MailboxName) -> Result<&'a mut Mailbox, String> {
    account.mailboxes.get_mut(name).ok_or_else(|| format!("there is no mailbox {name}"))
}

fn mailbox_name(text: &str) -> Result<MailboxName, String> {
    MailboxName::new(text).map_err(|e| format!("{text} is no mailbox name: {e:?}"))
}

/// `1,3:5`
fn uids(text: &str) -> Result<Vec<u32>, String> {
    let number = |n: &str| n.parse::<u32>().map_err(|_| format!("{n} is no UID"));
    let mut uids = Vec::new();
    for piece in text.split(',') {
        let (from, to) = piece.split_once(':').unwrap_or((piece, piece));
        uids.extend(number(from)?..=number(to)?);
    }
    Ok(uids)
}

/// `\Seen,$Forwarded`
fn flags(text: &str) -> Result<Flags, String> {
    let mut flags = Flags::default();
    for word in text.split(',').filter(|w| !w.is_empty()) {
        match System::NAMES.iter().find(|(_, name)| name.eq_ignore_ascii_case(word)) {
            Some((flag, _)) => flags.system = flags.system.with(*flag),
            None => _ = flags.keywords.insert(Keyword::new(word).ok_or_else(|| format!("{word} is no flag"))?),
        }
    }
    Ok(flags)
}

/// The message that is delivered if nothing is said of it: always the same for the same number.
fn plain(uid: Uid, who: &str, size: usize) -> Vec<u8> {
    let mut text = format!(
        "Date: Tue, 24 Nov 2026 06:37:27 +0000\r\nFrom: Carol <carol@example.org>\r\nTo: <{who}>\r\nSubject: Letter {uid}\r\n\
         Message-ID: <{uid}@example.org>\r\n\r\nThis is letter {uid}.\r\n"
    )
    .into_bytes();
    while text.len() < size {
        let rest = size - text.len();
        text.extend(std::iter::repeat_n(b'x', rest.saturating_sub(2).min(70)));
        text.extend_from_slice(if rest == 1 { b"\n" } else { b"\r\n" });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_shows() {
        let mut world = World::new();
        for line in [
            "deliver alice times=3 size=300",
            "deliver alice flags=\\Seen,$x date=0 text=Subject: a\\r\\n\\r\\nb\\n",
            "last alice text=Subject: a\\r\\n\\r\\nb\\r\\n",
            "flag alice 1:2 +\\Deleted",
            "expunge alice 1,3",
            "count alice 2",
            "create alice Sent/2026 use=\\Sent",
            "deliver alice mailbox=Sent/2026",
            "count alice 1 mailbox=Sent/2026",
        ] {
            happen(&mut world, line).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
        assert_eq!(world.accounts["alice@example.test"].mailboxes[&MailboxName::inbox()].messages[0].bytes.len(), 300);
        for wrong in ["dance alice", "count alice 1", "deliver zoe", "deliver alice colour=red", "expunge alice x"] {
            happen(&mut world, wrong).unwrap_err();
        }
    }
}
