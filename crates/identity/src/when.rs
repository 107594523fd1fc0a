//! Times as sessions hold them: text in ISO 8601, as JavaScript and Python write it.

/// Seconds since 1970 of a date and time of day; without an offset it is UTC.
pub(crate) fn iso(text: &str) -> Option<f64> {
    let (date, time) = text.split_once(['T', ' '])?;
    let days = days(date)?;
    let (time, offset) = match time.find(['Z', '+', '-']) {
        Some(at) => time.split_at_checked(at)?,
        None => (time, ""),
    };
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut clock = clock.split(':');
    let hours = number(clock.next()?, 2)?;
    let minutes = number(clock.next()?, 2)?;
    let seconds = clock.next().map_or(Some(0), |seconds| number(seconds, 2))?;
    let plain = clock.next().is_none() && hours < 24 && minutes < 60 && seconds < 61;
    if !plain || fraction.is_empty() || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let fraction: f64 = format!("0.{fraction}").parse().ok()?;
    let whole = days * 86_400 + hours * 3_600 + minutes * 60 + seconds - self::offset(offset)?;
    #[expect(clippy::cast_precision_loss, reason = "years of six digits fit")]
    Some(whole as f64 + fraction)
}

fn days(date: &str) -> Option<i64> {
    let mut parts = date.rsplitn(3, '-');
    let (day, month) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let year = parts.next()?;
    // JavaScript's years beyond 9999.
    let year = match year.strip_prefix('+') {
        Some(year) => number(year, 6)?,
        None => number(year, 4)?,
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    // Years begin in March here, so the leap day is a year's last one.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    Some(year * 365 + leaps + (month * 153 + 2) / 5 + day - 1 - 719_468)
}

fn offset(text: &str) -> Option<i64> {
    let (sign, offset) = match text.split_at_checked(1) {
        None | Some(("Z", "")) => return Some(0),
        Some(("+", offset)) => (1, offset),
        Some(("-", offset)) => (-1, offset),
        Some(_) => return None,
    };
    let (hours, minutes) = match offset.split_once(':') {
        Some(parts) => parts,
        None => offset.split_at_checked(2)?,
    };
    let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

fn number(text: &str, digits: usize) -> Option<i64> {
    let plain = text.len() == digits && text.bytes().all(|digit| digit.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        let cases = [
            ("1970-01-01T00:00:00.000Z", Some(0.0)),
            ("2026-01-01T00:00:00.250Z", Some(1_767_225_600.25)),
            ("2026-01-01 01:00:00.250000+01:00", Some(1_767_225_600.25)),
            ("2025-12-31T19:30-0430", Some(1_767_225_600.0)),
            ("2026-01-01T00:00:00", Some(1_767_225_600.0)),
            ("2000-02-29T23:59:59Z", Some(951_868_799.0)),
            ("0000-01-01T00:00:00Z", Some(-62_167_219_200.0)),
            ("1969-12-31T23:59:59.5Z", Some(-0.5)),
            ("+275760-09-13T00:00:00.000Z", Some(8_640_000_000_000.0)),
            ("2100-02-29T00:00:00Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-00-01T00:00:00Z", None),
            ("2026-01-00T00:00:00Z", None),
            ("2026-01-01T24:00:00Z", None),
            ("2026-01-01T00:00:00.Z", None),
            ("2026-01-01T00:00:00Zx", None),
            ("2026-1-1T00:00:00Z", None),
            ("2026-01-01T+0:00:00Z", None),
            ("2026-01-01", None),
            ("Thu, 01 Jan 2026 00:00:00 GMT", None),
            ("", None),
            ("é", None),
            ("2026-01-01Té", None),
        ];
        for (text, expected) in cases {
            assert_eq!(iso(text), expected, "{text}");
        }
    }
}
