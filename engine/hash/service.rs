//! Hashes all request bodies of a core.
//!
//! While a buffer waits for its MD5 and SHA-256, the service owns it, so that its bytes stay in place without a borrow;
//! it is returned when it is done. The first buffer of a scheduler round starts a task that runs after everything that
//! is ready now. It waits a moment for more if other requests may bring them, and then hashes all the buffers that have
//! gathered: many cost as much as one. If a request is the only one in flight on its core, it does not wait.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::ops::Range;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use smallvec::SmallVec;

use super::simd::MAX_STREAMS;
use super::{ChecksumAlgorithm, ChecksumState, Digests, Md5, Plan, Sha256, sha256, update_many};
use crate::buf::Buf;
use crate::io;

/// Shorter pieces are hashed at once: waiting for others would cost more than it saves.
const QUEUE_MIN_BYTES: usize = 2048;
/// Shorter pieces are not worth a timer: they are hashed together with what is ready.
const GATHER_MIN_BYTES: usize = 16 << 10;
/// Maximum number of batches that do not wait after waits that brought nothing.
const MAX_VAIN: u32 = 15;
/// Buffers hashed in a row before other tasks run (two full sets of lanes).
const BATCH: usize = 64;

/// The service of one core.
#[derive(Clone, Default)]
pub struct HashService(Rc<Queue>);

#[derive(Default)]
struct Queue {
    waiting: RefCell<VecDeque<SharedLane>>,
    draining: Cell<bool>,
    /// How many batches are hashed without a wait because the last waits brought nothing, and how many of them were.
    vain: Cell<u32>,
    unwaited: Cell<u32>,
}

/// One body's MD5 and SHA-256, and the buffer that waits for them.
#[derive(Default)]
struct Lane {
    md5: Option<Md5>,
    sha256: Option<Sha256>,
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
        let sha256 = plan.sha256 || checksum_is_sha256;
        BodyHash {
            service: self.clone(),
            lane: (plan.md5 || sha256).then(|| {
                let (md5, sha256) = (plan.md5.then(Md5::new), sha256.then(Sha256::new));
                Rc::new(RefCell::new(Lane { md5, sha256, ..Lane::default() }))
            }),
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
            self.gather().await;
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

    /// Lets other requests add their buffers: those that are ready now, and those that come in the time in which one
    /// lane would hash the longest buffer. So a wait costs at most what it might have saved.
    async fn gather(&self) {
        // A new task runs at once: let the tasks that are ready now go first.
        io::yield_now().await;
        let (ready, longest) = {
            let waiting = self.waiting.borrow();
            let length = |lane: &SharedLane| lane.borrow().job.as_ref().map_or(0, |job| job.range.len());
            (waiting.len(), waiting.iter().map(length).max().unwrap_or(0))
        };
        if longest < GATHER_MIN_BYTES || ready >= io::requests_in_flight().min(MAX_STREAMS) {
            return;
        }
        if self.unwaited.get() < self.vain.get() {
            self.unwaited.set(self.unwaited.get() + 1);
            return;
        }
        // MD5 takes somewhat more than a nanosecond per byte.
        io::sleep(Duration::from_nanos(longest as u64)).await;
        let came = self.waiting.borrow().len() > ready;
        self.unwaited.set(0);
        self.vain.set(if came { 0 } else { (2 * self.vain.get() + 1).min(MAX_VAIN) });
    }
}

/// Hashes the jobs of all lanes and wakes their owners. A lane is in the queue at most once.
fn hash(lanes: &[SharedLane]) {
    type Streams<'a, T> = SmallVec<[&'a mut T; MAX_STREAMS]>;
    {
        let mut held: SmallVec<[_; MAX_STREAMS]> = lanes.iter().map(|lane| lane.borrow_mut()).collect();
        let (mut md5, mut md5_inputs) = (Streams::<Md5>::new(), SmallVec::<[&[u8]; MAX_STREAMS]>::new());
        let (mut sha256, mut sha256_inputs) =
            (Streams::<Sha256>::new(), SmallVec::<[&[u8]; MAX_STREAMS]>::new());
        for lane in &mut held {
            let lane = &mut **lane;
            let Some(job) = lane.job.as_mut().filter(|job| !job.done) else { continue };
            job.done = true;
            let bytes = &job.buf[job.range.clone()];
            if let Some(stream) = &mut lane.md5 {
                md5.push(stream);
                md5_inputs.push(bytes);
            }
            if let Some(stream) = &mut lane.sha256 {
                sha256.push(stream);
                sha256_inputs.push(bytes);
            }
        }
        update_many(&mut md5, &md5_inputs);
        sha256::update_many(&mut sha256, &sha256_inputs);
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
            self.update_lane(bytes);
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
        self.update_lane(bytes);
    }

    /// The digests of everything that was added.
    pub fn finish(mut self) -> Digests {
        self.settle();
        let Lane { md5, sha256, .. } = self.lane.as_ref().map(|lane| lane.take()).unwrap_or_default();
        let sha256 = sha256.map(Sha256::finish);
        Digests {
            md5: md5.map(Md5::finish),
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
        if let Some(state) = &mut self.checksum {
            state.update(bytes);
        }
    }

    fn update_lane(&self, bytes: &[u8]) {
        let Some(lane) = &self.lane else { return };
        self.settle();
        let lane = &mut *lane.borrow_mut();
        if let Some(md5) = &mut lane.md5 {
            md5.update(bytes);
        }
        if let Some(sha256) = &mut lane.sha256 {
            sha256.update(bytes);
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
