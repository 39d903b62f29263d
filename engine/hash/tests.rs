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

#[test]
fn a_chunk_digest_starts_over_after_each_chunk() {
    let mut chunk = Sha256Chunk::new();
    chunk.update(b"first");
    assert_eq!(&chunk.finish_chunk(), Checksum::of(ChecksumAlgorithm::Sha256, b"first").as_bytes());
    chunk.update(b"sec");
    chunk.update(b"ond");
    assert_eq!(&chunk.finish_chunk(), Checksum::of(ChecksumAlgorithm::Sha256, b"second").as_bytes());
}

async fn digest_pieces(service: HashService, plan: Plan, bytes: Vec<u8>, cuts: Vec<usize>) -> Digests {
    let mut body = service.open(plan);
    let mut rest = &bytes[..];
    for cut in cuts {
        let (piece, tail) = rest.split_at(cut.min(rest.len()));
        rest = tail;
        let mut buf = Buf::with_capacity(piece.len() + 3);
        buf.extend_from_slice(&[9; 3]);
        buf.extend_from_slice(piece);
        let back = body.update(buf, 3..piece.len() + 3).await;
        assert_eq!(&back[3..], piece);
    }
    body.update_now(rest);
    body.finish()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn many_bodies_at_once_get_the_digests_that_each_would_get_alone(
        bodies in prop::collection::vec(
            (0usize..60_000, prop::collection::vec(0usize..20_000, 0..8), any::<u8>(), 0usize..6),
            1..40,
        ),
    ) {
        run(async move {
            // With a single request, nothing would wait.
            let _requests = (io::begin_request(), io::begin_request());
            let service = HashService::new();
            let mut tasks = Vec::new();
            for (len, cuts, seed, algorithm) in bodies {
                let bytes: Vec<u8> = (0..len).map(|at| (at / 7) as u8 ^ seed).collect();
                let checksum = ChecksumAlgorithm::ALL.get(algorithm).copied();
                let plan = Plan { md5: true, sha256: seed % 2 == 0, checksum };
                let expected = Digests {
                    md5: Some(<::md5::Md5 as ::md5::Digest>::digest(&bytes).into()),
                    sha256: (plan.sha256 || checksum == Some(ChecksumAlgorithm::Sha256)).then(|| sha2::Sha256::digest(&bytes).into()),
                    checksum: checksum.map(|algorithm| Checksum::of(algorithm, &bytes)),
                };
                let task = io::spawn(digest_pieces(service.clone(), plan, bytes, cuts));
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
        let mut buf = Buf::with_capacity(bytes.len());
        buf.extend_from_slice(&bytes);
        let mut waiting = Box::pin(abandoned.update(buf, 0..10_000));
        std::future::poll_fn(|cx| {
            assert!(waiting.as_mut().poll(cx).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        drop(waiting);
        // The piece is added although nobody waited for it.
        assert_eq!(abandoned.finish().md5, Some(<::md5::Md5 as ::md5::Digest>::digest(&bytes).into()));
        let mut buf = Buf::with_capacity(bytes.len());
        buf.extend_from_slice(&bytes);
        kept.update(buf, 0..10_000).await;
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
            let mut buf = Buf::with_capacity(4096);
            buf.extend_from_slice(&[7; 4096]);
            let mut taken = Box::pin(body.update(buf, 0..4096));
            let waited =
                std::future::poll_fn(|cx| std::task::Poll::Ready(taken.as_mut().poll(cx).is_pending()));
            assert_eq!(waited.await, waits, "{others} other requests");
        }
    });
}
