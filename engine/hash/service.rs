//! Hashes all request bodies of a core.
//!
//! While a buffer waits for its MD5, the service owns it, so that its bytes stay in place without a borrow; it is
//! returned when it is done. The first buffer of a scheduler round starts a task that runs after everything that is
//! ready now, and then hashes all the buffers that have gathered. If a request is the only one in flight on its core,
//! it does not wait.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::ops::Range;
use std::rc::Rc;
use std::task::{Poll, Waker};

use sha2::Digest as _;
use smallvec::SmallVec;

use super::simd::MAX_STREAMS;
use super::{ChecksumAlgorithm, ChecksumState, Digests, Md5, Plan, update_many};
use crate::buf::Buf;
use crate::io;

/// Shorter pieces are hashed at once: waiting for others would cost more than it saves.
const QUEUE_MIN_BYTES: usize = 2048;
/// Buffers hashed in a row before other tasks run (two full sets of lanes).
const BATCH: usize = 64;

/// The service of one core.
#[derive(Clone, Default)]
pub struct HashService(Rc<Queue>);

#[derive(Default)]
struct Queue {
    waiting: RefCell<VecDeque<SharedLane>>,
    draining: Cell<bool>,
}

/// One body's MD5 and the buffer that waits for it.
#[derive(Default)]
struct Lane {
    md5: Md5,
    job: Option<Job>,
    waker: Option<Waker>,
}

type SharedLane = Rc<RefCell<Lane>>;

struct Job {
    buf: Buf,
    range: Range<usize>,
    done: bool,
}

/// The digests of one body being computed.
pub struct BodyHash {
    service: HashService,
    lane: Option<SharedLane>,
    sha256: Option<sha2::Sha256>,
    checksum: Option<ChecksumState>,
    /// The requested checksum is the SHA-256 that is computed anyway.
    checksum_is_sha256: bool,
}

impl HashService {
    /// A service with nothing to do.
    pub fn new() -> HashService {
        HashService::default()
    }

    /// Starts the digests of a body.
    pub fn open(&self, plan: Plan) -> BodyHash {
        let checksum_is_sha256 = plan.checksum == Some(ChecksumAlgorithm::Sha256);
        BodyHash {
            service: self.clone(),
            lane: plan.md5.then(Rc::default),
            sha256: (plan.sha256 || checksum_is_sha256).then(sha2::Sha256::new),
            checksum: plan.checksum.filter(|_| !checksum_is_sha256).map(ChecksumState::new),
            checksum_is_sha256,
        }
    }

    /// Number of buffers that wait now.
    pub fn depth(&self) -> usize {
        self.0.waiting.borrow().len()
    }

    fn enqueue(&self, lane: &SharedLane) {
        self.0.waiting.borrow_mut().push_back(lane.clone());
        if !self.0.draining.replace(true) {
            let queue = self.0.clone();
            io::spawn(async move { queue.drain().await });
        }
    }
}

impl Queue {
    async fn drain(&self) {
        loop {
            // A new task runs at once: let the tasks that are ready now add their buffers first.
            io::yield_now().await;
            let batch: SmallVec<[SharedLane; MAX_STREAMS]> = {
                let mut waiting = self.waiting.borrow_mut();
                let count = waiting.len().min(BATCH);
                waiting.drain(..count).collect()
            };
            if batch.is_empty() {
                self.draining.set(false);
                return;
            }
            hash(&batch);
        }
    }
}

/// Hashes the jobs of all lanes and wakes their owners. A lane is in the queue at most once.
fn hash(lanes: &[SharedLane]) {
    {
        let mut held: SmallVec<[_; MAX_STREAMS]> = lanes.iter().map(|lane| lane.borrow_mut()).collect();
        let mut streams: SmallVec<[&mut Md5; MAX_STREAMS]> = SmallVec::new();
        let mut inputs: SmallVec<[&[u8]; MAX_STREAMS]> = SmallVec::new();
        for lane in &mut held {
            let Lane { md5, job, .. } = &mut **lane;
            if let Some(job) = job.as_mut().filter(|job| !job.done) {
                job.done = true;
                streams.push(md5);
                inputs.push(&job.buf[job.range.clone()]);
            }
        }
        update_many(&mut streams, &inputs);
    }
    for lane in lanes {
        let waker = lane.borrow_mut().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl BodyHash {
    /// Adds `range` of `buf` and returns the buffer. Waits for other buffers if other requests are in flight.
    ///
    /// A caller that stops waiting loses the buffer, but the piece is still added.
    ///
    /// # Panics
    /// If the range lies outside the buffer.
    pub async fn update(&mut self, buf: Buf, range: Range<usize>) -> Buf {
        let bytes = &buf[range.clone()];
        self.update_others(bytes);
        let Some(lane) = &self.lane else { return buf };
        if io::requests_in_flight() < 2 || bytes.len() < QUEUE_MIN_BYTES {
            self.update_md5(bytes);
            return buf;
        }
        self.settle();
        lane.borrow_mut().job = Some(Job { buf, range, done: false });
        self.service.enqueue(lane);
        poll_fn(|cx| {
            let mut lane = lane.borrow_mut();
            match lane.job.take_if(|job| job.done) {
                Some(job) => Poll::Ready(job.buf),
                None => {
                    lane.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Adds bytes at once.
    pub fn update_now(&mut self, bytes: &[u8]) {
        self.update_others(bytes);
        self.update_md5(bytes);
    }

    /// The digests of everything that was added.
    pub fn finish(mut self) -> Digests {
        self.settle();
        let sha256 = self.sha256.take().map(|digest| digest.finalize().into());
        Digests {
            md5: self.lane.as_ref().map(|lane| std::mem::take(&mut lane.borrow_mut().md5).finish()),
            sha256,
            checksum: match sha256 {
                Some(bytes) if self.checksum_is_sha256 => {
                    super::Checksum::new(ChecksumAlgorithm::Sha256, &bytes)
                }
                _ => self.checksum.take().map(ChecksumState::finish),
            },
        }
    }

    fn update_others(&mut self, bytes: &[u8]) {
        if let Some(digest) = &mut self.sha256 {
            digest.update(bytes);
        }
        if let Some(state) = &mut self.checksum {
            state.update(bytes);
        }
    }

    fn update_md5(&self, bytes: &[u8]) {
        if let Some(lane) = &self.lane {
            self.settle();
            lane.borrow_mut().md5.update(bytes);
        }
    }

    /// Completes a piece whose caller stopped waiting, to keep the order of the bytes.
    fn settle(&self) {
        let Some(lane) = self.lane.as_ref().filter(|lane| lane.borrow().job.is_some()) else { return };
        self.service.0.waiting.borrow_mut().retain(|queued| !Rc::ptr_eq(queued, lane));
        hash(std::slice::from_ref(lane));
        lane.borrow_mut().job = None;
    }
}

impl Drop for BodyHash {
    fn drop(&mut self) {
        if let Some(lane) = &self.lane {
            // The queued buffer of an abandoned body need not be hashed.
            lane.borrow_mut().job = None;
        }
    }
}
