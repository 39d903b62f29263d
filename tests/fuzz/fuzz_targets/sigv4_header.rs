//! Signature version 4 in a header: what a plain signer signed is accepted, and whatever is accepted, the plain
//! signer would have signed in the same way.
#![no_main]

use hamster_fuzz::Source;
use hamster_fuzz::checked::{header_stands, parse, verify};
use hamster_fuzz::signing::{ACCESS_KEY, Made, TIMESTAMP, scope, sha256};
use libfuzzer_sys::fuzz_target;

fn judge(bytes: &[u8]) -> Option<bool> {
    let head = parse(bytes)?;
    let accepted = verify(&head, None).is_some();
    let by_query =
        ["X-Amz-Algorithm", "X-Amz-Signature", "AWSAccessKeyId"].iter().any(|n| head.query().has(n));
    if by_query {
        return None;
    }
    assert!(!accepted || header_stands(&head), "a wrong signature was accepted: {}", bytes.escape_ascii());
    Some(accepted)
}

fn made(plan: &mut Source<'_>) -> Vec<u8> {
    let mut made = Made::from_plan(plan);
    let payload = match plan.byte() % 4 {
        0 => "UNSIGNED-PAYLOAD".to_owned(),
        1 => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD".to_owned(),
        2 => "STREAMING-UNSIGNED-PAYLOAD-TRAILER".to_owned(),
        _ => sha256(b"body"),
    };
    made.headers.push(("x-amz-content-sha256".into(), payload.clone()));
    made.headers.push(("X-Amz-Date".into(), TIMESTAMP.into()));
    made.choose_signed(plan.byte());
    let signature = made.signature(&payload);
    let space = if plan.flag() { " " } else { "" };
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{},{space}SignedHeaders={},{space}Signature={signature}",
        scope(),
        made.signed.join(";")
    );
    made.headers.push(("Authorization".into(), authorization));
    made.head()
}

fuzz_target!(|data: &[u8]| {
    let mut plan = Source(data);
    if plan.flag() {
        judge(plan.rest());
        return;
    }
    let mut head = made(&mut plan);
    let right = judge(&head);
    assert_ne!(right, Some(false), "a right signature was refused");
    let more = [&head[..head.len() - 2], b"X-Amz-Not-Signed: 1\r\n\r\n"].concat();
    assert_eq!(judge(&more), right.map(|_| false), "a header that has to be signed was not");
    while !plan.is_empty() {
        let (at, flip) = (usize::from(plan.u16()) % head.len(), plan.byte());
        head[at] ^= flip;
        judge(&head);
        head[at] ^= flip;
    }
});
