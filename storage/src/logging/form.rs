//! How a line of the log looks.

use mail::Stamp;
use std::{
    fmt::{self, Write as _},
    time::Duration,
};
use tracing::{
    Event, Level,
    field::{Field, Visit},
};

/// What most lines fit in.
const LINE: usize = 256;
/// Longer lines are cut: a peer must not make the log its own. Twice the longest command line of any protocol.
const LINE_MAX: usize = 16 << 10;

/// A line.
pub struct Line {
    /// With its end.
    pub text: String,
    /// The peer of whom it says why something came to nothing: a peer can cause such lines without end.
    pub peer: Option<String>,
    /// Whether it is an error.
    pub is_error: bool,
}

/// The line of an event.
pub fn line<F: Form>(event: &Event<'_>, since: Duration) -> Line {
    let mut writer = begin::<F>(*event.metadata().level(), since);
    event.record(&mut writer);
    let peer = writer.peer.take().filter(|_| writer.says_why);
    Line { text: end(writer), peer, is_error: *event.metadata().level() == Level::ERROR }
}

/// A line about the log itself.
pub fn own_line<F: Form>(level: Level, since: Duration, event: &str, peer: Option<&str>, lines: u64) -> String {
    let mut writer = begin::<F>(level, since);
    writer.text("event", event);
    if let Some(peer) = peer {
        writer.text("peer", peer);
    }
    writer.bare("lines", format_args!("{lines}"));
    end(writer)
}

fn begin<F: Form>(level: Level, since: Duration) -> Writer<F> {
    let mut writer = Writer::<F> { line: String::with_capacity(LINE), peer: None, says_why: false, form: std::marker::PhantomData };
    writer.line.push_str(F::START);
    let at = Stamp::utc(since.as_secs() as i64).civil();
    writer.bare(
        "time",
        format_args!(
            "{}{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z{}",
            F::QUOTE,
            at.year,
            at.month,
            at.day,
            at.hour,
            at.minute,
            at.second,
            since.subsec_millis(),
            F::QUOTE
        ),
    );
    let level = match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG | Level::TRACE => "debug",
    };
    writer.bare("level", format_args!("{}{level}{}", F::QUOTE, F::QUOTE));
    writer
}

fn end<F: Form>(mut writer: Writer<F>) -> String {
    writer.line.push_str(F::END);
    writer.line.push('\n');
    writer.line
}

/// How a line looks.
pub trait Form {
    const START: &'static str;
    const END: &'static str;
    /// Between pairs.
    const NEXT: &'static str;
    /// Around words that need no escape.
    const QUOTE: &'static str;
    /// What comes between key and value.
    const IS: &'static str;
    /// Whether a text has to stand in quotes.
    fn quotes(text: &str) -> bool;
}

/// As `key=value`.
pub struct Text;
/// As JSON.
pub struct Json;

impl Form for Text {
    const START: &'static str = "";
    const END: &'static str = "";
    const NEXT: &'static str = " ";
    const QUOTE: &'static str = "";
    const IS: &'static str = "=";

    fn quotes(text: &str) -> bool {
        text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'='))
    }
}

impl Form for Json {
    const START: &'static str = "{";
    const END: &'static str = "}";
    const NEXT: &'static str = ",";
    const QUOTE: &'static str = "\"";
    const IS: &'static str = ":";

    fn quotes(_: &str) -> bool {
        true
    }
}

struct Writer<F> {
    line: String,
    /// Whom it is about.
    peer: Option<String>,
    /// Whether it says why something came to nothing.
    says_why: bool,
    form: std::marker::PhantomData<F>,
}

impl<F: Form> Writer<F> {
    /// A key and a value that needs no escape.
    fn bare(&mut self, key: &str, value: fmt::Arguments<'_>) {
        if self.line.len() > F::START.len() {
            self.line.push_str(F::NEXT);
        }
        for part in [F::QUOTE, key, F::QUOTE, F::IS] {
            self.line.push_str(part);
        }
        let _ = self.line.write_fmt(value);
    }

    fn text(&mut self, key: &str, text: &str) {
        if F::quotes(text) {
            let room = LINE_MAX.saturating_sub(self.line.len());
            self.bare(key, format_args!("\"{}\"", Escaped(text, room)));
        } else {
            self.bare(key, format_args!("{}", cut(text, LINE_MAX.saturating_sub(self.line.len()))));
        }
    }
}

impl<F: Form> Visit for Writer<F> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.says_why |= matches!(field.name(), "reason" | "error");
        self.text(key(field), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(key(field), format_args!("{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(key(field), format_args!("{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(key(field), format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        self.text(key(field), &text);
        match field.name() {
            "peer" => self.peer = Some(text),
            "reason" | "error" => self.says_why = true,
            _ => {}
        }
    }
}

/// The text of an event is its `message` to tracing; in the log it is the event.
fn key(field: &Field) -> &str {
    if field.name() == "message" { "event" } else { field.name() }
}

fn cut(text: &str, room: usize) -> &str {
    &text[..text.floor_char_boundary(room)]
}

/// Text between quotes, as JSON escapes it.
struct Escaped<'a>(&'a str, usize);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in cut(self.0, self.1).chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                // Line separators begin a line for some readers, and direction marks let a line lie about what it says.
                c if c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => write!(f, "\\u{:04x}", c as u32)?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use tracing::{Metadata, Subscriber, span};

    /// Keeps lines instead of printing them.
    struct Kept<F>(&'static Mutex<Vec<String>>, std::marker::PhantomData<F>);

    impl<F: Form + Send + Sync + 'static> Subscriber for Kept<F> {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn event(&self, event: &Event<'_>) {
            self.0.lock().unwrap().push(line::<F>(event, Duration::from_millis(1_764_000_000_123)).text);
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    fn logged<F: Form + Send + Sync + 'static>(speak: impl FnOnce()) -> Vec<String> {
        let lines: &'static Mutex<Vec<String>> = Box::leak(Box::default());
        tracing::subscriber::with_default(Kept::<F>(lines, std::marker::PhantomData), speak);
        std::mem::take(&mut *lines.lock().unwrap())
    }

    fn speak() {
        tracing::info!(conn = 7u64, helo = "a b", from = %"x\r\nlevel=error", tls = true, none = "", "message accepted");
        tracing::warn!(path = "/tmp/x", "short");
    }

    #[test]
    fn a_line_is_pairs() {
        assert_eq!(
            logged::<Text>(speak),
            [
                "time=2025-11-24T16:00:00.123Z level=info event=\"message accepted\" conn=7 helo=\"a b\" from=\"x\\r\\nlevel=error\" tls=true none=\"\"\n",
                "time=2025-11-24T16:00:00.123Z level=warn event=short path=/tmp/x\n",
            ]
        );
    }

    #[test]
    fn a_line_is_json() {
        for line in logged::<Json>(speak) {
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert!(value["event"].is_string() && value["time"].is_string(), "{line}");
        }
        let lines = logged::<Json>(|| tracing::info!(text = "\u{1}\u{2028}\"\\ü", n = 3u64, "x"));
        let value: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!((value["text"].as_str(), value["n"].as_u64()), (Some("\u{1}\u{2028}\"\\ü"), Some(3)));
    }

    #[test]
    fn a_line_ends() {
        let long = "ü".repeat(LINE_MAX);
        for lines in [logged::<Text>(|| tracing::info!(long, b = "x".repeat(99_999), "x")), logged::<Json>(|| tracing::info!(long, "x"))] {
            assert!(lines[0].len() < LINE_MAX + 100 && lines[0].ends_with('\n'), "{}", lines[0].len());
        }
    }
}
