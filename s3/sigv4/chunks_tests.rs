use super::*;
use crate::sigv4::tests::{THEN, head, verifier};
use proptest::prelude::*;

/// AWS's example of a chunked upload: 65 KiB + 1 KiB of 'a', with its seed signature.
fn example(trailer: bool) -> RequestHead {
    let (mode, more, signed, signature) = if trailer {
        (
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
            "x-amz-trailer: x-amz-checksum-crc32c\r\n",
            "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer",
            "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
        )
    } else {
        (
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            "Content-Length: 66824\r\n",
            "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class",
            "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
        )
    };
    head(&format!(
        "PUT /examplebucket/chunkObject.txt HTTP/1.1\r\nHost: s3.amazonaws.com\r\nx-amz-date: 20130524T000000Z\r\n\
         x-amz-storage-class: REDUCED_REDUNDANCY\r\nx-amz-content-sha256: {mode}\r\nContent-Encoding: aws-chunked\r\n\
         x-amz-decoded-content-length: 66560\r\n{more}Authorization: AWS4-HMAC-SHA256 \
         Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders={signed},Signature={signature}"
    ))
}

fn decoder_of(mode: PayloadMode, head: &RequestHead) -> Result<AwsChunked, S3Error> {
    Coding::of(mode, head).map(|coding| match coding {
        Coding::AwsChunked(decoder) => *decoder,
        Coding::Plain(mode) => panic!("not aws-chunked: {mode:?}"),
    })
}

fn signed(trailer: bool) -> AwsChunked {
    let head = example(trailer);
    let verified = verifier().verify(&head, None, THEN).unwrap();
    decoder_of(verified.payload, &head).unwrap()
}

fn unsigned(length: &str, trailers: &str) -> Result<AwsChunked, S3Error> {
    let head = head(&format!(
        "PUT / HTTP/1.1\r\nHost: h\r\nx-amz-decoded-content-length: {length}\r\nx-amz-trailer: {trailers}"
    ));
    decoder_of(PayloadMode::UnsignedTrailer, &head)
}

