//! Whether a reply is as a script says. Variables are bound on the way and forgotten again where the whole does not fit.

use super::args::Arg;
use std::collections::BTreeMap;

/// What a script knows.
#[derive(Debug, Default, Clone)]
pub struct Variables {
    /// By name.
    pub named: BTreeMap<String, Vec<u8>>,
    /// Where each message of the connection is now, counted from its place when the command was sent; 0 if it is gone.
    pub places: Vec<u32>,
}

/// The directives that lists have if they name none themselves.
pub fn add_defaults(pattern: &mut [Arg]) {
    let counted = pattern.first().is_some_and(|a| matches!(a, Arg::Atom(t) if t.first().is_some_and(|b| *b == b'$' || b.is_ascii_digit())));
    let name = match pattern.get(usize::from(counted)) {
        Some(Arg::Atom(name)) => String::from_utf8_lossy(name).to_lowercase(),
        _ => return,
    };
    let (place, directives): (usize, &[&str]) = match name.as_str() {
        "list" | "lsub" => (1, &["$!unordered"]),
        "status" | "fetch" => (2, &["$!unordered=2"]),
        _ => return,
    };
    let Some(Arg::List(list)) = pattern.get_mut(place) else { return };
    if name == "fetch" {
        for i in 1..list.len() {
            let after_flags = list[i - 1].is("flags");
            if let (true, Arg::List(flags)) = (after_flags, &mut list[i]) {
                add(flags, &["$!unordered", "$!noextra", "$!ignore=\\recent"]);
            }
        }
    }
    add(list, directives);
}

fn add(list: &mut Vec<Arg>, directives: &[&str]) {
    if !list.first().is_some_and(|a| matches!(a, Arg::Atom(text) if text.starts_with(b"$!"))) {
        list.splice(0..0, directives.iter().map(|d| Arg::Atom(d.as_bytes().to_vec())));
    }
}

impl Variables {
    /// Whether a reply fits; `prefix` if it may say more. Variables stay bound only if it does.
    pub fn fits(&mut self, pattern: &[Arg], reply: &[Arg], prefix: bool) -> bool {
        let before = self.named.clone();
        let fits = self.all(pattern, reply, prefix);
        if !fits {
            self.named = before;
        }
        fits
    }

    fn all(&mut self, pattern: &[Arg], reply: &[Arg], prefix: bool) -> bool {
        let mut reply = reply.iter();
        for (number, want) in pattern.iter().enumerate() {
            if want.text() == Some(b"$]") {
                reply.by_ref().find(|a| a.text().is_some_and(|t| t.contains(&b']')));
                continue;
            }
            let Some(got) = reply.next() else { return false };
            if !self.one(want, got, prefix && number + 1 == pattern.len()) {
                return false;
            }
        }
        prefix || reply.next().is_none()
    }

    fn one(&mut self, want: &Arg, got: &Arg, prefix: bool) -> bool {
        match (want, got) {
            (Arg::Nil, _) => *got == Arg::Nil,
            (Arg::List(want), Arg::List(got)) => self.list(want, got),
            (Arg::List(_), _) => false,
            (Arg::Atom(text), Arg::List(_)) if text == b"$" => true,
            (Arg::Atom(want) | Arg::Text(want), Arg::Atom(got) | Arg::Text(got)) => self.text(want, got, prefix),
            _ => false,
        }
    }

    fn list(&mut self, want: &[Arg], got: &[Arg]) -> bool {
        let (mut unordered, mut chain, mut no_extra) = (false, 1, None);
        let (mut ignored, mut banned) = (Vec::new(), Vec::new());
        let mut want = want;
        while let [Arg::Atom(text), rest @ ..] = want {
            let Some(directive) = text.strip_prefix(b"$!") else { break };
            let directive = String::from_utf8_lossy(directive).into_owned();
            let (word, value) = directive.split_once('=').unwrap_or((&directive, ""));
            match word {
                "unordered" => {
                    unordered = true;
                    chain = value.parse().unwrap_or(1);
                }
                "ordered" => unordered = false,
                "extra" => no_extra = Some(false),
                "noextra" => no_extra = Some(true),
                "ignore" => ignored.push(value.to_owned()),
                "ban" => banned.push(value.to_owned()),
                _ => return false,
            }
            want = rest;
        }
        if !unordered {
            return self.all(want, got, false);
        }
        if !want.len().is_multiple_of(chain) || !got.len().is_multiple_of(chain) {
            return false;
        }
        let mut matched = vec![false; got.len() / chain];
        for link in want.chunks(chain) {
            let Some(at) = got.chunks(chain).position(|g| self.fits(link, g, false)) else { return false };
            matched[at] = true;
        }
        let names = |list: &[String], arg: &Arg| arg.text().is_some_and(|t| list.iter().any(|l| l.as_bytes().eq_ignore_ascii_case(t)));
        got.chunks(chain).zip(matched).filter(|(_, matched)| !matched).all(|(link, _)| match no_extra {
            Some(true) => link[0].text().is_none() || names(&ignored, &link[0]),
            _ => !names(&banned, &link[0]),
        })
    }

