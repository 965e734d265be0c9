//! Sessions: what the client says, how the host answers and when time passes, all out of one run of bytes.
//!
//! The first byte chooses the settings, the second how the session begins. The rest is what the client sends, except that the byte 0xFF, which no
//! protocol here uses, escapes: with the letter after it something else happens (see [`script`]). A script is played whole, cut at
//! every byte and cut at random, by the same loop that plays dialogs; it checks every promise of a session on the way.

use crate::{
    dialog::{Action, Dialog, Imap, Pop3, Smtp, Stage, Tap, Turn},
    model::Trouble,
    play::{check, soup::Recipe, words},
};

/// SMTP from other servers.
pub fn smtp_session(data: &[u8]) {
    session::<Smtp>("smtp", &words::SMTP, data);
}

/// Submission.
pub fn submission_session(data: &[u8]) {
    session::<Smtp>("submission", &words::SUBMISSION, data);
}

/// LMTP.
pub fn lmtp_session(data: &[u8]) {
    session::<Smtp>("lmtp", &words::LMTP, data);
}

/// POP3.
pub fn pop3_session(data: &[u8]) {
    session::<Pop3>("pop3", &words::POP3, data);
}

/// IMAP.
pub fn imap_session(data: &[u8]) {
    session::<Imap>("imap", &words::IMAP, data);
}

/// Names of mailboxes in every IMAP command that takes one.
pub fn imap_name(data: &[u8]) {
    if data.len() > 1000 || data.contains(&0) {
        return;
    }
    let mut said = b"a login alice hikyaku\r\n".to_vec();
    for command in ["create", "status", "list \"\"", "lsub \"\"", "subscribe", "rename inbox", "select", "unsubscribe", "delete"] {
        said.extend_from_slice(format!("b {command} {{{}+}}\r\n", data.len()).as_bytes());
        said.extend_from_slice(data);
        said.extend_from_slice(if command == "status" { b" (messages size)\r\n" } else { b"\r\n" });
    }
    said.extend_from_slice(b"c list \"\" *\r\nc lsub \"\" %/%\r\n");
    imap_says(said);
}

/// A message of any shape, appended, then fetched and searched in every way.
pub fn imap_message(data: &[u8]) {
    // Fetched a dozen times and cut at every byte, a longer one would be tried too rarely.
    if data.is_empty() || data.len() > 4096 {
        return;
    }
    let mut said = format!("a login alice hikyaku\r\na append inbox {{{}+}}\r\n", data.len()).into_bytes();
    said.extend_from_slice(data);
    said.extend_from_slice(
        b"\r\na select inbox\r\nb fetch 1 (uid flags internaldate rfc822.size envelope body bodystructure)\r\n\
          b fetch 1 (body.peek[] body.peek[header] body.peek[text] body.peek[1] body.peek[1.mime] body.peek[2.header] body.peek[2.1.text]<3.70>)\r\n\
          b fetch 1 (body.peek[header.fields (subject to from)] body.peek[header.fields.not (received)] body.peek[]<10.10>)\r\n\
          b search or text \"needle\" body \"x\"\r\nb search subject e from a to b cc c header message-id \"\"\r\n\
          b search or sentbefore 1-jan-2020 senton 1-jan-2021 larger 3\r\nb search charset utf-8 text {2+}\r\n\xc3\xa9\r\nb fetch 1 rfc822\r\n",
    );
    imap_says(said);
}

fn imap_says(said: Vec<u8>) {
    let mut script = Dialog { options: vec![(0, "plaintext".into(), "yes".into())], ..Dialog::default() };
    script.turns.push(Turn { actions: vec![(0, Action::Send(said))], ..Turn::default() });
    check::<Imap>("imap", &script, 1).unwrap_or_else(|what| panic!("{what}"));
}

pub(super) fn session<P: Stage>(hall: &str, recipe: &Recipe, data: &[u8]) {
    let [settings, opening, said @ ..] = data else { return };
    let script = script(recipe, usize::from(*settings), usize::from(*opening), said);
    check::<P>(hall, &script, u64::from(*settings)).unwrap_or_else(|what| panic!("{what}"));
}

/// A script from bytes. After 0xFF, `n` begins a new turn, `p` and a byte let 2^byte milliseconds pass, `c`, `s` and `e` tap the session
/// (changed, shutdown, end), `d`, `x` and `f` deliver, expunge and flag messages, `t` and two bytes make the question of that number in the turn
/// fail or come short. Any other letter sends itself.
fn script(recipe: &Recipe, settings: usize, opening: usize, said: &[u8]) -> Dialog {
    let pairs = recipe.settings[settings % recipe.settings.len()].split_whitespace();
    let options = pairs.filter_map(|pair| pair.split_once('=')).map(|(k, v)| (0, k.to_owned(), v.to_owned())).collect();
    let mut turns = vec![Turn::default()];
    let world = |event: &str| Action::World(event.into());
    act(&mut turns, world("deliver alice"));
    act(&mut turns, world("deliver alice file=multipart.eml"));
    if let Some(opening) = recipe.openings.get(opening % (recipe.openings.len() + 1)) {
        act(&mut turns, Action::Send(opening.as_bytes().to_vec()));
    }
    let mut rest = said;
    while !rest.is_empty() {
        let plain = rest.iter().position(|b| *b == 0xff).unwrap_or(rest.len());
        if plain > 0 {
            act(&mut turns, Action::Send(rest[..plain].to_vec()));
        }
        rest = rest.get(plain + 1..).unwrap_or_default();
        let Some((letter, after)) = rest.split_first() else { break };
        rest = after;
        let mut argument = || {
            let (first, after) = rest.split_first().unwrap_or((&0, &[]));
            rest = after;
            *first
        };
        match letter {
            b'n' => turns.push(Turn { line: turns.len(), ..Turn::default() }),
            b'p' => act(&mut turns, Action::Pass(1 << (argument() % 24))),
            b'c' => act(&mut turns, Action::Tap(Tap::Changed)),
            b's' => act(&mut turns, Action::Tap(Tap::Shutdown)),
            b'e' => act(&mut turns, Action::Tap(Tap::End)),
            b'd' => act(&mut turns, world("deliver alice")),
            b'x' => act(&mut turns, world("expunge alice 1:2")),
            b'f' => act(&mut turns, world("flag alice 2:9 +\\Deleted")),
            b't' => {
                let (at, what) = (usize::from(argument() % 16), usize::from(argument()));
                let turn = turns.last_mut().expect("there is a first turn");
                match Trouble::WORDS.get(what % (Trouble::WORDS.len() + 1)) {
                    Some((_, trouble)) => turn.troubles.push((at, *trouble)),
                    None => turn.shortened.push(at),
                }
            }
            other => act(&mut turns, Action::Send(vec![*other])),
        }
    }
    Dialog { options, turns }
}

fn act(turns: &mut [Turn], action: Action) {
    let turn = turns.last_mut().expect("there is a first turn");
    turn.actions.push((turn.line, action));
}
