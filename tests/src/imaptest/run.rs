//! Running one script.

use super::{
    Outcome, Server,
    args::{Arg, parse, show},
    client::{Client, Line},
    matching::Variables,
    script::{Command, Existence, Group, Mail, Script, State},
};
use std::thread;

const MAILBOX: &str = "imaptest";

/// Runs a script with an account of its own.
pub fn run(script: &Script, server: &mut dyn Server) -> Outcome {
    let (user, password) = server.account(&script.name);
    let stage = Stage { clients: Vec::new(), variables: variables(&user, &password), mails: &script.mails, used: 0 };
    match stage.run(script, server, &user, &password) {
        Ok(None) => Outcome::Passed,
        Ok(Some(capability)) => Outcome::Skipped(capability),
        Err(what) => Outcome::Failed(what),
    }
}

fn variables(user: &str, password: &str) -> Variables {
    let (local, domain) = user.split_once('@').unwrap_or((user, ""));
    let known =
        [("user", user), ("username", local), ("domain", domain), ("password", password), ("mailbox", MAILBOX), ("mailbox_url", MAILBOX)];
    Variables { named: known.iter().map(|(k, v)| ((*k).into(), v.as_bytes().to_vec())).collect(), places: Vec::new() }
}

struct Stage<'a> {
    clients: Vec<Client>,
    variables: Variables,
    mails: &'a [Mail],
    used: usize,
}

impl Stage<'_> {
    fn run(mut self, script: &Script, server: &mut dyn Server, user: &str, password: &str) -> Result<Option<String>, String> {
        for number in 1..=script.connections {
            let mut client = Client::new(server.connect(), number);
            let Line::Untagged(greeting) = client.hear()? else { return Err("no greeting".into()) };
            if script.state >= State::Auth {
                client.ok(format!("LOGIN \"{user}\" \"{password}\"").as_bytes()).map_err(|e| format!("before it began: {e}"))?;
            }
            let has = client.ok(b"CAPABILITY")?;
            let missing = script.capabilities.iter().find(|c| !has.iter().flatten().any(|a| a.is(c)));
            if let Some(missing) = missing {
                return Ok(Some(missing.clone()));
            }
            self.clients.push(client);
            if let Some(group) = script.groups.first().filter(|g| number == 1 && g.commands.is_empty()) {
                let mut hearing = Hearing { group, found: vec![false; group.untagged.len()], heard: Vec::new() };
                hearing.hear(&mut self.variables, greeting)?;
                hearing.finish(&self.variables)?;
            }
        }
        self.prepare(script).map_err(|e| format!("before it began: {e}"))?;
        for group in script.groups.iter().filter(|g| !g.commands.is_empty()) {
            self.group(group).map_err(|what| {
                let first = &group.commands[0];
                format!("line {}: {}\n  {what}", first.line, first.text.escape_ascii())
            })?;
            thread::sleep(group.sleep);
        }
        Ok(None)
    }

    fn prepare(&mut self, script: &Script) -> Result<(), String> {
        if script.state >= State::Created {
            self.clients[0].ok(format!("CREATE {MAILBOX}").as_bytes())?;
        }
        if script.state >= State::Appended {
            for _ in 0..script.messages {
                let append = self.append(b"");
                self.clients[0].ok(&append)?;
            }
        }
        if script.state >= State::Selected {
            for client in &mut self.clients {
                client.ok(format!("SELECT {MAILBOX}").as_bytes())?;
            }
        }
        Ok(())
    }

    fn group(&mut self, group: &Group) -> Result<(), String> {
        self.variables.places = (1..=self.clients[group.connection].exists).collect();
        let mut hearing = Hearing { group, found: vec![false; group.untagged.len()], heard: Vec::new() };
        let mut pending: Vec<(String, &Command)> = Vec::new();
        for command in &group.commands {
            let text = self.text(&self.variables.expand(&command.text));
            let mut early = Vec::new();
            let (tag, reply) = self.clients[group.connection].command(&text, &mut |args| early.push(args))?;
            if pending.is_empty() {
                self.variables.named.insert("tag".into(), tag.clone().into_bytes());
            }
            for args in early {
                hearing.hear(&mut self.variables, args)?;
            }
            match reply {
                Some(reply) => self.tagged(command, &reply)?,
                None => pending.push((tag, command)),
            }
        }
        while !pending.is_empty() {
            match self.clients[group.connection].hear().map_err(|e| format!("{e}; {}", hearing.missing(&self.variables)))? {
                Line::Continue => return Err("leave for a literal that was not announced".into()),
                Line::Untagged(args) => hearing.hear(&mut self.variables, args)?,
                Line::Tagged(tag, reply) => {
                    let at = pending.iter().position(|(t, _)| *t == tag).ok_or_else(|| format!("a reply to {tag}"))?;
                    let (_, command) = pending.remove(at);
                    self.tagged(command, &reply)?;
                }
            }
        }
        let done = hearing.finish(&self.variables);
        self.variables.named.remove("tag");
        done
    }

    fn tagged(&mut self, command: &Command, reply: &[Arg]) -> Result<(), String> {
        let want = command.reply.as_deref().unwrap_or_default();
        if want.first().is_some_and(|a| a.text() == Some(b"\"\"")) || self.variables.fits(want, reply, true) {
            return Ok(());
        }
        Err(format!("expected {}\n  but got  {}", show(want), show(reply)))
    }

    /// A command as it is sent: an APPEND without a message gets the next one.
    fn text(&mut self, text: &[u8]) -> Vec<u8> {
        if text.eq_ignore_ascii_case(b"append") {
            return self.append(b"");
        }
        match text.split_at_checked(7) {
            Some((word, args)) if word.eq_ignore_ascii_case(b"append ") && !has_message(args) => self.append(args),
            _ => text.to_vec(),
        }
    }

    fn append(&mut self, args: &[u8]) -> Vec<u8> {
        let mail = &self.mails[self.used % self.mails.len()];
        self.used += 1;
        let args = if args.is_empty() { MAILBOX.as_bytes() } else { args };
        let date = if args.contains(&b'"') { String::new() } else { format!(" \"{}\"", mail.date) };
        [b"APPEND ", args, date.as_bytes(), format!(" {{{}}}\r\n", mail.bytes.len()).as_bytes(), &mail.bytes].concat()
    }
}

