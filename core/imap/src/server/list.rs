//! LIST and LSUB (RFC 3501 §6.3.8, 5258, 5819, 6154).

use super::{
    begin::Begun,
    desk::{Desk, Job, News, Next, answer},
    hello::print_separator,
    mailbox::print_status,
};
use crate::{
    name::Naming,
    office::{Answer, Ask, Listed},
    reply::Reply,
    syntax::{self, Return, Select, StatusItems, Text},
    utf7,
    wild::Pattern,
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};
use mail::{MailboxName, SpecialUse};
use wire::Outbox;

/// Lists names.
pub(super) struct List {
    wish: Wish,
    asked: bool,
    lines: alloc::vec::IntoIter<Line>,
    /// The name whose counts were asked for.
    counted: Option<String>,
}

/// What the client wants to see.
struct Wish {
    word: &'static [u8],
    patterns: Vec<Pattern>,
    /// Only names that are subscribed to.
    subscribed: bool,
    /// Only mailboxes that are for something.
    special_use: bool,
    /// Also names above those; of LSUB, only for a `%`.
    above: bool,
    /// Whether attributes of RFC 5258 are understood.
    extended: bool,
    show_subscribed: bool,
    status: Option<StatusItems>,
}

/// A name to be printed.
struct Line {
    shown: String,
    attributes: Vec<&'static str>,
    /// Whether it stands for names below it.
    child_info: bool,
    /// If its counts are wanted and it has some.
    countable: Option<MailboxName>,
}

impl List {
    pub fn begin(desk: &Desk, list: &syntax::List<'_>, tx: &mut Outbox) -> Begun {
        if !list.is_extended() && list.patterns[0].is_empty() {
            // RFC 3501 §6.3.8: only the separator is asked for.
            tx.put(b"* LIST (\\Noselect) ");
            print_separator(desk.naming(), tx);
            tx.put(b" \"\"\r\n");
            return Begun::Over(Reply::ok("That is all."));
        }
        let select = list.select.as_deref().unwrap_or_default();
        let results = list.results.as_deref().unwrap_or_default();
        let subscribed = select.contains(&Select::Subscribed);
        List::job(Wish {
            word: b"* LIST (",
            patterns: patterns(desk.naming(), &list.reference, &list.patterns),
            subscribed,
            special_use: select.contains(&Select::SpecialUse),
            above: select.contains(&Select::RecursiveMatch),
            extended: list.is_extended(),
            show_subscribed: subscribed || results.contains(&Return::Subscribed),
            status: results.iter().find_map(|result| match result {
                Return::Status(items) => Some(*items),
                _ => None,
            }),
        })
    }

    pub fn lsub(desk: &Desk, reference: &[u8], pattern: Text<'_>) -> Begun {
        List::job(Wish {
            word: b"* LSUB (",
            above: pattern.contains(&b'%'),
            patterns: patterns(desk.naming(), reference, &[pattern]),
            subscribed: true,
            special_use: false,
            extended: false,
            show_subscribed: false,
            status: None,
        })
    }

    fn job(wish: Wish) -> Begun {
        Begun::job(List { wish, asked: false, lines: Vec::new().into_iter(), counted: None })
    }
}

