//! Parameters of MAIL and RCPT (RFC 5321 §4.1.1.11).

use super::{
    SyntaxError,
    wish::{self, Hold, Within},
    xtext,
};
use crate::Body;
use alloc::boxed::Box;
use mail::{Notify, Ret};

/// What MAIL said beside its path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct MailParameters {
    /// SIZE (RFC 1870), in octets.
    pub(crate) size: Option<u64>,
    /// BODY (RFC 6152, 3030).
    pub(crate) body: Option<Body>,
    /// SMTPUTF8 (RFC 6531).
    pub(crate) utf8: bool,
    /// Whether there was an AUTH (RFC 4954 §5). Nobody here is trusted to speak for others, so what it says is not kept.
    pub(crate) auth: bool,
    /// RET (RFC 3461 §4.3).
    pub(crate) ret: Option<Ret>,
    /// ENVID (RFC 3461 §4.4), decoded.
    pub(crate) envid: Option<Box<str>>,
    /// BY (RFC 2852).
    pub(crate) by: Option<Within>,
    /// HOLDFOR or HOLDUNTIL (RFC 4865).
    pub(crate) hold: Option<Hold>,
    /// MT-PRIORITY (RFC 6710).
    pub(crate) priority: Option<i8>,
    /// REQUIRETLS (RFC 8689).
    pub(crate) require_tls: bool,
}

/// What RCPT said beside its path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct RcptParameters {
    /// NOTIFY (RFC 3461 §4.1).
    pub(crate) notify: Notify,
    /// ORCPT (RFC 3461 §4.2, RFC 6533 §3), decoded.
    pub(crate) original: Option<Box<str>>,
    /// Whether ORCPT came in raw UTF-8.
    pub(crate) utf8: bool,
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
        } else if is("RET") {
            once(said.ret.is_some())?;
            said.ret = Some(needed(value, ret)?);
        } else if is("ENVID") {
            once(said.envid.is_some())?;
            said.envid = Some(needed(value, xtext::envid)?);
        } else if is("BY") {
            once(said.by.is_some())?;
            said.by = Some(needed(value, wish::by)?);
        } else if is("HOLDFOR") {
            once(said.hold.is_some())?;
            said.hold = Some(needed(value, wish::hold_for)?);
        } else if is("HOLDUNTIL") {
            once(said.hold.is_some())?;
            said.hold = Some(needed(value, wish::hold_until)?);
        } else if is("MT-PRIORITY") {
            once(said.priority.is_some())?;
            said.priority = Some(needed(value, wish::priority)?);
        } else if is("REQUIRETLS") {
            once(said.require_tls || value.is_some())?;
            said.require_tls = true;
        } else {
            return Err(SyntaxError::UnknownParameter);
        }
    }
    Ok(said)
}

/// Parses what follows the path of RCPT: nothing, or a blank and parameters.
pub(crate) fn of_rcpt(rest: &str) -> Result<RcptParameters, SyntaxError> {
    let mut said = RcptParameters::default();
    for word in words(rest).ok_or(SyntaxError::Recipient)? {
        let (name, value) = name_and_value(word)?;
        if name.eq_ignore_ascii_case("NOTIFY") {
            once(!said.notify.is_unsaid())?;
            said.notify = needed(value, notify)?;
        } else if name.eq_ignore_ascii_case("ORCPT") {
            once(said.original.is_some())?;
            said.original = Some(needed(value, xtext::orcpt)?);
            said.utf8 = value.is_some_and(|value| !value.is_ascii());
        } else {
            return Err(SyntaxError::UnknownParameter);
        }
    }
    Ok(said)
}

/// A value that must be there.
fn needed<T>(value: Option<&str>, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, SyntaxError> {
    value.and_then(parse).ok_or(SyntaxError::Parameter)
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
        Some(v) if v.eq_ignore_ascii_case("BINARYMIME") => Ok(Body::Binary),
        _ => Err(SyntaxError::Parameter),
    }
}

/// RFC 4954 §5: `<>` or an xtext.
fn is_mailbox_or_none(value: &str) -> bool {
    value == "<>" || xtext::is_xtext(value)
}

