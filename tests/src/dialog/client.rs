//! Dialogs of the client: options become settings, `* letter` lines become jobs. `C` and `S` keep their meaning, so here it is `S` that is
//! sent and `C` that is expected.

use super::{
    parse::unescape,
    stage::{Stage, take},
};
use crate::{
    drive::Host,
    model::{ClientOffice, Letter, Shared},
};
use mail::{Address, By, Notify, Recipient, Ret, Stamp, Wishes};
use smtp::client::{self, Credentials, Destination, Job, Protocol, Security, Settings, Socks};
use std::str::FromStr;

/// SMTP and LMTP from the other side.
pub struct Client;

type Options = Vec<(usize, String, String)>;

impl Stage for Client {
    type Session = client::Client;
    type Office = ClientOffice;
    const IS_CLIENT: bool = true;

    fn open(hall: &str, options: &mut Options, world: Shared) -> Result<Host<client::Client, ClientOffice>, (usize, String)> {
        let yes = |options: &mut Options, key: &str| take(options, key).is_some_and(|(_, value)| value == "yes");
        let settings = Settings {
            helo: "client.example.test".into(),
            protocol: if hall.ends_with("lmtp") || yes(options, "lmtp") { Protocol::Lmtp } else { Protocol::Smtp },
            security: match take(options, "security") {
                None => Security::May,
                Some((line, word)) => security(&word).ok_or((line, format!("no such security: {word}")))?,
            },
            name: "mx.example.net".into(),
            login: match take(options, "login") {
                None => None,
                Some((line, words)) => {
                    let (user, password) = words.split_once(':').ok_or((line, "login=user:password".to_owned()))?;
                    Some(Credentials { user: user.into(), password: password.into(), nonce: "rOprNGfwEbeRWgbNEkqO".into() })
                }
            },
            plaintext_login: yes(options, "plaintext"),
            socks: yes(options, "socks").then(|| Socks { to: Destination::Name("mx.example.net".into()), port: 25, login: None }),
            idle_ms: number(options, "idle")?.unwrap_or(5000),
        };
        let letters = number(options, "letters")?.unwrap_or(0);
        for line in LETTERS.iter().cycle().take(letters as usize) {
            letter(&mut world.borrow_mut(), line).map_err(|what| (0, what))?;
        }
        Ok(Host::new(|now| client::Client::new(settings, now), ClientOffice::new(world), client::INBOX_LIMIT, client::OUTBOX_MARK))
    }
}

/// What `letters=N` makes: something for every branch.
const LETTERS: &[&str] = &[
    "alice@example.test to=bob@example.net text=.\\r\\n..x\\r\\nend\\r\\n",
    "alice@example.test to=a@example.net,b@example.net,gr\u{fc}n@example.net notify=success,delay orcpt=utf-8;gr\u{fc}n@x by=60;NT text=no end",
    "<> to=b@b\u{fc}cher.example size=40000 ret=hdrs envid=a+b",
    "alice@example.test to=a@example.net,b@example.net binary=yes text=x\\0\\n.\\n\u{fc}",
    "gr\u{fc}n@example.test to=b@example.net utf8=yes by=10;R text=\u{fc}\\r\\n",
];

fn security(word: &str) -> Option<Security> {
    Some(match word {
        "never" => Security::Never,
        "may" => Security::May,
        "must" => Security::Must { verified: false },
        "verify" => Security::Must { verified: true },
        "implicit" => Security::Implicit { verified: true },
        _ => return None,
    })
}

fn number(options: &mut Options, key: &str) -> Result<Option<u64>, (usize, String)> {
    take(options, key).map(|(line, value)| u64::from_str(&value).map_err(|_| (line, format!("{key} is a number: {value}")))).transpose()
}

/// `* letter FROM to=...`: something to send.
pub fn letter(world: &mut crate::model::World, line: &str) -> Result<(), String> {
    let (line, text) = match line.split_once(" text=") {
        Some((line, text)) => (line, unescape(text).ok_or("no such escape")?),
        None => (line, b"Subject: x\r\n\r\nx\r\n".to_vec()),
    };
    let mut words = line.split_whitespace();
    let from = words.next().ok_or("from whom?")?;
    let address = |text: &str| Address::parse(text).ok_or(format!("no address: {text}"));
    let sender = if from == "<>" { None } else { Some(address(from)?) };
    let (mut recipients, mut notify, mut original) = (Vec::new(), Notify::default(), None);
    let (mut content, mut wishes, mut due_in, mut times) = (text, Wishes::default(), None, 1);
    let (mut binary, mut utf8, mut raw) = (false, false, false);
    for word in words {
        let (key, value) = word.split_once('=').ok_or("key=value")?;
        match key {
            "to" => recipients = value.split(',').map(address).collect::<Result<_, _>>()?,
            "notify" => {
                for word in value.split(',') {
                    let names =
                        [("never", Notify::NEVER), ("success", Notify::SUCCESS), ("failure", Notify::FAILURE), ("delay", Notify::DELAY)];
                    notify = notify.with(names.iter().find(|(name, _)| *name == word).ok_or("no such wish")?.1);
                }
            }
            "orcpt" => original = Some(value.into()),
            "ret" => wishes.ret = Some(if value == "full" { Ret::Full } else { Ret::Headers }),
            "envid" => wishes.envid = Some(value.into()),
            "priority" => wishes.priority = value.parse().map_err(|_| "no priority")?,
            "tls" => wishes.require_tls = value == "yes",
            "by" => {
                let (seconds, mode) = value.split_once(';').ok_or("by=60;RT")?;
                due_in = Some(seconds.parse().map_err(|_| "no seconds")?);
                wishes.by = Some(By { at: Stamp::utc(world.now), or_return: mode.starts_with('R'), trace: mode.ends_with('T') });
            }
            "binary" => binary = value == "yes",
            "utf8" => utf8 = value == "yes",
            "raw" => raw = value == "yes",
            "size" => {
                let size = value.parse().map_err(|_| "no size")?;
                content = b"0123456789 0123456789 0123456789\r\n".iter().copied().cycle().take(size).collect();
            }
            "times" => times = value.parse().map_err(|_| "how often?")?,
            _ => return Err(format!("no such key: {key}")),
        }
    }
    let recipients = recipients.into_iter().map(|address| Recipient { address, notify, original: original.clone() }).collect();
    let eight_bit = !content.is_ascii();
    for _ in 0..times {
        let (id, size) = (u64::from(world.number()), content.len() as u64);
        let job = Job {
            id,
            sender: sender.clone(),
            recipients: Vec::clone(&recipients),
            wishes: wishes.clone(),
            due_in,
            size,
            eight_bit,
            binary,
            utf8,
            raw,
        };
        world.letters.push_back(Letter { job, content: content.clone() });
    }
    Ok(())
}
