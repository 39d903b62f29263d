//! One io_uring and the operations in flight on it.
//!
//! Promises: memory that the kernel reads or writes stays alive and in place until the kernel is done with it, even if
//! the task stops waiting; a completion reaches the waker of the task that waits for it.
//!
//! Each socket is watched by a multishot poll (one submission for the life of a connection). The kernel reads and
//! writes files asynchronously. Task work of the kernel runs only inside `enter` (DEFER_TASKRUN), so an event
//! interrupts nobody and many events cost one wake-up.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use slab::Slab;

use super::descriptor::Descriptor;
use crate::buf::Buf;

/// Entries of the submission queue. The completion queue has four times as many, and the kernel keeps what overflows.
const ENTRIES: u32 = 512;
/// Tags a completion that nobody waits for.
const IGNORED: u64 = u64::MAX;
/// Tags the poll of the descriptor with which other threads wake this one.
const DOORBELL: u64 = u64::MAX - 1;

/// Poll events, as in poll(2).
const READABLE: u32 = (libc::POLLIN | libc::POLLRDHUP) as u32;
const WRITABLE: u32 = libc::POLLOUT as u32;
const HUNG_UP: u32 = (libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR) as u32;

/// What a file operation holds until the kernel is done.
pub struct Held {
    #[expect(dead_code, reason = "it keeps the file open")]
    pub file: Rc<Descriptor>,
    pub buf: Buf,
}

enum Entry {
    Operation(Held, State),
    /// A poll of a socket for bytes to read.
    Reads(Rc<Readiness>),
    /// A poll of a socket for room to write.
    Writes(Rc<Readiness>),
}

enum State {
    /// Submitted. The waker belongs to the task that waits, once it has polled.
    Waiting(Option<Waker>),
    /// Submitted, and nobody waits for it any more.
    Abandoned,
    /// Completed with the kernel's result, which has not been fetched yet.
    Done(i32),
}

/// What the polls on a socket have shown.
#[derive(Default)]
pub struct Readiness {
    /// There may be something to read. A read that finds nothing clears it.
    pub readable: Cell<bool>,
    /// The other end is gone or has ended its direction: reads will not block.
    hung_up: Cell<bool>,
    reader: RefCell<Option<Waker>>,
    writer: RefCell<Option<Waker>>,
    /// Keys of the polls in flight.
    reads: Cell<Option<usize>>,
    writes: Cell<Option<usize>>,
}

impl Readiness {
    /// Notes that a read returned less than it asked for. Once the other end has ended its direction, no further event
    /// reports the end of the stream, so reading goes on.
    pub fn drained(&self) {
        self.readable.set(self.hung_up.get());
    }

    /// Whether a wait for room to write is still in progress.
    pub fn waits_for_room(&self) -> bool {
        self.writes.get().is_some()
    }
}

fn keep_waker(slot: &RefCell<Option<Waker>>, cx: &Context<'_>) {
    let mut slot = slot.borrow_mut();
    if !slot.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
        *slot = Some(cx.waker().clone());
    }
}

/// A ring that belongs to the thread that made it.
pub struct Ring {
    ring: IoUring,
    entries: Slab<Entry>,
    /// Number of operations in flight that hold memory.
    in_flight: usize,
    min_wait: bool,
    doorbell: RawFd,
    doorbell_polled: bool,
    /// Tasks whose events were fetched during a submission. The next [`Ring::look`] wakes them.
    fetched: Vec<Waker>,
    /// Behaves like kernels 5.15 to 5.18, which refuse submissions while completions wait to be fetched.
    #[cfg(test)]
    refuses_while_unfetched: bool,
}

impl Ring {
    /// Sets up a ring. `doorbell` is an eventfd that outlives it.
    ///
    /// # Errors
    /// The kernel forbids io_uring, is too old, or lets the user lock too little memory.
    pub fn new(doorbell: RawFd) -> io::Result<Ring> {
        let mut modern = IoUring::builder();
        modern.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
        let ring = match build(&mut modern) {
            // Before Linux 6.1.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => build(&mut IoUring::builder())?,
            ring => ring?,
        };
        let params = ring.params();
        if !params.is_feature_ext_arg() || !params.is_feature_nodrop() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let min_wait = params.is_feature_min_timeout();
        Ok(Ring {
            ring,
            entries: Slab::new(),
            in_flight: 0,
            min_wait,
            doorbell,
            doorbell_polled: false,
            fetched: Vec::new(),
            #[cfg(test)]
            refuses_while_unfetched: false,
        })
    }

    fn submit(&mut self) -> io::Result<usize> {
        #[cfg(test)]
        if self.refuses_while_unfetched && !self.ring.completion().is_empty() {
            return Err(io::Error::from_raw_os_error(libc::EBUSY));
        }
        self.ring.submit()
    }

