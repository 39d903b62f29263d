use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> Result<RequestHead, S3Error> {
    let mut head = RequestHead::new();
    let used = head.parse(text.as_bytes())?.expect("the head is complete");
    assert_eq!(used, text.find("\r\n\r\n").unwrap() + 4);
    Ok(head)
}

fn refused(headers: &str) -> Code {
    match parse(&format!("PUT /b/k HTTP/1.1\r\nHost: h\r\n{headers}\r\n")) {
        Ok(_) => panic!("accepted: {headers:?}"),
        Err(error) => error.code(),
    }
}

#[test]
fn a_head_is_split_into_its_parts() {
    let head = parse(
        "PUT /b/a%20b?partNumber=1&x HTTP/1.1\r\nHost: h:9000\r\nContent-Length: 12\r\n\
         Expect: 100-Continue\r\nX-Amz-Meta-A:  v 1 \r\nx-amz-meta-a: v2\r\nEmpty:\r\n\r\nbody",
    )
    .unwrap();
    assert_eq!((head.method(), head.method_text()), (Method::Put, &b"PUT"[..]));
    assert_eq!((head.path(), head.query().raw()), (&b"/b/a%20b"[..], &b"partNumber=1&x"[..]));
    assert_eq!(head.host(), b"h:9000");
    assert_eq!(head.content_length(), Some(12));
    assert!(head.expect_continue() && head.keep_alive() && !head.is_chunked());
    assert_eq!(head.header_all("X-AMZ-META-A").collect::<Vec<_>>(), [&b"v 1"[..], b"v2"]);
    assert_eq!((head.header("empty"), head.header("none")), (Some(&b""[..]), None));
    assert_eq!(head.headers().count(), 6);
}

