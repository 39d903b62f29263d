use super::*;
use crate::buf::Buf;
use std::task::Poll;
use std::time::Duration;

fn run<T>(future: impl Future<Output = T>) -> T {
    block_on(future).expect("executor")
}

#[test]
fn a_file_reads_back_what_was_written() {
    let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("temporary directory");
    let path = directory.path().join("f");
    block_on(async {
        let file = File::create(&path).await.expect("create");
        let mut buf = Buf::with_capacity(8192);
        buf.extend_from_slice(&[7; 5000]);
        buf.pad_to(ALIGNMENT);
        assert_eq!(buf.len(), 8192);
        file.write_at(buf, 4096).await.expect("write");
        file.sync_data().await.expect("sync");
        assert_eq!(file.len().await.expect("length"), 12288);
        let back = file.read_at(4096, 16384).await.expect("read");
        assert_eq!(back.len(), 8192);
        assert!(back[..5000].iter().all(|byte| *byte == 7) && back[5000..].iter().all(|byte| *byte == 0));
        file.punch_hole(4096, 4096).await.expect("punch");
        assert!(file.read_at(4096, 4096).await.expect("read").iter().all(|byte| *byte == 0));
    })
    .expect("executor");
}

#[test]
fn a_timeout_ends_a_wait_and_passes_a_value_through() {
    run(async {
        assert_eq!(timeout(Duration::from_millis(5), std::future::pending::<()>()).await, Err(Elapsed));
        assert_eq!(timeout(Duration::from_secs(5), async { 3 }).await, Ok(3));
    });
}

#[test]
fn a_semaphore_serves_in_order_and_survives_an_abandoned_wait() {
    run(async {
        let semaphore = Semaphore::new(2);
        let first = semaphore.acquire(2).await;
        assert!(timeout(Duration::from_millis(2), semaphore.acquire(1)).await.is_err());
        drop(first);
        assert_eq!(semaphore.available(), 2);
        let _both = semaphore.acquire(2).await;
        assert!(semaphore.try_acquire(1).is_none());
    });
}

#[test]
fn a_mailbox_carries_every_message_between_cores_in_order() {
    let (sender, receiver) = mailbox::<u64>(8);
    let ends = std::sync::Arc::new(std::sync::Mutex::new((Some(sender), Some(receiver))));
    run_executors(2, move |core| {
        let ends = ends.clone();
        async move {
            if core == 0 {
                let sender = ends.lock().expect("lock").0.take().expect("one sender");
                for number in 0..10_000 {
                    sender.send(number).await.expect("receiver lives");
                }
            } else {
                let mut receiver = ends.lock().expect("lock").1.take().expect("one receiver");
                for number in 0..10_000 {
                    assert_eq!(receiver.recv().await, Some(number));
                }
                assert_eq!(receiver.recv().await, None);
            }
        }
    })
    .expect("start")
    .join()
    .expect("both cores end");
}

#[test]
fn a_stream_echoes_over_loopback() {
    run(async {
        let listener = Listener::bind("127.0.0.1:0".parse().expect("address")).expect("bind");
        let address = listener.local_addr().expect("address");
        spawn(async move {
            let mut stream = listener.accept().await.expect("accept");
            let mut bytes = [0; 16];
            let count = stream.read(&mut bytes).await.expect("read");
            stream.write_all(&bytes[..count]).await.expect("write");
        });
        let mut stream = Stream::connect(address).await.expect("connect");
        stream.write_all(b"hello").await.expect("write");
        let mut bytes = [0; 16];
        let count = stream.read(&mut bytes).await.expect("read");
        assert_eq!(&bytes[..count], b"hello");
    });
}

#[test]
fn an_accepted_connection_is_served_by_the_core_that_it_is_handed_to() {
    let (sender, receiver) = mailbox::<Accepted>(1);
    let receiver = std::sync::Mutex::new(Some(receiver));
    let shared = std::sync::Arc::new((sender, receiver));
    run_executors(2, move |core| {
        let shared = shared.clone();
        async move {
            if core == 1 {
                let receiver = shared.1.lock().expect("lock").take();
                let accepted = receiver.expect("one core receives").recv().await.expect("a connection");
                let mut stream = accepted.into_stream();
                let mut bytes = [0; 16];
                let count = stream.read(&mut bytes).await.expect("read");
                stream.write_all(&bytes[..count]).await.expect("write");
                return;
            }
            let listener = Listener::bind("127.0.0.1:0".parse().expect("address")).expect("bind");
            let mut near = Stream::connect(listener.local_addr().expect("address")).await.expect("connect");
            near.write_all(b"hello").await.expect("write");
            let accepted = listener.accept_unbound().await.expect("accept");
            assert!(shared.0.send(accepted).await.is_ok(), "the other core receives");
            let mut bytes = [0; 16];
            let count = near.read(&mut bytes).await.expect("read");
            assert_eq!(&bytes[..count], b"hello");
        }
    })
    .expect("two cores start")
    .join()
    .expect("both cores end");
}

