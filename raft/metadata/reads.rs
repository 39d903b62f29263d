//! Reads of the store: questions from the cores, answered by threads that may block.

use std::sync::Arc;

use engine::io::spawn_worker;
use tokio::sync::oneshot;

use crate::applier::Mark;
use crate::kv::{Kv, Reader, Slice, Visit};
use crate::{Error, Result};

/// Threads that read.
const THREADS: usize = 2;
/// Questions that may wait; more make their askers wait.
const QUEUE: usize = 1024;

/// A consistent view of the store, of whatever kind it is.
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
            .map_err(|error| Error::Store(format!("no thread for reads: {error}")))?;
    }
    Ok(Readers(jobs))
}

impl Readers {
    /// Runs `read` on a view taken after this call; the answer also says up to which log index the view goes.
    ///
    /// # Errors
    /// What `read` failed with, or the threads are gone.
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
        let gone = Error::Unavailable("the node is stopping");
        self.0.send_async(job).await.map_err(|_| gone.clone())?;
        answer.await.map_err(|_| gone)?
    }

    /// Questions waiting now.
    pub fn depth(&self) -> usize {
        self.0.len()
    }
}
