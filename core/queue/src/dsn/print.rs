//! A report as octets.

use super::{About, Kind, Message, REPLY_SHOWN, Report, Returned, SHOWN_MAX, Templates, explain, template::fill};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt::Write as _;

/// Columns of a text for people (RFC 5322 §2.1.1).
const COLUMNS: usize = 78;

/// Octets after which a field or a word is broken: a line has at most 998 (RFC 5322 §2.1.1).
const LINE_MAX: usize = 900;

pub(super) fn message(report: &Report<'_>, templates: &Templates) -> Message {
    let Report { host, name, original, .. } = *report;
    let template = templates.of(report.kind);
    let value = |placeholder: &str| common(report, placeholder);
    let text = people(report, templates);
    let machine = status_fields(report);
    let boundary = format!("{name}/report");
    let mut head = String::new();
    let mut put = |line: &str| {
        head.push_str(line);
        head.push('\n');
    };
    put(&format!("Date: {}", report.date.header()));
    put(&format!("From: Mail Delivery System <MAILER-DAEMON@{host}>"));
    put(&format!("To: <{}>", clean(&report.to.to_string())));
    put(&format!("Subject: {}", subject(&fill(&template.subject, &value).unwrap_or_default())));
    put(&format!("Message-ID: <{name}@{host}>"));
    if let Some(id) = original.message_id.filter(|id| is_message_id(id)) {
        put(&format!("References: {id}"));
    }
    // RFC 3834 §5: so that nobody answers it by machine.
    put("Auto-Submitted: auto-replied");
    put("MIME-Version: 1.0");
    put("Content-Type: multipart/report; report-type=delivery-status;");
    put(&format!("\tboundary=\"{boundary}\""));
    if !text.is_ascii() || !machine.is_ascii() || original.eight_bit || original.utf8 {
        put("Content-Transfer-Encoding: 8bit");
    }
    put(&format!("\n--{boundary}\nContent-Description: Report\nContent-Type: text/plain; charset=utf-8"));
    put(if text.is_ascii() { "" } else { "Content-Transfer-Encoding: 8bit\n" });
    put(&text);
    put(&format!("--{boundary}\nContent-Description: Report for programs"));
    // RFC 6533 §4.4: where nothing is lost by it, the type that everybody knows.
    put(if machine.is_ascii() {
        "Content-Type: message/delivery-status\n"
    } else {
        "Content-Type: message/global-delivery-status\nContent-Transfer-Encoding: 8bit\n"
    });
    put(&machine);
    let (what, media) = match (original.returned, original.utf8) {
        (Returned::Whole, false) => ("Original message", "message/rfc822"),
        (Returned::Whole, true) => ("Original message", "message/global"),
        (Returned::Header, false) => ("Header of the original message", "text/rfc822-headers"),
        (Returned::Header, true) => ("Header of the original message", "message/global-headers"),
    };
    put(&format!("--{boundary}\nContent-Description: {what}\nContent-Type: {media}"));
    put(if original.eight_bit || original.utf8 { "Content-Transfer-Encoding: 8bit\n" } else { "" });
    let utf8 = original.utf8 || report.to.is_utf8();
    Message {
        eight_bit: !head.is_ascii() || original.eight_bit || utf8,
        head: head.into_bytes(),
        returned: original.returned,
        tail: format!("\n--{boundary}--\n").into_bytes(),
        utf8,
    }
}

/// The text for people, ending with an empty line.
fn people(report: &Report<'_>, templates: &Templates) -> String {
    let mut text = String::new();
    for paragraph in &templates.of(report.kind).paragraphs {
        if paragraph.iter().any(|line| line.contains("{recipient}")) {
            for about in report.recipients.iter().take(SHOWN_MAX) {
                print(&mut text, paragraph, &|name| each(report, about, name).or_else(|| common(report, name)));
            }
            if let more @ 1.. = report.recipients.len().saturating_sub(SHOWN_MAX) {
                let _ = write!(text, "... and {more} more, all of them in the part for programs.\n\n");
            }
        } else {
            print(&mut text, paragraph, &|name| common(report, name));
        }
    }
    text.truncate(text.trim_end_matches('\n').len() + 1);
    text
}

fn print(text: &mut String, paragraph: &[alloc::boxed::Box<str>], value: &impl Fn(&str) -> Option<String>) {
    let before = text.len();
    for line in paragraph.iter().filter_map(|line| fill(line, value)) {
        wrap(text, &line);
    }
    if text.len() > before {
        text.push('\n');
    }
}

