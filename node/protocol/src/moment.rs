//! Moments of log time as people write them: milliseconds since 1970 in the machine, UTC on the command line.

/// Milliseconds of a day.
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
/// The last moment that is written with four digits of the year.
const LAST_MS: u64 = 253_402_300_799_999;

/// A moment as `2026-12-24 18:00:00 UTC`. Later than the year 9999 it is shown as milliseconds.
pub fn shown(ms: u64) -> String {
    if ms > LAST_MS {
        return format!("{ms} ms after 1970");
    }
    let (year, month, day) = civil(ms / DAY_MS);
    let seconds = ms % DAY_MS / 1_000;
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// The moment that a text means: a time from `now_ms` on (`90s`, `15m`, `12h`, `7d`, `4w`), or a date or time in UTC
/// (`2026-12-24`, `2026-12-24T18:00Z`, `2026-12-24T18:00:00Z`).
///
/// # Errors
/// What is wrong with the text, and what it should be.
pub fn parse(text: &str, now_ms: u64) -> Result<u64, String> {
    let wrong = || {
        format!(
            "{text:?} is no moment: write how long from now (90s, 15m, 12h, 7d, 4w), or a time in UTC (2026-12-24, 2026-12-24T18:00:00Z)"
        )
    };
    if let Some(last) = text.chars().last().filter(char::is_ascii_lowercase) {
        let unit_ms = match last {
            's' => 1_000,
            'm' => 60 * 1_000,
            'h' => 60 * 60 * 1_000,
            'd' => DAY_MS,
            'w' => 7 * DAY_MS,
            _ => return Err(wrong()),
        };
        let count: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
        let moment = count.checked_mul(unit_ms).and_then(|ms| now_ms.checked_add(ms)).filter(|ms| *ms <= LAST_MS);
        return moment.filter(|_| count > 0).ok_or_else(wrong);
    }
    let moment = date_and_time(text).ok_or_else(wrong)?;
    if moment <= now_ms {
        return Err(format!("{text} has passed; it is {} now", shown(now_ms)));
    }
    Ok(moment)
}

fn date_and_time(text: &str) -> Option<u64> {
    let (date, time) = match text.split_once(['T', ' ']) {
        Some((date, time)) => (date, time.strip_suffix('Z')?),
        None => (text, "00:00"),
    };
    let number = |part: &str, digits: usize| -> Option<u64> {
        (part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit())).then(|| part.parse().ok())?
    };
    let mut parts = date.split('-');
    let (year, month, day) = (number(parts.next()?, 4)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let mut clock = time.split(':');
    let (hour, minute) = (number(clock.next()?, 2)?, number(clock.next()?, 2)?);
    let second = clock.next().map_or(Some(0), |part| number(part, 2))?;
    let fits = parts.next().is_none() && clock.next().is_none() && hour < 24 && minute < 60 && second < 60;
    let days = days_since_1970(year, month, day)?;
    fits.then_some(days * DAY_MS + (hour * 3_600 + minute * 60 + second) * 1_000)
}

/// Howard Hinnant's `days_from_civil`, for years from 1970 on; `None` for a day that is in no calendar.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || !(1..=12).contains(&month) || day == 0 {
        return None;
    }
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (shifted / 400, shifted % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    (civil(days) == (year, month, day)).then_some(days)
}

/// Howard Hinnant's `civil_from_days`: year, month and day, so many days after 1970-01-01.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_764_322_496_000;

    #[test]
    fn moments_are_shown_and_read_in_utc() {
        assert_eq!(shown(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(shown(NOW_MS), "2025-11-28 09:34:56 UTC");
        for (text, wanted) in [
            ("2026-02-28T23:59:59Z", "2026-02-28 23:59:59 UTC"),
            ("2028-02-29", "2028-02-29 00:00:00 UTC"),
            ("2026-12-24T18:00Z", "2026-12-24 18:00:00 UTC"),
            ("2100-03-01 00:00:01Z", "2100-03-01 00:00:01 UTC"),
            ("90s", "2025-11-28 09:36:26 UTC"),
            ("12h", "2025-11-28 21:34:56 UTC"),
            ("4w", "2025-12-26 09:34:56 UTC"),
        ] {
            assert_eq!(parse(text, NOW_MS).map(shown), Ok(wanted.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_to_come_is_refused() {
        for text in [
            "",
            "0d",
            "d",
            "1y",
            "-1d",
            "2027-02-29",
            "2026-13-01",
            "2026-1-1",
            "2026-12-24T18:00:00",
            "2026-12-24T24:00Z",
            "18446744073709551615w",
            "9999999w",
            "tomorrow",
            "1.5d",
            "2026-12-24T18:00:00:00Z",
            "ä",
        ] {
            assert!(parse(text, NOW_MS).is_err(), "{text}");
        }
        assert!(parse("2025-11-28T09:34:56Z", NOW_MS).expect_err("it is now").contains("has passed"));
    }
}
