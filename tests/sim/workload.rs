//! What the clients do: all operations, on few keys, so that they collide.

mod multipart;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use base64::Engine;
use engine::io::sim::Random;
use engine::io::sleep;

use crate::check::durability::Span;
use crate::check::linearizability::ENTRIES_MAX;
use crate::check::lists::{Page, Query};
use crate::check::{durability, refusals};
use crate::client::{Answer, Client, Failed, Payload, Request, SLOW_ONE_IN, element, elements, http_date};
use crate::history::{Action, Entry, History};
use crate::value::{ValueId, Values};

/// The bucket of all keys.
pub const BUCKET: &str = "bucket";
/// The keys that clients may use; a run uses some of them.
pub const KEYS: [&str; 10] =
    ["a", "b/1", "b/2", "b/2/deep", "c c+%", "d-é-世界", "e/", "f//g", "z.~_", "zz/../zz"];
/// Units of storage: words of a log record, sectors, pages, blocks with and without their trailer, slices, the largest
/// small blob, extents. Lengths and ends of ranges lie around multiples of them.
const UNITS: [usize; 8] = [8, 512, 4096, 65_504, 64 << 10, 128 << 10, 262_016, 2_096_128];

/// A length of at most `largest`, at most two bytes from a multiple of a unit.
fn steered(random: &mut Random, largest: usize) -> usize {
    let unit = UNITS[random.index(UNITS.len())];
    (unit * random.index(5) + random.index(5)).saturating_sub(2).min(largest)
}

/// State shared by all clients of a run.
pub struct Shared {
    pub address: SocketAddr,
    pub keys: Vec<&'static str>,
    pub history: RefCell<History>,
    pub values: RefCell<Values>,
    /// Set when no more operations are to begin.
    pub stop: Cell<bool>,
    /// Whether faults damage durable data: then reads may fail, but never return wrong bytes.
    pub damage: Cell<bool>,
    /// Whether clients may half-close a connection before they have their answer.
    pub half_closes: Cell<bool>,
    /// One request in this many is slow.
    pub slow_one_in: Cell<u64>,
    /// Values seen last, for conditions.
    seen: RefCell<BTreeMap<&'static str, ValueId>>,
    pub largest: usize,
}

/// An answer that a request may get whatever goes wrong: its status and its error's code, which HEAD does not show.
pub type Expected = (u16, &'static str);

const OK: Expected = (200, "");
const PARTIAL: Expected = (206, "");
const GONE: Expected = (204, "");
const NO_KEY: Expected = (404, "NoSuchKey");
const NO_UPLOAD: Expected = (404, "NoSuchUpload");
const FAILED_CONDITION: Expected = (412, "PreconditionFailed");
const NO_RANGE: Expected = (416, "InvalidRange");

/// What became of an operation.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Done,
    NotDone,
    Unknown,
}

impl Shared {
    /// For a run.
    pub fn new(address: SocketAddr, keys: Vec<&'static str>, largest: usize) -> Shared {
        Shared {
            address,
            keys,
            history: RefCell::default(),
            values: RefCell::default(),
            stop: Cell::new(false),
            damage: Cell::new(false),
            half_closes: Cell::new(false),
            slow_one_in: Cell::new(SLOW_ONE_IN),
            seen: RefCell::default(),
            largest,
        }
    }

    fn tick(&self) -> u64 {
        self.history.borrow_mut().tick()
    }

    fn violation(&self, what: String) {
        self.history.borrow_mut().violation(what);
    }

    /// The result of a check if it passed; a failure is recorded.
    fn holds<T>(&self, checked: Result<T, String>) -> Option<T> {
        checked.map_err(|what| self.violation(what)).ok()
    }

    fn has_room(&self, key: &str) -> bool {
        self.history.borrow().keys.get(key).is_none_or(|entries| entries.len() < ENTRIES_MAX - 16)
    }
}

/// One client.
pub struct Worker {
    pub shared: Rc<Shared>,
    pub number: usize,
    pub random: Random,
    client: Client,
}

fn object(key: &str) -> String {
    format!("/{BUCKET}/{key}")
}

fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

impl Worker {
    /// A client of a run.
    pub fn new(shared: Rc<Shared>, number: usize, random: Random) -> Worker {
        let client = Client::new(shared.address, engine::io::sim::control::random());
        Worker { shared, number, random, client }
    }

