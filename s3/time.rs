//! The date formats of HTTP and S3: RFC 9110's IMF-fixdate (and the two obsolete formats, for parsing only), ISO 8601
//! with milliseconds, and the basic format of `x-amz-date`. The arithmetic is our own, since a list page prints 1,000
//! dates.

const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// The latest second that can be printed: the end of the year 9999. Later times print as this one.
pub const LAST_SECOND: u64 = 253_402_300_799;

struct Civil {
    year: u32,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
    weekday: usize,
}

/// Converts seconds since 1970 to a date of the proleptic Gregorian calendar. It counts from 1 March, so that the leap
/// day comes last.
fn civil(unix_s: u64) -> Civil {
    let unix_s = unix_s.min(LAST_SECOND);
    let (days, rest) = ((unix_s / 86_400) as u32, (unix_s % 86_400) as u32);
    // There are 719,468 days between 0000-03-01 and 1970-01-01; an era is 400 years.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    Civil {
        year: era * 400 + year_of_era + u32::from(month <= 2),
        month,
        day: day_of_year - (153 * shifted_month + 2) / 5 + 1,
        hour: rest / 3_600,
        minute: rest / 60 % 60,
        second: rest % 60,
        weekday: (days % 7) as usize,
    }
}

/// Converts a date and time to seconds since 1970; `None` if a field is out of range or the year is before 1970.
fn unix(year: u32, month: u32, day: u32, (hour, minute, second): (u32, u32, u32)) -> Option<u64> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let last = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        1..=12 => 31,
        _ => return None,
    };
    // A leap second counts as the second before it.
    if !(1970..=9999).contains(&year) || day == 0 || day > last || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let shifted_month = (month + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let days = shifted_year * 365 + shifted_year / 4 - shifted_year / 100 + shifted_year / 400 + day_of_year
        - 719_468;
    Some(u64::from(days) * 86_400 + u64::from(hour * 3_600 + minute * 60 + second.min(59)))
}

fn two(number: u32) -> [u8; 2] {
    [b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]
}

/// Fills in a template: each `(offset, number)` as two digits, the year as four.
fn fill(template: &mut [u8], year_at: usize, year: u32, twos: [(usize, u32); 5]) {
    template[year_at..year_at + 2].copy_from_slice(&two(year / 100));
    template[year_at + 2..year_at + 4].copy_from_slice(&two(year % 100));
    for (at, number) in twos {
        template[at..at + 2].copy_from_slice(&two(number));
    }
}

/// `Wed, 21 Oct 2015 07:28:00 GMT` (RFC 9110, 5.6.7).
pub fn http_date(unix_s: u64) -> [u8; 29] {
    let c = civil(unix_s);
    let mut out = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    fill(&mut out, 12, c.year, [(5, c.day), (17, c.hour), (20, c.minute), (23, c.second), (23, c.second)]);
    out[..3].copy_from_slice(DAYS[c.weekday]);
    out[8..11].copy_from_slice(MONTHS[c.month as usize - 1]);
    out
}

/// The same as [`http_date`], as a `String`.
pub fn http_date_string(unix_s: u64) -> String {
    http_date(unix_s).iter().map(|b| *b as char).collect()
}

/// `2015-10-21T07:28:00.123Z`, the format of S3's XML.
pub fn iso8601_ms(unix_ms: u64) -> [u8; 24] {
    let c = civil(unix_ms / 1000);
    let mut out = *b"1970-01-01T00:00:00.000Z";
    fill(&mut out, 0, c.year, [(5, c.month), (8, c.day), (11, c.hour), (14, c.minute), (17, c.second)]);
    let ms = (unix_ms % 1000) as u32;
    out[20] = b'0' + (ms / 100) as u8;
    out[21..23].copy_from_slice(&two(ms % 100));
    out
}

/// `20151021T072800Z`, the format of `x-amz-date`; its first eight bytes are the day of a credential scope.
pub fn amz_date(unix_s: u64) -> [u8; 16] {
    let c = civil(unix_s);
    let mut out = *b"19700101T000000Z";
    fill(&mut out, 0, c.year, [(4, c.month), (6, c.day), (9, c.hour), (11, c.minute), (13, c.second)]);
    out
}

/// The same as [`iso8601_ms`], as a `String`.
pub fn iso8601_string(unix_ms: u64) -> String {
    iso8601_ms(unix_ms).iter().map(|b| *b as char).collect()
}

fn number(text: &[u8]) -> Option<u32> {
    if text.is_empty() || text.len() > 4 {
        return None;
    }
    text.iter().try_fold(0u32, |n, b| b.is_ascii_digit().then(|| n * 10 + u32::from(b - b'0')))
}

fn clock(text: &[u8]) -> Option<(u32, u32, u32)> {
    match text {
        [a, b, b':', c, d, b':', e, f] => Some((number(&[*a, *b])?, number(&[*c, *d])?, number(&[*e, *f])?)),
        _ => None,
    }
}

fn month(text: &[u8]) -> Option<u32> {
    MONTHS.iter().position(|m| m.eq_ignore_ascii_case(text)).map(|at| at as u32 + 1)
}

