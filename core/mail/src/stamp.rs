//! Dates and times.

use core::fmt;

/// A moment: seconds since 1970 UTC, with the time zone it was given in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Stamp {
    /// Seconds since 1970-01-01T00:00:00Z, leap seconds not counted.
    pub seconds: i64,
    /// Minutes east of UTC, below 24 h.
    pub zone: i16,
}

/// A date and time of day as people write them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Civil {
    /// 1970 as 1970.
    pub year: i64,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 60: a leap second becomes the next one.
    pub second: u8,
}

/// English month names as all mail formats abbreviate them.
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

impl Stamp {
    /// In UTC.
    pub const fn utc(seconds: i64) -> Stamp {
        Stamp { seconds, zone: 0 }
    }

    /// From a date in the zone of `zone` minutes; `None` if there is no such date.
    pub fn from_civil(c: Civil, zone: i16) -> Option<Stamp> {
        if !(1..=12).contains(&c.month)
            || c.day < 1
            || c.day > days_in(c.year, c.month)
            || c.hour > 23
            || c.minute > 59
            || c.second > 60
            || zone.abs() >= 24 * 60
            || !(-9999..=9999).contains(&c.year)
        {
            return None;
        }
        let clock = i64::from(c.hour) * 3600 + i64::from(c.minute) * 60 + i64::from(c.second);
        Some(Stamp { seconds: days_from_civil(c.year, c.month, c.day) * 86400 + clock - i64::from(zone) * 60, zone })
    }

    /// The date and time in its own zone.
    pub fn civil(self) -> Civil {
        let local = self.seconds.saturating_add(i64::from(self.zone) * 60);
        let (days, clock) = (local.div_euclid(86400), local.rem_euclid(86400));
        let (year, month, day) = civil_from_days(days);
        Civil { year, month, day, hour: (clock / 3600) as u8, minute: (clock / 60 % 60) as u8, second: (clock % 60) as u8 }
    }

    /// Days since 1970-01-01 of its date in its own zone: what SEARCH compares (RFC 3501 §6.4.4 disregards time and zone).
    pub fn day(self) -> i64 {
        self.seconds.saturating_add(i64::from(self.zone) * 60).div_euclid(86400)
    }

    /// The number of the day of a date, as [`Stamp::day`] gives it; `None` if there is no such date.
    pub fn day_of(year: i64, month: u8, day: u8) -> Option<i64> {
        Stamp::from_civil(Civil { year, month, day, hour: 0, minute: 0, second: 0 }, 0).map(Stamp::day)
    }

    /// The number of a month by its English abbreviation, in any case.
    pub fn month(name: &[u8]) -> Option<u8> {
        MONTHS.iter().position(|m| m.as_bytes().eq_ignore_ascii_case(name)).map(|i| i as u8 + 1)
    }

    /// As in a header: `Tue, 24 Nov 2026 06:37:27 +0000` (RFC 5322 §3.3).
    pub fn header(self) -> impl fmt::Display {
        struct Header(Stamp);
        impl fmt::Display for Header {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let c = self.0.civil();
                let day = DAYS[self.0.day().rem_euclid(7) as usize];
                write!(
                    f,
                    "{day}, {} {} {:04} {:02}:{:02}:{:02} ",
                    c.day,
                    MONTHS[usize::from(c.month) - 1],
                    c.year,
                    c.hour,
                    c.minute,
                    c.second
                )?;
                zone(f, self.0.zone)
            }
        }
        Header(self)
    }

    /// As INTERNALDATE without its quotes: `24-Nov-2026 06:37:27 +0000`, the day padded with a space (RFC 3501 §9, `date-time`).
    pub fn internal(self) -> impl fmt::Display {
        struct Internal(Stamp);
        impl fmt::Display for Internal {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let c = self.0.civil();
                write!(f, "{:2}-{}-{:04} {:02}:{:02}:{:02} ", c.day, MONTHS[usize::from(c.month) - 1], c.year, c.hour, c.minute, c.second)?;
                zone(f, self.0.zone)
            }
        }
        Internal(self)
    }
}

fn zone(f: &mut fmt::Formatter<'_>, minutes: i16) -> fmt::Result {
    let sign = if minutes < 0 { '-' } else { '+' };
    write!(f, "{sign}{:02}{:02}", minutes.abs() / 60, minutes.abs() % 60)
}

fn days_in(year: i64, month: u8) -> u8 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the Gregorian calendar. A year that begins in March puts the leap day last, so that the
/// months before any month sum to `(153 m + 2) / 5` days.
fn days_from_civil(year: i64, month: u8, day: u8) -> i64 {
    let month = i64::from(month);
    let year = if month > 2 { year } else { year - 1 };
    let march = (month + 9) % 12;
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * march + 2) / 5 + i64::from(day) - 1 - 719_468
}

fn civil_from_days(days: i64) -> (i64, u8, u8) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    (year + era * 400 + i64::from(month <= 2), month as u8, day as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn it_prints_both_forms() {
        let stamp = Stamp { seconds: 1_795_502_247, zone: -90 };
        assert_eq!(stamp.header().to_string(), "Tue, 24 Nov 2026 05:07:27 -0130");
        assert_eq!(Stamp::utc(0).internal().to_string(), " 1-Jan-1970 00:00:00 +0000");
    }

    #[test]
    fn every_day_of_four_centuries_comes_back() {
        for day in -80_000..80_000 {
            let stamp = Stamp::utc(day * 86400 + 3661);
            assert_eq!(Stamp::from_civil(stamp.civil(), 0), Some(stamp));
        }
    }

    #[test]
    fn there_is_no_thirtieth_of_february() {
        assert_eq!(Stamp::day_of(2026, 2, 30), None);
        assert_eq!(Stamp::day_of(2000, 2, 29), Some(11_016));
        assert_eq!(Stamp::day_of(1900, 2, 29), None);
    }
}
