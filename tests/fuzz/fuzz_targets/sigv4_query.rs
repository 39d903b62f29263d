//! Presigned URLs: what a plain signer signed is accepted, and whatever is accepted, the plain signer would have
//! signed in the same way.
#![no_main]

use hamster_fuzz::checked::{parse, query_stands, verify};
use hamster_fuzz::signing::{ACCESS_KEY, Made, TIMESTAMP, scope};
use hamster_fuzz::{Source, percent_encode};
use libfuzzer_sys::fuzz_target;

fn judge(bytes: &[u8]) -> Option<bool> {
    let head = parse(bytes)?;
    let accepted = verify(&head, None).is_some();
    let query = head.query();
    // Version 2 has a signer of its own; a header beside the query is refused.
    if !query.has("X-Amz-Algorithm") && !query.has("X-Amz-Signature") {
        return None;
    }
    assert!(!accepted || query_stands(&head), "a wrong signature was accepted: {}", bytes.escape_ascii());
    Some(accepted)
}

/// A presigned request; `None` if its own parameters collide with those of the signature.
fn made(plan: &mut Source<'_>) -> Option<Vec<u8>> {
    let mut made = Made::from_plan(plan);
    let plain = made.head();
    let own = parse(&plain)?;
    if own.query().pairs().any(|(name, _)| {
        name.to_ascii_lowercase().contains(&b'%')
            || name.len() > 4 && name[..5].eq_ignore_ascii_case(b"x-amz")
    }) {
        return None;
    }
    made.choose_signed(plan.byte());
    let expires = 1 + plan.u32() % 604_800;
    let signed = percent_encode(made.signed.join(";").as_bytes(), if plan.flag() { b";" } else { b"" });
    let credential = percent_encode(format!("{ACCESS_KEY}/{}", scope()).as_bytes(), b"");
    let parameters = [
        "X-Amz-Algorithm=AWS4-HMAC-SHA256".to_owned(),
        format!("X-Amz-Credential={credential}"),
        format!("X-Amz-Date={TIMESTAMP}"),
        format!("X-Amz-Expires={expires}"),
        format!("X-Amz-SignedHeaders={signed}"),
    ];
    for parameter in parameters {
        made.query = if plan.flag() {
            format!("{parameter}&{}", made.query)
        } else {
            format!("{}&{parameter}", made.query)
        };
    }
    let signature = made.signature("UNSIGNED-PAYLOAD");
    made.query = format!("{}&X-Amz-Signature={signature}", made.query);
    Some(made.head())
}

fuzz_target!(|data: &[u8]| {
    let mut plan = Source(data);
    if plan.flag() {
        judge(plan.rest());
        return;
    }
    let Some(mut head) = made(&mut plan) else { return };
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
