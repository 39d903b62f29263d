//! The access log: one line per request, as text or JSON, written by one thread.
//!
//! A core formats its line and hands it over. If the disk cannot keep up, lines are dropped and counted rather than
//! requests delayed. Client input is escaped, so that it can't forge a line, and cut to stated lengths. Signatures and
//! session tokens in queries are masked. Of the headers only the user agent is logged.
//!
//! The file may be renamed at any time: a new one is created under its name.

use crate::config::{AccessLog, LogForm};
use crate::error::{Error, Result, note};
use crate::files;
use crate::metrics::Board;
use serde::Serialize;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Maximum number of lines queued for the writer.
const LINES_MAX: usize = 8192;
/// Maximum length of the user agent, and of the path and the query, in a line: bytes before escaping.
const USER_AGENT_BYTES_MAX: usize = 256;
const TARGET_BYTES_MAX: usize = 2048;

/// One finished request.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// When it finished, milliseconds since 1970.
    pub unix_ms: u64,
    /// The `x-amz-request-id` of the reply.
    pub request_id: &'a str,
    /// The client's address, if known.
    pub remote: Option<SocketAddr>,
    /// The HTTP method, if the head could be parsed.
    pub method: Option<&'a str>,
    /// The path as received; empty if the head could not be parsed.
    pub path: &'a [u8],
    /// The query as received, without the question mark; empty if there is none.
    pub query: &'a [u8],
    /// The S3 operation, once it is known.
    pub operation: Option<&'a str>,
    /// The bucket.
    pub bucket: Option<&'a str>,
    /// The key.
    pub key: Option<&'a str>,
    /// The HTTP status of the reply.
    pub status: u16,
    /// The S3 error code, if the reply is an error or was broken off by one.
    pub error: Option<&'a str>,
    /// Bytes of the request body.
    pub bytes_in: u64,
    /// Bytes of the reply, its head included.
    pub bytes_out: u64,
    /// The time from the head to the last byte of the reply.
    pub duration: Duration,
    /// The user agent.
    pub user_agent: Option<&'a str>,
    /// The access key id that signed, once it is verified.
    pub access_key_id: Option<&'a str>,
}

/// A core's handle to the log; cheap to clone.
#[derive(Clone)]
pub struct Logger {
    form: LogForm,
    lines: flume::Sender<Message>,
    board: Arc<Board>,
}

/// The writing thread.
pub struct Writer {
    lines: flume::Sender<Message>,
    thread: std::thread::JoinHandle<()>,
}

enum Message {
    Line(String),
    Stop,
}

/// Opens the log and starts its writer; `None` if it is off.
pub fn start(config: &AccessLog, board: &Arc<Board>) -> Result<Option<(Logger, Writer)>> {
    if config.form == LogForm::Off {
        return Ok(None);
    }
    let mut sink = Sink::open(config.file.clone())?;
    let (lines, waiting) = flume::bounded(LINES_MAX);
    let body = move || {
        while let Ok(Message::Line(line)) = waiting.recv() {
            sink.write(&line);
            let stop = waiting.try_iter().any(|message| match message {
                Message::Line(line) => {
                    sink.write(&line);
                    false
                }
                Message::Stop => true,
            });
            sink.flush();
            if stop {
                break;
            }
        }
    };
    let thread = engine::io::spawn_thread("access-log", body)
        .map_err(|error| Error::refused(format!("cannot start a thread: {error}; raise `ulimit -u`")))?;
    let logger = Logger { form: config.form, lines: lines.clone(), board: Arc::clone(board) };
    Ok(Some((logger, Writer { lines, thread })))
}

impl Logger {
    /// Writes a line, or drops and counts it if too many are queued.
    pub fn log(&self, entry: &Entry<'_>) {
        let line = match self.form {
            LogForm::Json => json(entry),
            LogForm::Text | LogForm::Off => text(entry),
        };
        if self.lines.try_send(Message::Line(line)).is_err() {
            self.board.count_access_log_dropped();
        }
    }
}

impl Writer {
    /// Writes the waiting lines and ends the thread.
    pub fn finish(self) {
        // An error means that the thread has ended already.
        if self.lines.send(Message::Stop).is_ok() {
            let _ = self.thread.join();
        }
    }
}

