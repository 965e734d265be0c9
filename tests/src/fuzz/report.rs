//! Reports about mail whose peers, senders and recipients say anything.

use mail::{Address, Stamp};
use mime::{Kind as Of, Scanner};
use queue::dsn::{About, HeaderOnly, Kind, Original, Report, Returned, Template, Templates};

/// The bytes are an original, and its pieces between line feeds are what the parties say. Whatever it is, the report has three parts, one group of
/// fields for each recipient, and lines that every server takes. A second use: any text is a template or is refused.
pub fn queue_report(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut templates = Templates::default();
    if let Ok(template) = Template::parse(&text) {
        templates.replace(Kind::Failed, template);
    }
    let mut pieces = text.split('|').cycle();
    let mut piece = || pieces.next().unwrap_or_default();
    let (to, bob) = (Address::new(piece(), piece()), Address::new(piece(), piece()));
    let choice = data.first().copied().unwrap_or_default();
    let (_, kind) = Templates::FILES[usize::from(choice) % Templates::FILES.len()];
    let about = |original, code, reply, remote| About {
        address: &bob,
        original,
        code,
        reply,
        remote,
        attempted: None,
        until: None,
        overdue: false,
    };
    let recipients = [about(Some(piece()), 550, piece(), Some(piece())), about(None, 0, piece(), Some(piece()))];
    let original = Original {
        id: piece(),
        envid: Some(piece()),
        arrived: Stamp::utc(0),
        message_id: Some(piece()),
        utf8: choice & 64 != 0,
        eight_bit: true,
        returned: if choice & 128 == 0 { Returned::Whole } else { Returned::Header },
    };
    let report = Report {
        kind,
        host: "mx.example.test",
        to: &to,
        postmaster: &bob,
        name: "0123456789abcdef.77",
        date: Stamp::utc(0),
        original,
        recipients: &recipients,
    };
    let message = report.message(&templates);
    let between = match message.returned {
        Returned::Whole => data,
        Returned::Header => HeaderOnly::new().pass(data),
    };
    for made in [&message.head, &message.tail] {
        let made = std::str::from_utf8(made).expect("what is made is UTF-8");
        assert!(!made.contains(['\r', '\0']), "a control character came through");
        assert!(made.lines().all(|line| line.len() <= 998), "a line is too long");
        assert!(made.is_ascii() || message.eight_bit, "letters beyond ASCII were not declared");
    }
    let mut scanner = Scanner::new();
    [&message.head[..], between, &message.tail].iter().for_each(|bytes| scanner.feed(bytes));
    let structure = scanner.finish();
    let Of::Multipart(parts) = &structure.root.kind else { panic!("no multipart") };
    assert_eq!(parts.len(), 3);
    // An original that breaks off in its header: the line end before the boundary is the empty line after that header as well.
    // And a CR at its very end, which no message has that came over SMTP, becomes half of that line end.
    let whole = between.len() as u64;
    let fewer = u64::from(between.ends_with(b"\r"));
    let more = u64::from(message.returned == Returned::Whole);
    assert!((whole - fewer..=whole + more).contains(&parts[2].body.len), "the original is not as it was");
    let status = parts[1].body;
    let status = &message.head[status.at as usize..(status.at + status.len) as usize];
    let status = std::str::from_utf8(status).expect("UTF-8");
    assert_eq!(status.split("\n\n").count(), 3, "one group for the message, one for each recipient");
    assert_eq!(status.lines().filter(|line| line.starts_with("Action: ")).count(), 2);
}
