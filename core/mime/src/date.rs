//! Dates in headers (RFC 5322 §3.3, with the obsolete forms of §4.3).

use crate::lex::Lex;
use mail::{Civil, Stamp};

/// Reads a date as people and programs wrote it: the parts may stand in the order of RFC 5322 or of C's `asctime`, a missing time is
/// midnight, a missing or unknown zone is UTC (RFC 5322 §4.3). None if day, month and year cannot all be found or do not exist.
pub fn date(value: &[u8]) -> Option<Stamp> {
    let mut lex = Lex::new(value);
    let (mut day, mut month, mut year, mut time, mut zone) = (None, None, None, None, None);
    loop {
        lex.space();
        let Some(next) = lex.peek() else { break };
        if next.is_ascii_digit() {
            let digits = lex.until(|b| !b.is_ascii_digit());
            lex.space();
            if lex.peek() == Some(b':') && time.is_none() {
                time = Some(clock(digits, &mut lex)?);
            } else if digits.len() <= 2 && day.is_none() {
                day = Some(number(digits)?);
            } else if year.is_none() {
                year = Some(full_year(digits)?);
            }
        } else if next.is_ascii_alphabetic() {
            let word = lex.until(|b| !b.is_ascii_alphabetic());
            match Stamp::month(word.get(..3).unwrap_or_default()) {
                Some(n) if month.is_none() => month = Some(n),
                _ => zone = zone.or_else(|| named_zone(word)),
            }
        } else {
            lex.eat(next);
            // A hyphen stands between the parts of a date too: only after the time is it a sign.
            if matches!(next, b'+' | b'-') && time.is_some() && zone.is_none() {
                zone = offset(next, lex.until(|b| !b.is_ascii_digit()));
            }
        }
    }
    let (hour, minute, second) = time.unwrap_or((0, 0, 0));
    Stamp::from_civil(Civil { year: year?, month: month?, day: day?, hour, minute, second }, zone.unwrap_or(0))
}

/// What follows the hour.
fn clock(hour: &[u8], lex: &mut Lex<'_>) -> Option<(u8, u8, u8)> {
    let mut after_colon = || {
        lex.space();
        lex.eat(b':').then(|| {
            lex.space();
            number(lex.until(|b| !b.is_ascii_digit()))
        })
    };
    let minute = after_colon()??;
    let second = after_colon().unwrap_or(Some(0))?;
    if lex.eat(b'.') {
        lex.until(|b| !b.is_ascii_digit());
    }
    Some((number(hour)?, minute, second))
}

fn number(digits: &[u8]) -> Option<u8> {
    if digits.is_empty() || digits.len() > 2 {
        return None;
    }
    Some(digits.iter().fold(0, |n, d| n * 10 + (d - b'0')))
}

/// Years of two digits are 1950 to 2049, of three digits count from 1900 (RFC 5322 §4.3).
fn full_year(digits: &[u8]) -> Option<i64> {
    if digits.len() > 4 {
        return None;
    }
    let n = digits.iter().fold(0, |n, d| n * 10 + i64::from(d - b'0'));
    Some(match digits.len() {
        ..=2 if n < 50 => n + 2000,
        ..=3 => n + 1900,
        _ => n,
    })
}

fn offset(sign: u8, digits: &[u8]) -> Option<i16> {
    if digits.len() != 4 {
        return None;
    }
    let minutes = i16::from(number(&digits[..2])?) * 60 + i16::from(number(&digits[2..])?);
    (minutes < 24 * 60).then_some(if sign == b'-' { -minutes } else { minutes })
}

/// RFC 5322 §4.3. The military letters were used with either sign and mean UTC there.
fn named_zone(word: &[u8]) -> Option<i16> {
    const NAMES: [(&[u8], i16); 11] = [
        (b"UT", 0),
        (b"UTC", 0),
        (b"GMT", 0),
        (b"EDT", -4),
        (b"EST", -5),
        (b"CDT", -5),
        (b"CST", -6),
        (b"MDT", -6),
        (b"MST", -7),
        (b"PDT", -7),
        (b"PST", -8),
    ];
    NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, hours)| hours * 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn dates_as_they_are_found() {
        let cases: [(&str, &str); 12] = [
            ("Fri, 21 Nov 1997 09:55:06 -0600", "21-Nov-1997 09:55:06 -0600"),
            ("Thu,\r\n      13\r\n        Feb\r\n  1969\r\n      23:32\r\n   -0330 (Newfoundland Time)", "13-Feb-1969 23:32:00 -0330"),
            ("21 Nov 97 09:55:06 GMT", "21-Nov-1997 09:55:06 +0000"),
            ("Wed Jul 17 02:23:25 1996", "17-Jul-1996 02:23:25 +0000"),
            ("Wed Jul 17 02:23:25 PDT 1996", "17-Jul-1996 02:23:25 -0700"),
            ("17-Jul-1996", "17-Jul-1996 00:00:00 +0000"),
            ("1 January 2026 1:02:03 +0130", " 1-Jan-2026 01:02:03 +0130"),
            ("Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", "21-Nov-1997 09:55:06 -0600"),
            ("1 Jan 126 00:00", " 1-Jan-2026 00:00:00 +0000"),
            ("30 Feb 2026 00:00", "none"),
            ("yesterday", "none"),
            ("Sun, 1 Mar 2026 10:00:00 +9999", " 1-Mar-2026 10:00:00 +0000"),
        ];
        for (value, expect) in cases {
            let read = date(value.as_bytes()).map_or("none".to_string(), |s| s.internal().to_string());
            assert_eq!(read, expect, "{value}");
        }
    }
}