fn common(report: &Report<'_>, placeholder: &str) -> Option<String> {
    Some(match placeholder {
        "host" => report.host.into(),
        "postmaster" => clean(&report.postmaster.to_string()),
        "arrived" => report.original.arrived.header().to_string(),
        "id" => clean(report.original.id),
        "count" => report.recipients.len().to_string(),
        _ => return None,
    })
}

fn each(report: &Report<'_>, about: &About<'_>, placeholder: &str) -> Option<String> {
    let filled = |text: String| (!text.is_empty()).then_some(text);
    match placeholder {
        "recipient" => Some(clean(&about.address.to_string())),
        "original" => {
            // Only if it tells something new.
            let address = about.original.map(|o| o.split_once(';').map_or(o, |(_, address)| address).trim())?;
            filled(clean(address)).filter(|a| !a.eq_ignore_ascii_case(&about.address.to_string()))
        }
        "reason" => Some(clean(&explain::reason(report.kind, about))),
        "advice" => Some(explain::advice(report.kind, about).into()),
        "remote" => about.remote.filter(|_| about.code != 0).map(clean),
        "reply" => (about.code != 0).then(|| format!("{} {}", about.code, shown(about.reply)).trim_end().into()),
        "status" => Some(about.status(report.kind).into()),
        "until" => about.until.map(|until| until.header().to_string()),
        _ => None,
    }
}

/// `message/delivery-status` (RFC 3464 §2.1): a group of fields for the message, one for each recipient, an empty line before each.
fn status_fields(report: &Report<'_>) -> String {
    let mut out = String::new();
    let utf8 = report.original.utf8;
    if let Some(envid) = report.original.envid {
        field(&mut out, "Original-Envelope-Id", &plain(envid, utf8));
    }
    let kind_of_name = if report.host.contains('.') { "dns" } else { "x-local-hostname" };
    field(&mut out, "Reporting-MTA", &format!("{kind_of_name}; {}", report.host));
    field(&mut out, "Arrival-Date", &report.original.arrived.header().to_string());
    for about in report.recipients {
        out.push('\n');
        if let Some(original) = about.original {
            let (kind, address) = original.split_once(';').unwrap_or(("unknown", original));
            field(&mut out, "Original-Recipient", &typed(kind.trim(), address.trim(), utf8));
        }
        field(&mut out, "Final-Recipient", &typed("rfc822", &about.address.to_string(), utf8));
        let action = match report.kind {
            Kind::Failed | Kind::Double => "failed",
            Kind::Delayed => "delayed",
            Kind::Delivered => "delivered",
            Kind::Relayed => "relayed",
            Kind::Expanded => "expanded",
        };
        field(&mut out, "Action", action);
        field(&mut out, "Status", about.status(report.kind));
        if about.code != 0 {
            // RFC 3464 §2.3.6: with this field, the diagnostic is the remote server's.
            if let Some(remote) = about.remote {
                field(&mut out, "Remote-MTA", &format!("dns; {}", plain(remote, utf8)));
            }
            field(&mut out, "Diagnostic-Code", &format!("smtp; {}", transcript(about.code, about.reply, utf8)));
        } else if !about.reply.trim().is_empty() {
            field(&mut out, "Diagnostic-Code", &format!("x-hikyaku; {}", plain(&shown(about.reply), utf8)));
        }
        if let Some(attempted) = about.attempted {
            field(&mut out, "Last-Attempt-Date", &attempted.header().to_string());
        }
        if let Some(until) = about.until.filter(|_| report.kind == Kind::Delayed) {
            field(&mut out, "Will-Retry-Until", &until.header().to_string());
        }
    }
    out
}

/// A reply of several lines as one value (RFC 3461 §9.2); [`field`] puts a space before each line after the first.
fn transcript(code: u16, reply: &str, utf8: bool) -> String {
    let reply = &reply[..reply.floor_char_boundary(REPLY_SHOWN)];
    let count = reply.lines().count().max(1);
    let mut out = String::new();
    for (at, line) in reply.lines().chain(reply.is_empty().then_some("")).enumerate() {
        let (sign, end) = if at + 1 < count { ('-', "\n") } else { (' ', "") };
        let _ = write!(out, "{code}{sign}{}{end}", plain(line, utf8));
    }
    out
}

/// `Name: value`. Line ends of the value and places where it is too long continue with a space.
fn field(out: &mut String, name: &str, value: &str) {
    let _ = write!(out, "{name}: ");
    for (at, line) in value.split('\n').enumerate() {
        out.push_str(if at == 0 { "" } else { "\n " });
        let mut rest = line;
        while rest.len() > LINE_MAX {
            let (piece, after) = rest.split_at(rest.floor_char_boundary(LINE_MAX));
            let _ = write!(out, "{piece}\n ");
            rest = after;
        }
        out.push_str(rest);
    }
    out.push('\n');
}