/// `time request-id remote method operation bucket "key" status error in out µs access-key "user agent" "target"`,
/// with `-` for missing values.
fn text(entry: &Entry<'_>) -> String {
    let mut line = String::with_capacity(320);
    // Writing to a String can't fail.
    let _ = write!(line, "{} {} ", time(entry.unix_ms), entry.request_id);
    let _ = match entry.remote {
        Some(remote) => write!(line, "{remote} "),
        None => write!(line, "- "),
    };
    for word in [entry.method, entry.operation, entry.bucket] {
        plain(&mut line, word);
        line.push(' ');
    }
    quoted(&mut line, entry.key);
    let micros = entry.duration.as_micros();
    let _ = write!(line, " {} {} ", entry.status, entry.error.unwrap_or("-"));
    let _ = write!(line, "{} {} {micros} ", entry.bytes_in, entry.bytes_out);
    let _ = write!(line, "{} ", entry.access_key_id.unwrap_or("-"));
    quoted(&mut line, entry.user_agent.map(|agent| cut(agent, USER_AGENT_BYTES_MAX)));
    line.push(' ');
    quoted(&mut line, target(entry).as_deref());
    line.push('\n');
    line
}

fn json(entry: &Entry<'_>) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        time: String,
        request_id: &'a str,
        remote: Option<SocketAddr>,
        method: Option<&'a str>,
        operation: Option<&'a str>,
        bucket: Option<&'a str>,
        key: Option<&'a str>,
        status: u16,
        error: Option<&'a str>,
        bytes_in: u64,
        bytes_out: u64,
        duration_us: u64,
        access_key_id: Option<&'a str>,
        user_agent: Option<&'a str>,
        target: Option<String>,
    }
    let line = Line {
        time: time(entry.unix_ms),
        request_id: entry.request_id,
        remote: entry.remote,
        method: entry.method,
        operation: entry.operation,
        bucket: entry.bucket,
        key: entry.key,
        status: entry.status,
        error: entry.error,
        bytes_in: entry.bytes_in,
        bytes_out: entry.bytes_out,
        duration_us: u64::try_from(entry.duration.as_micros()).unwrap_or(u64::MAX),
        access_key_id: entry.access_key_id,
        user_agent: entry.user_agent.map(|agent| cut(agent, USER_AGENT_BYTES_MAX)),
        target: target(entry),
    };
    let json = serde_json::to_string(&line).unwrap_or_default();
    let mut text = String::with_capacity(json.len() + 1);
    // Characters beyond ASCII appear only inside strings, where JSON allows any character to be escaped.
    for character in json.chars() {
        if deceives(character) {
            let _ = write!(text, "\\u{:04x}", u32::from(character));
        } else {
            text.push(character);
        }
    }
    text.push('\n');
    text
}

/// Whether a character can end a line, control a terminal, or change the direction of text. The code points of all of
/// them have at most four hexadecimal digits.
fn deceives(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The request target, escaped and masked for the log.
fn target(entry: &Entry<'_>) -> Option<String> {
    if entry.path.is_empty() {
        return None;
    }
    let piece =
        |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(TARGET_BYTES_MAX)]).into_owned();
    let mut shown = piece(entry.path);
    if !entry.query.is_empty() {
        masked(&piece(entry.query), &mut shown);
    }
    Some(shown)
}

fn time(unix_ms: u64) -> String {
    let timestamp = i64::try_from(unix_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    timestamp.map_or("-".to_owned(), |timestamp| format!("{timestamp:.3}"))
}

/// A text cut to at most `bytes_max` bytes, between characters.
fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// A word, quoted only if it does not look like one: bucket names are logged before they are validated.
fn plain(line: &mut String, word: Option<&str>) {
    match word {
        Some(word)
            if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"') =>
        {
            line.push_str(word);
        }
        word => quoted(line, word),
    }
}

/// A quoted text, escaped so that nothing in it can end the quotes or the line, or change the direction of text.
fn quoted(line: &mut String, text: Option<&str>) {
    let Some(text) = text else {
        line.push('-');
        return;
    };
    line.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                line.push('\\');
                line.push(character);
            }
            _ if deceives(character) => {
                let _ = write!(line, "{}", character.escape_unicode());
            }
            _ => line.push(character),
        }
    }
    line.push('"');
}

