//! Hashes all request bodies of a core.
//!
//! While a buffer waits for its MD5 and SHA-256, the service owns it, so that its bytes stay in place without a borrow;
//! it is returned when it is done. The first buffer of a scheduler round starts a task that runs after everything that
//! is ready now. It waits a moment for more if other requests may bring them, and then hashes all the buffers that have
//! gathered: many cost as much as one. If a request is the only one in flight on its core, it does not wait.
//!
//! The last bytes of a large body are hashed while the disk syncs them. They are patient: they wait until the first of
//! them has been synced, and then all of them are hashed together.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::ops::Range;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use smallvec::{SmallVec, smallvec};

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
/// Buffers are patient only if so many requests are in flight: fewer would have nobody to wait for.
const PATIENT_MIN_REQUESTS: usize = 4;
/// So many buffers are worth hashing, however patient they are: a full set of lanes.
const ENOUGH: usize = MAX_STREAMS / 2;

/// The parts of a buffer that hold payload, in order.
pub type Ranges = SmallVec<[Range<usize>; 6]>;
type Slices<'a> = SmallVec<[&'a [u8]; 6]>;

/// The service of one core.
#[derive(Clone, Default)]
pub struct HashService(Rc<Queue>);

#[derive(Default)]
struct Queue {
    waiting: RefCell<VecDeque<SharedLane>>,
    draining: Cell<bool>,
    /// A buffer came or left, or is needed now.
    changed: io::Event,
    /// How many batches are hashed without a wait because the last waits brought nothing, and how many of them were.
    vain: Cell<u32>,
    unwaited: Cell<u32>,
}

/// One body's MD5 and SHA-256, and the buffer that waits for them.
#[derive(Default)]
struct Lane {
    md5: Option<Md5>,
    sha256: Option<Sha256>,
    chunks: Option<Chunks>,
    job: Option<Job>,
    /// Its buffer is patient no longer.
    hurried: bool,
    waker: Option<Waker>,
}

type SharedLane = Rc<RefCell<Lane>>;

struct Job {
    buf: Buf,
    ranges: Ranges,
    patient: bool,
    /// How many of the ranges MD5 has seen, and whether SHA-256 has seen all of them.
    md5_ranges: usize,
    sha256_done: bool,
}

impl Job {
    fn bytes(&self) -> usize {
        self.ranges.iter().map(Range::len).sum()
    }

    fn slices(&self) -> Slices<'_> {
        self.ranges.iter().map(|range| &self.buf[range.clone()]).collect()
    }

    fn is_done(&self) -> bool {
        self.md5_ranges == self.ranges.len() && self.sha256_done
    }
}

/// The SHA-256 of each signed chunk of a body.
struct Chunks {
    /// The chunks that end within the bytes being added, and the one after them.
    open: SmallVec<[Sha256; 2]>,
    /// Where chunks end, counted in bytes from the first one that is not yet hashed.
    ends: SmallVec<[usize; 2]>,
    digests: VecDeque<[u8; 32]>,
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
            lane: (plan.md5 || sha256 || plan.chunks).then(|| {
                let (md5, sha256) = (plan.md5.then(Md5::new), sha256.then(Sha256::new));
                let chunks = plan.chunks.then(Chunks::new);
                Rc::new(RefCell::new(Lane { md5, sha256, chunks, ..Lane::default() }))
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
        self.0.changed.notify();
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
                let count = waiting.len().min(MAX_STREAMS);
                waiting.drain(..count).collect()
            };
            if batch.is_empty() {
                self.draining.set(false);
                return;
            }
            while advance_md5(&batch) {
                io::yield_if_needed().await;
            }
            for pair in batch.chunks(2) {
                advance_sha256(pair);
                io::yield_if_needed().await;
            }
            for lane in &batch {
                let waker = lane.borrow_mut().waker.take();
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
        }
    }

