//! Wall clock times as Java's tools print them, in the time zone of this machine. Knows no other zone.

use std::time::{SystemTime, UNIX_EPOCH};

/// The names of the days of the week.
pub(crate) const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
/// The names of the months.
pub(crate) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A time in the zone of this machine.
pub(crate) struct Local {
    pub(crate) year: i64,
    /// From 1.
    pub(crate) month: i64,
    /// From 1.
    pub(crate) day: i64,
    /// Of [`WEEKDAYS`].
    pub(crate) weekday: i64,
    /// From 1.
    pub(crate) day_of_year: i64,
    /// Of the day.
    pub(crate) second: i64,
    pub(crate) millisecond: i64,
    pub(crate) zone: String,
    /// How far the zone is before UTC.
    pub(crate) offset_s: i64,
}

/// A time in milliseconds since 1970.
pub(crate) fn local(ms: i64) -> Local {
    let zone = zone_at(ms);
    let shifted = ms + zone.offset_s * 1000;
    let (year, month, day, second) = civil(shifted);
    let days = shifted.div_euclid(86_400_000);
    Local {
        year,
        month,
        day,
        // 1970 began on a Thursday.
        weekday: (days + 4).rem_euclid(7),
        day_of_year: days - ms_of((year, 1, 1), 0) / 86_400_000 + 1,
        second,
        millisecond: ms.rem_euclid(1000),
        zone: zone.name,
        offset_s: zone.offset_s,
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Now as log4j writes it: `2026-11-21 14:38:57,483`.
pub(crate) fn log_time() -> String {
    log_time_of(now_ms())
}

/// A time in milliseconds since 1970 as log4j writes it.
pub(crate) fn log_time_of(ms: i64) -> String {
    let zone = zone_at(ms);
    let (year, month, day, seconds) = civil(ms + zone.offset_s * 1000);
    format!(
        "{year}-{month:02}-{day:02} {:02}:{:02}:{:02},{:03}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        ms.rem_euclid(1000)
    )
}

/// A time as `java.util.Date` writes it: `Sat Nov 21 14:38:57 UTC 2026`.
pub(crate) fn java_date(ms: i64) -> String {
    let at = local(ms);
    let weekday = WEEKDAYS[usize::try_from(at.weekday).unwrap_or(0)];
    let month = MONTHS[usize::try_from(at.month - 1).unwrap_or(0)];
    format!(
        "{} {} {:02} {:02}:{:02}:{:02} {} {}",
        &weekday[..3],
        &month[..3],
        at.day,
        at.second / 3600,
        at.second / 60 % 60,
        at.second % 60,
        at.zone,
        at.year
    )
}

/// Year, month, day and second of the day of a time in milliseconds.
fn civil(ms: i64) -> (i64, i64, i64, i64) {
    let seconds = ms.div_euclid(1000);
    let (days, seconds) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days are counted from 1 March of year 0, so that the day added in leap years is the last of its year.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day, seconds)
}

/// Milliseconds since 1970 of a date and time in UTC.
pub(crate) fn ms_of(date: (i64, i64, i64), time_ms: i64) -> i64 {
    let (year, month, day) = date;
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * 146_097 + day_of_era - 719_468) * 86_400_000 + time_ms
}

/// A zone's rule at one moment.
struct Zone {
    offset_s: i64,
    name: String,
}

fn zone_at(ms: i64) -> Zone {
    zone_file()
        .and_then(|file| parse_zone(&file, ms.div_euclid(1000)))
        .unwrap_or(Zone { offset_s: 0, name: "UTC".to_owned() })
}

fn zone_file() -> Option<Vec<u8>> {
    let file = match std::env::var("TZ") {
        Ok(name) if name.is_empty() => return None,
        Ok(name) => format!("/usr/share/zoneinfo/{}", name.trim_start_matches(':')),
        Err(_) => "/etc/localtime".to_owned(),
    };
    std::fs::read(file).ok()
}

/// The rule in force at a second, from a TZif file (RFC 8536); `None` if the file is not one. Times after the last
/// transition of the file are taken to follow it.
fn parse_zone(file: &[u8], second: i64) -> Option<Zone> {
    let counts = |at: usize| -> Option<[usize; 6]> {
        let mut counts = [0; 6];
        for (index, count) in counts.iter_mut().enumerate() {
            let bytes = file.get(at + 20 + index * 4..at + 24 + index * 4)?;
            *count = usize::try_from(u32::from_be_bytes(bytes.try_into().ok()?)).ok()?;
        }
        Some(counts)
    };
    if file.get(..4)? != b"TZif" {
        return None;
    }
    // The first block has 32-bit times and is skipped; files of version 1, which have no other, are of the last century.
    let [utc, standard, leaps, times, types, letters] = counts(0)?;
    let second_block = 44 + times * 5 + types * 6 + letters + leaps * 8 + standard + utc;
    let [_, _, _, times, types, _] = counts(second_block)?;
    let times_at = second_block + 44;
    let mut kind = 0;
    for index in 0..times {
        let bytes = file.get(times_at + index * 8..times_at + index * 8 + 8)?;
        if i64::from_be_bytes(bytes.try_into().ok()?) > second {
            break;
        }
        kind = usize::from(*file.get(times_at + times * 8 + index)?);
    }
    let types_at = times_at + times * 9;
    let entry = file.get(types_at + kind * 6..types_at + kind * 6 + 6)?;
    let offset_s = i64::from(i32::from_be_bytes(entry.get(..4)?.try_into().ok()?));
    let name = file.get(types_at + types * 6 + usize::from(entry[5])..)?;
    let name = name.split(|byte| *byte == 0).next()?;
    Some(Zone { offset_s, name: String::from_utf8_lossy(name).into_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_go_there_and_back() {
        for (ms, date) in [
            (0, (1970, 1, 1)),
            (951_782_400_000, (2000, 2, 29)),
            (951_868_800_000, (2000, 3, 1)),
            (-86_400_000, (1969, 12, 31)),
            (1_795_271_937_000, (2026, 11, 21)),
        ] {
            let (year, month, day, second) = civil(ms);
            assert_eq!((year, month, day), date, "{ms}");
            assert_eq!(ms_of(date, second * 1000), ms, "{date:?}");
        }
    }

    #[test]
    fn a_file_that_is_no_zone_is_refused() {
        for file in
            [&b""[..], b"TZif2", &[0; 100], b"TZif2aaaaaaaaaaaaaaa\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"]
        {
            assert!(parse_zone(file, 0).is_none());
        }
    }
}
