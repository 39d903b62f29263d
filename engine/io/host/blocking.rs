//! Blocking calls on dedicated threads: the few file operations that are rare.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

/// Threads that the process has for blocking calls.
const THREADS: usize = 2;

type Call = Box<dyn FnOnce() + Send>;

/// Starts the threads. They inherit the CPUs of their starter, so this has to come before a core pins itself to one:
/// else the calls of all cores would run on that CPU.
///
/// # Errors
/// No thread can be had.
pub fn start() -> io::Result<()> {
    calls().map(drop)
}

fn calls() -> io::Result<&'static flume::Sender<Call>> {
    static CALLS: OnceLock<flume::Sender<Call>> = OnceLock::new();
    if let Some(calls) = CALLS.get() {
        return Ok(calls);
    }
    let (sender, receiver) = flume::unbounded::<Call>();
    for number in 0..THREADS {
        let receiver = receiver.clone();
        let body = move || receiver.iter().for_each(|call| call());
        std::thread::Builder::new().name(format!("blocking-{number}")).spawn(body)?;
    }
    // If two threads get here at the same time, one set of worker threads ends together with its sender.
    Ok(CALLS.get_or_init(|| sender))
}

/// Runs `call` on another thread and waits for its result.
pub async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (sender, result) = flume::bounded(1);
    let call = move || {
        let result = catch_unwind(AssertUnwindSafe(call));
        let _ = sender.send(result.unwrap_or_else(|_| Err(io::Error::other("a blocking call panicked"))));
    };
    let gone = || io::Error::other("the threads for blocking calls are gone");
    calls()?.send(Box::new(call)).map_err(|_| gone())?;
    result.recv_async().await.map_err(|_| gone())?
}

/// Drops `value` on another thread.
#[cfg(not(feature = "glommio"))]
pub fn drop_elsewhere<T: Send + 'static>(value: T) {
    if let Ok(calls) = calls() {
        let _ = calls.send(Box::new(move || drop(value)));
    }
}

#[cfg(test)]
mod tests {
    use rustix::thread::sched_getaffinity;

    use super::*;
    use crate::io::run_executors;

    /// The first call started the threads. It came from a core that was pinned, and the calls of all cores ran on its CPU.
    #[test]
    fn blocking_calls_run_on_all_cpus() {
        let (sender, cpus) = std::sync::mpsc::channel();
        let cores = run_executors(1, move |_| {
            let sender = sender.clone();
            async move {
                let allowed = blocking(|| Ok(sched_getaffinity(None)?.count())).await;
                sender.send(allowed.expect("called")).expect("waited for");
            }
        });
        cores.expect("started").join().expect("ended");
        assert_eq!(cpus.recv().expect("sent"), sched_getaffinity(None).expect("known").count());
    }
}
