//! Conditional requests: headers that are written from a plan decide as RFC 9110, 13.2.2, says about that plan, and no
//! header makes a check panic.
#![no_main]

use hamster_fuzz::Source;
use libfuzzer_sys::fuzz_target;
use s3::condition::{Conditions, if_range_holds};
use s3::error::S3Error;
use s3::http::head::RequestHead;

/// The object's tag, and tags that are not.
const TAG: &str = "d41d8cd98f00b204e9800998ecf8427e-2";
const OTHERS: [&str; 4] = ["x", "", "d41d8cd98f00b204e9800998ecf8427e", "D41D8CD98F00B204E9800998ECF8427E-2"];
const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
/// [`DATE`], seconds since 1970.
const DATE_S: u64 = 784_111_777;

/// What a header of tags says.
#[derive(Clone, Copy)]
enum Tags {
    Any,
    /// Whether the object's tag is among them, as a strong tag and as a tag of either kind.
    These {
        strongly: bool,
        weakly: bool,
    },
}

/// Writes a header of tags, perhaps; its list may have several lines.
fn tags(plan: &mut Source<'_>, name: &str, lines: &mut String) -> Option<Tags> {
    match plan.byte() % 4 {
        0 => return None,
        1 => {
            *lines += &format!("{name}: *\r\n");
            return Some(Tags::Any);
        }
        _ => {}
    }
    let (mut strongly, mut weakly) = (false, false);
    *lines += &format!("{name}: ");
    for number in 0..=plan.byte() % 4 {
        let choice = plan.byte();
        let bit = |at: u8| choice >> at & 1 == 1;
        let tag = if bit(0) { TAG } else { OTHERS[usize::from(choice >> 6)] };
        strongly |= bit(0) && !bit(1);
        weakly |= bit(0);
        if number > 0 {
            *lines += &if bit(2) { format!("\r\n{}: ", name.to_ascii_uppercase()) } else { ",".to_owned() };
        }
        let (weak, quote, space) =
            (if bit(1) { "W/" } else { "" }, if bit(3) { "\"" } else { "" }, if bit(4) { " \t" } else { "" });
        *lines += &format!("{space}{weak}{quote}{tag}{quote}{space}");
    }
    *lines += "\r\n";
    Some(Tags::These { strongly, weakly })
}

/// Writes a header with a date, perhaps; an invalid one is ignored.
fn date(plan: &mut Source<'_>, name: &str, lines: &mut String) -> Option<u64> {
    let choice = plan.byte() % 3;
    if choice > 0 {
        *lines += &format!("{name}: {}\r\n", if choice == 1 { DATE } else { "yesterday" });
    }
    (choice == 1).then_some(DATE_S)
}

fn parse(lines: &[u8]) -> Option<RequestHead> {
    let mut head = RequestHead::new();
    let bytes = [b"GET /b/k HTTP/1.1\r\nHost: h\r\n", lines, b"\r\n"].concat();
    head.parse(&bytes).ok().flatten().map(|_| head)
}

fn status(result: Result<(), S3Error>) -> u16 {
    result.map_or_else(|error| error.status(), |()| 200)
}

/// A plan and its answers.
struct Planned {
    matches: Option<Tags>,
    none_match: Option<Tags>,
    modified_since: Option<u64>,
    unmodified_since: Option<u64>,
}

impl Planned {
    fn read(&self, modified_s: u64, not_modified: u16) -> u16 {
        let matched = match self.matches {
            Some(Tags::Any) => true,
            Some(Tags::These { strongly, .. }) => strongly,
            None => self.unmodified_since.is_none_or(|since| modified_s <= since),
        };
        let changed = match self.none_match {
            Some(Tags::Any) => false,
            Some(Tags::These { weakly, .. }) => !weakly,
            None => self.modified_since.is_none_or(|since| modified_s > since),
        };
        if !matched {
            412
        } else if !changed {
            not_modified
        } else {
            200
        }
    }