    fn push(&mut self, entry: &squeue::Entry) {
        loop {
            // SAFETY: `self.entries` holds what `entry` points to until its completion, or it points to nothing.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return;
            }
            // The queue is full: submit what is there. The kernel refuses with EBUSY for as long as completions
            // overflow, so those are fetched; the tasks that wait for them are woken after this round.
            let submitted = self.submit();
            if submitted.is_err() {
                if let Err(error) = ignore_transient(submitted) {
                    // Without its ring, a core can do nothing, not even shut down.
                    panic!("io_uring_enter failed: {error}");
                }
                let mut fetched = std::mem::take(&mut self.fetched);
                self.reap(&mut fetched);
                self.fetched = fetched;
            }
        }
    }

    /// Begins an operation that uses `held`, and returns its key.
    pub fn begin(&mut self, entry: squeue::Entry, held: Held) -> usize {
        let key = self.entries.insert(Entry::Operation(held, State::Waiting(None)));
        self.in_flight += 1;
        self.push(&entry.user_data(key as u64));
        key
    }

    /// The result of an operation, once it has completed.
    pub fn poll_operation(&mut self, key: usize, cx: &Context<'_>) -> Poll<(i32, Held)> {
        if let Entry::Operation(_, State::Waiting(waker)) = &mut self.entries[key] {
            *waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        match self.entries.remove(key) {
            Entry::Operation(held, State::Done(result)) => Poll::Ready((result, held)),
            _ => unreachable!("operation {key} has a waiter"),
        }
    }

    /// Stops waiting for an operation. The operation itself continues.
    pub fn abandon(&mut self, key: usize) {
        match &mut self.entries[key] {
            Entry::Operation(_, State::Done(_)) => drop(self.entries.remove(key)),
            Entry::Operation(_, state) => *state = State::Abandoned,
            _ => unreachable!("operation {key} has a waiter"),
        }
    }

    /// Waits for bytes to read.
    pub fn watch_reads(&mut self, fd: RawFd, readiness: &Rc<Readiness>, cx: &Context<'_>) {
        keep_waker(&readiness.reader, cx);
        if readiness.reads.get().is_none() {
            let key = self.entries.insert(Entry::Reads(readiness.clone()));
            readiness.reads.set(Some(key));
            let poll = opcode::PollAdd::new(types::Fd(fd), READABLE).multi(true).build();
            self.push(&poll.user_data(key as u64));
        }
    }

    /// Waits for room to write, or for the end of a connect.
    pub fn watch_writes(&mut self, fd: RawFd, readiness: &Rc<Readiness>, cx: &Context<'_>) {
        keep_waker(&readiness.writer, cx);
        if readiness.writes.get().is_none() {
            let key = self.entries.insert(Entry::Writes(readiness.clone()));
            readiness.writes.set(Some(key));
            let poll = opcode::PollAdd::new(types::Fd(fd), WRITABLE).build();
            self.push(&poll.user_data(key as u64));
        }
    }

    /// Ends the polls of a socket that is about to be closed, because they would keep it open. It cancels them: the
    /// kernel refuses to remove a poll with an event that it has not reported yet.
    pub fn forget(&mut self, readiness: &Readiness) {
        for key in [readiness.reads.get(), readiness.writes.get()].into_iter().flatten() {
            self.push(&opcode::AsyncCancel::new(key as u64).build().user_data(IGNORED));
        }
    }

    /// Submits new entries and fetches completions, without waiting.
    pub fn look(&mut self, wakers: &mut Vec<Waker>) -> io::Result<()> {
        wakers.append(&mut self.fetched);
        let submission = self.ring.submission();
        let needed = !submission.is_empty() || submission.taskrun() || submission.cq_overflow();
        drop(submission);
        if needed {
            ignore_transient(self.submit())?;
        }
        self.reap(wakers);
        Ok(())
    }

    /// Submits new entries and waits until something completes, for at most `timeout`.
    ///
    /// With `patience`, it first waits up to that long for `many` completions, and only then for a single one.
    pub fn wait(
        &mut self,
        timeout: Option<Duration>,
        patience: Option<(usize, Duration)>,
        wakers: &mut Vec<Waker>,
    ) -> io::Result<()> {
        if !self.doorbell_polled {
            self.doorbell_polled = true;
            let poll = opcode::PollAdd::new(types::Fd(self.doorbell), READABLE).multi(true).build();
            self.push(&poll.user_data(DOORBELL));
        }
        if !self.fetched.is_empty() {
            return self.look(wakers);
        }
        let mut args = types::SubmitArgs::new();
        let spec = types::Timespec::from(timeout.unwrap_or_default());
        if timeout.is_some() {
            args = args.timespec(&spec);
        }
        let mut want = 1;
        if let Some((many, patience)) = patience.filter(|_| self.min_wait) {
            want = many;
            args = args.min_wait_usec(u32::try_from(patience.as_micros()).unwrap_or(u32::MAX));
        }
        ignore_transient(self.ring.submitter().submit_with_args(want, &args))?;
        self.reap(wakers);
        Ok(())
    }

    fn reap(&mut self, wakers: &mut Vec<Waker>) {
        let Ring { ring, entries, in_flight, doorbell_polled, .. } = self;
        for completion in ring.completion() {
            let more = cqueue::more(completion.flags());
            match completion.user_data() {
                IGNORED => {}
                DOORBELL => *doorbell_polled = more,
                key => {
                    let key = usize::try_from(key).unwrap_or(usize::MAX);
                    complete(entries, in_flight, key, completion.result(), more, wakers);
                }
            }
        }
    }
}