    /// Does a number of operations, or fewer if the run stops.
    pub async fn work(mut self, operations: usize) {
        for _ in 0..operations {
            if self.shared.stop.get() {
                return;
            }
            let pause = self.random.between(0, 3000) * if self.random.one_in(10) { 100 } else { 1 };
            sleep(Duration::from_micros(pause)).await;
            self.operate().await;
        }
    }

    async fn operate(&mut self) {
        let place = self.random.index(self.shared.keys.len());
        let key = self.shared.keys[place];
        if !self.shared.has_room(key) {
            // A longer history could not be judged, but what is read must still be intact.
            let _ = self.ask_for(key).await;
            return;
        }
        match self.random.below(100) {
            0..26 => self.put(key).await,
            26..32 => self.create(key).await,
            32..38 => self.replace(key).await,
            38..56 => drop(self.get(key).await),
            56..63 => self.get_range(key).await,
            63..66 => self.head(key).await,
            66..74 => self.delete(key).await,
            74..77 => self.delete_many().await,
            77..86 => self.list().await,
            86..91 => self.copy(key).await,
            _ => self.multipart(key).await,
        }
    }

    fn length(&mut self) -> usize {
        let mostly_large = self.shared.largest > 200 << 10 && self.random.one_in(2);
        let length = match self.random.below(20) {
            _ if mostly_large => {
                self.random.between(self.shared.largest as u64 / 4, self.shared.largest as u64) as usize
            }
            0..9 => self.random.index(5000),
            9..14 => steered(&mut self.random, self.shared.largest),
            14..18 => self.random.index(200 << 10),
            _ => self.random.index(self.shared.largest),
        };
        length.min(self.shared.largest)
    }

    fn value(&mut self) -> ValueId {
        let length = self.length();
        self.shared.values.borrow_mut().make(length, &mut self.random)
    }

    fn write(&mut self, method: &'static str, path: String, body: Rc<[u8]>) -> Request {
        let payload = [Payload::Unsigned, Payload::Signed, Payload::SignedChunks, Payload::Trailer];
        let payload = payload[self.random.index(payload.len())];
        let expect = self.random.one_in(3);
        // Some don't say its length first.
        let unsaid = self.random.one_in(6);
        let chunk_bytes = unsaid.then(|| 1 + body.len() / 100 + self.random.index(100 << 10));
        Request { body, payload, expect, chunk_bytes, ..Request::new(method, path) }
    }

    /// Sends a request and reports its outcome: done if its answer is one of those expected. Any other needs a reason.
    async fn ask(&mut self, request: &Request, expected: &[Expected]) -> (Fate, Option<Answer>) {
        self.client.half_closes = self.shared.half_closes.get();
        self.client.slow_one_in = self.shared.slow_one_in.get();
        let invoked = engine::io::now();
        let answer = self.client.ask(request).await;
        let (status, code) =
            answer.as_ref().map_or((0, String::new()), |answer| (answer.status, answer.code()));
        *self.shared.history.borrow_mut().answers.entry(status).or_default() += 1;
        engine::io::sim::control::trace(|| {
            let outcome = match &answer {
                Ok(_) => format!("{status} {code}"),
                Err(failed) => format!("{failed:?}"),
            };
            format!(
                "client {}: {} {} {:?} -> {outcome}",
                self.number, request.method, request.path, request.query
            )
        });
        let is_head = request.method == "HEAD";
        let is_expected = |(other, name): &Expected| *other == status && (is_head || *name == code);
        match answer {
            Ok(answer) if expected.iter().any(is_expected) => (Fate::Done, Some(answer)),
            Ok(answer) => {
                let refusal = format!("{} {}", if is_head { "HEAD" } else { &code }, answer.message());
                *self.shared.history.borrow_mut().refusals.entry(refusal).or_default() += 1;
                if let Err(what) = refusals::check(&answer, engine::io::now() - invoked) {
                    self.shared.violation(format!("{} {}: {what}", request.method, request.path));
                }
                (if (400..500).contains(&status) { Fate::NotDone } else { Fate::Unknown }, Some(answer))
            }
            Err(Failed::NotSent) => {
                // The server is down. Come back later rather than use up the operations of this run.
                sleep(Duration::from_millis(self.random.between(1, 200))).await;
                (Fate::NotDone, None)
            }
            Err(Failed::Lost) => (Fate::Unknown, None),
            Err(Failed::Garbled(what)) => {
                self.shared.violation(format!("{} {}: {what}", request.method, request.path));
                (Fate::Unknown, None)
            }
            Err(Failed::BrokenOff) => {
                self.shared.history.borrow_mut().broken_off += 1;
                (Fate::Unknown, None)
            }
        }
    }

