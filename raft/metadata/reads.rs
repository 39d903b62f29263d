//! Reads of the store: requests from the cores, which threads that may block answer.

use std::sync::Arc;

use engine::io::spawn_worker;
use tokio::sync::oneshot;

use crate::applier::Mark;
use crate::kv::{Kv, Reader, Slice, Visit};
use crate::{Error, Result};

/// Number of reader threads.
const THREADS: usize = 2;
/// Maximum number of queued reads; further ones wait for room.
const QUEUE: usize = if cfg!(sim) { 4 } else { 1024 };

/// A consistent view of a store of any kind.
pub struct View<'a>(&'a dyn Reader);

impl Reader for View<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Slice>> {
        self.0.get(key)
    }

    fn scan(&self, start: &[u8], end: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        self.0.scan(start, end, visit)
    }
}

type Job = Box<dyn FnOnce(&View<'_>) + Send>;

/// The reader threads, seen from a core.
#[derive(Clone)]
pub struct Readers(flume::Sender<Job>);

/// Starts the threads over a store.
///
/// # Errors
/// No thread can be started.
pub fn start<K: Kv>(kv: Arc<K>) -> Result<Readers> {
    let (jobs, queue) = flume::bounded::<Job>(QUEUE);
    for number in 0..THREADS {
        let (kv, queue) = (kv.clone(), queue.clone());
        let run = async move || {
            while let Ok(job) = queue.recv_async().await {
                job(&View(&kv.snapshot()));
            }
        };
        spawn_worker(&format!("read-{number}"), run)
            .map_err(|error| Error::Store(format!("can't start a reader thread: {error}")))?;
    }
    Ok(Readers(jobs))
}

impl Readers {
    /// Runs `read` on a view taken after this call. Also returns the log index up to which the view goes.
    ///
    /// # Errors
    /// What `read` failed with, or the threads have ended.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&View<'_>) -> Result<T> + Send + 'static,
    ) -> Result<(u64, T)> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |view| {
            let indexed = || {
                let index = Mark::read(view)?.last.map_or(0, |id| id.index);
                Ok((index, read(view)?))
            };
            let _ = reply.send(indexed());
        });
        let stopping = Error::Unavailable("the node is stopping");
        self.0.send_async(job).await.map_err(|_| stopping.clone())?;
        answer.await.map_err(|_| stopping)?
    }

    /// Reads that are waiting now.
    pub fn depth(&self) -> usize {
        self.0.len()
    }
}
