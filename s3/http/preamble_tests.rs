use super::*;
use proptest::prelude::*;

fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u16).to_be_bytes();
    [SIGNATURE_2, &[command, family], &length, body].concat()
}

fn tcp4(extensions: &[u8]) -> Vec<u8> {
    binary(0x21, 0x11, &[&[192, 0, 2, 1, 198, 51, 100, 7, 0xc3, 0x50, 0x01, 0xbb], extensions].concat())
}

fn client(text: &str) -> Option<SocketAddr> {
    Some(text.parse().unwrap())
}

#[test]
fn both_versions_name_the_client() {
    let line = b"PROXY TCP4 192.0.2.1 198.51.100.7 50000 443\r\nGET / HTTP/1.1\r\n";
    assert_eq!(parse(line), Ok(Preamble::Header(45, client("192.0.2.1:50000"))));
    let line = b"PROXY TCP6 2001:db8::1 ::1 1 0\r\n";
    assert_eq!(parse(line), Ok(Preamble::Header(line.len(), client("[2001:db8::1]:1"))));
    let header = tcp4(b"");
    assert_eq!(parse(&header), Ok(Preamble::Header(28, client("192.0.2.1:50000"))));
    let mut body = [0; 36];
    (body[15], body[33]) = (1, 80);
    assert_eq!(parse(&binary(0x21, 0x21, &body)), Ok(Preamble::Header(52, client("[::1]:80"))));
}

#[test]
fn a_proxy_that_speaks_for_itself_or_for_no_address_names_no_client() {
    for line in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN ffff:: ffff:: 1 2\r\n"] {
        assert_eq!(parse(line.as_bytes()), Ok(Preamble::Header(line.len(), None)));
    }
    for (command, family, body) in [
        (0x20, 0x00, &b""[..]),
        (0x20, 0x11, &[9; 12]),
        (0x20, 0x00, b"rubbish"),
        (0x20, 0x77, b"rubbish"),
        (0x21, 0x00, b""),
        (0x21, 0x31, &[7; 216]),
    ] {
        let header = binary(command, family, body);
        assert_eq!(parse(&header), Ok(Preamble::Header(header.len(), None)), "{command:x} {family:x}");
    }
}

#[test]
fn requests_and_handshakes_are_not_headers() {
    for bytes in ["GET / HTTP/1.1\r\n", "PUT /b/k HTTP/1.1", "PROPFIND ", "\r\nGET /", "\x16\x03\x01", "PX"] {
        assert_eq!(parse(bytes.as_bytes()), Ok(Preamble::Absent), "{bytes:?}");
    }
    for bytes in ["", "P", "PROXY", "PROXY ", "PROXY TCP4 1.2.3.4", "\r", "\r\n\r\n\0\r\nQUIT\n", "\r\n"] {
        assert_eq!(parse(bytes.as_bytes()), Ok(Preamble::Partial), "{bytes:?}");
    }
}

#[test]
fn lines_that_two_parsers_could_understand_differently_are_malformed() {
    for line in [
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
        "PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
        "PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 there 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY UNKNOWN \r\r\n",
        "PROXY \r\n",
    ] {
        assert_eq!(parse(line.as_bytes()), Err(Malformed), "{line:?}");
    }
    let endless = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; LINE_BYTES_MAX]].concat();
    assert_eq!(parse(&endless), Err(Malformed));
    assert_eq!(parse(&endless[..LINE_BYTES_MAX - 1]), Ok(Preamble::Partial));
}

#[test]
fn binary_headers_that_deviate_from_the_specification_are_malformed() {
    let long = [0; PREAMBLE_BYTES_MAX];
    for (command, family, body) in [
        (0x11, 0x11, &[0; 12][..]),
        (0x22, 0x11, &[0; 12]),
        (0x21, 0x12, &[0; 12]),
        (0x21, 0x41, &[0; 12]),
        (0x21, 0x11, &[0; 11]),
        (0x21, 0x21, &[0; 35]),
        (0x21, 0x11, &long),
        (0x20, 0x00, &long),
    ] {
        assert_eq!(parse(&binary(command, family, body)), Err(Malformed), "{command:x} {family:x}");
    }
    // The length field alone is enough to refuse a header, before the rest arrives.
    assert_eq!(parse(&binary(0x21, 0x11, &long)[..FIXED_BYTES]), Err(Malformed));
}

#[test]
fn extensions_must_fill_their_space_and_a_checksum_must_match() {
    let plain = tcp4(&[0x04, 0, 2, 0, 0, 0xea, 0, 1, 7]);
    assert_eq!(parse(&plain), Ok(Preamble::Header(plain.len(), client("192.0.2.1:50000"))));
    for cut in [&[0x04][..], &[0x04, 0], &[0x04, 0, 2, 0], &[0x04, 0, 0, 9]] {
        assert_eq!(parse(&tcp4(cut)), Err(Malformed), "{cut:?}");
    }
    let mut header = tcp4(&[0x04, 0, 1, 0, CHECKSUM, 0, 4, 0, 0, 0, 0]);
    let checksum = Checksum::of(ChecksumAlgorithm::Crc32c, &header);
    let at = header.len() - 4;
    header[at..].copy_from_slice(checksum.as_bytes());
    assert!(matches!(parse(&header), Ok(Preamble::Header(_, Some(_)))));
    header[at] ^= 1;
    assert_eq!(parse(&header), Err(Malformed));
}

proptest! {
    #[test]
    fn the_meaning_of_a_header_does_not_depend_on_how_it_is_split(
        header in prop_oneof![
            Just(tcp4(b"")),
            Just(b"PROXY TCP4 192.0.2.1 198.51.100.7 50000 443\r\n".to_vec()),
            prop::collection::vec(any::<u8>(), 0..40),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(|body| binary(0x21, 0x11, &body)),
        ],
        after in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let whole = [header, after].concat();
        let last = parse(&whole);
        let first = (0..=whole.len()).map(|end| parse(&whole[..end])).find(|read| *read != Ok(Preamble::Partial));
        prop_assert_eq!(first.unwrap_or(Ok(Preamble::Partial)), last);
        if let Ok(Preamble::Header(length, _)) = last {
            prop_assert!(length <= whole.len() && length <= PREAMBLE_BYTES_MAX);
        }
    }
}