    /// Records an operation that changes a key.
    fn note(&self, key: &str, action: Action, invoked: u64, fate: Fate) {
        let returned = match fate {
            Fate::Done => Some(self.shared.tick()),
            Fate::Unknown => None,
            Fate::NotDone => return,
        };
        let entry = Entry { action, invoked, returned, client: self.number };
        self.shared.history.borrow_mut().add(key, entry);
    }

    async fn put(&mut self, key: &'static str) {
        let value = self.value();
        let body = self.shared.values.borrow().get(value).contents.bytes();
        let request = self.write("PUT", object(key), body);
        let invoked = self.shared.tick();
        let (fate, answer) = self.ask(&request, &[OK]).await;
        self.note(key, Action::Write(value), invoked, fate);
        self.check_etag(key, value, fate, answer.as_ref());
    }

    fn check_etag(&self, key: &'static str, value: ValueId, fate: Fate, answer: Option<&Answer>) {
        let Some(answer) = answer.filter(|_| fate == Fate::Done) else { return };
        self.shared.seen.borrow_mut().insert(key, value);
        let etag = self.shared.values.borrow().get(value).etag.clone();
        self.shared.holds(durability::acknowledged(key, &etag, answer));
    }

    async fn create(&mut self, key: &'static str) {
        let value = self.value();
        let body = self.shared.values.borrow().get(value).contents.bytes();
        let request = self.write("PUT", object(key), body).header("if-none-match", "*");
        let invoked = self.shared.tick();
        let (fate, answer) = self.ask(&request, &[OK, FAILED_CONDITION]).await;
        if answer.as_ref().is_some_and(|answer| answer.status == 412) {
            return self.note(key, Action::Exists, invoked, fate);
        }
        self.note(key, Action::Create(value), invoked, fate);
        self.check_etag(key, value, fate, answer.as_ref());
    }

    async fn replace(&mut self, key: &'static str) {
        let Some(expected) = self.shared.seen.borrow().get(key).copied() else { return };
        let value = self.value();
        let (body, etag) = {
            let values = self.shared.values.borrow();
            (values.get(value).contents.bytes(), quoted(&values.get(expected).etag))
        };
        let request = self.write("PUT", object(key), body).header("if-match", etag);
        let invoked = self.shared.tick();
        let (fate, answer) = self.ask(&request, &[OK, FAILED_CONDITION, NO_KEY]).await;
        // Any other failure, such as a 503 after the proposal, leaves open whether the value was replaced.
        match answer.as_ref().map(|answer| answer.status) {
            Some(412) => self.note(key, Action::HoldsAnother(expected), invoked, fate),
            Some(404) => self.note(key, Action::Read(None), invoked, fate),
            _ => {
                self.note(key, Action::Replace(expected, value), invoked, fate);
                self.check_etag(key, value, fate, answer.as_ref());
            }
        }
    }

    /// Records the time of a key's last change that the answer to a read shows, which began at `invoked`.
    fn note_time(&self, key: &str, answer: &Answer, invoked: u64) {
        match answer.header("last-modified").and_then(http_date) {
            Some(modified_s) => self.shared.history.borrow_mut().saw(key, modified_s, invoked),
            None => self.shared.violation(format!("{key:?} was shown without the time of its last change")),
        }
    }

    /// The value that an answer shows, checked byte for byte; `None` if it shows none.
    fn seen(&self, key: &'static str, answer: &Answer, span: Span) -> Option<ValueId> {
        let read = durability::read(&self.shared.values.borrow(), key, answer, span);
        let value = self.shared.holds(read)?;
        self.shared.seen.borrow_mut().insert(key, value);
        Some(value)
    }

    /// What a key holds, if the answer says.
    async fn ask_for(&mut self, key: &'static str) -> Option<Option<ValueId>> {
        let invoked = self.shared.tick();
        let (fate, answer) = self.ask(&Request::new("GET", object(key)), &[OK, NO_KEY]).await;
        let answer = answer.filter(|_| fate == Fate::Done)?;
        if answer.status != 200 {
            return Some(None);
        }
        self.note_time(key, &answer, invoked);
        Some(self.seen(key, &answer, Span::All))
    }

    /// Reads a key; true if the answer said what it holds.
    pub async fn get(&mut self, key: &'static str) -> bool {
        let invoked = self.shared.tick();
        let Some(found) = self.ask_for(key).await else { return false };
        self.note(key, Action::Read(found), invoked, Fate::Done);
        true
    }