    fn write(&self, exists: bool) -> u16 {
        match (self.none_match, self.matches, exists) {
            (Some(Tags::These { .. }), _, _) => 501,
            (Some(Tags::Any), _, true) => 412,
            (_, Some(_), false) => 404,
            (_, Some(Tags::These { strongly: false, .. }), true) => 412,
            _ => 200,
        }
    }
}

fn planned(plan: &mut Source<'_>) {
    let (of_source, offset, part_ms) = (plan.flag(), plan.byte() % 3, u64::from(plan.u16()) % 1000);
    let prefix = if of_source { "x-amz-copy-source-" } else { "" };
    let mut lines = String::new();
    let matches = tags(plan, &format!("{prefix}if-match"), &mut lines);
    let none_match = tags(plan, &format!("{prefix}if-none-match"), &mut lines);
    let modified_since = date(plan, &format!("{prefix}if-modified-since"), &mut lines);
    let unmodified_since = date(plan, &format!("{prefix}if-unmodified-since"), &mut lines);
    let planned = Planned { matches, none_match, modified_since, unmodified_since };

    let head = parse(lines.as_bytes()).expect("ours is well-formed");
    let (own, source) = (Conditions::from_head(&head), Conditions::from_copy_source(&head));
    let (conditions, unused) = if of_source { (source, own) } else { (own, source) };
    assert_eq!(unused, Conditions::default());
    let modified_s = DATE_S + u64::from(offset) - 1;
    let modified_ms = modified_s * 1000 + part_ms;
    assert_eq!(status(conditions.check_read(TAG, modified_ms)), planned.read(modified_s, 304), "{lines}");
    assert_eq!(
        status(conditions.check_copy_source(TAG, modified_ms)),
        planned.read(modified_s, 412),
        "{lines}"
    );
    for current in [None, Some(TAG)] {
        assert_eq!(status(conditions.check_write(current)), planned.write(current.is_some()), "{lines}");
    }
}

fn range(plan: &mut Source<'_>) {
    let (choice, offset, part_ms) = (plan.byte(), plan.byte() % 3, u64::from(plan.u16()) % 1000);
    let validators =
        [format!("\"{TAG}\""), DATE.to_owned(), format!("W/\"{TAG}\""), TAG.to_owned(), "\"x\"".to_owned()];
    let validator = &validators[usize::from(choice) % validators.len()];
    let line = format!("If-Range: {validator}\r\n");
    let lines = if choice >= 128 { line.repeat(2) } else { line };
    let head = parse(lines.as_bytes()).expect("ours is well-formed");
    let holds = choice < 128
        && match usize::from(choice) % validators.len() {
            0 => true,
            1 => offset == 1,
            _ => false,
        };
    let modified_ms = (DATE_S + u64::from(offset) - 1) * 1000 + part_ms;
    assert_eq!(if_range_holds(&head, TAG, modified_ms), holds, "{lines}");
}

/// Headers of any form: there is no panic, and the checks agree with each other.
fn raw(lines: &[u8]) {
    let Some(head) = parse(lines) else { return };
    for conditions in [Conditions::from_head(&head), Conditions::from_copy_source(&head)] {
        for modified_ms in [0, DATE_S * 1000, u64::MAX] {
            let (read, copied) =
                (conditions.check_read(TAG, modified_ms), conditions.check_copy_source(TAG, modified_ms));
            assert_eq!(read.is_ok(), copied.is_ok());
            assert!([200, 304, 412].contains(&status(read)) && [200, 412].contains(&status(copied)));
        }
        let (absent, present) = (conditions.check_write(None), conditions.check_write(Some(TAG)));
        assert!(!conditions.requires_absence() || status(present) == 412);
        assert!(conditions.required_tags().is_none() || absent.is_err());
    }
    if_range_holds(&head, TAG, DATE_S * 1000);
}

fuzz_target!(|data: &[u8]| {
    let mut plan = Source(data);
    match plan.byte() % 3 {
        0 => planned(&mut plan),
        1 => range(&mut plan),
        _ => raw(plan.rest()),
    }
});
