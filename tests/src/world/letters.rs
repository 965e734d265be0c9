//! Reads what was delivered: whose it is, which way it came, and what a report says.

/// A message that lies somewhere.
#[derive(Debug, Clone)]
pub struct Found {
    /// The number in its Message-ID, if it is one of ours.
    pub number: Option<u32>,
    /// Its Message-ID.
    pub message_id: String,
    /// Hosts that had it and what they called it, the last one first.
    pub way: Vec<(String, String)>,
    /// What follows the header, with LF line ends.
    pub body: String,
    /// If it is a report, what it says.
    pub report: Option<Report>,
}

/// A report.
#[derive(Debug, Clone)]
pub struct Report {
    /// What it reports on, as far as it came back.
    pub of: Box<Found>,
    /// Recipients and actions.
    pub fates: Vec<(String, String)>,
}

impl Report {
    /// Whether it says that the message failed for that recipient.
    pub fn is_failure_of(&self, who: &str) -> bool {
        self.fates.iter().any(|(of, action)| of == who && action == "failed")
    }

    /// Whether it reports on a report.
    pub fn is_double(&self) -> bool {
        self.of.report.is_some()
    }
}

/// Reads a message with either kind of line ends.
pub fn read(text: &[u8]) -> Found {
    let text = String::from_utf8_lossy(text).replace("\r\n", "\n");
    let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
    let fields = fields(head);
    let find = |name: &str| fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str());
    let message_id = find("Message-ID").unwrap_or_default().to_owned();
    let number = number(&message_id);
    let report = find("Content-Type").filter(|kind| kind.to_ascii_lowercase().contains("multipart/report")).map(|kind| report(kind, body));
    Found { number, message_id, way: way(&fields), body: body.to_owned(), report }
}

/// The number of one of our letters.
fn number(message_id: &str) -> Option<u32> {
    message_id.strip_prefix("<t")?.strip_suffix("@world.test>")?.parse().ok()
}

/// Header fields, unfolded.
fn fields(head: &str) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in head.lines() {
        match (line.starts_with([' ', '\t']), fields.last_mut()) {
            (true, Some((_, value))) => {
                value.push(' ');
                value.push_str(line.trim());
            }
            _ => {
                if let Some((name, value)) = line.split_once(':') {
                    fields.push((name.to_owned(), value.trim().to_owned()));
                }
            }
        }
    }
    fields
}

fn way(fields: &[(String, String)]) -> Vec<(String, String)> {
    let received = fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("Received"));
    received
        .filter_map(|(_, value)| {
            let words: Vec<&str> = value.split_whitespace().collect();
            let after = |key: &str| words.iter().position(|w| *w == key).and_then(|at| words.get(at + 1)).copied();
            Some((after("by")?.to_owned(), after("id")?.trim_end_matches(';').to_owned()))
        })
        .collect()
}

/// The parts of a report: for people, for programs, and what it reports on, which may be a report itself.
fn report(kind: &str, body: &str) -> Report {
    let boundary = kind.split_once("boundary=\"").and_then(|(_, rest)| rest.split_once('"')).map_or("", |(boundary, _)| boundary);
    // What comes back of a report has its own boundary; of a header without its body there is none to be found.
    let body = format!("\n{body}");
    let line = format!("\n--{boundary}\n");
    let mut parts = body.split(&line).skip(2).map(|part| part.split_once("\n\n").map_or("", |(_, content)| content));
    let (programs, original) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let original = original.split_once(&format!("\n--{boundary}--")).map_or(original, |(original, _)| original);
    Report { of: Box::new(read(original.as_bytes())), fates: fates(programs) }
}

fn fates(programs: &str) -> Vec<(String, String)> {
    let mut fates: Vec<(String, String)> = Vec::new();
    for line in programs.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        match name.to_ascii_lowercase().as_str() {
            "final-recipient" => {
                let address = value.split_once(';').map_or(value, |(_, address)| address).trim();
                fates.push((address.to_owned(), String::new()));
            }
            "action" => {
                if let Some((_, action)) = fates.last_mut().filter(|(_, action)| action.is_empty()) {
                    *action = value.trim().to_ascii_lowercase();
                }
            }
            _ => {}
        }
    }
    fates
}