fn complete(
    entries: &mut Slab<Entry>,
    in_flight: &mut usize,
    key: usize,
    result: i32,
    more: bool,
    wakers: &mut Vec<Waker>,
) {
    let Some(entry) = entries.get_mut(key) else { return };
    match entry {
        Entry::Operation(_, state) => {
            *in_flight -= 1;
            match std::mem::replace(state, State::Done(result)) {
                State::Waiting(waker) => wakers.extend(waker),
                State::Abandoned => drop(entries.remove(key)),
                State::Done(_) => unreachable!("operation {key} completed twice"),
            }
        }
        Entry::Reads(readiness) => {
            readiness.readable.set(true);
            if result > 0 && result.cast_unsigned() & HUNG_UP != 0 {
                readiness.hung_up.set(true);
            }
            wakers.extend(readiness.reader.take());
            if !more {
                readiness.reads.set(None);
                entries.remove(key);
            }
        }
        Entry::Writes(readiness) => {
            wakers.extend(readiness.writer.take());
            readiness.writes.set(None);
            entries.remove(key);
        }
    }
}

/// Ignores what is no failure: the timeout expired, a signal arrived, completions must be fetched first.
fn ignore_transient(result: io::Result<usize>) -> io::Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(error) => match error.raw_os_error() {
            Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
            _ => Err(error),
        },
    }
}

fn build(builder: &mut io_uring::Builder) -> io::Result<IoUring> {
    builder.setup_submit_all().setup_cqsize(4 * ENTRIES).dontfork().build(ENTRIES)
}

impl Drop for Ring {
    /// Waits for the operations that still hold memory.
    fn drop(&mut self) {
        let mut wakers = Vec::new();
        while self.in_flight > 0 && self.wait(None, None, &mut wakers).is_ok() {}
        if self.in_flight > 0 {
            // The kernel may still write to their memory.
            std::mem::forget(std::mem::take(&mut self.entries));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    use rustix::event::{EventfdFlags, eventfd};

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Kernels 5.15 to 5.18 answer EBUSY to submissions while completions overflow. A full submission queue then used
    /// to spin forever: what it waited for was in its own completion queue.
    #[test]
    fn a_full_ring_fetches_completions_and_wakes_the_tasks_that_wait_for_them() {
        let doorbell = eventfd(0, EventfdFlags::NONBLOCK).expect("an eventfd");
        let mut ring = Ring::new(doorbell.as_raw_fd()).expect("a ring");
        let nop = || opcode::Nop::new().build();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let cx = &mut Context::from_waker(&waker);
        let held = || Held {
            file: Rc::new(Descriptor::of(doorbell.try_clone().expect("clone"))),
            buf: Buf::empty(),
        };
        let key = ring.begin(nop(), held());
        assert!(ring.poll_operation(key, cx).is_pending());
        ring.submit().expect("submitted");
        ring.refuses_while_unfetched = true;
        for _ in 0..=ENTRIES {
            ring.push(&nop().user_data(IGNORED));
        }
        assert!(!woken.0.load(Ordering::Relaxed), "not while a task runs");
        let mut wakers = Vec::new();
        ring.wait(None, None, &mut wakers).expect("the ring does not sleep");
        wakers.drain(..).for_each(Waker::wake);
        assert!(woken.0.load(Ordering::Relaxed));
        assert!(matches!(ring.poll_operation(key, cx), Poll::Ready((0, _))));
    }

    #[test]
    fn a_socket_that_hung_up_stays_readable() {
        let readiness = Readiness::default();
        readiness.readable.set(true);
        readiness.drained();
        assert!(!readiness.readable.get());
        readiness.hung_up.set(true);
        readiness.drained();
        assert!(readiness.readable.get());
    }
}