fn has_message(args: &[u8]) -> bool {
    args.contains(&b'{') || parse(args).is_ok_and(|args| args.iter().any(|a| a.is("catenate")))
}

/// What has come of what must come.
struct Hearing<'a> {
    group: &'a Group,
    found: Vec<bool>,
    heard: Vec<Vec<Arg>>,
}

impl Hearing<'_> {
    fn hear(&mut self, variables: &mut Variables, reply: Vec<Arg>) -> Result<(), String> {
        let prefix = ["ok", "no", "bad", "bye"].iter().any(|w| reply.first().is_some_and(|a| a.is(w)));
        for (number, (existence, pattern)) in self.group.untagged.iter().enumerate() {
            if self.found[number] {
                continue;
            }
            if variables.fits(pattern, &reply, prefix) {
                if *existence == Existence::MustNot {
                    return Err(format!("must not come: {}\n  as in          {}", show(&reply), show(pattern)));
                }
                self.found[number] = true;
                if self.group.ordered {
                    break;
                }
            } else if self.group.ordered && *existence == Existence::Must {
                break;
            }
        }
        if let [Arg::Atom(place), name, ..] = reply.as_slice()
            && name.is("EXPUNGE")
            && let Ok(place) = String::from_utf8_lossy(place).parse()
        {
            variables.expunged(place);
        }
        self.heard.push(reply);
        Ok(())
    }

    fn missing(&self, variables: &Variables) -> String {
        let missing = self.group.untagged.iter().zip(&self.found).filter(|((e, _), found)| *e == Existence::Must && !**found);
        let missing: Vec<String> =
            missing.map(|((_, p), _)| String::from_utf8_lossy(&variables.expand(show(p).as_bytes())).into_owned()).collect();
        let heard: Vec<String> = self.heard.iter().map(|r| show(r)).collect();
        format!("missing: {}\n  of what came: {}", missing.join("\n           "), heard.join("\n                "))
    }

    fn finish(&self, variables: &Variables) -> Result<(), String> {
        let all = self.group.untagged.iter().zip(&self.found).all(|((e, _), found)| *e != Existence::Must || *found);
        if all { Ok(()) } else { Err(self.missing(variables)) }
    }
}
