//! Texts that people and clients write: addresses, logins, configuration.

use mail::{Address, Keyword, MailboxName};
use sasl::{Exchange, Mechanism, SaslStep};

/// Addresses, keywords, names of mailboxes.
pub fn address(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(address) = Address::parse(text) {
        let printed = address.to_string();
        if !printed.starts_with('"') {
            assert_eq!(Address::parse(&printed), Some(address.clone()), "a printed address is the same address");
        }
        let plain = address.without_detail('+');
        assert_eq!(plain.without_detail('+'), plain);
    }
    if let Ok(name) = MailboxName::new(text) {
        assert_eq!(MailboxName::new(name.as_str()).as_ref(), Ok(&name));
        assert!(name.parent().is_none_or(|up| name.is_below(&up)));
    }
    let _ = Keyword::new(text);
}

/// A line to each mechanism, then the next.
pub fn sasl(data: &[u8]) {
    for mechanism in [Mechanism::Plain, Mechanism::Login] {
        let mut lines = data.split(|b| *b == b'\n');
        let mut exchange = Exchange::new(mechanism);
        let first = lines.next().filter(|l| !l.is_empty());
        let mut step = exchange.start(first);
        for line in lines {
            let SaslStep::Challenge(challenge) = step else { break };
            assert!(challenge.is_ascii() && challenge.len() < 1000);
            step = exchange.respond(line);
        }
    }
}

/// A configuration file: it is right, or the error shows where it is not.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match config::parse("hikyaku.ron", text) {
        Ok(config) => {
            let _ = (config.listeners(), config.hostname().len(), config.accounts_path());
        }
        Err(error) => assert!(error.to_string().contains("hikyaku.ron"), "an error without its file"),
    }
}
