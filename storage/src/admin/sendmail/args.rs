//! The arguments of `sendmail`, as scripts have given them for forty years.

use mail::{Notify, Ret};
use std::ffi::OsString;

/// What `sendmail` is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mode {
    /// Take a message from standard input.
    Send,
    /// List the queue (`-bp`).
    Queue,
    /// Read the aliases again (`-bi`).
    Aliases,
    /// Say what would become of mail to the recipients (`-bv`).
    Verify,
    /// Speak SMTP on standard input and output (`-bs`).
    Speak,
    /// Try again what waits (`-q`), or a part of it.
    Flush(Option<Part>),
}

/// What of the queue is meant (`-qI`, `-qS`, `-qR`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// One message.
    Id(String),
    /// What is from that address, or `@domain`.
    Sender(String),
    /// What is for that address, or `@domain`.
    Recipient(String),
    /// What is for that next hop.
    Site(String),
}

/// Everything that was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) mode: Mode,
    pub(super) config: Option<OsString>,
    /// `-f`, `-r`; empty is the null path.
    pub(super) sender: Option<String>,
    /// `-F`
    pub(super) name: Option<String>,
    /// `-t`
    pub(super) from_header: bool,
    /// `-i`: a dot alone ends nothing.
    pub(super) dots: bool,
    pub(super) eight_bit: bool,
    /// `-XV`
    pub(super) verp: bool,
    pub(super) notify: Notify,
    pub(super) ret: Option<Ret>,
    pub(super) envid: Option<String>,
    pub(super) verbose: bool,
    pub(super) recipients: Vec<String>,
}

/// Options with a value, attached or in the next argument.
const WITH_VALUE: &str = "AbBCDeFfhLMNOopRrVX";
/// Options with a value only if it is attached.
const MAY_HAVE_VALUE: &str = "dq";
/// Options without.
const ALONE: &str = "cGiImnsTtUvx";

/// Reads the arguments without the name of the program.
pub(super) fn read(args: &[OsString]) -> Result<Said, String> {
    let mut said = Said {
        mode: Mode::Send,
        config: None,
        sender: None,
        name: None,
        from_header: false,
        dots: false,
        eight_bit: false,
        verp: false,
        notify: Notify::default(),
        ret: None,
        envid: None,
        verbose: false,
        recipients: Vec::new(),
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let text = arg.to_str().ok_or("an argument is not UTF-8")?;
        if text == "--" {
            for rest in args.by_ref() {
                said.recipients.push(rest.to_str().ok_or("an argument is not UTF-8")?.into());
            }
            break;
        }
        let Some(mut letters) = text.strip_prefix('-').filter(|rest| !rest.is_empty()) else {
            said.recipients.push(text.into());
            continue;
        };
        while let Some(letter) = letters.chars().next() {
            letters = &letters[letter.len_utf8()..];
            if WITH_VALUE.contains(letter) {
                let value = match letters {
                    "" => args.next().and_then(|arg| arg.to_str()).ok_or_else(|| format!("-{letter} needs a value"))?,
                    attached => attached,
                };
                option(letter, value, &mut said)?;
                break;
            }
            if MAY_HAVE_VALUE.contains(letter) {
                if letter == 'q' {
                    said.mode = Mode::Flush(part(letters)?);
                }
                break;
            }
            match letter {
                'i' => said.dots = true,
                'I' => said.mode = Mode::Aliases,
                't' => said.from_header = true,
                'v' => said.verbose = true,
                letter if ALONE.contains(letter) => {}
                letter => return Err(format!("there is no option -{letter}")),
            }
        }
    }
    Ok(said)
}