#[test]
fn an_absolute_target_names_the_host_that_the_header_names() {
    let head = parse("GET http://b.example:80/k?x=1 HTTP/1.1\r\nHost: B.example:80\r\n\r\n").unwrap();
    assert_eq!(
        (head.host(), head.path(), head.query().raw()),
        (&b"B.example:80"[..], &b"/k"[..], &b"x=1"[..])
    );
    let head = parse("GET http://b.example HTTP/1.1\r\nHost: b.example\r\n\r\n").unwrap();
    assert_eq!(head.path(), b"");
    let head = parse("GET http://b.example/k HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(head.host(), b"b.example");
    assert_eq!(parse("GET ftp://x/ HTTP/1.1\r\nHost: h\r\n\r\n").unwrap_err().code(), Code::InvalidURI);
    assert_eq!(parse("GET k HTTP/1.1\r\nHost: h\r\n\r\n").unwrap_err().code(), Code::InvalidURI);
}

/// A presigned URL for `http://one.example/k` was also valid for `/k` in the bucket `two`: if it was sent with the
/// absolute target `http://two.example/k`, the signature was checked against the Host header, but the bucket was taken
/// from the target.
#[test]
fn an_absolute_target_of_another_host_is_refused() {
    for (authority, host) in [
        ("two.example", "one.example"),
        ("one.example:80", "one.example"),
        ("one.example@two.example", "one.example"),
        ("one.example", ""),
    ] {
        let request = format!("GET http://{authority}/k HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(parse(&request).unwrap_err().code(), Code::BadRequest, "{request}");
        let request = request.replace("HTTP/1.1", "HTTP/1.0");
        assert_eq!(parse(&request).unwrap_err().code(), Code::BadRequest, "{request}");
    }
}

#[test]
fn connections_stay_open_as_the_version_and_header_say() {
    let keep = |line: &str, headers: &str| {
        parse(&format!("GET / {line}\r\nHost: h\r\n{headers}\r\n")).unwrap().keep_alive()
    };
    assert!(keep("HTTP/1.1", ""));
    assert!(!keep("HTTP/1.1", "Connection: x, Close\r\n"));
    assert!(!keep("HTTP/1.0", ""));
    assert!(keep("HTTP/1.0", "Connection: Keep-Alive\r\n"));
}

#[test]
fn anything_that_could_smuggle_a_request_is_refused() {
    for headers in [
        "Content-Length: 1\r\nContent-Length: 1\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: 1, 1\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: 0x1\r\n",
        "Content-Length:\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 1 1\r\n",
        "Content-Length: 1_0\r\n",
        "Content-Length: \u{661}\r\n",
        "Content-Length : 1\r\n",
        "Content-Length\t: 1\r\n",
        "Content\0-Length: 1\r\n",
        "Transfer-Encoding : chunked\r\n",
        "A: b\r\n folded\r\n",
        "A: b\r\n\tfolded\r\n",
        "A:\r\n b\r\n",
        " A: b\r\n",
        "A: b\nC: d\r\n",
        "A: b\rC: d\r\n",
        "A: b\r\r\n",
        "A: b\n\r\n",
        "A: b\x01\r\n",
        "A: b\x7f\r\n",
        "A\r\n: b\r\n",
        "A(b): c\r\n",
        "A: b\0\r\n",
        "Host: other\r\n",
        "no colon\r\n",
        ": no name\r\n",
    ] {
        assert_eq!(refused(headers), Code::BadRequest, "{headers:?}");
    }
}

#[test]
fn heads_that_are_not_http_1_are_refused_at_once() {
    let code = |bytes: &[u8]| RequestHead::new().parse(bytes).unwrap_err().code();
    assert_eq!(code(b"\x16\x03\x01"), Code::BadRequest);
    assert_eq!(code(b"GET / HTTP/1.1\n"), Code::BadRequest);
    assert_eq!(code(b"GET / HTTP/1.1\r\n\r\n"), Code::BadRequest);
    assert_eq!(code(b"PRI * HTTP/2.0\r\n\r\n"), Code::HttpVersionNotSupported);
    assert_eq!(code(b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n"), Code::HttpVersionNotSupported);
    for line in
        ["GET  / HTTP/1.1", "GET\t/ HTTP/1.1", "GET /\0 HTTP/1.1", "GET /\x01 HTTP/1.1", "GET / HTTP/1.1 "]
    {
        assert!(parse(&format!("{line}\r\nHost: h\r\n\r\n")).is_err(), "{line:?}");
    }
}

#[test]
fn only_a_few_complete_empty_lines_may_precede_a_request() {
    let rest = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    for (lead, good) in [
        ("\r\n", true),
        ("\r\n\r\n\r\n\r\n", true),
        ("\r\n\r\n\r\n\r\n\r\n", false),
        ("\n", false),
        ("\r", false),
    ] {
        let text = format!("{lead}{rest}");
        assert_eq!(RequestHead::new().parse(text.as_bytes()).is_ok(), good, "{lead:?}");
    }
    for half in [&b"\r"[..], b"\r\n\r"] {
        assert_eq!(RequestHead::new().parse(half).unwrap(), None);
    }
}

#[test]
fn heads_are_limited_in_bytes_and_headers() {
    let mut text = String::from("GET / HTTP/1.1\r\nHost: h\r\n");
    for _ in 0..HEADERS_MAX {
        text.push_str("a: b\r\n");
    }
    text.push_str("\r\n");
    assert_eq!(parse(&text).unwrap_err().code(), Code::RequestHeaderSectionTooLarge);

    let mut head = RequestHead::new();
    let long = [b"GET /".as_slice(), &vec![b'a'; HEAD_BYTES_MAX]].concat();
    assert_eq!(head.parse(&long[..HEAD_BYTES_MAX - 1]).unwrap(), None);
    assert_eq!(head.parse(&long).unwrap_err().code(), Code::RequestHeaderSectionTooLarge);
}

#[test]
fn the_memory_of_a_usual_head_is_kept_and_that_of_a_long_one_freed() {
    for (filler, kept) in [(100, true), (50_000, false)] {
        let text = format!("GET / HTTP/1.1\r\nHost: h\r\nx: {}\r\n\r\n", "y".repeat(filler));
        let mut head = parse(&text).unwrap();
        head.trim();
        assert_eq!(head.bytes.capacity() > 0, kept);
        assert!(head.parse(text.as_bytes()).unwrap().is_some(), "it goes on being of use");
    }
}

#[test]
fn pipelined_heads_parse_one_after_the_other_into_the_same_memory() {
    let input =
        b"\r\nGET /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nHEAD /2 HTTP/1.1\r\nHost: b\r\n\r\n";
    let mut head = RequestHead::new();
    let used = head.parse(input).unwrap().unwrap();
    assert_eq!((head.path(), head.host()), (&b"/1"[..], &b"a"[..]));
    assert_eq!(head.parse(&input[used..]).unwrap(), Some(input.len() - used));
    assert_eq!((head.method(), head.path(), head.content_length()), (Method::Head, &b"/2"[..], None));
}

proptest! {
    #[test]
    fn a_head_that_arrives_byte_by_byte_is_the_same(cuts in proptest::collection::vec(1usize..30, 1..30)) {
        let text = b"GET /bucket/key?versions HTTP/1.1\r\nHost: h\r\nX-Amz-Date: 20130524T000000Z\r\n\r\n";
        let mut head = RequestHead::new();
        let mut got = 0;
        for cut in cuts.iter().cycle() {
            got = (got + cut).min(text.len());
            let parsed = head.parse(&text[..got]).unwrap();
            prop_assert_eq!(parsed.is_some(), got == text.len());
            if parsed.is_some() { break; }
        }
        prop_assert_eq!(head.header("x-amz-date"), Some(&b"20130524T000000Z"[..]));
        prop_assert_eq!(head.query().raw(), b"versions");
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut text = b"GET / HTTP/1.1\r\n".to_vec();
        text.extend_from_slice(&bytes);
        text.extend_from_slice(b"\r\n\r\n");
        let _ = RequestHead::new().parse(&text);
        let _ = RequestHead::new().parse(&bytes);
    }
}

#[test]
fn a_header_is_found_in_any_case_and_among_many_others() {
    let names: Vec<String> =
        (1..=60).map(|len| "x".repeat(len)).chain((0..30).map(|n| format!("h{n}"))).collect();
    let lines: String = names.iter().map(|name| format!("{name}: {name}\r\n")).collect();
    let mut head = RequestHead::new();
    head.parse(format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n").as_bytes()).unwrap().unwrap();
    for name in &names {
        assert_eq!(head.header(&name.to_uppercase()), Some(name.as_bytes()));
        assert_eq!(head.header_all(name).count(), 1);
        assert_eq!(head.header(&format!("{name}-")), None);
    }
    // Nothing of the previous head is left.
    head.parse(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap().unwrap();
    assert!(names.iter().all(|name| head.header(name).is_none()));
}

/// A presigned URL whose query contained `x-amz-meta-*`, `x-amz-acl` or `x-amz-copy-source` was accepted, but these
/// parameters were dropped. The SDKs for JavaScript and Java and boto3's version 2 put headers there.
#[test]
fn headers_in_a_presigned_query_count_as_sent() {
    let presigned = |query: &str, headers: &str| {
        parse(&format!("PUT /b/k?X-Amz-Signature=0&{query} HTTP/1.1\r\nHost: h\r\n{headers}\r\n"))
    };
    let head = presigned("x-amz-meta-a=x%20y&X-Amz-Acl=private&X-Amz-Date=d&other=1", "").unwrap();
    assert_eq!(head.header("x-amz-meta-a"), Some(&b"x y"[..]));
    assert_eq!(head.header("x-amz-acl"), Some(&b"private"[..]));
    assert_eq!((head.header("x-amz-date"), head.header("other")), (None, None));
    assert_eq!((head.headers().count(), head.sent_headers().count()), (3, 1));
    assert_eq!(head.sent_header_all("x-amz-acl").count(), 0);
    assert_eq!(presigned("x-amz-acl=private", "x-amz-acl: private\r\n").unwrap().headers().count(), 2);

    let refused = |query: &str, headers: &str| presigned(query, headers).unwrap_err().code();
    assert_eq!(refused("x-amz-acl=private", "x-amz-acl: public-read\r\n"), Code::InvalidArgument);
    assert_eq!(refused("x-amz-acl=private&x-amz-acl=public-read", ""), Code::InvalidArgument);
    assert_eq!(refused("x-amz-meta-%0d%0aa=1", ""), Code::InvalidArgument);
    let many: String = (0..HEADERS_MAX).map(|n| format!("&x-amz-meta-{n}=1")).collect();
    assert_eq!(refused(&many, ""), Code::RequestHeaderSectionTooLarge);

    let plain = parse("PUT /b/k?x-amz-acl=public-read HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert_eq!(plain.header("x-amz-acl"), None);
    let v2 =
        "PUT /b/k?AWSAccessKeyId=a&Signature=s&x-amz-meta-a=1&content-type=t&x=1 HTTP/1.1\r\nHost: h\r\n\r\n";
    let v2 = parse(v2).unwrap();
    assert_eq!((v2.header("x-amz-meta-a"), v2.header("content-type")), (Some(&b"1"[..]), Some(&b"t"[..])));
}
