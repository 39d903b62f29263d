//! Signature checks of AWS's published examples, with the day's signing key cached and with deriving it.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use s3::http::head::RequestHead;
use s3::sigv4::Verifier;
use s3::sigv4::keys::{Credentials, Secret};

/// 2013-05-24T00:00:00Z, when the examples were signed.
const THEN: u64 = 1_369_353_600;

/// "GET Object" of AWS, "Signature Calculations for the Authorization Header".
const HEADER: &str = "GET /test.txt HTTP/1.1\r\nHost: examplebucket.s3.amazonaws.com\r\nRange: bytes=0-9\r\n\
    x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\r\n\
    x-amz-date: 20130524T000000Z\r\n\
    Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
    SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,\
    Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41\r\n\r\n";

/// The example of AWS, "Authenticating Requests: Using Query Parameters".
const PRESIGNED: &str = "GET /test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&\
    X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&\
    X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&\
    X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404 HTTP/1.1\r\n\
    Host: examplebucket.s3.amazonaws.com\r\n\r\n";

fn verifier() -> Verifier {
    let secret = Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
    Verifier::new("us-east-1", Credentials::single("AKIAIOSFODNN7EXAMPLE", secret))
}

fn verify(c: &mut Criterion) {
    let mut group = c.benchmark_group("sigv4");
    for (name, text) in [("header", HEADER), ("presigned", PRESIGNED)] {
        let mut head = RequestHead::new();
        head.parse(text.as_bytes()).expect("a good head").expect("a whole head");
        let check = |verifier: &mut Verifier| {
            verifier.verify(black_box(&head), None, black_box(THEN)).expect("a good signature")
        };
        group.bench_function(BenchmarkId::new(name, "cached key"), |b| {
            let mut verifier = verifier();
            check(&mut verifier);
            b.iter(|| check(&mut verifier));
        });
        group.bench_function(BenchmarkId::new(name, "derived key"), |b| {
            b.iter_batched_ref(verifier, check, BatchSize::SmallInput);
        });
    }
    group.finish();
}

criterion_group!(benches, verify);
criterion_main!(benches);
