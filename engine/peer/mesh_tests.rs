use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::*;
use crate::io::run_executors;

type Seeds = Arc<Mutex<Vec<Option<MeshSeed<u64, u64>>>>>;

/// Runs `main` on each of `cores` cores with its seed, and returns what they counted.
fn on_cores<F: Future<Output = ()> + 'static>(
    cores: usize,
    capacity: usize,
    main: fn(MeshSeed<u64, u64>, Arc<AtomicU64>) -> F,
) -> u64 {
    let seeds: Seeds = Arc::new(Mutex::new(mesh(cores, capacity).into_iter().map(Some).collect()));
    let count = Arc::new(AtomicU64::new(0));
    let counted = count.clone();
    let executors = run_executors(cores, move |core| {
        let seed = seeds.lock().expect("not poisoned")[core].take().expect("once per core");
        main(seed, counted.clone())
    });
    executors.expect("executors").join().expect("join");
    count.load(Ordering::SeqCst)
}

/// Keeps a core running until all have counted, because its replies are needed until then.
async fn until(count: &AtomicU64, expected: u64) {
    while count.load(Ordering::SeqCst) < expected {
        io::sleep(std::time::Duration::from_millis(1)).await;
    }
}

#[test]
fn every_core_gets_replies_from_every_core() {
    let replies = on_cores(3, 4, |seed, count| async move {
        let core = seed.core() as u64;
        let mesh = seed.start(move |request, replier| replier.send(request * 10 + core));
        for target in 0..3 {
            assert_eq!(mesh.call(target, 7).await, Ok(70 + target as u64));
            count.fetch_add(1, Ordering::SeqCst);
        }
        until(&count, 9).await;
    });
    assert_eq!(replies, 9);
}

#[test]
fn two_cores_that_flood_each_other_make_progress() {
    const CALLERS: u64 = 40;
    const CALLS: u64 = 100;
    let replies = on_cores(2, 2, |seed, count| async move {
        let other = 1 - seed.core();
        // Half of the replies come from tasks that finish later.
        let mesh = seed.start(|request, replier| {
            if request % 2 == 0 {
                return replier.send(request + 1);
            }
            io::spawn(async move {
                io::yield_now().await;
                replier.send(request + 1);
            });
        });
        for caller in 0..CALLERS {
            let (mesh, count) = (mesh.clone(), count.clone());
            io::spawn(async move {
                for call in 0..CALLS {
                    let request = caller * CALLS + call;
                    assert_eq!(mesh.call(other, request).await, Ok(request + 1));
                    count.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        until(&count, 2 * CALLERS * CALLS).await;
        assert_eq!(mesh.depths().open, [0, 0]);
    });
    assert_eq!(replies, 2 * CALLERS * CALLS);
}

#[test]
fn a_reply_that_nobody_waits_for_returns_its_permit() {
    let done = on_cores(2, 1, |seed, count| async move {
        let other = 1 - seed.core();
        let mesh = seed.start(|request, replier| replier.send(request));
        for request in 0..50 {
            let mut call = Box::pin(mesh.call(other, request));
            std::future::poll_fn(|cx| {
                let _ = call.as_mut().poll(cx);
                std::task::Poll::Ready(())
            })
            .await;
            drop(call);
            mesh.cast(other, request).await.expect("there");
        }
        assert_eq!(mesh.call(other, 5).await, Ok(5));
        count.fetch_add(1, Ordering::SeqCst);
        until(&count, 2).await;
    });
    assert_eq!(done, 2);
}

#[test]
fn a_request_dropped_without_a_reply_disconnects_its_caller() {
    let done = on_cores(2, 2, |seed, count| async move {
        let mesh = seed.start(|_, replier| drop(replier));
        assert_eq!(mesh.call(0, 1).await, Err(Disconnected));
        assert_eq!(mesh.call(1, 1).await, Err(Disconnected));
        count.fetch_add(1, Ordering::SeqCst);
        until(&count, 2).await;
    });
    assert_eq!(done, 2);
}

#[test]
fn a_handler_may_call_its_own_core() {
    let done = on_cores(2, 2, |seed, count| async move {
        let cell: Rc<RefCell<Option<Mesh<u64, u64>>>> = Rc::default();
        let inner = cell.clone();
        let mesh = seed.start(move |request, replier| {
            let mesh = inner.borrow().clone().expect("set");
            io::spawn(async move {
                let deeper = if request == 0 { Ok(0) } else { mesh.call(mesh.core(), request - 1).await };
                replier.send(deeper.expect("replied") + 1);
            });
        });
        *cell.borrow_mut() = Some(mesh.clone());
        assert_eq!(mesh.call(mesh.core(), 3).await, Ok(4));
        *cell.borrow_mut() = None;
        count.fetch_add(1, Ordering::SeqCst);
    });
    assert_eq!(done, 2);
}
