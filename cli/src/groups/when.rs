//! Dates and durations as Java's tools read them on the command line. Reads no clock.

use crate::clock::ms_of;

/// Milliseconds since 1970 of `2026-11-21T14:38:57.483`, in UTC unless a zone (`Z`, `+01`, `+0100`, `+01:00`) follows.
/// `Err` has Java's words.
pub(crate) fn datetime(text: &str) -> Result<i64, String> {
    let Some((date, time)) = text.split_once('T') else {
        return Err("Error parsing timestamp. It does not contain a 'T' according to ISO8601 format".to_owned());
    };
    let zoned = time.contains(['+', '-', 'Z']);
    let shown = if zoned { text.to_owned() } else { format!("{text}Z") };
    parse(date, if zoned { time } else { &shown[date.len() + 1..] })
        .ok_or_else(|| format!("Unparseable date: \"{shown}\""))
}

fn parse(date: &str, time: &str) -> Option<i64> {
    let number = |text: &str, max: i64| -> Option<i64> {
        let digits = !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number| digits && *number <= max)
    };
    let mut date = date.split('-');
    let (year, month, day) = (number(date.next()?, 9999)?, number(date.next()?, 12)?, number(date.next()?, 31)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if date.next().is_some() || month == 0 || day == 0 || day > days {
        return None;
    }
    let at = time.find(['+', '-', 'Z'])?;
    let (clock, zone) = time.split_at(at);
    let (clock, millis) = clock.split_once('.')?;
    let mut clock = clock.split(':');
    let (hour, minute, second) = (number(clock.next()?, 23)?, number(clock.next()?, 59)?, number(clock.next()?, 59)?);
    if clock.next().is_some() {
        return None;
    }
    let offset = match zone {
        "Z" => 0,
        zone => {
            let digits = zone[1..].replace(':', "");
            let (hours, minutes) = digits.split_at_checked(2)?;
            let minutes = number(hours, 23)? * 60 + if minutes.is_empty() { 0 } else { number(minutes, 59)? };
            if zone.starts_with('-') { -minutes } else { minutes }
        }
    };
    let millis = number(millis, 999)?;
    let time_ms = ((hour * 60 + minute - offset) * 60 + second) * 1000 + millis;
    Some(ms_of((year, month, day), time_ms))
}

/// Milliseconds of `P1DT2H3M4.5S`; `None` if it is none.
pub(crate) fn duration(text: &str) -> Option<i64> {
    let text = text.to_ascii_uppercase();
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(&text)),
    };
    let (days, time) = match text.strip_prefix('P')?.split_once('T') {
        Some((_, "")) => return None,
        Some((days, time)) => (days, time),
        None => (text.strip_prefix('P')?, ""),
    };
    if days.is_empty() && time.is_empty() {
        return None;
    }
    let mut ms: i64 = match days {
        "" => 0,
        days => days.strip_suffix('D')?.parse::<i64>().ok()?.checked_mul(86_400_000)?,
    };
    let mut rest = time;
    for (unit, factor) in [('H', 3_600_000), ('M', 60_000)] {
        if let Some((number, after)) = rest.split_once(unit) {
            ms = ms.checked_add(number.parse::<i64>().ok()?.checked_mul(factor)?)?;
            rest = after;
        }
    }
    if !rest.is_empty() {
        let seconds = rest.strip_suffix('S')?;
        let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
        let sign = if whole.starts_with('-') { -1 } else { 1 };
        let millis = format!("{fraction:0<3}").get(..3)?.parse::<i64>().ok()?;
        let whole = if matches!(whole, "" | "-" | "+") { 0 } else { whole.parse::<i64>().ok()? };
        ms = ms.checked_add(whole.checked_mul(1000)?)?.checked_add(sign * millis)?;
    }
    Some(if negative { -ms } else { ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_dates() {
        for (text, expected) in [
            ("1970-01-01T00:00:00.000", Some(0)),
            ("1970-01-01T00:00:00.000Z", Some(0)),
            ("1970-01-01T01:00:00.000+01:00", Some(0)),
            ("1970-01-01T00:00:00.000-0130", Some(5_400_000)),
            ("2026-11-21T14:38:57.483", Some(1_795_271_937_483)),
            ("2026-02-29T00:00:00.000", None),
            ("2026-01-01T00:00:00", None),
            ("2026-01-01", None),
            ("T", None),
            ("2026-01-01T00:00:00.000é", None),
        ] {
            assert_eq!(datetime(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn reads_durations() {
        for (text, expected) in [
            ("P1D", Some(86_400_000)),
            ("PT1H2M3.5S", Some(3_723_500)),
            ("P0DT0H1M", Some(60_000)),
            ("-PT1S", Some(-1000)),
            ("PT-1.5S", Some(-1500)),
            ("P", None),
            ("PT", None),
            ("1D", None),
            ("PT5", None),
        ] {
            assert_eq!(duration(text), expected, "{text}");
        }
    }
}
