//! Parameters of MAIL and RCPT (RFC 5321 §4.1.1.11).

use super::SyntaxError;
use crate::Body;

/// What MAIL said beside its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct MailParameters {
    /// SIZE (RFC 1870), in octets.
    pub(crate) size: Option<u64>,
    /// BODY (RFC 6152).
    pub(crate) body: Option<Body>,
    /// SMTPUTF8 (RFC 6531).
    pub(crate) utf8: bool,
    /// Whether there was an AUTH (RFC 4954 §5). Nobody here is trusted to speak for others, so what it says is not kept.
    pub(crate) auth: bool,
}

/// Parses what follows the path of MAIL: nothing, or a blank and parameters.
pub(crate) fn of_mail(rest: &str) -> Result<MailParameters, SyntaxError> {
    let mut said = MailParameters::default();
    for word in words(rest).ok_or(SyntaxError::Sender)? {
        let (name, value) = name_and_value(word)?;
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("SIZE") {
            once(said.size.is_some())?;
            said.size = Some(size(value)?);
        } else if is("BODY") {
            once(said.body.is_some())?;
            said.body = Some(body(value)?);
        } else if is("SMTPUTF8") {
            once(said.utf8 || value.is_some())?;
            said.utf8 = true;
        } else if is("AUTH") {
            once(said.auth || !value.is_some_and(is_mailbox_or_none))?;
            said.auth = true;
        } else {
            return Err(SyntaxError::UnknownParameter);
        }
    }
    Ok(said)
}

/// Parses what follows the path of RCPT: no parameter is known.
pub(crate) fn of_rcpt(rest: &str) -> Result<(), SyntaxError> {
    match words(rest).ok_or(SyntaxError::Recipient)?.next() {
        None => Ok(()),
        Some(word) => name_and_value(word).and(Err(SyntaxError::UnknownParameter)),
    }
}

fn words(rest: &str) -> Option<impl Iterator<Item = &str>> {
    (rest.is_empty() || rest.starts_with(' ')).then(|| rest.split(' ').filter(|word| !word.is_empty()))
}

fn name_and_value(word: &str) -> Result<(&str, Option<&str>), SyntaxError> {
    let (name, value) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (word, None),
    };
    let named = name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if named && value != Some("") { Ok((name, value)) } else { Err(SyntaxError::Parameter) }
}

fn once(bad: bool) -> Result<(), SyntaxError> {
    if bad { Err(SyntaxError::Parameter) } else { Ok(()) }
}

/// RFC 1870 §4: up to 20 digits, which may be more than 64 bits hold; then it is too much in any case.
fn size(value: Option<&str>) -> Result<u64, SyntaxError> {
    let digits = value.filter(|v| v.len() <= 20 && v.bytes().all(|b| b.is_ascii_digit())).ok_or(SyntaxError::Parameter)?;
    Ok(digits.parse().unwrap_or(u64::MAX))
}

fn body(value: Option<&str>) -> Result<Body, SyntaxError> {
    match value {
        Some(v) if v.eq_ignore_ascii_case("7BIT") => Ok(Body::SevenBit),
        Some(v) if v.eq_ignore_ascii_case("8BITMIME") => Ok(Body::EightBit),
        // RFC 3030 §3: only who advertises BINARYMIME takes it.
        Some(v) if v.eq_ignore_ascii_case("BINARYMIME") => Err(SyntaxError::UnknownParameter),
        _ => Err(SyntaxError::Parameter),
    }
}

/// RFC 4954 §5: `<>` or an xtext (RFC 3461 §4).
fn is_mailbox_or_none(value: &str) -> bool {
    let mut bytes = value.bytes();
    value == "<>"
        || loop {
            match bytes.next() {
                None => break true,
                Some(b'+') => {
                    let hex = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b));
                    if !hex(bytes.next()) || !hex(bytes.next()) {
                        break false;
                    }
                }
                Some(b'=') => break false,
                Some(b) if b.is_ascii_graphic() => {}
                Some(_) => break false,
            }
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_mail_may_say() {
        assert_eq!(of_mail(""), Ok(MailParameters::default()));
        assert_eq!(
            of_mail(" size=12  BODY=8BitMime SMTPUTF8 AUTH=<>"),
            Ok(MailParameters { size: Some(12), body: Some(Body::EightBit), utf8: true, auth: true })
        );
        assert_eq!(of_mail(" SIZE=99999999999999999999").unwrap().size, Some(u64::MAX));
        assert!(of_mail(" AUTH=e+3Dmc2@example.com").unwrap().auth);
    }

    #[test]
    fn what_it_may_not() {
        for bad in [
            " SIZE",
            " SIZE=",
            " SIZE=x",
            " SIZE=-1",
            " SIZE=1 SIZE=1",
            " BODY=9BIT",
            " SMTPUTF8=yes",
            " AUTH=a=b",
            " AUTH=+3",
            " =1",
            " SIZE=100000000000000000000",
        ] {
            assert_eq!(of_mail(bad), Err(SyntaxError::Parameter), "{bad:?}");
        }
        for unknown in [" FOO", " RET=FULL", " BODY=BINARYMIME", " X-Y=z"] {
            assert_eq!(of_mail(unknown), Err(SyntaxError::UnknownParameter), "{unknown:?}");
        }
        assert_eq!(of_mail("SIZE=1"), Err(SyntaxError::Sender));
        assert_eq!(of_rcpt(" NOTIFY=NEVER"), Err(SyntaxError::UnknownParameter));
        assert_eq!(of_rcpt("x"), Err(SyntaxError::Recipient));
    }
}
