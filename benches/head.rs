//! Parsing of request heads as clients send them: all at once, and arriving in two pieces.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use s3::http::head::RequestHead;

const GET: &str = "GET /photos/2025/07/IMG_0001.jpg HTTP/1.1\r\n\
    Host: 127.0.0.1:9000\r\n\
    User-Agent: MinIO (linux; amd64) minio-go/v7.0.90 warp/1.3.1\r\n\
    Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20250701/us-east-1/s3/aws4_request, \
    SignedHeaders=host;x-amz-content-sha256;x-amz-date, \
    Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7\r\n\
    X-Amz-Content-Sha256: UNSIGNED-PAYLOAD\r\n\
    X-Amz-Date: 20250701T120000Z\r\n\r\n";

const PUT: &str = "PUT /photos/2025/07/IMG_0001.jpg?x-id=PutObject HTTP/1.1\r\n\
    Host: photos.s3.example.com\r\n\
    Accept-Encoding: identity\r\n\
    User-Agent: aws-cli/2.27.0 md/awscrt#0.26.1 ua/2.1 os/linux#6.8 md/arch#x86_64 lang/python#3.13 \
    md/pyimpl#CPython m/Z,b,E,n,W,i cfg/retry-mode#standard md/installer#exe md/prompt#off md/command#s3.cp\r\n\
    Content-Type: image/jpeg\r\n\
    x-amz-sdk-checksum-algorithm: CRC64NVME\r\n\
    x-amz-meta-camera: front\r\n\
    Transfer-Encoding: chunked\r\n\
    Content-Encoding: aws-chunked\r\n\
    X-Amz-Trailer: x-amz-checksum-crc64nvme\r\n\
    X-Amz-Decoded-Content-Length: 4194304\r\n\
    X-Amz-Content-SHA256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\n\
    X-Amz-Date: 20250701T120000Z\r\n\
    Expect: 100-continue\r\n\
    amz-sdk-invocation-id: 11111111-2222-4333-8444-555555555555\r\n\
    amz-sdk-request: attempt=1\r\n\
    Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20250701/us-east-1/s3/aws4_request, \
    SignedHeaders=content-encoding;content-type;host;transfer-encoding;x-amz-content-sha256;x-amz-date;\
    x-amz-decoded-content-length;x-amz-meta-camera;x-amz-sdk-checksum-algorithm;x-amz-trailer, \
    Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7\r\n\r\n";

fn parse(c: &mut Criterion) {
    let mut group = c.benchmark_group("head");
    for (name, text) in [("get", GET), ("put", PUT)] {
        let text = text.as_bytes();
        group.throughput(Throughput::Bytes(text.len() as u64));
        // One head for all requests of a connection, as the server does it.
        let mut head = RequestHead::new();
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| head.parse(black_box(text)).expect("a good head").expect("a whole head"));
        });
        group.bench_function(BenchmarkId::new(name, "in two pieces"), |b| {
            b.iter(|| {
                let first = head.parse(black_box(&text[..text.len() / 2])).expect("a good start");
                assert!(first.is_none());
                head.parse(black_box(text)).expect("a good head").expect("a whole head")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, parse);
criterion_main!(benches);
