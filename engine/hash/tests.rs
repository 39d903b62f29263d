use std::time::Duration;

use super::*;
use proptest::prelude::*;

use crate::buf::Buf;
use crate::io;

fn run<T>(future: impl Future<Output = T>) -> T {
    io::block_on(future).expect("executor")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn checksums_have_their_published_values() {
    for (algorithm, value) in [
        (ChecksumAlgorithm::Crc32, "cbf43926"),
        (ChecksumAlgorithm::Crc32c, "e3069283"),
        (ChecksumAlgorithm::Crc64Nvme, "ae8b14860a799888"),
        (ChecksumAlgorithm::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
        (ChecksumAlgorithm::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
    ] {
        let made = Checksum::of(algorithm, b"123456789");
        assert_eq!(hex(made.as_bytes()), value, "{algorithm:?}");
        assert_eq!(Checksum::new(algorithm, made.as_bytes()), Some(made));
        assert_eq!(Checksum::new(algorithm, &made.as_bytes()[1..]), None);
    }
}

#[test]
fn crcs_of_parts_combine_into_the_crc_of_the_whole() {
    for algorithm in [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32c, ChecksumAlgorithm::Crc64Nvme] {
        let (first, second) = (Checksum::of(algorithm, b"first part, "), Checksum::of(algorithm, b"second"));
        assert_eq!(first.followed_by(&second, 6), Some(Checksum::of(algorithm, b"first part, second")));
    }
    let sha = Checksum::of(ChecksumAlgorithm::Sha1, b"");
    assert_eq!(sha.followed_by(&sha, 0), None);
}

/// The bytes in a buffer as the writer leaves them: in `blocks` payloads, each followed by a trailer.
fn in_blocks(bytes: &[u8], block: usize) -> (Buf, Ranges) {
    let mut buf = Buf::with_capacity(3 + bytes.len() + 5 * bytes.len().div_ceil(block.max(1)));
    buf.extend_from_slice(&[9; 3]);
    let mut ranges = Ranges::new();
    for payload in bytes.chunks(block.max(1)) {
        ranges.push(buf.len()..buf.len() + payload.len());
        buf.extend_from_slice(payload);
        buf.extend_from_slice(&[8; 5]);
    }
    (buf, ranges)
}

fn one_range(bytes: &[u8]) -> (Buf, Ranges) {
    in_blocks(bytes, bytes.len())
}

async fn digest_pieces(
    service: HashService,
    plan: Plan,
    bytes: Vec<u8>,
    cuts: Vec<usize>,
    block: usize,
    mut chunk_ends: Vec<usize>,
) -> Digests {
    let mut body = service.open(plan);
    let mut rest = &bytes[..];
    let mut known = Vec::new();
    chunk_ends.reverse();
    for (number, cut) in cuts.into_iter().chain([usize::MAX]).enumerate() {
        let from = bytes.len() - rest.len();
        let (piece, tail) = rest.split_at(cut.min(rest.len()));
        rest = tail;
        while let Some(end) = chunk_ends.pop_if(|end| *end <= from + piece.len()) {
            body.end_chunk(end - from);
        }
        let (buf, ranges) = in_blocks(piece, block);
        let patient = number % 3 == 2;
        if patient {
            let hurry = body.hurry();
            io::spawn(async move {
                io::sleep(Duration::from_micros(number as u64)).await;
                hurry.now();
            });
        }
        let expected = buf.to_vec();
        assert_eq!(&body.update(buf, ranges, patient).await[..], expected);
        while let Some(digest) = body.next_chunk() {
            known.push(digest);
        }
    }
    let mut digests = body.finish();
    digests.chunks.splice(0..0, known);
    digests
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn many_bodies_at_once_get_the_digests_that_each_would_get_alone(
        bodies in prop::collection::vec(
            (
                (0usize..60_000, prop::collection::vec(0usize..20_000, 0..8), 1usize..9000),
                any::<u8>(),
                0usize..6,
                prop::collection::vec(0usize..60_000, 0..9),
            ),
            1..40,
        ),
        requests in 0usize..6,
    ) {
        run(async move {
            // With a single request, nothing waits.
            let _requests: Vec<_> = (0..requests).map(|_| io::begin_request()).collect();
            let service = HashService::new();
            let mut tasks = Vec::new();
            for ((len, cuts, block), seed, algorithm, mut ends) in bodies {
                let bytes: Vec<u8> = (0..len).map(|at| (at / 7) as u8 ^ seed).collect();
                let checksum = ChecksumAlgorithm::ALL.get(algorithm).copied();
                let plan = Plan { md5: seed % 5 > 0, sha256: seed % 2 == 0, chunks: seed % 3 == 0, checksum };
                ends.retain(|end| *end <= len);
                ends.sort_unstable();
                let starts = [0].iter().chain(&ends);
                let chunks = starts.zip(&ends).map(|(from, to)| sha2::Sha256::digest(&bytes[*from..*to]).into());
                let expected = Digests {
                    md5: plan.md5.then(|| <::md5::Md5 as ::md5::Digest>::digest(&bytes).into()),
                    sha256: (plan.sha256 || checksum == Some(ChecksumAlgorithm::Sha256))
                        .then(|| sha2::Sha256::digest(&bytes).into()),
                    chunks: if plan.chunks { chunks.collect() } else { Vec::new() },
                    checksum: checksum.map(|algorithm| Checksum::of(algorithm, &bytes)),
                };
                let task = io::spawn(digest_pieces(service.clone(), plan, bytes, cuts, block, ends));
                tasks.push((task, expected));
            }
            for (task, expected) in tasks {
                assert_eq!(task.await.expect("ran"), expected);
            }
            assert_eq!(service.depth(), 0);
        });
    }
}

#[test]
fn a_body_abandoned_while_it_waits_disturbs_no_other() {
    run(async {
        let _requests = (io::begin_request(), io::begin_request());
        let service = HashService::new();
        let bytes = vec![3; 10_000];
        let mut abandoned = service.open(Plan { md5: true, ..Plan::default() });
        let mut kept = service.open(Plan { md5: true, ..Plan::default() });
        let (buf, ranges) = one_range(&bytes);
        let mut waiting = Box::pin(abandoned.update(buf, ranges, false));
        std::future::poll_fn(|cx| {
            assert!(waiting.as_mut().poll(cx).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        drop(waiting);
        // The piece is added although nobody waited for it.
        assert_eq!(abandoned.finish().md5, Some(<::md5::Md5 as ::md5::Digest>::digest(&bytes).into()));
        let (buf, ranges) = one_range(&bytes);
        kept.update(buf, ranges, false).await;
        assert_eq!(kept.finish().md5, Some(<::md5::Md5 as ::md5::Digest>::digest(&bytes).into()));
    });
}

#[test]
fn a_body_waits_only_while_another_request_is_in_flight() {
    run(async {
        let service = HashService::new();
        let mut body = service.open(Plan { md5: true, ..Plan::default() });
        let _own = io::begin_request();
        for (others, waits) in [(0, false), (1, true)] {
            let _others: Vec<_> = (0..others).map(|_| io::begin_request()).collect();
            let (buf, ranges) = one_range(&[7; 4096]);
            let mut taken = Box::pin(body.update(buf, ranges, false));
            let waited =
                std::future::poll_fn(|cx| std::task::Poll::Ready(taken.as_mut().poll(cx).is_pending()));
            assert_eq!(waited.await, waits, "{others} other requests");
        }
    });
}

/// A core with many stalled requests must not wait for them with every block of the one that moves.
#[test]
fn a_large_piece_waits_for_others_and_waits_that_bring_nothing_become_rare() {
    run(async {
        let _requests = (io::begin_request(), io::begin_request());
        let service = HashService::new();
        let mut waits = 0;
        for _ in 0..64 {
            let mut body = service.open(Plan { md5: true, ..Plan::default() });
            let (buf, ranges) = one_range(&[5; 1 << 20]);
            let body = io::spawn(async move { body.update(buf, ranges, false).await });
            // Without a wait, it is hashed after what is ready now.
            for _ in 0..3 {
                io::yield_now().await;
            }
            waits += service.depth();
            body.await.expect("ran");
        }
        assert!((1..=8).contains(&waits), "{waits} of 64 waited");
    });
}

#[test]
fn patient_buffers_are_hashed_together_when_one_of_them_is_needed_or_another_is_urgent() {
    run(async {
        let _requests: Vec<_> = (0..5).map(|_| io::begin_request()).collect();
        let service = HashService::new();
        for urgent in [false, true] {
            let wait = |patient| {
                let mut body = service.open(Plan { md5: true, ..Plan::default() });
                let hurry = body.hurry();
                let (buf, ranges) = one_range(&[5; 5000]);
                (io::spawn(async move { body.update(buf, ranges, patient).await }), hurry)
            };
            let waiting = [wait(true), wait(true), wait(true)];
            io::sleep(Duration::from_millis(20)).await;
            assert_eq!(service.depth(), 3);
            if urgent {
                wait(false).0.await.expect("ran");
            } else {
                waiting[1].1.now();
            }
            for (body, _) in waiting {
                body.await.expect("ran");
            }
        }
    });
}

/// A publish that fails at once is over before the buffer waits: nothing would have woken it.
#[test]
fn a_buffer_that_was_hurried_before_it_came_does_not_wait() {
    run(async {
        let _requests: Vec<_> = (0..5).map(|_| io::begin_request()).collect();
        let mut body = HashService::new().open(Plan { md5: true, ..Plan::default() });
        body.hurry().now();
        let (buf, ranges) = one_range(&[5; 5000]);
        assert!(io::timeout(Duration::from_secs(10), body.update(buf, ranges, true)).await.is_ok());
    });
}

#[test]
fn a_patient_buffer_that_is_abandoned_leaves_nothing_waiting() {
    run(async {
        let _requests: Vec<_> = (0..5).map(|_| io::begin_request()).collect();
        let service = HashService::new();
        for _ in 0..2 {
            let mut body = service.open(Plan { md5: true, ..Plan::default() });
            let (buf, ranges) = one_range(&[5; 5000]);
            let abandoned = io::timeout(Duration::from_millis(5), body.update(buf, ranges, true));
            assert!(abandoned.await.is_err());
            drop(body);
            assert_eq!(service.depth(), 0);
        }
        let mut body = service.open(Plan { md5: true, ..Plan::default() });
        let (buf, ranges) = one_range(&[5; 5000]);
        body.update(buf, ranges, false).await;
    });
}