/// RFC 3461 §4.3.
fn ret(value: &str) -> Option<Ret> {
    match value {
        v if v.eq_ignore_ascii_case("FULL") => Some(Ret::Full),
        v if v.eq_ignore_ascii_case("HDRS") => Some(Ret::Headers),
        _ => None,
    }
}

/// RFC 3461 §4.1: NEVER alone, or a list of the others.
fn notify(value: &str) -> Option<Notify> {
    if value.eq_ignore_ascii_case("NEVER") {
        return Some(Notify::NEVER);
    }
    value.split(',').try_fold(Notify::default(), |so_far, word| match word {
        w if w.eq_ignore_ascii_case("SUCCESS") => Some(so_far.with(Notify::SUCCESS)),
        w if w.eq_ignore_ascii_case("FAILURE") => Some(so_far.with(Notify::FAILURE)),
        w if w.eq_ignore_ascii_case("DELAY") => Some(so_far.with(Notify::DELAY)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_mail_may_say() {
        assert_eq!(of_mail(""), Ok(MailParameters::default()));
        assert_eq!(
            of_mail(" size=12  BODY=8BitMime SMTPUTF8 AUTH=<>"),
            Ok(MailParameters { size: Some(12), body: Some(Body::EightBit), utf8: true, auth: true, ..MailParameters::default() })
        );
        let said = of_mail(" RET=hdrs ENVID=a+2Bb BY=60;RT HOLDFOR=5 MT-PRIORITY=-3 REQUIRETLS BODY=BINARYMIME").unwrap();
        assert_eq!((said.ret, said.envid.as_deref(), said.priority), (Some(Ret::Headers), Some("a+b"), Some(-3)));
        assert_eq!(said.by, Some(Within { seconds: 60, or_return: true, trace: true }));
        assert_eq!((said.hold, said.require_tls, said.body), (Some(Hold::For(5)), true, Some(Body::Binary)));
        assert_eq!(of_mail(" SIZE=99999999999999999999").unwrap().size, Some(u64::MAX));
        assert!(of_mail(" AUTH=e+3Dmc2@example.com").unwrap().auth);
    }

    #[test]
    fn what_rcpt_may_say() {
        assert_eq!(of_rcpt(""), Ok(RcptParameters::default()));
        let said = of_rcpt(" NOTIFY=success,Delay ORCPT=rfc822;Bob@x").unwrap();
        assert_eq!(said.notify, Notify::SUCCESS.with(Notify::DELAY));
        assert_eq!((said.original.as_deref(), said.utf8), (Some("rfc822;Bob@x"), false));
        assert!(of_rcpt(" ORCPT=utf-8;\u{e9}@x").unwrap().utf8);
        for bad in [" NOTIFY", " NOTIFY=", " NOTIFY=NEVER,DELAY", " NOTIFY=X", " NOTIFY=,", " NOTIFY=DELAY NOTIFY=DELAY", " ORCPT=x"] {
            assert_eq!(of_rcpt(bad), Err(SyntaxError::Parameter), "{bad:?}");
        }
        assert_eq!(of_rcpt(" ORCPT=a;b ORCPT=a;b"), Err(SyntaxError::Parameter));
        assert_eq!(of_rcpt(" RET=FULL"), Err(SyntaxError::UnknownParameter));
        assert_eq!(of_rcpt("x"), Err(SyntaxError::Recipient));
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
            " RET=HALF",
            " RET=FULL RET=FULL",
            " ENVID=",
            " ENVID=a ENVID=a",
            " BY=0;R",
            " BY=1;N BY=1;N",
            " HOLDFOR=1 HOLDUNTIL=1970-01-01T00:00:00Z",
            " MT-PRIORITY=10",
            " REQUIRETLS=YES",
            " REQUIRETLS REQUIRETLS",
        ] {
            assert_eq!(of_mail(bad), Err(SyntaxError::Parameter), "{bad:?}");
        }
        for unknown in [" FOO", " NOTIFY=NEVER", " X-Y=z"] {
            assert_eq!(of_mail(unknown), Err(SyntaxError::UnknownParameter), "{unknown:?}");
        }
        assert_eq!(of_mail("SIZE=1"), Err(SyntaxError::Sender));
    }
}