#[test]
fn bytes_put_back_are_read_again_first() {
    run(async {
        let listener = Listener::bind("127.0.0.1:0".parse().expect("address")).expect("bind");
        let mut near = Stream::connect(listener.local_addr().expect("address")).await.expect("connect");
        let mut far = listener.accept().await.expect("accept");
        near.write_all(b"abcdef").await.expect("write");
        let mut bytes = [0; 4];
        assert_eq!(far.read(&mut bytes).await.expect("read"), 4);
        far.unread(&bytes[2..]);
        far.unread(&bytes[1..2]);
        let mut seen = Vec::new();
        while seen.len() < 5 {
            let count = far.read(&mut bytes).await.expect("read");
            seen.extend_from_slice(&bytes[..count]);
        }
        assert_eq!(seen, b"bcdef");
    });
}

#[test]
fn bytes_that_come_with_the_end_of_the_stream_do_not_hide_it() {
    run(async {
        let listener = Listener::bind("127.0.0.1:0".parse().expect("address")).expect("bind");
        let mut near = Stream::connect(listener.local_addr().expect("address")).await.expect("connect");
        let mut far = listener.accept().await.expect("accept");
        near.write_all(b"last words").await.expect("write");
        near.close().await.expect("close");
        // Both are there before the first read, which has more room than there are bytes.
        sleep(Duration::from_millis(5)).await;
        let mut bytes = [0; 64];
        assert_eq!(far.read(&mut bytes).await.expect("read"), 10);
        assert_eq!(far.read(&mut bytes).await.expect("end"), 0);
        far.write_all(b"answer").await.expect("the other direction is open");
        assert_eq!(near.read(&mut bytes).await.expect("read"), 6);
    });
}

/// Bytes that arrived between a connection's last wait and its end used to keep the connection open forever: the kernel
/// does not remove a poll with an event that it has not reported yet.
#[test]
fn a_stream_dropped_while_bytes_arrive_is_closed() {
    run(async {
        let listener = Listener::bind("127.0.0.1:0".parse().expect("address")).expect("bind");
        let mut near = Stream::connect(listener.local_addr().expect("address")).await.expect("connect");
        let mut far = listener.accept().await.expect("accept");
        let mut bytes = [0; 8];
        let polled =
            std::future::poll_fn(|cx| Poll::Ready(near.poll_read(cx, &mut bytes).is_pending())).await;
        assert!(polled, "there is nothing to read");
        // The kernel watches the socket from now on.
        sleep(Duration::from_millis(5)).await;
        far.write_all(b"x").await.expect("write");
        drop(near);
        let ended =
            timeout(Duration::from_secs(10), far.read(&mut bytes)).await.expect("the connection is closed");
        assert!(!matches!(ended, Ok(1..)), "{ended:?}");
    });
}

#[test]
fn a_stream_carries_more_than_the_kernel_buffers_both_ways() {
    const TOTAL: usize = 12 << 20;
    run(async {
        let listener = Listener::bind("127.0.0.1:0".parse().expect("address")).expect("bind");
        let address = listener.local_addr().expect("address");
        let echo = spawn(async move {
            let mut stream = listener.accept().await.expect("accept");
            let mut bytes = vec![0; 100_000];
            loop {
                let count = stream.read(&mut bytes).await.expect("read");
                if count == 0 {
                    return;
                }
                stream.write_all(&bytes[..count]).await.expect("write");
            }
        });
        let mut stream = Stream::connect(address).await.expect("connect");
        let sent: Vec<u8> = (0..TOTAL).map(|at| (at % 251) as u8).collect();
        let (mut written, mut back, mut closed) = (0, Vec::new(), false);
        std::future::poll_fn(|cx| {
            let mut bytes = [0; 30_000];
            while written < TOTAL
                && let Poll::Ready(count) = stream.poll_write(cx, &sent[written..])
            {
                written += count.expect("write");
            }
            while let Poll::Ready(count) = stream.poll_read(cx, &mut bytes) {
                back.extend_from_slice(&bytes[..count.expect("read")]);
                if back.len() == TOTAL {
                    closed = true;
                    return Poll::Ready(());
                }
            }
            Poll::Pending
        })
        .await;
        assert!(closed && back == sent);
        drop(stream);
        assert_eq!(echo.await, Some(()), "a dropped stream is closed");
    });
}

#[test]
fn more_connections_than_the_ring_has_entries_are_all_served() {
    const CONNECTIONS: usize = 700;
    run(async {
        let listener = Listener::bind("127.0.0.1:0".parse().expect("address")).expect("bind");
        let address = listener.local_addr().expect("address");
        spawn(async move {
            while let Ok(mut stream) = listener.accept().await {
                spawn(async move {
                    let mut byte = [0; 1];
                    while stream.read(&mut byte).await.is_ok_and(|count| count == 1) {
                        stream.write_all(&byte).await.expect("write");
                    }
                });
            }
        });
        let mut streams = Vec::new();
        for _ in 0..CONNECTIONS {
            streams.push(Stream::connect(address).await.expect("connect"));
        }
        for round in 0..3 {
            for stream in &mut streams {
                stream.write_all(&[round]).await.expect("write");
            }
            for stream in &mut streams {
                let mut byte = [9; 1];
                assert_eq!((stream.read(&mut byte).await.expect("read"), byte[0]), (1, round));
            }
        }
    });
}

