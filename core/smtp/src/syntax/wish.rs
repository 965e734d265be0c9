//! When and how urgently: BY (RFC 2852), HOLDFOR and HOLDUNTIL (RFC 4865), MT-PRIORITY (RFC 6710).

use mail::{Civil, Stamp};

/// Seconds are at most nine digits in all of these.
const DIGITS: usize = 9;

/// BY, relative to the moment it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Within {
    pub(crate) seconds: i32,
    /// Mode `R`, not `N`.
    pub(crate) or_return: bool,
    pub(crate) trace: bool,
}

/// HOLDFOR or HOLDUNTIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    For(u32),
    Until(Stamp),
}

/// RFC 2852 §4: `[+-]1*9DIGIT;(N|R)[T]`; nothing can be returned after a time that is over.
pub(super) fn by(value: &str) -> Option<Within> {
    let (time, mode) = value.split_once(';')?;
    let (negative, digits) = match time.as_bytes().first()? {
        b'-' => (true, &time[1..]),
        b'+' => (false, &time[1..]),
        _ => (false, time),
    };
    let seconds = i32::try_from(number(digits)?).ok()?;
    let (mode, trace) = match mode.as_bytes() {
        [mode] => (mode, false),
        [mode, b'T' | b't'] => (mode, true),
        _ => return None,
    };
    let or_return = match mode {
        b'R' | b'r' => true,
        b'N' | b'n' => false,
        _ => return None,
    };
    let seconds = if negative { -seconds } else { seconds };
    (!or_return || seconds > 0).then_some(Within { seconds, or_return, trace })
}

/// RFC 4865 §3: 1 to 999999999.
pub(super) fn hold_for(value: &str) -> Option<Hold> {
    number(value).filter(|seconds| *seconds > 0 && !value.starts_with('0')).map(Hold::For)
}

/// RFC 4865 §3: a date and time of RFC 3339 in UTC, `2026-11-24T06:37:27Z`. Fractions of a second are dropped.
pub(super) fn hold_until(value: &str) -> Option<Hold> {
    let (whole, zone) = value.split_at_checked(19)?;
    let fraction = zone.strip_suffix(['Z', 'z'])?;
    let fits = fraction.is_empty() || fraction.strip_prefix('.').is_some_and(|f| !f.is_empty() && f.bytes().all(|b| b.is_ascii_digit()));
    let form = whole.bytes().zip("dddd-dd-ddTdd:dd:dd".bytes()).all(|(b, form)| match form {
        b'd' => b.is_ascii_digit(),
        form => b.eq_ignore_ascii_case(&form),
    });
    if !fits || !form {
        return None;
    }
    let part = |from: usize, to: usize| whole[from..to].parse::<u8>().ok();
    let civil = Civil {
        year: whole[..4].parse().ok()?,
        month: part(5, 7)?,
        day: part(8, 10)?,
        hour: part(11, 13)?,
        minute: part(14, 16)?,
        second: part(17, 19)?,
    };
    Stamp::from_civil(civil, 0).map(Hold::Until)
}

/// RFC 6710 §7: -9 to 9.
pub(super) fn priority(value: &str) -> Option<i8> {
    match value.as_bytes() {
        [b'0'] => Some(0),
        [digit @ b'1'..=b'9'] => Some((digit - b'0') as i8),
        [b'-', digit @ b'1'..=b'9'] => Some(-((digit - b'0') as i8)),
        _ => None,
    }
}

fn number(digits: &str) -> Option<u32> {
    let fits = (1..=DIGITS).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(by("120;R"), Some(Within { seconds: 120, or_return: true, trace: false }));
        assert_eq!(by("-999999999;nt"), Some(Within { seconds: -999_999_999, or_return: false, trace: true }));
        assert_eq!(by("+0;N"), Some(Within { seconds: 0, or_return: false, trace: false }));
        for bad in ["", "120", "120;", ";R", "120;X", "120;RX", "120;RTT", "0;R", "-1;R", "1000000000;R", "+-1;N", "x;N", "1 ;N"] {
            assert_eq!(by(bad), None, "{bad:?}");
        }
        assert_eq!(hold_for("10800"), Some(Hold::For(10_800)));
        for bad in ["", "0", "01", "-1", "+1", "1000000000", "x"] {
            assert_eq!(hold_for(bad), None, "{bad:?}");
        }
        assert_eq!(hold_until("1970-01-02T00:00:01Z"), Some(Hold::Until(Stamp::utc(86_401))));
        assert_eq!(hold_until("1970-01-01t00:00:00.25z"), Some(Hold::Until(Stamp::utc(0))));
        for bad in [
            "",
            "1970-01-01T00:00:00",
            "1970-01-01T00:00:00+00:00",
            "1970-13-01T00:00:00Z",
            "1970-01-01 00:00:00Z",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:0\u{e9}Z",
            "+970-01-01T00:00:00Z",
        ] {
            assert_eq!(hold_until(bad), None, "{bad:?}");
        }
        assert_eq!(["0", "9", "-9"].map(priority), [Some(0), Some(9), Some(-9)]);
        for bad in ["", "-0", "10", "+1", "-", "a", "01"] {
            assert_eq!(priority(bad), None, "{bad:?}");
        }
    }
}