/// Reference and pattern are one text (RFC 3501 §6.3.8 leaves it to the server). What is no text can match nothing.
fn patterns(naming: Naming, reference: &[u8], patterns: &[Text<'_>]) -> Vec<Pattern> {
    let whole = |pattern: &Text<'_>| utf7::decode(&[reference, pattern].concat());
    patterns.iter().filter_map(whole).filter_map(|text| Pattern::new(&text, naming.separator)).collect()
}

impl Job for List {
    fn step(&mut self, desk: &mut Desk, answer: Option<Answer>, tx: &mut Outbox) -> Next {
        if !self.asked {
            self.asked = true;
            return Next::Ask(Ask::List);
        }
        if let Some(shown) = self.counted.take() {
            // A mailbox that has gone meanwhile has no counts (RFC 5819 §2).
            if let Ok(counts) = answer!(answer, Status) {
                print_status(&shown, counts, self.wish.status.unwrap_or_default(), tx);
            }
        } else if answer.is_some() {
            match answer!(answer, List) {
                Ok(all) => self.lines = self.wish.choose(all, desk.naming()).into_iter(),
                Err(refusal) => return Next::Done(refusal.into(), News::All),
            }
        }
        loop {
            if tx.is_full() {
                return Next::Flush;
            }
            let Some(line) = self.lines.next() else { return Next::Done(Reply::ok("That is all."), News::All) };
            self.print(&line, desk.naming(), tx);
            if let Some(name) = line.countable {
                self.counted = Some(line.shown);
                return Next::Ask(Ask::Status(name));
            }
        }
    }
}

impl List {
    fn print(&self, line: &Line, naming: Naming, tx: &mut Outbox) {
        tx.put(self.wish.word);
        for (i, attribute) in line.attributes.iter().enumerate() {
            tx.put(if i == 0 { b"" } else { b" " });
            tx.put(attribute.as_bytes());
        }
        tx.put(b") ");
        print_separator(naming, tx);
        tx.put(b" ");
        Naming::print(&line.shown, tx);
        if line.child_info {
            // RFC 5258 §4: which selection the names below meet.
            tx.put(b" (\"CHILDINFO\" (");
            tx.put(if self.wish.subscribed { b"\"SUBSCRIBED\"" } else { b"\"SPECIAL-USE\"" });
            tx.put(b"))");
        }
        tx.put(b"\r\n");
    }
}

/// The names above a name, from the top. Where all is shown below INBOX, that is above all.
fn above(name: &str, naming: Naming) -> impl Iterator<Item = &str> {
    let inbox = (naming.below_inbox && name != INBOX).then_some(INBOX);
    inbox.into_iter().chain(name.match_indices('/').map(|(at, _)| &name[..at]))
}

const INBOX: &str = "INBOX";

impl Wish {
    /// Which names, in their order.
    fn choose(&mut self, all: Vec<Listed>, naming: Naming) -> Vec<Line> {
        let parents: BTreeSet<&str> =
            all.iter().filter(|listed| listed.exists).flat_map(|listed| above(listed.name.as_str(), naming)).collect();
        let known: BTreeMap<&str, &Listed> = all.iter().map(|listed| (listed.name.as_str(), listed)).collect();
        // Each name with whether it is there for those below it.
        let mut chosen: BTreeMap<&str, (bool, bool)> = BTreeMap::new();
        for listed in &all {
            let name = listed.name.as_str();
            let selected = (!self.subscribed || listed.subscribed) && (!self.special_use || listed.special_use.is_some());
            if !selected {
                continue;
            }
            // A name that is only subscribed to is no mailbox.
            let is_there = listed.exists || parents.contains(name) || self.subscribed;
            if self.matches(&naming.show(&listed.name)) {
                if is_there {
                    chosen.entry(name).or_default().0 = true;
                }
            } else if self.above {
                for parent in above(name, naming) {
                    if MailboxName::new(parent).is_ok_and(|parent| self.matches(&naming.show(&parent))) {
                        chosen.entry(parent).or_default().1 = true;
                    }
                }
            }
        }
        let lsub = self.word == b"* LSUB (";
        let mut lines = Vec::with_capacity(chosen.len());
        for (name, (selected, for_children)) in chosen {
            let listed = known.get(name).copied();
            let Some(name) = listed.map(|listed| listed.name.clone()).or_else(|| MailboxName::new(name).ok()) else { continue };
            let exists = listed.is_some_and(|listed| listed.exists);
            let mut attributes = Vec::new();
            if lsub {
                attributes.extend((!selected).then_some("\\Noselect"));
            } else {
                attributes.extend((!exists).then_some(if self.extended { "\\NonExistent" } else { "\\Noselect" }));
                attributes.push(if parents.contains(name.as_str()) { "\\HasChildren" } else { "\\HasNoChildren" });
                attributes.extend(listed.filter(|listed| listed.subscribed && self.show_subscribed).map(|_| "\\Subscribed"));
                attributes.extend(listed.and_then(|listed| listed.special_use).map(SpecialUse::name));
            }
            lines.push(Line {
                shown: naming.show(&name),
                attributes,
                child_info: for_children && !lsub,
                countable: self.status.and(exists.then_some(name)),
            });
        }
        lines
    }

    fn matches(&mut self, shown: &str) -> bool {
        self.patterns.iter_mut().any(|pattern| pattern.matches(shown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, string::ToString, vec};

    fn listed(name: &str, exists: bool, subscribed: bool) -> Listed {
        Listed { name: MailboxName::new(name).unwrap(), exists, subscribed, special_use: None }
    }

    fn choose(pattern: &str, lsub: bool, subscribed: bool, above: bool) -> String {
        let all = vec![
            listed("INBOX", true, false),
            listed("a", false, false),
            listed("a/b", true, true),
            listed("a/b c", true, false),
            listed("gone/x", false, true),
        ];
        let mut wish = Wish {
            word: if lsub { b"* LSUB (" } else { b"* LIST (" },
            patterns: vec![Pattern::new(pattern, '/').unwrap()],
            subscribed,
            special_use: false,
            above,
            extended: subscribed && !lsub,
            show_subscribed: subscribed,
            status: None,
        };
        let lines = wish.choose(all, Naming { separator: '/', below_inbox: false });
        let lines: Vec<String> = lines
            .iter()
            .map(|line| format!("{} {}{}", line.shown, line.attributes.join(" "), if line.child_info { " +" } else { "" }))
            .collect();
        lines.join(", ").to_string()
    }

    #[test]
    fn names_are_chosen() {
        assert_eq!(choose("%", false, false, false), "INBOX \\HasNoChildren, a \\Noselect \\HasChildren");
        assert_eq!(choose("*", false, false, false).matches(',').count(), 3);
        assert_eq!(choose("*", false, true, false), "a/b \\HasNoChildren \\Subscribed, gone/x \\NonExistent \\HasNoChildren \\Subscribed");
        assert_eq!(choose("%", false, true, true), "a \\NonExistent \\HasChildren +, gone \\NonExistent \\HasNoChildren +");
        assert_eq!(choose("*", false, true, true).matches('+').count(), 0);
        assert_eq!(choose("%", true, true, true), "a \\Noselect, gone \\Noselect");
        assert_eq!(choose("*", true, true, false), "a/b , gone/x ");
    }
}
