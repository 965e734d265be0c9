//! From text to turns.

use crate::model::Trouble;

/// A dialog: its options and its turns.
#[derive(Debug, Default)]
pub struct Dialog {
    /// `@ key=value`, with their lines.
    pub options: Vec<(usize, String, String)>,
    /// In order.
    pub turns: Vec<Turn>,
}

/// Something happens, then something is expected.
#[derive(Debug, Default)]
pub struct Turn {
    /// Where it begins.
    pub line: usize,
    /// What happens, with its line.
    pub actions: Vec<(usize, Action)>,
    /// What is expected, with its line.
    pub expects: Vec<(usize, Expect)>,
    /// Trouble by the number of the question within the turn.
    pub troubles: Vec<(usize, Trouble)>,
    /// Questions within the turn that are answered with half the bytes there are.
    pub shortened: Vec<usize>,
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The client sends bytes; one breath with what it sends next to it.
    Send(Vec<u8>),
    /// Milliseconds pass.
    Pass(u64),
    /// `> changed`, `> shutdown` and `> end`.
    Tap(Tap),
    /// Something happens in the world.
    World(String),
}

/// What a session is told apart from answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tap {
    /// The watched mailbox changed.
    Changed,
    /// Places are short.
    Hurry,
    /// The client is sent away.
    Leave,
    /// The server stops.
    Shutdown,
    /// The client closes its side.
    End,
}

/// What is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// A line; `...` stands for any run of characters.
    Line(String),
    /// The next question begins so.
    Question(String),
    /// The session closes with this word.
    Close(String),
}

/// Reads a dialog.
///
/// # Errors
/// The line and what is wrong with it.
pub fn parse(text: &str) -> Result<Dialog, (usize, String)> {
    let mut dialog = Dialog::default();
    let mut turn = Turn { line: 1, ..Turn::default() };
    // A turn ends where something new happens after something was expected.
    let (mut questions, mut troubled, mut after_question) = (0, 0, false);
    for (number, line) in text.lines().enumerate().map(|(i, line)| (i + 1, line)) {
        let wrong = |what: &str| Err((number, format!("{what}: {line}")));
        let rest = line.get(2..).unwrap_or("");
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        let word = line.get(1..).unwrap_or("").trim();
        let mark = match line.as_bytes() {
            [] | [b'#', ..] => continue,
            [b'C' | b'S' | b'X', second, ..] => (line.as_bytes()[0], *second),
            [first, ..] => (*first, b' '),
        };
        let action = match mark {
            (b'C', b':') => Some(Action::Send([rest.as_bytes(), b"\r\n"].concat())),
            (b'C', b'-') => Some(Action::Send(rest.as_bytes().to_vec())),
            (b'C', b'=') => Some(Action::Send(unescape(rest).ok_or((number, format!("no such escape: {line}")))?)),
            (b'~', _) => Some(Action::Pass(word.parse().map_err(|_| (number, format!("no milliseconds: {line}")))?)),
            (b'>', _) => Some(Action::Tap(match word {
                "changed" => Tap::Changed,
                "hurry" => Tap::Hurry,
                "leave" => Tap::Leave,
                "shutdown" => Tap::Shutdown,
                "end" => Tap::End,
                _ => return wrong("no such nudge"),
            })),
            (b'*', _) => Some(Action::World(word.to_owned())),
            _ => None,
        };
        if let Some(action) = action {
            if !turn.expects.is_empty() {
                dialog.turns.push(std::mem::replace(&mut turn, Turn { line: number, ..Turn::default() }));
                (questions, troubled) = (0, 0);
            }
            after_question = false;
            turn.actions.push((number, action));
            continue;
        }
        match mark {
            (b'S', b':') => turn.expects.push((number, Expect::Line(rest.to_owned()))),
            (b'X', b':') => turn.expects.push((number, Expect::Close(rest.trim().to_owned()))),
            (b'?', _) => {
                turn.expects.push((number, Expect::Question(word.to_owned())));
                questions += 1;
            }
            (b'!', _) => {
                // Right below a question it is that one's answer, elsewhere the answer of the next.
                let at = if after_question { questions - 1 } else { questions.max(troubled) };
                match Trouble::from_word(word) {
                    Some(trouble) => turn.troubles.push((at, trouble)),
                    None if word == "short" => turn.shortened.push(at),
                    None => return wrong("no such trouble"),
                }
                troubled = at + 1;
            }
            (b'@', _) => {
                for pair in word.split_whitespace() {
                    let Some((key, value)) = pair.split_once('=') else { return wrong("no key=value") };
                    dialog.options.push((number, key.into(), value.into()));
                }
            }
            _ => return wrong("not a line of a dialog"),
        }
        after_question = mark.0 == b'?';
    }
    if !turn.actions.is_empty() || !turn.expects.is_empty() {
        dialog.turns.push(turn);
    }
    Ok(dialog)
}

/// `\r \n \t \0 \\ \xNN`; `None` for any other escape.
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(b) = rest.next() {
        if b != b'\\' {
            bytes.push(b);
            continue;
        }
        bytes.push(match rest.next()? {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'0' => 0,
            b'\\' => b'\\',
            b'x' => {
                let digit = |b: u8| (b as char).to_digit(16);
                (digit(rest.next()?)? * 16 + digit(rest.next()?)?) as u8
            }
            _ => return None,
        });
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_ends_where_something_new_happens() {
        let dialog = parse("@ tls=never\nS: 220 ...\nC: A\nC- B\n? Sender(\n! later\nS: 1\nC= \\x41\\r\\n\nX: done\n").unwrap();
        assert_eq!(dialog.options, [(1, "tls".into(), "never".into())]);
        assert_eq!(dialog.turns.len(), 3);
        assert_eq!(dialog.turns[0].expects, [(2, Expect::Line("220 ...".into()))]);
        assert_eq!(dialog.turns[1].actions, [(3, Action::Send(b"A\r\n".to_vec())), (4, Action::Send(b"B".to_vec()))]);
        assert_eq!(dialog.turns[1].troubles, [(0, Trouble::Later)]);
        assert_eq!(dialog.turns[2].actions, [(8, Action::Send(b"A\r\n".to_vec()))]);
    }

    #[test]
    fn trouble_belongs_to_the_question_above_or_to_the_next() {
        let at = |text: &str| parse(text).unwrap().turns[0].troubles.clone();
        assert_eq!(at("! later\nC: x\nS: y"), [(0, Trouble::Later)]);
        assert_eq!(at("C: x\n? A\n? B\n! full\nS: y"), [(1, Trouble::Full)]);
        assert_eq!(at("C: x\n! never\n! full\nS: y"), [(0, Trouble::Never), (1, Trouble::Full)]);
        assert_eq!(at("C: x\n? A\nS: z\n! full\nS: y"), [(1, Trouble::Full)]);
    }
}
