//! Multipart uploads: parts that are sent twice or are empty, uploads that are aborted or left open, and a Complete that
//! is sent again until its answer is known.

use engine::io::sim::control;

use super::{Fate, GONE, NO_UPLOAD, OK, Worker, object, steered};
use crate::check::durability;
use crate::client::{Request, element};
use crate::history::Action;
use crate::machine::Machine;
use crate::value::{Contents, ValueId};

/// The minimum size of a part that is not the last, in a simulated node.
const PART_BYTES_MIN: usize = 64 << 10;
/// How often a client asks to have an upload completed, until it knows that it is.
const COMPLETES_MAX: usize = 4;

/// What became of a Complete.
enum Completed {
    /// Its object is there.
    Made,
    /// There is no such upload (any more), nor its object.
    Gone,
    /// Refused for another reason, or never sent.
    Refused,
    Unknown,
}

impl Worker {
    /// Uploads an object in parts, to one end or another.
    pub(super) async fn multipart(&mut self, key: &'static str) {
        let (_, answer) = self.ask(&Request::new("POST", object(key)).query("uploads", ""), &[OK]).await;
        let text = answer.map(|answer| answer.text()).unwrap_or_default();
        let Some(upload) = element(&text, "UploadId").map(str::to_owned) else { return };
        let mut parts: Vec<(usize, Contents)> = Vec::new();
        let mut number = 0;
        let count = 1 + self.random.index(3);
        for place in 0..count {
            number += 1 + self.random.index(3);
            // The last one may be empty, beside another that tells the values apart.
            let empty = place > 0 && place + 1 == count && self.random.one_in(4);
            // Parts may be sent more than once: the last one counts.
            for _ in 0..1 + usize::from(self.random.one_in(4)) {
                let more = match self.random.below(4) {
                    0 => 0,
                    1 => steered(&mut self.random, 600 << 10),
                    _ => self.random.index(200 << 10),
                };
                let length = PART_BYTES_MIN + more;
                let length = if empty { 0 } else { length };
                let body = Contents::new(number, length, &mut self.random);
                let request = self
                    .write("PUT", object(key), body.bytes())
                    .query("partNumber", number.to_string())
                    .query("uploadId", upload.clone());
                let (fate, answer) = self.ask(&request, &[OK]).await;
                let Some(answer) = answer.filter(|_| fate == Fate::Done) else {
                    // What the part holds now is not known.
                    return self.abort(key, &upload).await;
                };
                self.shared.holds(durability::acknowledged(key, &body.md5_hex(), &answer));
                parts.retain(|(other, _)| *other != number);
                parts.push((number, body));
            }
        }
        match self.random.below(6) {
            0 => self.abort(key, &upload).await,
            // An upload may stay open.
            1 => {}
            // Not all parts need become part of the object.
            2 if parts.len() > 1 => {
                parts.remove(self.random.index(parts.len()));
                self.complete(key, &upload, parts).await;
            }
            _ => self.complete(key, &upload, parts).await,
        }
    }

    async fn abort(&mut self, key: &'static str, upload: &str) {
        let request = Request::new("DELETE", object(key)).query("uploadId", upload);
        drop(self.ask(&request, &[GONE]).await);
    }

    async fn complete(&mut self, key: &'static str, upload: &str, parts: Vec<(usize, Contents)>) {
        let named: String = parts
            .iter()
            .map(|(number, body)| {
                let etag = body.md5_hex();
                format!("<Part><PartNumber>{number}</PartNumber><ETag>&quot;{etag}&quot;</ETag></Part>")
            })
            .collect();
        let bodies: Vec<Contents> = parts.into_iter().map(|(_, body)| body).collect();
        let value = self.shared.values.borrow_mut().of_parts(&bodies);
        let body = format!("<CompleteMultipartUpload>{named}</CompleteMultipartUpload>").into_bytes();
        let request =
            Request { body: body.into(), ..Request::new("POST", object(key)) }.query("uploadId", upload);
        let invoked = self.shared.tick();
        let mut fate = Fate::NotDone;
        // As the SDKs do, it asks again until it knows.
        for _ in 0..COMPLETES_MAX {
            match self.ask_to_complete(key, &request, value).await {
                Completed::Made => {
                    self.note(key, Action::Write(value), invoked, Fate::Done);
                    if self.random.one_in(3) {
                        self.complete_again(key, &request, value).await;
                    }
                    return;
                }
                // Nobody else ends it: the Complete whose answer was lost was executed, and its object is gone by
                // now.
                Completed::Gone if fate == Fate::Unknown => {
                    self.note(key, Action::Write(value), invoked, Fate::Done);
                    return self.complete_again(key, &request, value).await;
                }
                Completed::Gone => {
                    if !control::is_damaged(&Machine::wal_dir()) {
                        self.shared
                            .violation(format!("an upload to {key:?} is gone, though nobody ended it"));
                    }
                    return;
                }
                Completed::Refused => {}
                Completed::Unknown => fate = Fate::Unknown,
            }
        }
        self.note(key, Action::Write(value), invoked, fate);
    }

    /// Completes an upload that was completed before: the answer tells whether its object is still there.
    async fn complete_again(&mut self, key: &'static str, request: &Request, value: ValueId) {
        let invoked = self.shared.tick();
        match self.ask_to_complete(key, request, value).await {
            Completed::Made => self.note(key, Action::Read(Some(value)), invoked, Fate::Done),
            Completed::Gone => self.note(key, Action::IsNot(value), invoked, Fate::Done),
            Completed::Refused | Completed::Unknown => {}
        }
    }

    async fn ask_to_complete(&mut self, key: &'static str, request: &Request, value: ValueId) -> Completed {
        let (fate, answer) = self.ask(request, &[OK, NO_UPLOAD]).await;
        let text = answer.map(|answer| answer.text()).unwrap_or_default();
        // It may fail after its answer has begun.
        match (fate, element(&text, "ETag"), element(&text, "Code")) {
            (Fate::Done, Some(etag), _) => {
                let etag = etag.replace("&quot;", "");
                if etag != self.shared.values.borrow().get(value).etag {
                    self.shared
                        .violation(format!("the upload to {key:?} was completed with the ETag {etag}"));
                }
                Completed::Made
            }
            (_, _, Some("NoSuchUpload")) => Completed::Gone,
            (Fate::NotDone, ..) => Completed::Refused,
            _ => Completed::Unknown,
        }
    }
}