/// Appends a query with its signature and session token masked, however their names are encoded.
fn masked(query: &str, out: &mut String) {
    for (at, pair) in query.split('&').enumerate() {
        out.push(if at == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, _)) if is_secret(name) => {
                out.push_str(name);
                out.push_str("=***");
            }
            _ => out.push_str(pair),
        }
    }
}

fn is_secret(name: &str) -> bool {
    let mut decoded = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hexadecimal = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte =
            hexadecimal.filter(|_| first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(byte.unwrap_or(first).to_ascii_lowercase());
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    matches!(decoded.as_slice(), b"x-amz-signature" | b"x-amz-security-token" | b"signature")
}

/// The destination of lines.
struct Sink {
    path: Option<PathBuf>,
    file: BufWriter<Box<dyn Write + Send>>,
    inode: u64,
    failed: bool,
}

impl Sink {
    fn open(path: Option<PathBuf>) -> Result<Self> {
        let (file, inode): (Box<dyn Write + Send>, u64) = match &path {
            None => (Box::new(io::stdout()), 0),
            Some(path) => {
                let (file, inode) = append(path).map_err(|error| files::cannot("append to", path, &error))?;
                (Box::new(file), inode)
            }
        };
        Ok(Self { path, file: BufWriter::with_capacity(64 * 1024, file), inode, failed: false })
    }

    fn write(&mut self, line: &str) {
        let written = self.file.write_all(line.as_bytes());
        self.report(written);
    }

    /// Flushes to the system, and opens a new file if the old one was renamed.
    fn flush(&mut self) {
        let flushed = self.file.flush();
        self.report(flushed);
        let Some(path) = &self.path else {
            return;
        };
        if std::fs::metadata(path).is_ok_and(|meta| meta.ino() == self.inode) {
            return;
        }
        if let Ok((file, inode)) = append(path) {
            self.file = BufWriter::with_capacity(64 * 1024, Box::new(file));
            self.inode = inode;
        }
    }

    /// Reports once that the log can't be written, and again only if it worked in between.
    fn report(&mut self, result: io::Result<()>) {
        match result {
            Ok(()) => self.failed = false,
            Err(error) if !self.failed => {
                self.failed = true;
                note(format_args!("the access log cannot be written: {error}"));
            }
            Err(_) => {}
        }
    }
}

fn append(path: &Path) -> io::Result<(File, u64)> {
    // Object keys may be private: only the owner and the group that collects logs can read them.
    let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
    let inode = file.metadata()?.ino();
    Ok((file, inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(target: &str) -> Entry<'_> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Entry {
            unix_ms: 1_700_000_000_123,
            request_id: "RID",
            remote: Some("127.0.0.1:5".parse().unwrap()),
            method: Some("GET"),
            path: path.as_bytes(),
            query: query.as_bytes(),
            operation: Some("GetObject"),
            bucket: Some("b"),
            key: Some("a \"key\"\n\u{202e}é"),
            status: 200,
            error: None,
            bytes_in: 0,
            bytes_out: 5,
            duration: Duration::from_micros(120),
            user_agent: Some("curl"),
            access_key_id: None,
        }
    }

    #[test]
    fn a_text_line_has_its_words_in_order_and_no_line_can_be_forged() {
        assert_eq!(
            text(&entry("/b/k")),
            "2023-11-14T22:13:20.123Z RID 127.0.0.1:5 GET GetObject b \"a \\\"key\\\"\\u{a}\\u{202e}é\" 200 - 0 5 120 - \
             \"curl\" \"/b/k\"\n"
        );
    }

    #[test]
    fn an_invalid_bucket_name_is_quoted() {
        let line = text(&Entry { bucket: Some("a b\n"), ..entry("/") });
        assert!(line.contains(" GetObject \"a b\\u{a}\" "), "{line}");
    }

    #[test]
    fn a_request_that_could_not_be_read_has_dashes() {
        let unread = Entry {
            remote: None,
            method: None,
            path: b"",
            operation: None,
            bucket: None,
            key: None,
            status: 400,
            error: Some("BadRequest"),
            user_agent: None,
            ..entry("")
        };
        assert_eq!(text(&unread), "2023-11-14T22:13:20.123Z RID - - - - - 400 BadRequest 0 5 120 - - -\n");
    }

    #[test]
    fn a_json_line_is_one_line_and_reads_back() {
        let line = json(&entry("/b/k?x=1"));
        assert_eq!(line.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["key"], "a \"key\"\n\u{202e}é");
        assert_eq!(value["target"], "/b/k?x=1");
        assert_eq!(value["duration_us"], 120);
        assert_eq!(value["access_key_id"], serde_json::Value::Null);
    }

    #[test]
    fn no_field_of_a_client_can_end_a_line_or_a_word_or_steer_a_terminal() {
        let bad = "a\" 200 - 0\r\n2026 \u{1b}[2K\u{7f}\u{85}\u{9b}\u{2028}\u{2029}\u{202e}\u{200f}\u{61c}\\";
        let target = format!("/{bad}?{bad}");
        let entry = Entry {
            bucket: Some(bad),
            key: Some(bad),
            user_agent: Some(bad),
            method: Some(bad),
            operation: None,
            ..entry(&target)
        };
        for line in [text(&entry), json(&entry)] {
            let inner = line.strip_suffix('\n').unwrap();
            assert!(!inner.chars().any(deceives), "{line:?}");
        }
        let line = text(&entry);
        // Fields are separated by spaces outside quotes.
        let (mut quoted, mut escaped, mut words) = (false, false, 1);
        for character in line.trim_end().chars() {
            words += usize::from(character == ' ' && !quoted);
            quoted ^= character == '"' && !escaped;
            escaped = character == '\\' && !escaped;
        }
        assert_eq!((words, quoted), (15, false), "{line}");
        let value: serde_json::Value = serde_json::from_str(&json(&entry)).unwrap();
        assert_eq!((&value["key"], &value["user_agent"]), (&bad.into(), &bad.into()));
    }

    #[test]
    fn signatures_and_tokens_are_masked_however_they_are_spelled() {
        for (given, shown) in [
            ("/b/k?X-Amz-Signature=abc&x=1", "/b/k?X-Amz-Signature=***&x=1"),
            ("/k?x-amz%2dsignature=abc", "/k?x-amz%2dsignature=***"),
            ("/k?AWSAccessKeyId=A&Signature=abc%3D", "/k?AWSAccessKeyId=A&Signature=***"),
            ("/k?X-Amz-Security-Token=t", "/k?X-Amz-Security-Token=***"),
            (
                "/k?%58-Amz-Signature=a=b&Signature=c&signature=d",
                "/k?%58-Amz-Signature=***&Signature=***&signature=***",
            ),
            ("/signature=1", "/signature=1"),
            ("/k?%=1&%é=2", "/k?%=1&%é=2"),
        ] {
            assert_eq!(target(&entry(given)).unwrap(), shown);
        }
    }

    #[test]
    fn long_fields_are_cut_between_characters() {
        let long = "é".repeat(5000);
        assert!(text(&entry(&long)).len() < 2 * TARGET_BYTES_MAX);
        assert_eq!(cut("éé", 3), "é");
    }

    #[test]
    fn lines_reach_the_file_and_a_renamed_one_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let config = AccessLog { form: LogForm::Text, file: Some(path.clone()) };
        let mut sink = Sink::open(config.file.clone()).unwrap();
        sink.write("one\n");
        sink.flush();
        std::fs::rename(&path, dir.path().join("old")).unwrap();
        sink.flush();
        sink.write("two\n");
        sink.flush();
        assert_eq!(std::fs::read_to_string(dir.path().join("old")).unwrap(), "one\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");

        let board = Board::new(1);
        let (logger, writer) = start(&config, &board).unwrap().unwrap();
        logger.log(&entry("/b/k"));
        writer.finish();
        assert!(std::fs::read_to_string(&path).unwrap().contains("GetObject"));
        logger.log(&entry("/b/k"));
        assert_eq!(board.access_log_dropped(), 1);
    }
}