    /// Lets other requests add their buffers: those that are ready now, and those that come in the time in which one
    /// lane would hash the longest buffer. So a wait costs at most what it might have saved. Patient buffers wait
    /// longer, at no cost.
    async fn gather(&self) {
        // A new task runs at once: let the tasks that are ready now go first.
        io::yield_now().await;
        while self.is_patient() {
            self.changed.wait().await;
        }
        let (ready, longest, hurried) = {
            let waiting = self.waiting.borrow();
            let length = |lane: &SharedLane| lane.borrow().job.as_ref().map_or(0, Job::bytes);
            let hurried = waiting.iter().any(|lane| lane.borrow().hurried);
            (waiting.len(), waiting.iter().map(length).max().unwrap_or(0), hurried)
        };
        let all = ready >= io::requests_in_flight().min(ENOUGH);
        if hurried || longest < GATHER_MIN_BYTES || all {
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

    /// Whether all buffers that wait are patient.
    fn is_patient(&self) -> bool {
        let waiting = self.waiting.borrow();
        let patient = |lane: &SharedLane| {
            let lane = lane.borrow();
            !lane.hurried && lane.job.as_ref().is_some_and(|job| job.patient)
        };
        (1..ENOUGH).contains(&waiting.len()) && waiting.iter().all(patient)
    }
}

/// Adds the slices of each stream to it: the first slices of all streams together, then the second ones, and so on.
fn add_slices<T>(streams: &mut [(&mut T, Slices<'_>)], update_many: fn(&mut [&mut T], &[&[u8]])) {
    let rounds = streams.iter().map(|(_, slices)| slices.len()).max().unwrap_or(0);
    for round in 0..rounds {
        let with_slice =
            streams.iter_mut().filter_map(|(stream, slices)| Some((&mut **stream, *slices.get(round)?)));
        let (mut some, inputs): (SmallVec<[&mut T; MAX_STREAMS]>, SmallVec<[&[u8]; MAX_STREAMS]>) =
            with_slice.unzip();
        update_many(&mut some, &inputs);
    }
}

/// Adds the next range of each lane's job to its MD5. Returns whether there are more.
fn advance_md5(lanes: &[SharedLane]) -> bool {
    let mut held: SmallVec<[_; MAX_STREAMS]> = lanes.iter().map(|lane| lane.borrow_mut()).collect();
    let mut streams = SmallVec::<[_; MAX_STREAMS]>::new();
    let mut more = false;
    for lane in &mut held {
        let Lane { md5, job: Some(job), .. } = &mut **lane else { continue };
        let Some(range) = job.ranges.get(job.md5_ranges) else { continue };
        job.md5_ranges += 1;
        more |= job.md5_ranges < job.ranges.len();
        if let Some(md5) = md5 {
            streams.push((md5, Slices::from_slice(&[&job.buf[range.clone()]])));
        }
    }
    add_slices(&mut streams, update_many);
    more
}

/// Adds each lane's job to its SHA-256 and to those of its chunks.
fn advance_sha256(lanes: &[SharedLane]) {
    let mut held: SmallVec<[_; MAX_STREAMS]> = lanes.iter().map(|lane| lane.borrow_mut()).collect();
    {
        let mut streams = SmallVec::<[_; MAX_STREAMS]>::new();
        for lane in &mut held {
            let Lane { sha256, chunks, job: Some(job), .. } = &mut **lane else { continue };
            if std::mem::replace(&mut job.sha256_done, true) {
                continue;
            }
            if let Some(sha256) = sha256 {
                streams.push((sha256, job.slices()));
            }
            if let Some(chunks) = chunks {
                let pieces = chunks.split(&job.slices());
                streams.extend(chunks.open.iter_mut().zip(pieces));
            }
        }
        add_slices(&mut streams, sha256::update_many);
    }
    for lane in &mut held {
        if let Some(chunks) = &mut lane.chunks {
            chunks.close();
        }
    }
}

impl Chunks {
    fn new() -> Chunks {
        Chunks { open: smallvec![Sha256::new()], ends: SmallVec::new(), digests: VecDeque::new() }
    }

    /// Opens the chunks that begin in the slices, and returns what to add to each open one. They are independent of
    /// each other.
    fn split<'a>(&mut self, slices: &[&'a [u8]]) -> SmallVec<[Slices<'a>; 2]> {
        let ends = std::mem::take(&mut self.ends);
        self.open.resize(ends.len() + 1, Sha256::new());
        let mut pieces: SmallVec<[Slices<'a>; 2]> = SmallVec::from_elem(Slices::new(), self.open.len());
        let (mut chunk, mut at) = (0, 0);
        for slice in slices {
            let mut rest = *slice;
            while let Some(end) = ends.get(chunk).filter(|end| **end <= at + rest.len()) {
                let (piece, after) = rest.split_at(end - at);
                pieces[chunk].push(piece);
                (rest, at, chunk) = (after, *end, chunk + 1);
            }
            pieces[chunk].push(rest);
            at += rest.len();
        }
        pieces
    }

    /// Completes all open chunks but the last one, which goes on.
    fn close(&mut self) {
        let last = self.open.len() - 1;
        self.digests.extend(self.open.drain(..last).map(Sha256::finish));
    }
}

/// Ends the patience of one body's buffer, whether it waits already or is still to come.
pub struct Hurry {
    service: HashService,
    lane: Option<SharedLane>,
}

impl Hurry {
    /// The buffer is needed now. Others that wait are hashed with it.
    pub fn now(&self) {
        if let Some(lane) = &self.lane {
            lane.borrow_mut().hurried = true;
            self.service.0.changed.notify();
        }
    }
}

/// Completes a lane's job at once.
fn complete(lane: &SharedLane) {
    let lane = std::slice::from_ref(lane);
    while advance_md5(lane) {}
    advance_sha256(lane);
}

impl BodyHash {
    /// Adds the bytes in `ranges` of `buf` and returns the buffer. Waits for other buffers if other requests are in
    /// flight. A patient buffer waits until [`Hurry::now`] is called, or others are hashed anyway.
    ///
    /// A caller that stops waiting loses the buffer, but the bytes are still added.
    ///
    /// # Panics
    /// If a range lies outside the buffer.
    pub async fn update(&mut self, buf: Buf, ranges: Ranges, patient: bool) -> Buf {
        for range in &ranges {
            self.update_others(&buf[range.clone()]);
        }
        let Some(lane) = &self.lane else { return buf };
        self.settle();
        let requests = io::requests_in_flight();
        let patient = patient && requests >= PATIENT_MIN_REQUESTS;
        let job = Job { buf, ranges, patient, md5_ranges: 0, sha256_done: false };
        let at_once = requests < 2 || job.bytes() < QUEUE_MIN_BYTES;
        lane.borrow_mut().job = Some(job);
        if at_once {
            complete(lane);
        } else {
            self.service.enqueue(lane);
        }
        poll_fn(|cx| {
            let mut lane = lane.borrow_mut();
            match lane.job.take_if(|job| job.is_done()) {
                Some(job) => Poll::Ready(job.buf),
                None => {
                    lane.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// What ends the patience of this body's buffer.
    pub fn hurry(&self) -> Hurry {
        Hurry { service: self.service.clone(), lane: self.lane.clone() }
    }

    /// Adds bytes at once.
    pub fn update_now(&mut self, bytes: &[u8]) {
        self.update_others(bytes);
        self.settle();
        let Some(lane) = &self.lane else { return };
        let lane = &mut *lane.borrow_mut();
        if let Some(md5) = &mut lane.md5 {
            md5.update(bytes);
        }
        if let Some(sha256) = &mut lane.sha256 {
            sha256.update(bytes);
        }
    }

    /// Notes that a signed chunk ends `ahead` bytes after everything that was added. These bytes must be added next,
    /// perhaps with others after them.
    pub fn end_chunk(&mut self, ahead: usize) {
        self.settle();
        if let Some(lane) = &self.lane
            && let Some(chunks) = &mut lane.borrow_mut().chunks
        {
            chunks.ends.push(ahead);
        }
    }

    /// The SHA-256 of the first chunk that has ended and was not returned before, as soon as it is known.
    pub fn next_chunk(&mut self) -> Option<[u8; 32]> {
        self.lane.as_ref()?.borrow_mut().chunks.as_mut()?.digests.pop_front()
    }

    /// The digests of everything that was added.
    pub fn finish(mut self) -> Digests {
        self.settle();
        let Lane { md5, sha256, chunks, .. } = self.lane.as_ref().map(|lane| lane.take()).unwrap_or_default();
        let sha256 = sha256.map(Sha256::finish);
        let chunks = chunks.map(|mut chunks| {
            chunks.split(&[]);
            chunks.close();
            chunks.digests.into()
        });
        Digests {
            md5: md5.map(Md5::finish),
            sha256,
            chunks: chunks.unwrap_or_default(),
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

    /// Completes a job whose caller stopped waiting, to keep the order of the bytes.
    fn settle(&self) {
        let Some(lane) = self.lane.as_ref().filter(|lane| lane.borrow().job.is_some()) else { return };
        self.leave_queue(lane);
        complete(lane);
        lane.borrow_mut().job = None;
    }

    fn leave_queue(&self, lane: &SharedLane) {
        self.service.0.waiting.borrow_mut().retain(|queued| !Rc::ptr_eq(queued, lane));
        self.service.0.changed.notify();
    }
}

impl Drop for BodyHash {
    fn drop(&mut self) {
        if let Some(lane) = self.lane.as_ref().filter(|lane| lane.borrow().job.is_some()) {
            // The queued buffer of an abandoned body need not be hashed.
            self.leave_queue(lane);
            lane.borrow_mut().job = None;
        }
    }
}