fn option(letter: char, value: &str, said: &mut Said) -> Result<(), String> {
    match letter {
        'b' => {
            said.mode = match value {
                "m" => Mode::Send,
                "p" => Mode::Queue,
                "i" => Mode::Aliases,
                "v" => Mode::Verify,
                "s" => Mode::Speak,
                "d" | "D" | "l" => return Err("the server is started with `hikyaku serve`".into()),
                mode => return Err(format!("there is no mode -b{mode}")),
            }
        }
        'B' => {
            said.eight_bit = match value {
                v if v.eq_ignore_ascii_case("8BITMIME") => true,
                v if v.eq_ignore_ascii_case("7BIT") => false,
                _ => return Err("-B is 7BIT or 8BITMIME".into()),
            }
        }
        'C' => said.config = Some(value.into()),
        'f' | 'r' => said.sender = Some(value.trim_start_matches('<').trim_end_matches('>').into()),
        'F' => said.name = Some(value.into()),
        'N' => {
            said.notify = value.split(',').try_fold(Notify::default(), |so_far, word| match &*word.to_ascii_lowercase() {
                "never" if value.len() == word.len() => Ok(Notify::NEVER),
                "success" => Ok(so_far.with(Notify::SUCCESS)),
                "failure" => Ok(so_far.with(Notify::FAILURE)),
                "delay" => Ok(so_far.with(Notify::DELAY)),
                _ => Err("-N is never, or some of success,failure,delay"),
            })?;
        }
        'R' => {
            said.ret = match &*value.to_ascii_lowercase() {
                "full" => Some(Ret::Full),
                "hdrs" => Some(Ret::Headers),
                _ => return Err("-R is full or hdrs".into()),
            }
        }
        'V' if value.len() <= 100 && value.bytes().all(|b| b.is_ascii_graphic()) => said.envid = Some(value.into()),
        'V' => return Err("-V is a word of at most 100 characters of ASCII".into()),
        'X' if value == "V" => said.verp = true,
        // -oi is all of the old options that means something here; -O does not.
        'o' if value == "i" => said.dots = true,
        'O' if value.eq_ignore_ascii_case("IgnoreDots") || value.eq_ignore_ascii_case("IgnoreDots=true") => said.dots = true,
        _ => {}
    }
    Ok(())
}

/// What stands behind `-q`. A time, as for a daemon that does it again and again, means now: the server has its own times.
fn part(text: &str) -> Result<Option<Part>, String> {
    let Some(letter) = text.chars().next() else { return Ok(None) };
    let value =
        || Some(text[1..].to_owned()).filter(|value| !value.is_empty()).ok_or_else(|| format!("-q{letter} needs a value behind it"));
    Ok(match letter {
        'I' => Some(Part::Id(value()?)),
        'S' => Some(Part::Sender(value()?)),
        'R' if text.contains('@') => Some(Part::Recipient(value()?)),
        'R' => Some(Part::Site(value()?)),
        'f' | 'p' | '0'..='9' => None,
        _ => return Err(format!("there is no -q{letter}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> Result<Said, String> {
        read(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn as_programs_call_it() {
        let cron = said("-FCronDaemon -i -B8BITMIME -oem root").unwrap();
        assert_eq!((cron.name.as_deref(), cron.dots, cron.eight_bit), (Some("CronDaemon"), true, true));
        assert_eq!(cron.recipients, ["root"]);
        let php = said("-t -i -fwww@x.test").unwrap();
        assert_eq!((php.from_header, php.dots, php.sender.as_deref()), (true, true, Some("www@x.test")));
        let mutt = said("-oem -oi -f me@x.test -N success,delay -R hdrs -- -odd@x.test b@y.test").unwrap();
        assert_eq!(mutt.recipients, ["-odd@x.test", "b@y.test"]);
        assert_eq!((mutt.notify, mutt.ret, mutt.dots), (Notify::SUCCESS.with(Notify::DELAY), Some(Ret::Headers), true));
        assert_eq!(said("-ti").unwrap().dots, said("-i -t").unwrap().from_header);
        assert_eq!(said("-bp").unwrap().mode, Mode::Queue);
        assert!(said("-XV -f list x").unwrap().verp && !said("-X /tmp/log x").unwrap().verp);
        assert_eq!(said("-q15m").unwrap().mode, Mode::Flush(None));
        assert_eq!(said("-qR@x.test").unwrap().mode, Mode::Flush(Some(Part::Recipient("@x.test".into()))));
        assert_eq!(said("-qRx.test").unwrap().mode, Mode::Flush(Some(Part::Site("x.test".into()))));
        assert_eq!(said("-qI1f").unwrap().mode, Mode::Flush(Some(Part::Id("1f".into()))));
        assert_eq!(said("-bs").unwrap().mode, Mode::Speak);
        assert_eq!(said("-f <> x").unwrap().sender.as_deref(), Some(""));
        assert_eq!(said("-V 7 -d0.1 -O X=y -om -h 3 a").unwrap().recipients, ["a"]);
    }

    #[test]
    fn what_is_refused() {
        for bad in ["-bd", "-bD", "-bx", "-q!", "-qI", "-qx", "-Z", "-f", "-N never,delay", "-N x", "-R all", "-B 9BIT", "-V \u{e9}"] {
            assert!(said(bad).is_err(), "{bad}");
        }
    }
}