fn chunk(data: &[u8], signature: &str) -> Vec<u8> {
    [format!("{:x};chunk-signature={signature}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat()
}

fn example_body(signatures: [&str; 3]) -> Vec<u8> {
    let mut body = chunk(&[b'a'; 65536], signatures[0]);
    body.extend(chunk(&[b'a'; 1024], signatures[1]));
    body.extend_from_slice(format!("0;chunk-signature={}\r\n", signatures[2]).as_bytes());
    body
}

const PLAIN: [&str; 3] = [
    "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
    "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
    "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
];
const WITH_TRAILER: [&str; 3] = [
    "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
    "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
    "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
];
const TRAILER_SIGNATURE: &str = "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435";

/// Decodes in pieces and verifies chunks as they end; returns the content and the number of bytes after the end of the
/// body.
fn decode(decoder: &mut AwsChunked, pieces: &[&[u8]]) -> Result<(Vec<u8>, usize), S3Error> {
    let (mut content, mut left, mut hash) = (Vec::new(), 0, Sha256::new());
    for mut piece in pieces.iter().copied() {
        loop {
            let step = decoder.feed(piece, 1000)?;
            match &step {
                Step::Data(range) => {
                    content.extend_from_slice(&piece[range.clone()]);
                    hash.update(&piece[range.clone()]);
                }
                Step::ChunkEnd(_) => decoder.verify_chunk(&std::mem::take(&mut hash).finalize().into())?,
                Step::NeedMore => break,
                Step::Done(used) => {
                    left += piece.len() - used;
                    break;
                }
            }
            piece = &piece[step.consumed(piece.len())..];
        }
    }
    decoder.finish()?;
    decoder.verify_end()?;
    Ok((content, left))
}

#[test]
fn awss_example_of_signed_chunks_verifies() {
    let body = [example_body(PLAIN), b"\r\nX".to_vec()].concat();
    assert_eq!(body.len(), 66824 + 1);
    let (content, left) = decode(&mut signed(false), &[&body]).unwrap();
    assert!(content == [b'a'; 66560] && left == 1);
    // Without the last empty line.
    assert!(decode(&mut signed(false), &[&example_body(PLAIN)]).is_ok());
}

#[test]
fn awss_example_of_signed_chunks_with_a_trailer_verifies() {
    for separator in ["\r\n", "\n\r\n"] {
        let trailer = format!(
            "x-amz-checksum-crc32c:sOO8/Q=={separator}x-amz-trailer-signature:{TRAILER_SIGNATURE}\r\n\r\n"
        );
        let body = [example_body(WITH_TRAILER), trailer.into_bytes()].concat();
        let mut decoder = signed(true);
        assert_eq!(decode(&mut decoder, &[&body]).unwrap().0.len(), 66560);
        assert_eq!(decoder.trailers().collect::<Vec<_>>(), [("x-amz-checksum-crc32c", "sOO8/Q==")]);
    }
}

#[test]
fn tampered_signed_chunks_are_refused() {
    let good = [example_body(PLAIN), b"\r\n".to_vec()].concat();
    let code = |body: &[u8]| decode(&mut signed(false), &[body]).unwrap_err().code();
    let mut body = good.clone();
    body[1000] ^= 1;
    assert_eq!(code(&body), Code::SignatureDoesNotMatch);
    assert_eq!(
        code(&[example_body([PLAIN[1], PLAIN[0], PLAIN[2]]), b"\r\n".to_vec()].concat()),
        Code::SignatureDoesNotMatch
    );
    assert_eq!(
        code(&[example_body([PLAIN[0], PLAIN[1], PLAIN[1]]), b"\r\n".to_vec()].concat()),
        Code::SignatureDoesNotMatch
    );
    assert_eq!(code(b"10000\r\n"), Code::InvalidRequest);
    assert_eq!(code(b"10000;chunk-signature=00\r\n"), Code::InvalidRequest);
    assert_eq!(code(&good[..good.len() - 100]), Code::IncompleteBody);
    assert_eq!(code(&good[..70000.min(good.len() - 200)]), Code::IncompleteBody);
    assert_eq!(code(&chunk(&[b'a'; 66561], PLAIN[0])), Code::IncompleteBody);
    assert_eq!(code(format!("0;chunk-signature={}\r\n\r\n", PLAIN[0]).as_bytes()), Code::IncompleteBody);
    assert_eq!(
        code(&[example_body(PLAIN), b"x-amz-checksum-crc32c:AAAA\r\n\r\n".to_vec()].concat()),
        Code::MalformedTrailerError
    );
}

#[test]
fn tampered_trailers_are_refused() {
    let code = |trailers: &str| {
        decode(&mut signed(true), &[&[&example_body(WITH_TRAILER), trailers.as_bytes()].concat()])
            .unwrap_err()
            .code()
    };
    let signature = format!("x-amz-trailer-signature:{TRAILER_SIGNATURE}\r\n\r\n");
    assert_eq!(code(&format!("x-amz-checksum-crc32c:sOO8/A==\r\n{signature}")), Code::SignatureDoesNotMatch);
    assert_eq!(code("x-amz-checksum-crc32c:sOO8/Q==\r\n\r\n\r\n"), Code::MalformedTrailerError);
    assert_eq!(
        code(&format!("x-amz-checksum-crc32c:sOO8/Q==\r\n\r\n{signature}")),
        Code::MalformedTrailerError
    );
    assert_eq!(
        code("x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:00\r\n\r\n"),
        Code::MalformedTrailerError
    );
    assert_eq!(code(&signature), Code::MalformedTrailerError);
    assert_eq!(code(&format!("x-amz-meta-a:sOO8/Q==\r\n{signature}")), Code::MalformedTrailerError);
}

/// A body as an SDK sent it, recorded in front of the server, with the key pair that all tests use.
struct Recorded {
    sdk: &'static str,
    /// x-amz-date and the request's own signature, if chunks are signed.
    signed: Option<(&'static str, &'static str)>,
    /// x-amz-trailer.
    trailer: &'static str,
    content: &'static str,
    body: &'static str,
}

const RECORDED: &[Recorded] = &[
    Recorded {
        sdk: "minio-go 7.4.1, TLS or DisableContentSha256",
        signed: None,
        trailer: "x-amz-checksum-crc32",
        content: "<",
        body: "1\r\n<\r\n0\r\nx-amz-checksum-crc32:/W2TCg==\n\r\n\r\n",
    },
    Recorded {
        sdk: "minio-go 7.4.1, signed with a trailer",
        signed: Some((
            "20261127T200349Z",
            "9eb56fdce64a022678a671cb6bf875cfa358dfae4fbdb55698cf0583f9420e77",
        )),
        trailer: "x-amz-checksum-crc32",
        content: "<",
        body: "1;chunk-signature=9cb54d3373d5c46b818f35ca4bcdc4460d2078967b0976ab426353cff3aec7d8\r\n<\r\n\
               0;chunk-signature=09ca0e35b0c55e18a0e56d093c50adc9fa2640f50b94e31d197c4adf170536a4\r\n\
               x-amz-checksum-crc32:/W2TCg==\n\r\n\
               x-amz-trailer-signature:35366962bd943befc15e44989339000b91d484f000ba87272f393c31a846d920\r\n\r\n",
    },
    Recorded {
        sdk: "minio-go 7.4.1, signed",
        signed: Some((
            "20261127T200349Z",
            "afaaf1b7555d499b66fcaeb254e1f2f864d458f1f161186ae103549dfbd7a3e7",
        )),
        trailer: "",
        content: "<",
        body: "1;chunk-signature=14bd0279a6ed95a532f686055f8d48798652bbf08dbfe25a8a24ae3bfb3d1c52\r\n<\r\n\
               0;chunk-signature=5239a698f21b910a7d7828c8addc2e83387bd26ec699727078956386e9df8e78\r\n\r\n",
    },
    Recorded {
        sdk: "aws-sdk-go-v2 s3 1.114.10, aws-sdk-java-v2 2.58.0 and aws-sdk-rust s3 1.157.0, TLS; \
              aws-sdk-js 3.1174.0, inside of HTTP's chunks",
        signed: None,
        trailer: "x-amz-checksum-crc32",
        content: "<",
        body: "1\r\n<\r\n0\r\nx-amz-checksum-crc32:/W2TCg==\r\n\r\n",
    },
    Recorded {
        sdk: "aws-sdk-java-v2 2.58.0 and aws-sdk-js 3.1174.0, empty",
        signed: None,
        trailer: "x-amz-checksum-sha256",
        content: "",
        body: "0\r\nx-amz-checksum-sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\r\n\r\n",
    },
    Recorded {
        sdk: "aws-sdk-java-v2 2.58.0, signed with a trailer",
        signed: Some((
            "20261127T204858Z",
            "ea4519d3b00c8b4fc3da009674d14bd912c825c9992a32b1a38c16c7d38ec4aa",
        )),
        trailer: "x-amz-checksum-crc32",
        content: "<",
        body: "1;chunk-signature=97544e6273280c9d841f77744cf7a7574b7fbba83eca685b9a5e0dffa65a2288\r\n<\r\n\
               0;chunk-signature=f5c835f311ef739b8444e7b71c8d89e36822ab7403615b464284a7fca4b0a870\r\n\
               x-amz-checksum-crc32:/W2TCg==\r\n\
               x-amz-trailer-signature:1320f46e92705ed21f6407aebfcf3204f94c6480d53a052b760a614cb9dca4ae\r\n\r\n",
    },
    Recorded {
        sdk: "aws-sdk-rust s3 1.157.0, signed with a trailer and empty",
        signed: Some((
            "20261128T035239Z",
            "d072af37d88eca93c41a22391b0c9ef5876a9ac78645e854ec07032bd2348393",
        )),
        trailer: "x-amz-checksum-sha256",
        content: "",
        body: "0;chunk-signature=6e956499de435fb55afe560e42d8695d6b1c9e1a061cd9c884dd01ade8a00dca\r\n\
               x-amz-checksum-sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\r\n\
               x-amz-trailer-signature:7456e3d95a2bef8c2845c282a876489e102bf9dd1b660f78b00714f747e0d642\r\n\r\n",
    },
    Recorded {
        sdk: "aws-sdk-java-v2 2.58.0, signed and empty",
        signed: Some((
            "20261127T204852Z",
            "87774f59cece5bde75b3ac50d504713592e06d526d0fec519ef35fe304f5ab08",
        )),
        trailer: "",
        content: "",
        body: "0;chunk-signature=43cc12a25b016f2ce73c5e3541645f717241d25b1f29c1aaf8e6b3381d005f3a\r\n\r\n",
    },
    Recorded {
        sdk: "minio-go 7.4.1, signed and empty, inside of HTTP's chunks",
        signed: Some((
            "20261127T200349Z",
            "bf1b49b58d6705d99907f55928f831bd2040f88085641ab960cc90a70678de1c",
        )),
        trailer: "",
        content: "",
        body: "0;chunk-signature=e877a3ecd2ee975f38bdf7070c44db77c3af8fb47c2b46d3349eb25c72706562\r\n\r\n",
    },
];

impl Recorded {
    fn decoder(&self) -> AwsChunked {
        let trailer = if self.trailer.is_empty() {
            String::new()
        } else {
            format!("x-amz-trailer: {}\r\n", self.trailer)
        };
        let head = head(&format!(
            "PUT / HTTP/1.1\r\nHost: h\r\nx-amz-decoded-content-length: {}\r\n{trailer}",
            self.content.len()
        ));
        let mode = match self.signed {
            None => PayloadMode::UnsignedTrailer,
            Some((date, seed)) => {
                let secret = keys::Secret::new("test-secret-key-that-is-forty-chars-long");
                let key = SigningKey::derive(&secret, &date[..8], "us-east-1");
                let seed = hex32(seed.as_bytes()).unwrap();
                let chain = Box::new(ChunkVerifier::new(key, date.as_bytes(), "us-east-1", seed));
                PayloadMode::SignedChunks { chain, trailer: !self.trailer.is_empty() }
            }
        };
        decoder_of(mode, &head).unwrap()
    }
}

/// minio-go ends the trailers of an unsigned body with LF and two CR LF. The first empty line was taken for the end of
/// the body and the second for surplus, so minio-go could upload nothing over TLS.
#[test]
fn the_framing_of_each_sdk_decodes_however_it_is_split() {
    for recorded in RECORDED {
        let Recorded { sdk, trailer, content, body, .. } = recorded;
        let bytes = body.as_bytes();
        let whole = decode(&mut recorded.decoder(), &[bytes]);
        assert_eq!(whole.map_err(|e| e.to_string()), Ok((content.as_bytes().to_vec(), 0)), "{sdk}");
        let each: Vec<&[u8]> = bytes.chunks(1).collect();
        let mut decoder = recorded.decoder();
        assert_eq!(decode(&mut decoder, &each).unwrap(), (content.as_bytes().to_vec(), 0), "{sdk}");
        assert_eq!(decoder.trailers().map(|(name, _)| name).collect::<String>(), *trailer, "{sdk}");
        // Bytes after the end are not consumed, whatever they look like.
        for behind in ["\r\n", "\n", "x-amz-checksum-crc32:AAAAAA==\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"] {
            let longer = [bytes, behind.as_bytes()].concat();
            assert_eq!(decode(&mut recorded.decoder(), &[&longer]).unwrap().1, behind.len(), "{sdk}");
        }
        // Nothing may be missing at the end either, except the last empty line if there are no trailers.
        for end in 0..bytes.len() - if trailer.is_empty() { 2 } else { 0 } {
            assert!(decode(&mut recorded.decoder(), &[&bytes[..end]]).is_err(), "{sdk} up to {end}");
        }
    }
}

#[test]
fn unsigned_chunks_with_a_trailer_decode() {
    let mut decoder = unsigned("5", "x-amz-checksum-crc32").unwrap();
    let body = b"3\r\nhel\r\n2\r\nlo\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n";
    assert_eq!(decode(&mut decoder, &[body]).unwrap(), (b"hello".to_vec(), 0));
    assert_eq!(decoder.trailers().next(), Some(("x-amz-checksum-crc32", "NhCmhg==")));
    assert!(decode(&mut unsigned("0", "").unwrap(), &[b"0\r\n\r\n"]).is_ok());
}

#[test]
fn malformed_unsigned_bodies_are_refused() {
    for (body, code) in [
        (&b"3\r\nhelX\r\n"[..], Code::InvalidRequest),
        (b"3;chunk-signature=1\r\nhel\r\n", Code::InvalidRequest),
        (b"z\r\n", Code::InvalidRequest),
        (b"3\nhel", Code::InvalidRequest),
        (b"4\r\nhell\r\n", Code::IncompleteBody),
        (b"0\r\n\r\n", Code::IncompleteBody),
        (b"3\r\nhel\r\n0\r\n\r\n", Code::MalformedTrailerError),
        (b"3\r\nhel\r\n0\r\nx-amz-checksum-sha1:x\r\n\r\n", Code::MalformedTrailerError),
        (b"3\r\nhel\r\n0\r\na:b\r\na:b\r\n\r\n", Code::MalformedTrailerError),
        (b"3\r\nhel\r\n0\r\na\r\n\r\n", Code::MalformedTrailerError),
        (b"3\r\nhel\r\n0\r\na:b\r\n", Code::IncompleteBody),
        // Only a trailer may end in LF; the CR LF after it is not the end.
        (b"3\r\nhel\r\n0\r\na:b\n\r\n", Code::IncompleteBody),
        (b"3\r\nhel\r\n0\r\na:b\n\n", Code::InvalidRequest),
        (b"3\r\nhel\r\n0\r\na:b\r\n\n", Code::InvalidRequest),
        (b"3\r\nhel\r\n0\n\r\n", Code::InvalidRequest),
        (b"3\r\nhel\n0\r\n\r\n", Code::InvalidRequest),
        (b"3\r\nhel", Code::IncompleteBody),
        (b"", Code::IncompleteBody),
    ] {
        let result = decode(&mut unsigned("3", "A").unwrap(), &[body]);
        assert_eq!(result.unwrap_err().code(), code, "{:?}", body.escape_ascii().to_string());
    }
    assert_eq!(unsigned("x", "").unwrap_err().code(), Code::InvalidArgument);
    let missing = decoder_of(PayloadMode::UnsignedTrailer, &head("PUT / HTTP/1.1\r\nHost: h"));
    assert_eq!(missing.map(|_| ()).unwrap_err().code(), Code::MissingContentLength);
    let endless = [b"3\r\nhel\r\n0\r\na:".as_slice(), &[b'x'; 20_000]].concat();
    assert!(decode(&mut unsigned("3", "A").unwrap(), &[&endless]).is_err());
}

#[test]
fn content_is_not_trusted_before_all_chunks_are_verified() {
    let mut decoder = signed(false);
    let body = [example_body(PLAIN), b"\r\n".to_vec()].concat();
    let mut at = 0;
    loop {
        let step = decoder.feed(&body[at..], usize::MAX).unwrap();
        at += step.consumed(body.len() - at);
        if matches!(step, Step::Done(_)) {
            break;
        }
    }
    assert_eq!(decoder.pending(), 3);
    decoder.finish().unwrap();
    assert_eq!(decoder.verify_end().unwrap_err().code(), Code::InternalError);
    for data in [&[b'a'; 65536][..], &[b'a'; 1024], b""] {
        decoder.verify_chunk(&Sha256::digest(data).into()).unwrap();
    }
    decoder.verify_end().unwrap();
}

proptest! {
    #[test]
    fn any_split_gives_the_same_content(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..6),
        cuts in proptest::collection::vec(1usize..20, 1..60),
    ) {
        let mut body = Vec::new();
        for chunk in &chunks {
            body.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
            body.extend_from_slice(chunk);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"0\r\nA: b\r\n\r\n");
        let mut pieces = Vec::new();
        let mut rest = body.as_slice();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() { break; }
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        let content = chunks.concat();
        let mut decoder = unsigned(&content.len().to_string(), "a").unwrap();
        prop_assert_eq!(decode(&mut decoder, &pieces).unwrap(), (content, 0));
        prop_assert_eq!(decoder.trailers().next(), Some(("a", "b")));
    }

    #[test]
    fn no_input_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), digit in 0u8..10) {
        let _ = decode(&mut unsigned("30", "a").unwrap(), &[&bytes]);
        let _ = decode(&mut unsigned("30", "a").unwrap(), &[format!("{digit}\r\n").as_bytes(), &bytes]);
        let _ = decode(&mut signed(false), &[&bytes]);
    }
}