#[test]
fn connecting_to_a_port_where_nobody_listens_is_refused() {
    run(async {
        let address = Listener::bind("127.0.0.1:0".parse().expect("address")).expect("bind").local_addr();
        let error = Stream::connect(address.expect("address")).await.err().expect("nobody listens there");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn operations_that_nobody_waits_for_run_to_completion() {
    let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("temporary directory");
    let path = directory.path().join("f");
    let page = |byte: u8| {
        let mut buf = Buf::with_capacity(ALIGNMENT);
        buf.extend_from_slice(&[byte; ALIGNMENT]);
        buf
    };
    run(async {
        let file = File::create(&path).await.expect("create");
        file.allocate(0, 4 << 20).await.expect("allocate");
        // Each operation begins with its first poll and is dropped at once.
        for at in 0..600_u64 {
            let mut write = Box::pin(file.write_at(page(at as u8), at * ALIGNMENT as u64));
            let mut read = Box::pin(file.read_at(0, 16 * ALIGNMENT));
            std::future::poll_fn(|cx| {
                assert!(write.as_mut().poll(cx).is_pending() && read.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
        }
    });
    let bytes = std::fs::read(&path).expect("the file");
    for at in 0..600 {
        assert!(bytes[at * ALIGNMENT..][..ALIGNMENT].iter().all(|byte| *byte == at as u8), "page {at}");
    }
}

#[test]
fn an_executor_ends_its_unfinished_tasks() {
    struct CountsDrops(std::rc::Rc<std::cell::Cell<u32>>);
    impl Drop for CountsDrops {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let ended = std::rc::Rc::new(std::cell::Cell::new(0));
    run(async {
        let listener = Listener::bind("127.0.0.1:0".parse().expect("address")).expect("bind");
        let counter = || CountsDrops(ended.clone());
        let (a, b, c) = (counter(), counter(), counter());
        spawn(async move {
            let _counter = a;
            let _ = listener.accept().await;
        });
        spawn(async move {
            let _counter = b;
            sleep(Duration::from_secs(1000)).await;
        });
        yield_now().await;
        spawn(async move { drop(c) });
    });
    assert_eq!(ended.get(), 3);
}

#[test]
fn a_task_outlives_its_handle_and_a_kept_handle_yields_its_value() {
    run(async {
        let (sender, receiver) = oneshot();
        drop(spawn(async move {
            sleep(Duration::from_millis(1)).await;
            sender.send(5);
        }));
        assert_eq!(receiver.await, Ok(5));
        assert_eq!(spawn(async { 7 }).await, Some(7));
    });
}

#[test]
fn sleeps_end_in_the_order_of_their_times() {
    run(async {
        let order = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let tasks: Vec<_> = [9_u64, 3, 6]
            .into_iter()
            .map(|millis| {
                let order = order.clone();
                spawn(async move {
                    sleep(Duration::from_millis(millis)).await;
                    order.borrow_mut().push(millis);
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        assert_eq!(*order.borrow(), [3, 6, 9]);
    });
}

#[test]
fn a_plain_thread_wakes_a_core_that_sleeps() {
    let (sender, mut receiver) = mailbox::<u32>(1);
    let (answer, answers) = std::sync::mpsc::channel();
    let thread = spawn_thread("sender", move || {
        for number in 0..2_000 {
            assert!(sender.try_send(number).is_ok());
            // The next message is sent once the core has taken this one and is going back to sleep.
            assert_eq!(answers.recv(), Ok(number));
        }
    })
    .expect("thread");
    run(async move {
        while let Some(number) = receiver.recv().await {
            answer.send(number).expect("the thread listens");
        }
    });
    thread.join().expect("the thread ends");
}

#[test]
fn a_core_with_many_requests_in_flight_still_serves_a_lone_event() {
    run(async {
        let busy: Vec<RequestInFlight> = (0..50).map(|_| begin_request()).collect();
        assert_eq!(requests_in_flight(), 50);
        sleep(Duration::from_millis(1)).await;
        let (sender, mut receiver) = mailbox::<u32>(1);
        let thread = spawn_thread("sender", move || assert!(sender.try_send(1).is_ok())).expect("thread");
        assert_eq!(receiver.recv().await, Some(1));
        thread.join().expect("the thread ends");
        drop(busy);
        assert_eq!(requests_in_flight(), 0);
    });
}

#[test]
fn a_task_that_is_always_ready_lets_others_run() {
    run(async {
        let done = std::rc::Rc::new(std::cell::Cell::new(false));
        let seen = done.clone();
        spawn(async move { seen.set(true) });
        while !done.get() {
            yield_if_needed().await;
        }
    });
}
