//! The published examples for version 4 from AWS, and one refusal for each way to be wrong.

use super::keys::Secret;
use super::*;

pub(crate) const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
/// 2013-05-24T00:00:00Z, when the examples were signed.
pub(crate) const THEN: u64 = 1_369_353_600;
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const CREDENTIAL: &str = "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request";

pub(crate) fn verifier() -> Verifier {
    Verifier::new("us-east-1", Credentials::single(KEY, Secret::new(SECRET)))
}

pub(crate) fn head(request: &str) -> RequestHead {
    let mut head = RequestHead::new();
    head.parse(format!("{request}\r\n\r\n").as_bytes()).unwrap().unwrap();
    head
}

fn verify(request: &str) -> Result<Verified, S3Error> {
    verifier().verify(&head(request), None, THEN)
}

fn code(request: &str) -> Code {
    verify(request).map(|_| ()).unwrap_err().code()
}

fn get(target: &str, extra: &str, signed: &str, signature: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: examplebucket.s3.amazonaws.com\r\n{extra}x-amz-content-sha256: {EMPTY}\r\n\
         x-amz-date: 20130524T000000Z\r\n\
         Authorization: AWS4-HMAC-SHA256 {CREDENTIAL},SignedHeaders={signed},Signature={signature}"
    )
}

fn example_get() -> String {
    get(
        "/test.txt",
        "Range: bytes=0-9\r\n",
        "host;range;x-amz-content-sha256;x-amz-date",
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    )
}

const PRESIGNED: &str = "GET /test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F\
    20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
    &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404 HTTP/1.1\r\n\
    Host: examplebucket.s3.amazonaws.com";

#[test]
fn awss_examples_of_get_requests_verify() {
    let verified = verify(&example_get()).unwrap();
    assert_eq!(verified.principal, Principal::Root(KEY.into()));
    assert!(matches!(verified.payload, PayloadMode::Signed(hash) if hex::encode(hash) == EMPTY));
    let plain = "host;x-amz-content-sha256;x-amz-date";
    verify(&get(
        "/?lifecycle",
        "",
        plain,
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    ))
    .unwrap();
    let list = "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7";
    verify(&get("/?max-keys=2&prefix=J", "", plain, list)).unwrap();
    // The server sorts and encodes.
    verify(&get("/?prefix=%4a&max-keys=2", "", plain, list)).unwrap();
}

