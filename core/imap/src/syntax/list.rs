//! What LIST asks for (RFC 3501 §6.3.8, 5258, 5819, 6154).

use super::{
    Out,
    status::{StatusItems, status_items},
    word::{Text, astring, list, list_mailbox, sp, word},
};
use crate::limits;
use alloc::{vec, vec::Vec};
use nom::{
    Parser,
    branch::alt,
    combinator::{map, opt, value},
    sequence::preceded,
};

/// LIST and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct List<'a> {
    /// Selection options, if there was a list of them.
    pub select: Option<Vec<Select>>,
    pub reference: Text<'a>,
    pub patterns: Vec<Text<'a>>,
    /// Return options, if there was a list of them.
    pub results: Option<Vec<Return>>,
}

impl List<'_> {
    /// Whether it is more than RFC 3501 knows; `LIST "" ""` means something else then (RFC 5258 §3.1).
    pub fn is_extended(&self) -> bool {
        self.select.is_some() || self.results.is_some() || self.patterns.len() != 1
    }
}

/// Which names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Select {
    Subscribed,
    /// Mailboxes elsewhere too; there are none.
    Remote,
    /// Also names above those that match.
    RecursiveMatch,
    SpecialUse,
}

/// What of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Return {
    Subscribed,
    Children,
    SpecialUse,
    Status(StatusItems),
}

pub(super) fn list_command(i: &[u8]) -> Out<'_, List<'_>> {
    let (i, select) = opt(preceded(sp, list(0, limits::PATTERNS, select))).parse(i)?;
    let (i, reference) = preceded(sp, astring).parse(i)?;
    let (i, _) = sp(i)?;
    let (i, patterns) = alt((list(1, limits::PATTERNS, list_mailbox), map(list_mailbox, |one| vec![one]))).parse(i)?;
    let (i, results) = opt(preceded((sp, word("RETURN"), sp), list(0, limits::PATTERNS, result))).parse(i)?;
    // RFC 5258 §3.1: RECURSIVEMATCH needs something to match.
    if let Some(all) = &select
        && all.contains(&Select::RecursiveMatch)
        && !all.iter().any(|s| matches!(s, Select::Subscribed | Select::SpecialUse))
    {
        return Err(super::Bad::syntax());
    }
    Ok((i, List { select, reference, patterns, results }))
}

/// LSUB's arguments: a reference and one pattern.
pub(super) fn lsub(i: &[u8]) -> Out<'_, (Text<'_>, Text<'_>)> {
    (preceded(sp, astring), preceded(sp, list_mailbox)).parse(i)
}

fn select(i: &[u8]) -> Out<'_, Select> {
    alt((
        value(Select::Subscribed, word("SUBSCRIBED")),
        value(Select::Remote, word("REMOTE")),
        value(Select::RecursiveMatch, word("RECURSIVEMATCH")),
        value(Select::SpecialUse, word("SPECIAL-USE")),
    ))
    .parse(i)
}

fn result(i: &[u8]) -> Out<'_, Return> {
    alt((
        value(Return::Subscribed, word("SUBSCRIBED")),
        value(Return::Children, word("CHILDREN")),
        value(Return::SpecialUse, word("SPECIAL-USE")),
        map(preceded((word("STATUS"), sp), status_items), Return::Status),
    ))
    .parse(i)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_every_kind() {
        let plain = list_command(b" \"\" *").unwrap().1;
        assert!(!plain.is_extended() && plain.reference.is_empty());
        let all = list_command(b" (SUBSCRIBED RECURSIVEMATCH) \"\" (\"a b\" %) RETURN (CHILDREN STATUS (MESSAGES UNSEEN))").unwrap();
        assert!(all.0.is_empty() && all.1.is_extended());
        assert_eq!(all.1.patterns.len(), 2);
        assert!(list_command(b" () \"\" \"\" RETURN ()").unwrap().1.is_extended());
        assert!(list_command(b" (RECURSIVEMATCH REMOTE) \"\" *").is_err());
        assert!(list_command(b" \"\" ()").is_err());
    }
}