/// Parses `x-amz-date`; `None` unless it is exactly `YYYYMMDDTHHMMSSZ`.
pub fn parse_amz_date(text: &[u8]) -> Option<u64> {
    if text.len() != 16 || text[8] != b'T' || text[15] != b'Z' {
        return None;
    }
    let time = (number(&text[9..11])?, number(&text[11..13])?, number(&text[13..15])?);
    unix(number(&text[..4])?, number(&text[4..6])?, number(&text[6..8])?, time)
}

/// Parses an HTTP date in any of the three formats of RFC 9110, 5.6.7. The zone may also be `UTC`, `Z`, `+0000`, or
/// `-0000` (RFC 5322, 3.3: UTC, from an unknown zone), which botocore writes and signs.
pub fn parse_http_date(text: &[u8]) -> Option<u64> {
    let mut words: smallvec::SmallVec<[&[u8]; 8]> = smallvec::SmallVec::new();
    for word in text.split(|b| *b == b' ').filter(|word| !word.is_empty()) {
        if words.len() == 6 {
            return None;
        }
        words.push(word);
    }
    let utc = |zone: &[u8]| matches!(zone, b"GMT" | b"UTC" | b"+0000" | b"-0000" | b"Z");
    match *words.as_slice() {
        [_, d, m, y, t, zone] if utc(zone) && y.len() == 4 => {
            unix(number(y)?, month(m)?, number(d)?, clock(t)?)
        }
        // RFC 850: Sunday, 06-Nov-94 08:49:37 GMT
        [_, date, t, zone] if utc(zone) => {
            let mut fields = date.split(|b| *b == b'-');
            let (d, m, y) = (fields.next()?, fields.next()?, fields.next()?);
            let y = number(y)?;
            let year = if y < 70 {
                y + 2000
            } else if y < 100 {
                y + 1900
            } else {
                y
            };
            unix(year, month(m)?, number(d)?, clock(t)?)
        }
        // asctime: Sun Nov  6 08:49:37 1994
        [_, m, d, t, y] if y.len() == 4 => unix(number(y)?, month(m)?, number(d)?, clock(t)?),
        _ => None,
    }
}

/// Parses ISO 8601 in its extended format, in UTC, with or without a fraction, into milliseconds.
pub fn parse_iso8601_ms(text: &[u8]) -> Option<u64> {
    if text.len() < 20 || text[4] != b'-' || text[7] != b'-' || text[10] != b'T' || text.last() != Some(&b'Z')
    {
        return None;
    }
    let unix_s =
        unix(number(&text[..4])?, number(&text[5..7])?, number(&text[8..10])?, clock(&text[11..19])?)?;
    let ms = match &text[19..text.len() - 1] {
        [] => 0,
        [b'.', digits @ ..]
            if !digits.is_empty() && digits.len() <= 9 && digits.iter().all(u8::is_ascii_digit) =>
        {
            (0..3).fold(0, |n, at| n * 10 + u64::from(digits.get(at).map_or(0, |d| d - b'0')))
        }
        _ => return None,
    };
    Some(unix_s * 1000 + ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_dates_print_and_parse() {
        let unix_s = 784_111_777;
        assert_eq!(&http_date(unix_s), b"Sun, 06 Nov 1994 08:49:37 GMT");
        for form in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(parse_http_date(form.as_bytes()), Some(unix_s), "{form}");
        }
        for zone in ["UTC", "Z", "+0000", "-0000"] {
            let text = format!("Sun, 06 Nov 1994 08:49:37 {zone}");
            assert_eq!(parse_http_date(text.as_bytes()), Some(unix_s), "{text}");
        }
        assert_eq!(&iso8601_ms(unix_s * 1000 + 7), b"1994-11-06T08:49:37.007Z");
        assert_eq!(&amz_date(1_369_353_600), b"20130524T000000Z");
        assert_eq!(&http_date(951_782_400), b"Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(&http_date(u64::MAX), b"Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn invalid_dates_are_refused() {
        for text in ["", "x", "20130524T000000", "20130532T000000Z", "2013052xT000000Z", "20130230T000000Z"] {
            assert_eq!(parse_amz_date(text.as_bytes()), None, "{text}");
        }
        for text in
            ["Sun, 06 Nov 1994 08:49:37 PST", "1994", "Sun, 06 Nov 1994 25:49:37 GMT", "a b c d e f g h i"]
        {
            assert_eq!(parse_http_date(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_iso8601_ms(b"2015-10-21T07:28:00.Z"), None);
        assert_eq!(parse_iso8601_ms(b"2015-10-21T07:28:00+01:00"), None);
    }

    proptest! {
        #[test]
        fn every_second_survives_a_round_trip(unix_s in 0..=LAST_SECOND, ms in 0u64..1000) {
            prop_assert_eq!(parse_http_date(&http_date(unix_s)), Some(unix_s));
            prop_assert_eq!(parse_amz_date(&amz_date(unix_s)), Some(unix_s));
            prop_assert_eq!(parse_iso8601_ms(&iso8601_ms(unix_s * 1000 + ms)), Some(unix_s * 1000 + ms));
        }

        #[test]
        fn no_bytes_make_a_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            parse_http_date(&bytes);
            parse_amz_date(&bytes);
            parse_iso8601_ms(&bytes);
        }
    }
}