/// An address with its type (RFC 3464 §2.1.2, RFC 6533 §3).
fn typed(kind: &str, address: &str, utf8: bool) -> String {
    let kind = plain(kind, false);
    let is_utf8_kind = kind.eq_ignore_ascii_case("utf-8");
    match (address.is_ascii(), utf8) {
        (true, true) if is_utf8_kind => format!("utf-8; {}", clean(&from_unitext(address))),
        (true, _) => format!("{kind}; {}", clean(address)),
        (false, true) => format!("utf-8; {}", clean(address)),
        (false, false) => format!("utf-8; {}", to_unitext(address)),
    }
}

/// The form of an address that is safe anywhere: `\x{E9}` (RFC 6533 §3, `utf-8-addr-xtext`).
fn to_unitext(address: &str) -> String {
    let mut out = String::new();
    for c in address.chars() {
        if c.is_ascii_graphic() && !matches!(c, '\\' | '+' | '=') {
            out.push(c);
        } else {
            let _ = write!(out, "\\x{{{:02X}}}", u32::from(c));
        }
    }
    out
}

/// The other way round; what is no such form stays as it is (RFC 6533 §3).
fn from_unitext(address: &str) -> String {
    let mut out = String::new();
    let mut rest = address;
    while let Some((before, after)) = rest.split_once("\\x{") {
        let decoded = after.split_once('}').and_then(|(hex, after)| {
            let point = (hex.len() <= 6).then(|| u32::from_str_radix(hex, 16).ok().and_then(char::from_u32))?;
            point.map(|c| (c, after))
        });
        let Some((c, after)) = decoded else { return address.into() };
        out += before;
        out.push(c);
        rest = after;
    }
    out + rest
}

/// On one line, without control characters.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// As [`clean`]; in ASCII unless the report may hold UTF-8.
fn plain(text: &str, utf8: bool) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() {
                ' '
            } else if utf8 || c.is_ascii() {
                c
            } else {
                '?'
            }
        })
        .collect()
}

/// A reply on one line and cut; the enhanced code that servers put in front of every line once.
fn shown(reply: &str) -> String {
    let code = explain::enhanced(reply).unwrap_or_default();
    let lines = reply.lines().enumerate();
    let lines = lines.map(|(at, line)| if at == 0 { line } else { line.trim_start().strip_prefix(code).unwrap_or(line) });
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    let mut text = clean(&words.join(" "));
    text.truncate(text.floor_char_boundary(REPLY_SHOWN));
    text
}

/// Appends a line, broken between words where it is too long; what follows is indented as the line is.
fn wrap(out: &mut String, line: &str) {
    let indent = &line[..line.len() - line.trim_start().len()];
    let mut columns = 0;
    for word in line.split_whitespace() {
        let mut rest = word;
        loop {
            let (piece, after) = rest.split_at(rest.floor_char_boundary(LINE_MAX));
            let width = piece.chars().count();
            if columns > 0 && columns + 1 + width > COLUMNS {
                out.push('\n');
                columns = 0;
            }
            if columns == 0 {
                out.push_str(indent);
                columns = indent.len();
            } else {
                out.push(' ');
                columns += 1;
            }
            out.push_str(piece);
            columns += width;
            if after.is_empty() {
                break;
            }
            rest = after;
        }
    }
    out.push('\n');
}

/// A subject; as encoded words if it has letters beyond ASCII (RFC 2047 §2, §5).
fn subject(text: &str) -> String {
    if text.is_ascii() && text.len() <= LINE_MAX {
        return text.into();
    }
    let mut out = String::from("=?utf-8?q?");
    let mut columns = out.len();
    for c in text.chars() {
        let mut encoded = String::new();
        for byte in c.encode_utf8(&mut [0; 4]).bytes() {
            match byte {
                b' ' => encoded.push('_'),
                _ if byte.is_ascii_alphanumeric() => encoded.push(char::from(byte)),
                _ => drop(write!(encoded, "={byte:02X}")),
            }
        }
        // An encoded word has at most 75 characters and no half of a letter.
        if columns + encoded.len() > 70 {
            out += "?=\n =?utf-8?q?";
            columns = 11;
        }
        columns += encoded.len();
        out += &encoded;
    }
    out + "?="
}

/// Whether a text can stand in `References:` as it is.
fn is_message_id(text: &str) -> bool {
    text.len() <= LINE_MAX
        && text.len() > 2
        && text.starts_with('<')
        && text.ends_with('>')
        && text[1..text.len() - 1].bytes().all(|c| c.is_ascii_graphic() && !matches!(c, b'<' | b'>'))
}