    fn text(&mut self, want: &[u8], got: &[u8], prefix: bool) -> bool {
        let mut exact = false;
        let (mut want, mut rest) = (want, got);
        let same = |a: &[u8], b: &[u8], exact: bool| if exact { a == b } else { a.eq_ignore_ascii_case(b) };
        while let [first, tail @ ..] = want {
            if *first != b'$' || tail.first() == Some(&b'$') {
                let (want_byte, after) = if *first == b'$' { (b'$', &tail[1..]) } else { (*first, tail) };
                let [got_byte, got_after @ ..] = rest else { return false };
                if !same(&[want_byte], &[*got_byte], exact) {
                    return false;
                }
                (want, rest) = (after, got_after);
                continue;
            }
            let (name, after) = variable(tail);
            want = after;
            if let Some(text) = name.strip_prefix("case:") {
                exact = true;
                let Some(after) = rest.strip_prefix(text.as_bytes()) else { return false };
                rest = after;
                continue;
            }
            let value = match self.value(&name) {
                Some(value) => value,
                None => {
                    // It reaches to where what follows it in the script begins.
                    let next = self.expand(want).first().copied();
                    let end = next.and_then(|n| rest.iter().position(|b| b.eq_ignore_ascii_case(&n))).unwrap_or(rest.len());
                    let value = rest[..end].to_vec();
                    if !name.is_empty() {
                        self.named.insert(name, value.clone());
                    }
                    value
                }
            };
            let Some(after) = rest.strip_prefix(value.as_slice()) else { return false };
            rest = after;
        }
        prefix || rest.is_empty()
    }

    fn value(&self, name: &str) -> Option<Vec<u8>> {
        if let Ok(place) = name.parse::<usize>() {
            let now = place.checked_sub(1).and_then(|p| self.places.get(p));
            return Some(match now {
                Some(0) => b"<expunged>".to_vec(),
                Some(now) => now.to_string().into_bytes(),
                None => b"<out of range>".to_vec(),
            });
        }
        self.named.get(name).cloned()
    }

    /// A command with its variables filled in; unknown ones stay.
    pub fn expand(&self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = text;
        while let [first, tail @ ..] = rest {
            if *first != b'$' || tail.is_empty() {
                out.push(*first);
                rest = tail;
            } else if tail[0] == b'$' {
                out.push(b'$');
                rest = &tail[1..];
            } else {
                let (name, after) = variable(tail);
                out.extend(self.value(&name).unwrap_or_else(|| b"$".to_vec()));
                rest = after;
            }
        }
        out
    }

    /// A message is gone.
    pub fn expunged(&mut self, place: u32) {
        for now in &mut self.places {
            if *now == place {
                *now = 0;
            } else if *now > place {
                *now -= 1;
            }
        }
    }
}

/// The name after a `$`, and what follows it.
fn variable(text: &[u8]) -> (String, &[u8]) {
    let braced =
        text.strip_prefix(b"{").and_then(|inner| inner.iter().position(|b| *b == b'}').map(|end| (&inner[..end], &inner[end + 1..])));
    if let Some((name, rest)) = braced {
        return (String::from_utf8_lossy(name).into_owned(), rest);
    }
    let end = text.iter().position(|b| !b.is_ascii_alphanumeric() && *b != b'_').unwrap_or(text.len());
    (String::from_utf8_lossy(&text[..end]).into_owned(), &text[end..])
}

#[cfg(test)]
mod tests {
    use super::{super::args::parse, *};

    fn fits(variables: &mut Variables, pattern: &str, reply: &str) -> bool {
        let mut pattern = parse(pattern.as_bytes()).unwrap();
        add_defaults(&mut pattern);
        variables.fits(&pattern, &parse(reply.as_bytes()).unwrap(), false)
    }

    #[test]
    fn variables_are_bound_and_kept_only_where_all_fits() {
        let mut v = Variables::default();
        assert!(!fits(&mut v, "1 fetch (uid $uid1 flags (\\seen))", "1 FETCH (UID 7 FLAGS ())"));
        assert!(v.named.is_empty());
        assert!(fits(&mut v, "1 fetch (uid $uid1 flags (\\seen))", "1 FETCH (FLAGS (\\Recent \\Seen) UID 7)"));
        assert_eq!(v.named["uid1"], b"7");
        assert!(!fits(&mut v, "2 fetch (uid $uid1)", "2 FETCH (UID 8)"));
        assert_eq!(v.expand(b"uid store $uid1 x${uid1}y"), b"uid store 7 x7y");
    }

    #[test]
    fn lists_obey_their_directives() {
        let mut v = Variables::default();
        assert!(fits(&mut v, "list () $sep a", "LIST (\\HasNoChildren) \"/\" a"));
        assert!(!fits(&mut v, "list ($!unordered $!ban=\\noselect \\subscribed) $sep a", "LIST (\\Noselect \\Subscribed) \"/\" a"));
        assert!(!fits(&mut v, "1 fetch (flags (\\seen))", "1 FETCH (FLAGS (\\Seen \\Draft))"));
        assert!(fits(&mut v, "status x (messages 1)", "STATUS x (UNSEEN 2 MESSAGES 1)"));
        assert!(fits(&mut v, "x (a $ c)", "x (a (b b) c)"));
        assert!(!fits(&mut v, "x ${case:Ab}", "x AB"));
    }

    #[test]
    fn places_move_when_messages_go() {
        let mut v = Variables { places: vec![1, 2, 3], ..Variables::default() };
        v.expunged(1);
        assert_eq!(v.expand(b"$1 $2 $3 $4"), b"<expunged> 1 2 <out of range>");
    }
}