    /// Reads a range. Half of those that resume an earlier read say so (If-Range), and get a range of that very
    /// object or all of another.
    async fn get_range(&mut self, key: &'static str) {
        let known = self.shared.seen.borrow().get(key).copied();
        let (length, etag) = known.map_or((5000, String::new()), |known| {
            let values = self.shared.values.borrow();
            (values.get(known).contents.len(), quoted(&values.get(known).etag))
        });
        let from = if self.random.one_in(2) {
            steered(&mut self.random, length)
        } else {
            self.random.index(length + 1)
        };
        let span = match self.random.below(4) {
            0 => Span::From(from),
            1 => Span::Last(from.max(1)),
            _ => Span::Between(from, from + 1 + self.random.index(length.saturating_sub(from) + 2)),
        };
        let mut request = Request::new("GET", object(key)).header("range", span.header());
        let resumed = known.filter(|_| self.random.one_in(2));
        if resumed.is_some() {
            request = request.header("if-range", etag);
        }
        let invoked = self.shared.tick();
        let misses = if span.misses_up_to().is_some() { NO_RANGE } else { PARTIAL };
        let (fate, answer) = self.ask(&request, &[OK, PARTIAL, NO_KEY, misses]).await;
        let Some(answer) = answer.filter(|_| fate == Fate::Done) else { return };
        if answer.status == 416 {
            // The key holds a value that ends before the range begins.
            let shorter = self.shared.values.borrow().up_to(span.misses_up_to().unwrap_or_default());
            return self.note(key, Action::HoldsOneOf(shorter), invoked, Fate::Done);
        }
        if answer.status != 404 {
            self.note_time(key, &answer, invoked);
        }
        let found = match answer.status {
            206 => self.seen(key, &answer, span),
            200 => self.seen(key, &answer, Span::All),
            _ => None,
        };
        let length = found.map_or(0, |found| self.shared.values.borrow().get(found).contents.len());
        if answer.status == 200 && resumed.is_none() && !span.shows_all_of(length) {
            self.shared
                .violation(format!("{span:?} of {key:?}, of {length} bytes, was answered with all of it"));
        }
        if answer.status == 206 && resumed.is_some() && found != resumed {
            self.shared.holds::<()>(Err(format!("a range of {key:?} was resumed from another object")));
        }
        self.note(key, Action::Read(found), invoked, Fate::Done);
    }

    async fn head(&mut self, key: &'static str) {
        let invoked = self.shared.tick();
        let (fate, answer) = self.ask(&Request::new("HEAD", object(key)), &[OK, NO_KEY]).await;
        let Some(answer) = answer.filter(|_| fate == Fate::Done) else { return };
        let found = match answer.status {
            200 => {
                self.note_time(key, &answer, invoked);
                self.shared.holds(durability::described(&self.shared.values.borrow(), key, &answer))
            }
            _ => None,
        };
        self.note(key, Action::Read(found), invoked, Fate::Done);
    }

    async fn delete(&mut self, key: &'static str) {
        let invoked = self.shared.tick();
        let (fate, _) = self.ask(&Request::new("DELETE", object(key)), &[GONE]).await;
        self.note(key, Action::Delete, invoked, fate);
    }

    async fn delete_many(&mut self) {
        let keys: Vec<&'static str> =
            self.shared.keys.iter().copied().filter(|_| self.random.one_in(3)).collect();
        if keys.is_empty() {
            return;
        }
        let objects: String = keys.iter().map(|key| format!("<Object><Key>{key}</Key></Object>")).collect();
        let body = format!("<Delete>{objects}</Delete>").into_bytes();
        let sum = base64::engine::general_purpose::STANDARD.encode(crate::value::md5(&body));
        let request = Request { body: body.into(), ..Request::new("POST", format!("/{BUCKET}")) }
            .query("delete", "")
            .header("content-md5", sum);
        let invoked = self.shared.tick();
        let (fate, answer) = self.ask(&request, &[OK]).await;
        let text = answer.map(|answer| answer.text()).unwrap_or_default();
        let deleted: Vec<&str> =
            elements(&text, "Deleted").iter().filter_map(|entry| element(entry, "Key")).collect();
        for key in keys {
            let is_known = fate != Fate::Done || deleted.contains(&key);
            self.note(key, Action::Delete, invoked, if is_known { fate } else { Fate::Unknown });
        }
    }