#[test]
fn awss_example_of_a_put_verifies() {
    let put = |path: &str| {
        format!(
            "PUT {path} HTTP/1.1\r\nHost: examplebucket.s3.amazonaws.com\r\nDate: Fri, 24 May 2013 00:00:00 GMT\r\n\
             x-amz-date: 20130524T000000Z\r\nx-amz-storage-class: REDUCED_REDUNDANCY\r\n\
             x-amz-content-sha256: 44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072\r\n\
             Authorization: AWS4-HMAC-SHA256 {CREDENTIAL},\
             SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class,\
             Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        )
    };
    verify(&put("/test%24file.text")).unwrap();
    verify(&put("/test$file.text")).unwrap();
    assert_eq!(code(&put("/test$file.texu")), Code::SignatureDoesNotMatch);
}

#[test]
fn awss_example_of_a_presigned_url_verifies_until_it_expires() {
    let at =
        |now| verifier().verify(&head(PRESIGNED), None, now).map(|_| ()).map_err(|e| e.message().to_owned());
    assert!(matches!(verify(PRESIGNED).unwrap().payload, PayloadMode::Unsigned));
    assert_eq!(at(THEN + 86_400), Ok(()));
    assert_eq!(at(THEN + 86_401), Err("Request has expired".into()));
    assert_eq!(at(THEN - SKEW_SECONDS_MAX), Ok(()));
    assert_eq!(at(THEN - SKEW_SECONDS_MAX - 1), Err("Request is not valid yet".into()));
}

#[test]
fn a_presigned_url_with_wrong_parameters_is_refused() {
    let with = |from: &str, to: &str| code(&PRESIGNED.replace(from, to));
    let malformed = Code::AuthorizationQueryParametersError;
    for (from, to) in [
        ("Expires=86400", "Expires=0"),
        ("Expires=86400", "Expires=604801"),
        ("Expires=86400", "Expires=99999999999999999999999"),
        ("Expires=86400", "Expires=-1"),
        ("Expires=86400", "Expires="),
        ("X-Amz-Expires=86400&", ""),
        ("X-Amz-Algorithm=AWS4-HMAC-SHA256", "X-Amz-Algorithm=AWS4-HMAC-SHA1"),
        ("Date=20130524T000000Z", "Date=20130524"),
        ("%2Fus-east-1", "%2Feu-west-1"),
        ("%2F20130524%2F", "%2F20130525%2F"),
        ("%2Faws4_request", ""),
    ] {
        assert_eq!(with(from, to), malformed, "{to}");
    }
    assert_eq!(with("Expires=86400", "Expires=86401"), Code::SignatureDoesNotMatch);
    assert_eq!(with("/test.txt", "/test.txu"), Code::SignatureDoesNotMatch);
    assert_eq!(with("404 HTTP", "405 HTTP"), Code::SignatureDoesNotMatch);
    assert_eq!(with("404 HTTP", " HTTP"), Code::SignatureDoesNotMatch);
    assert_eq!(with("SignedHeaders=host", "SignedHeaders=date"), Code::AccessDenied);
    assert_eq!(with("AKIAIOSFODNN7", "AKIAIOSFODNN8"), Code::InvalidAccessKeyId);
    assert_eq!(with("\r\nHost", "\r\nx-amz-acl: private\r\nHost"), Code::AccessDenied);
    assert_eq!(with("\r\nHost", "\r\nAuthorization: AWS4-HMAC-SHA256 x\r\nHost"), Code::InvalidArgument);
    assert_eq!(with("&X-Amz-Date", "&X-Amz-Security-Token=x&X-Amz-Date"), Code::NotImplemented);
}

#[test]
fn a_header_with_a_wrong_claim_is_refused() {
    let with = |from: &str, to: &str| code(&example_get().replace(from, to));
    let malformed = Code::AuthorizationHeaderMalformed;
    assert_eq!(with("/20130524/", "/20130525/"), malformed);
    assert_eq!(with("/s3/", "/ec2/"), malformed);
    assert_eq!(with("/aws4_request", "/aws5_request"), malformed);
    assert_eq!(with("Signature=f0", "Sig=f0"), malformed);
    assert_eq!(with("Signature=f0", "f0"), malformed);
    assert_eq!(with("Signature=f0", "Signature=f1"), Code::SignatureDoesNotMatch);
    assert_eq!(with("Signature=f0", "Signature="), Code::SignatureDoesNotMatch);
    assert_eq!(with("bytes=0-9", "bytes=0-8"), Code::SignatureDoesNotMatch);
    assert_eq!(with("GET /", "HEAD /"), Code::SignatureDoesNotMatch);
    assert_eq!(with("AKIAIOSFODNN7", "AKIAIOSFODNN8"), Code::InvalidAccessKeyId);
    assert_eq!(with("host;range", "range"), Code::AccessDenied);
    assert_eq!(with("host;range", "host;range;Range"), Code::AccessDenied);
    assert_eq!(with("host;range", "host;;;range"), Code::AccessDenied);
    assert_eq!(with("Range:", "x-amz-meta-a: b\r\nRange:"), Code::AccessDenied);
    assert_eq!(with("x-amz-date:", "x-other:"), Code::AccessDenied);
    assert_eq!(with("x-amz-content-sha256:", "x-other:"), Code::InvalidRequest);
    assert_eq!(with(EMPTY, "abc"), Code::InvalidArgument);
    assert_eq!(with(EMPTY, "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"), Code::NotImplemented);
    assert_eq!(with("Range:", "x-amz-security-token: b\r\nRange:"), Code::NotImplemented);
}

#[test]
fn a_request_without_a_signature_is_anonymous() {
    let unsigned = example_get().replace("Authorization: AWS4-HMAC-SHA256", "x: ");
    assert_eq!(verify(&unsigned).unwrap().principal, Principal::Anonymous);
}

/// A header whose whole name is the prefix was not treated as one that must be signed. A changed bit could turn the
/// signed, empty `x-amz-acl: ` into `x-amz-:cl: `, and the signature still held. Found by the fuzz target
/// `sigv4_header`.
#[test]
fn a_header_named_by_the_prefix_alone_must_be_signed_too() {
    let request = example_get().replace("Range:", "X-Amz-: b\r\nRange:");
    assert_eq!(code(&request), Code::AccessDenied);
}

#[test]
fn the_refusal_of_a_wrong_region_names_the_right_one() {
    let error = verify(&example_get().replace("us-east-1", "eu-west-1")).map(|_| ()).unwrap_err();
    assert_eq!(
        (error.code(), error.field_value("Region")),
        (Code::AuthorizationHeaderMalformed, Some("us-east-1"))
    );
    assert!(error.message().contains("expecting 'us-east-1'"));
}

#[test]
fn the_refusal_of_a_version_2_header_names_the_algorithm_to_use() {
    let request =
        "GET / HTTP/1.1\r\nHost: h\r\nAuthorization: AWS AKIAIOSFODNN7EXAMPLE:frJIUN8DYpKDtOLCwo//yllqDzg=";
    let error = verify(request).map(|_| ()).unwrap_err();
    assert_eq!(error.code(), Code::InvalidRequest);
    assert!(error.message().contains("AWS4-HMAC-SHA256"));
}

#[test]
fn requests_outside_the_allowed_skew_are_refused() {
    for (now, good) in [(THEN + 900, true), (THEN - 900, true), (THEN + 901, false), (THEN - 901, false)] {
        let result = verifier().verify(&head(&example_get()), None, now).map(|_| ()).map_err(|e| e.code());
        assert_eq!(result, if good { Ok(()) } else { Err(Code::RequestTimeTooSkewed) });
    }
}

#[test]
fn header_values_are_trimmed_joined_and_collapsed() {
    let mut out = Vec::new();
    let head = head(
        "GET /a%2Fb//../c d?b=2&a-b=1&a=%2f&a HTTP/1.1\r\nHost: h\r\nX:  a   b \r\nx: c"
            .replace("c d", "c+d")
            .as_str(),
    );
    canonical::request(&head, b"host;x", b"UNSIGNED-PAYLOAD", false, &mut out);
    let want = "GET\n/a/b//../c%2Bd\na=&a=%2F&a-b=1&b=2\nhost:h\nx:a b,c\n\nhost;x\nUNSIGNED-PAYLOAD";
    assert_eq!(String::from_utf8(out).unwrap(), want);
}

#[test]
fn signing_keys_are_cached_and_limited_in_number() {
    let mut keys = SigningKeys::default();
    let (key, secret): (Arc<str>, _) = (Arc::from(KEY), Secret::new(SECRET));
    for day in 0..SigningKeys::MAX * 2 {
        keys.get(&key, &secret, &day.to_string(), "r");
    }
    let text = |key: SigningKey| hmac::Mac::finalize(key.mac()).into_bytes();
    assert_eq!(text(keys.get(&key, &secret, "100", "r")), text(SigningKey::derive(&secret, "100", "r")));
    assert!(!format!("{:?}", verifier()).contains("bPxRfi"));
}

#[test]
fn a_verifier_uses_the_current_credentials() {
    let credentials = Credentials::single(KEY, Secret::new(SECRET));
    let mut verifier = Verifier::new("us-east-1", credentials.clone());
    let mut ask = || verifier.verify(&head(&example_get()), None, THEN).map(|_| ()).map_err(|e| e.code());
    assert_eq!(ask(), Ok(()));
    credentials.replace([(KEY.to_owned(), Secret::new("another-secret"))]);
    assert_eq!(ask(), Err(Code::SignatureDoesNotMatch), "the old secret signs no more");
    credentials.replace([]);
    assert_eq!(ask(), Err(Code::InvalidAccessKeyId));
    credentials.replace([(KEY.to_owned(), Secret::new(SECRET)), ("OTHER".to_owned(), Secret::new("s"))]);
    assert_eq!(ask(), Ok(()));
}

#[test]
fn presigned_urls_of_version_2_verify_and_expire() {
    // AWS's example of query string authentication, with a resource in the bucket that its host names.
    let known = Credentials::single(KEY, Secret::new(SECRET)).snapshot().table;
    let url = "GET /photos/puppy.jpg?AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D\
        &Expires=1175139620 HTTP/1.1\r\nHost: johnsmith.s3.amazonaws.com";
    let at = |url: &str, bucket, now| {
        crate::sigv2::verify(&head(url), bucket, &known, now).map(|k| k.to_string()).map_err(|e| e.code())
    };
    assert_eq!(at(url, Some("johnsmith"), 1_175_139_620), Ok(KEY.into()));
    assert_eq!(at(url, Some("johnsmith"), 1_175_139_621), Err(Code::AccessDenied));
    assert_eq!(at(url, Some("other"), 0), Err(Code::SignatureDoesNotMatch));
    assert_eq!(at(&url.replace("?AWS", "?acl&AWS"), Some("johnsmith"), 0), Err(Code::SignatureDoesNotMatch));
    assert_eq!(at(&url.replace("Npg", "Mpg"), Some("johnsmith"), 0), Err(Code::SignatureDoesNotMatch));
    assert_eq!(at(&url.replace("NN7", "NN8"), Some("johnsmith"), 0), Err(Code::InvalidAccessKeyId));
    assert_eq!(at(&url.replace("&Expires=1", "&Expires=x"), Some("johnsmith"), 0), Err(Code::AccessDenied));
    assert!(verifier().verify(&head(url), Some("johnsmith"), 0).is_ok());
    // A parameter that would select another operation must be signed or is refused; one that selects nothing is
    // ignored.
    for name in crate::route::selecting_parameters() {
        let code = at(&url.replace("?AWS", &format!("?{name}&AWS")), Some("johnsmith"), 0).unwrap_err();
        assert!(matches!(code, Code::SignatureDoesNotMatch | Code::AccessDenied), "{name}: {code:?}");
    }
    assert_eq!(at(&url.replace("?AWS", "?x-id=GetObject&AWS"), Some("johnsmith"), 0), Ok(KEY.into()));
}

#[test]
fn only_hexadecimal_digits_are_accepted_in_either_case() {
    let bytes: [u8; 32] = std::array::from_fn(|at| (at * 37) as u8);
    let text = hex64(&bytes);
    assert_eq!(hex32(&text), Some(bytes));
    assert_eq!(hex32(&text.to_ascii_uppercase()), Some(bytes));
    assert_eq!(hex32(&text[..63]), None);
    assert_eq!(hex32(&[&text[..], b"0"].concat()), None);
    for at in 0..64 {
        for wrong in [b'g', b'G', b'/', b':', b'@', b'`', 0, 255] {
            let mut text = text;
            text[at] = wrong;
            assert_eq!(hex32(&text), None, "{wrong} at {at}");
        }
    }
}

/// A single unauthenticated request of 62 KB produced a canonical request of 340 MB and kept a core busy for two
/// seconds: every other byte of its SignedHeaders named a long header.
#[test]
fn signed_headers_cannot_multiply_a_request() {
    let value = "v".repeat(30_000);
    for names in ["x;".repeat(15_000), (0..200).map(|n| format!("n{n};")).collect()] {
        let request = get("/", &format!("X: {value}\r\n"), &format!("{names}host"), &"0".repeat(64));
        let mut verifier = verifier();
        let error = verifier.verify(&head(&request), None, THEN).map(|_| ()).unwrap_err();
        assert_eq!(error.code(), Code::AccessDenied);
        assert!(verifier.scratch.capacity() == 0, "nothing was computed of it");
    }
}

/// The signed Host header determines the bucket, even if the target is absolute.
#[test]
fn a_presigned_url_is_valid_only_for_the_host_it_was_signed_for() {
    let absolute = |authority: &str| PRESIGNED.replace("GET /", &format!("GET http://{authority}/"));
    verify(&absolute("examplebucket.s3.amazonaws.com")).unwrap();
    let other = absolute("otherbucket.s3.amazonaws.com");
    assert!(RequestHead::new().parse(format!("{other}\r\n\r\n").as_bytes()).is_err());
    assert_eq!(code(&other.replace("Host: example", "Host: other")), Code::SignatureDoesNotMatch);
}
