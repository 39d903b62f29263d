use super::*;
use proptest::prelude::*;

fn head(headers: &str) -> RequestHead {
    let mut head = RequestHead::new();
    head.parse(format!("PUT /b/k HTTP/1.1\r\nHost: h\r\n{headers}\r\n").as_bytes()).unwrap().unwrap();
    head
}

fn value(algorithm: Algorithm, bytes: &[u8]) -> Value {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish()
}

#[test]
fn the_check_values_of_the_catalogue_come_out() {
    for (algorithm, want) in [
        (Algorithm::Crc32, "cbf43926"),
        (Algorithm::Crc32c, "e3069283"),
        (Algorithm::Crc64Nvme, "ae8b14860a799888"),
        (Algorithm::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
        (Algorithm::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
    ] {
        assert_eq!(hex::encode(value(algorithm, b"123456789").bytes()), want, "{algorithm:?}");
    }
    assert_eq!(value(Algorithm::Crc32c, b"123456789").to_base64(), "4waSgw==");
    assert_eq!(value(Algorithm::Crc32, b"").to_composite(3), "AAAAAA==-3");
    assert_eq!(split_composite("AAAAAA==-3"), ("AAAAAA==", Some(3)));
    assert_eq!(split_composite("AAAAAA=="), ("AAAAAA==", None));
}

#[test]
fn a_request_may_bring_one_checksum_as_header_or_trailer() {
    let wanted = Wanted::from_head(&head(
        "x-amz-checksum-crc32c: 4waSgw==\r\nx-amz-sdk-checksum-algorithm: crc32c\r\n",
    ));
    assert_eq!(wanted.unwrap().value, Some(value(Algorithm::Crc32c, b"123456789")));
    let wanted = Wanted::from_head(&head("x-amz-trailer: x-amz-checksum-crc64nvme\r\n")).unwrap();
    assert_eq!(
        (wanted.trailer, wanted.algorithm()),
        (Some(Algorithm::Crc64Nvme), Some(Algorithm::Crc64Nvme))
    );
    assert_eq!(Wanted::from_head(&head("x-amz-checksum-mode: ENABLED\r\n")).unwrap(), Wanted::default());
    let wanted = Wanted::from_head(&head("Content-MD5: 1B2M2Y8AsgTpgAmY7PhCfg==\r\n")).unwrap();
    assert_eq!(hex::encode(wanted.content_md5.unwrap()), "d41d8cd98f00b204e9800998ecf8427e");
}

#[test]
fn contradictions_and_malformed_values_are_refused() {
    for (headers, code) in [
        ("x-amz-checksum-crc32: AAAAAA==\r\nx-amz-checksum-sha1: AAAA\r\n", Code::InvalidRequest),
        ("x-amz-checksum-crc32: AAAAAA==\r\nx-amz-checksum-crc32: AAAAAA==\r\n", Code::InvalidRequest),
        ("x-amz-checksum-crc32: AAAAAA==\r\nx-amz-trailer: x-amz-checksum-crc32\r\n", Code::InvalidRequest),
        ("x-amz-checksum-crc32: AAAA\r\n", Code::InvalidRequest),
        ("x-amz-checksum-crc32: \r\n", Code::InvalidRequest),
        ("x-amz-checksum-md5: AAAA\r\n", Code::NotImplemented),
        ("x-amz-sdk-checksum-algorithm: CRC32\r\n", Code::InvalidRequest),
        ("x-amz-sdk-checksum-algorithm: CRC32\r\nx-amz-checksum-crc32c: 4waSgw==\r\n", Code::InvalidRequest),
        ("x-amz-sdk-checksum-algorithm: MD4\r\n", Code::InvalidRequest),
        ("Content-MD5: nonsense\r\n", Code::InvalidDigest),
        ("Content-MD5: AAAA\r\n", Code::InvalidDigest),
    ] {
        assert_eq!(Wanted::from_head(&head(headers)).unwrap_err().code(), code, "{headers:?}");
    }
}

#[test]
fn a_multipart_upload_names_algorithm_and_type() {
    let of = |headers: &str| multipart_from_head(&head(headers));
    assert_eq!(of("").unwrap(), None);
    let crc64 = Some((Algorithm::Crc64Nvme, ChecksumType::FullObject));
    assert_eq!(of("x-amz-checksum-algorithm: CRC64NVME\r\n").unwrap(), crc64);
    let full = Some((Algorithm::Crc32, ChecksumType::FullObject));
    assert_eq!(of("x-amz-checksum-algorithm: CRC32\r\nx-amz-checksum-type: FULL_OBJECT\r\n").unwrap(), full);
    for refused in [
        "x-amz-checksum-type: COMPOSITE\r\n",
        "x-amz-checksum-algorithm: CRC64NVME\r\nx-amz-checksum-type: COMPOSITE\r\n",
        "x-amz-checksum-algorithm: SHA256\r\nx-amz-checksum-type: FULL_OBJECT\r\n",
        "x-amz-checksum-algorithm: SHA256\r\nx-amz-checksum-type: HALF\r\n",
        "x-amz-checksum-algorithm: X\r\n",
    ] {
        assert_eq!(of(refused).unwrap_err().code(), Code::InvalidRequest, "{refused}");
    }
}

proptest! {
    #[test]
    fn crcs_of_parts_combine_to_the_whole(a in proptest::collection::vec(any::<u8>(), 0..300), b in proptest::collection::vec(any::<u8>(), 0..300)) {
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
            let whole = value(algorithm, &[a.as_slice(), b.as_slice()].concat());
            let combined = algorithm.combine(&value(algorithm, &a), &value(algorithm, &b), b.len() as u64);
            prop_assert_eq!(combined, Some(whole.clone()));
            prop_assert_eq!(Value::parse(algorithm, whole.to_base64().as_bytes()).unwrap(), whole);
        }
    }
}