    /// Lists the bucket page by page. Each page is a read of all keys in its range.
    pub async fn list(&mut self) {
        let query = Query {
            prefix: ["", "", "b/", "b/2", "z"][self.random.index(5)],
            delimiter: ["", "", "/", "/2", "-"][self.random.index(5)],
            max: [1, 2, 3, 1000][self.random.index(4)],
            first_version: self.random.one_in(3),
        };
        let start = self.random.index(self.shared.keys.len());
        let mut after =
            if self.random.one_in(4) { self.shared.keys[start].to_owned() } else { String::new() };
        let mut token: Option<String> = None;
        for _ in 0..20 {
            let request = query.request(BUCKET, &after, token.as_deref());
            let invoked = self.shared.tick();
            let (fate, answer) = self.ask(&request, &[OK]).await;
            let Some(answer) = answer.filter(|_| fate == Fate::Done) else { return };
            let page = Page::read(&answer.text(), query, after, &self.shared.values.borrow());
            let Some(page) = self.shared.holds(page) else { return };
            for (key, action) in self.shared.holds(page.of(&self.shared.keys)).unwrap_or_default() {
                if self.shared.has_room(key) {
                    self.note(key, action, invoked, Fate::Done);
                }
            }
            if !page.truncated {
                return;
            }
            (after, token) = (page.last, page.token);
        }
        self.shared.violation("a list of a few keys has no end".to_owned());
    }

    async fn copy(&mut self, key: &'static str) {
        let source = self.shared.keys[self.random.index(self.shared.keys.len())];
        if source == key || !self.shared.has_room(source) {
            return;
        }
        let named = crate::sign::encode_path(&object(source));
        let request = Request::new("PUT", object(key)).header("x-amz-copy-source", named);
        let invoked = self.shared.tick();
        let (fate, answer) = self.ask(&request, &[OK, NO_KEY]).await;
        let Some(answer) = answer.filter(|_| fate == Fate::Done) else {
            return self.note(key, Action::CopyOf(source.to_owned()), invoked, fate);
        };
        if answer.status == 404 {
            return self.note(source, Action::Read(None), invoked, Fate::Done);
        }
        let text = answer.text();
        // A copy may fail after its answer has begun.
        let etag = element(&text, "ETag").unwrap_or_default().replace("&quot;", "");
        let value = self.shared.values.borrow().by_etag(&etag);
        match value {
            Some(value) => self.note(key, Action::Write(value), invoked, Fate::Done),
            None if etag.is_empty() => {
                self.note(key, Action::CopyOf(source.to_owned()), invoked, Fate::Unknown);
            }
            None => self.shared.violation(format!("a copy has the ETag {etag}, which no value has")),
        }
    }

    /// Checks that the node stores a new value and returns it.
    pub async fn is_served(&mut self, key: &'static str) -> bool {
        let value = self.shared.values.borrow_mut().make(1000, &mut self.random);
        let body = self.shared.values.borrow().get(value).contents.bytes();
        let request = Request { body, ..Request::new("PUT", object(key)) };
        let invoked = self.shared.tick();
        let (fate, _) = self.ask(&request, &[OK]).await;
        self.note(key, Action::Write(value), invoked, fate);
        fate == Fate::Done && self.get(key).await
    }
}

/// A client that sends garbage, breaks a request off, or falls silent in the middle of one.
pub async fn abuse(shared: Rc<Shared>, mut random: Random) {
    while !shared.stop.get() {
        sleep(Duration::from_micros(random.between(1000, 400_000))).await;
        let Ok(mut stream) = engine::io::Stream::connect(shared.address).await else { continue };
        engine::io::sim::control::count(engine::io::sim::Fault::Garbage, "a client");
        let mut bytes = vec![0; random.index(3000)];
        random.fill(&mut bytes);
        let key = shared.keys[random.index(shared.keys.len())];
        let path = crate::sign::encode_path(&object(key));
        let start = match random.below(5) {
            0 => String::new(),
            1 => format!("PUT {path} HTTP/1.1\r\nhost: s3.example\r\ncontent-length: 100000\r\n\r\n"),
            2 => format!("GET {path} HTTP/1.1\r\nhost: s3.example\r\nx: "),
            3 => {
                "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nhost: x\r\n\r\nffffffffffff\r\n".to_owned()
            }
            _ => format!(
                "DELETE {path} HTTP/1.1\r\nhost: s3.example\r\nauthorization: AWS4-HMAC-SHA256 x\r\n\r\n"
            ),
        };
        let _ = stream.write_all(start.as_bytes()).await;
        let _ = stream.write_all(&bytes).await;
        if random.one_in(4) {
            let _ = stream.close().await;
        }
        if random.one_in(2) {
            sleep(Duration::from_millis(random.between(1, 2000))).await;
        }
    }
}
