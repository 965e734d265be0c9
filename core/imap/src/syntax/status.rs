//! What STATUS asks for (RFC 3501 §6.3.10, 8438).

use super::{
    Out,
    word::{Text, astring, list, sp, word},
};
use nom::{
    Parser,
    branch::alt,
    combinator::{map, value},
    sequence::preceded,
};

/// A set of items; printed in a fixed order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct StatusItems(u8);

impl StatusItems {
    pub const MESSAGES: StatusItems = StatusItems(1);
    pub const RECENT: StatusItems = StatusItems(2);
    pub const UIDNEXT: StatusItems = StatusItems(4);
    pub const UIDVALIDITY: StatusItems = StatusItems(8);
    pub const UNSEEN: StatusItems = StatusItems(16);
    pub const SIZE: StatusItems = StatusItems(32);

    pub fn has(self, item: StatusItems) -> bool {
        self.0 & item.0 != 0
    }
}

pub(super) fn status(i: &[u8]) -> Out<'_, (Text<'_>, StatusItems)> {
    (preceded(sp, astring), preceded(sp, status_items)).parse(i)
}

pub(super) fn status_items(i: &[u8]) -> Out<'_, StatusItems> {
    // Far more than there are kinds: repeating one changes nothing.
    map(list(1, 32, item), |all| StatusItems(all.iter().fold(0, |sum, item| sum | item.0))).parse(i)
}

fn item(i: &[u8]) -> Out<'_, StatusItems> {
    alt((
        value(StatusItems::MESSAGES, word("MESSAGES")),
        value(StatusItems::RECENT, word("RECENT")),
        value(StatusItems::UIDNEXT, word("UIDNEXT")),
        value(StatusItems::UIDVALIDITY, word("UIDVALIDITY")),
        value(StatusItems::UNSEEN, word("UNSEEN")),
        value(StatusItems::SIZE, word("SIZE")),
    ))
    .parse(i)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items() {
        let (_, found) = status(b" blurdybloop (UIDNEXT messages)").unwrap();
        assert!(found.1.has(StatusItems::UIDNEXT) && found.1.has(StatusItems::MESSAGES) && !found.1.has(StatusItems::SIZE));
        assert!(status(b" x ()").is_err());
        assert!(status(b" x (FOO)").is_err());
    }
}
