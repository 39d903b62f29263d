use super::*;
use crate::buf::Buf;
use std::time::Duration;

fn run<T>(future: impl Future<Output = T>) -> T {
    let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("temporary directory");
    block_on(directory.path(), future).expect("executor")
}

#[test]
fn a_file_reads_back_what_was_written() {
    let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("temporary directory");
    let path = directory.path().join("f");
    block_on(directory.path(), async {
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
    let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("temporary directory");
    let (sender, receiver) = mailbox::<u64>(8);
    let ends = std::sync::Arc::new(std::sync::Mutex::new((Some(sender), Some(receiver))));
    let config = ExecutorsConfig { cores: 2, directory: directory.path().to_owned() };
    run_executors(&config, move |core| {
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
