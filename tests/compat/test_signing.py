"""Every signing mode byte by byte, right and wrong, by the suite's own signer."""

import hashlib

import pytest

from support import sigv4
from support.sigv4 import ALGORITHMS, Signer, checksum
from support.values import value
from support.wire import RawClient, head_bytes

BODY = value(77, 200_000)


def sha(data):
    return hashlib.sha256(data).hexdigest()


def stored(raw, bucket, key="k"):
    reply = raw.request("GET", f"/{bucket}/{key}")
    return reply.body if reply.status == 200 else None


def test_a_signed_payload_is_checked(raw, bucket):
    assert raw.request("PUT", f"/{bucket}/k", body=BODY, payload_hash=sha(BODY)).status == 200
    assert stored(raw, bucket) == BODY
    reply = raw.request("PUT", f"/{bucket}/bad", body=BODY, payload_hash=sha(b"other"))
    assert (reply.status, reply.code) == (400, "XAmzContentSHA256Mismatch")
    assert stored(raw, bucket, "bad") is None


def test_an_unsigned_payload_is_taken(raw, bucket):
    reply = raw.request("PUT", f"/{bucket}/k", body=BODY)
    assert reply.status == 200 and reply.headers["etag"] == f'"{hashlib.md5(BODY).hexdigest()}"'
    assert stored(raw, bucket) == BODY


def test_a_request_without_a_payload_hash_is_refused(raw, bucket):
    signed = raw.signer.headers("GET", raw.host, f"/{bucket}/k")
    del signed["x-amz-content-sha256"]
    assert raw.exchange(head_bytes("GET", f"/{bucket}/k", signed)).status in (400, 403)


def streamed(raw, path, parts, mode=sigv4.STREAMING, trailer=None, declare=True, spoil=None, length=None, **headers):
    """A PUT of aws-chunked parts. `spoil` changes the body's bytes before they are sent."""
    headers = {"content-encoding": "aws-chunked", **{k.replace("_", "-"): v for k, v in headers.items()}}
    if declare:
        headers["x-amz-decoded-content-length"] = str(sum(map(len, parts)) if length is None else length)
    if trailer:
        headers["x-amz-trailer"] = trailer[0]

    def body_for(head):
        if mode == sigv4.STREAMING_UNSIGNED_TRAILER:
            return sigv4.unsigned_chunks(parts, trailer)
        return raw.signer.chunks(head, parts, trailer)

    dummy = {"x-amz-date": "20240101T000000Z", "authorization": "Signature=" + "0" * 64}
    headers["content-length"] = str(len(body_for(dummy)))
    head = raw.signer.headers("PUT", raw.host, path, (), headers, mode)
    body = body_for(head)
    if spoil:
        body = spoil(body)
    return raw.exchange(head_bytes("PUT", path, head) + body, "PUT")


CUTS = [[BODY], [BODY[:65536], BODY[65536:131072], BODY[131072:]], [BODY[:8192]] * 1 + [BODY[8192:16385]] + [BODY[16385:]]]


@pytest.mark.parametrize("cut", range(len(CUTS)))
def test_signed_chunks_are_decoded(raw, bucket, cut):
    reply = streamed(raw, f"/{bucket}/k", CUTS[cut])
    assert reply.status == 200, reply
    got = raw.request("GET", f"/{bucket}/k")
    assert got.body == BODY and "aws-chunked" not in got.headers.get("content-encoding", "")


def test_an_empty_stream_of_signed_chunks_is_an_empty_object(raw, bucket):
    assert streamed(raw, f"/{bucket}/k", []).status == 200
    assert stored(raw, bucket) == b""


def test_other_content_encodings_of_a_stream_are_kept(raw, bucket):
    assert streamed(raw, f"/{bucket}/k", [BODY], content_encoding="aws-chunked,gzip").status == 200
    assert raw.request("HEAD", f"/{bucket}/k").headers["content-encoding"] == "gzip"


def test_a_changed_chunk_is_refused(raw, bucket):
    def flip(body):
        at = len(body) // 2
        return body[:at] + bytes([body[at] ^ 1]) + body[at + 1:]

    reply = streamed(raw, f"/{bucket}/bad", CUTS[1], spoil=flip)
    assert (reply.status, reply.code) == (403, "SignatureDoesNotMatch"), reply
    assert stored(raw, bucket, "bad") is None


def test_a_changed_chunk_signature_is_refused(raw, bucket):
    def flip(body):
        at = body.rindex(b"chunk-signature=") + 20
        return body[:at] + (b"0" if body[at:at + 1] != b"0" else b"1") + body[at + 1:]

    reply = streamed(raw, f"/{bucket}/bad", CUTS[1], spoil=flip)
    assert (reply.status, reply.code) == (403, "SignatureDoesNotMatch"), reply
    assert stored(raw, bucket, "bad") is None


def test_a_wrong_decoded_length_is_refused(raw, bucket):
    for length in (len(BODY) - 1, len(BODY) + 1):
        reply = streamed(raw, f"/{bucket}/bad", CUTS[1], length=length)
        assert reply.status == 400, reply
    reply = streamed(raw, f"/{bucket}/bad", CUTS[1], declare=False)
    assert reply.status in (400, 411), reply
    assert stored(raw, bucket, "bad") is None


@pytest.mark.parametrize("mode", [sigv4.STREAMING_TRAILER, sigv4.STREAMING_UNSIGNED_TRAILER])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_trailing_checksum_is_verified_and_stored(raw, bucket, mode, algorithm):
    name, right = f"x-amz-checksum-{algorithm}", checksum(algorithm, BODY)
    reply = streamed(raw, f"/{bucket}/k", CUTS[1], mode, (name, right))
    assert reply.status == 200, reply
    got = raw.request("GET", f"/{bucket}/k", headers={"x-amz-checksum-mode": "ENABLED"})
    assert got.body == BODY and got.headers[name] == right
    reply = streamed(raw, f"/{bucket}/bad", CUTS[1], mode, (name, checksum(algorithm, b"other")))
    assert (reply.status, reply.code) == (400, "BadDigest"), reply
    assert stored(raw, bucket, "bad") is None


def test_a_changed_trailer_signature_is_refused(raw, bucket):
    def flip(body):
        at = body.rindex(b"x-amz-trailer-signature:") + 30
        return body[:at] + (b"0" if body[at:at + 1] != b"0" else b"1") + body[at + 1:]

    trailer = ("x-amz-checksum-crc32", checksum("crc32", BODY))
    reply = streamed(raw, f"/{bucket}/bad", CUTS[1], sigv4.STREAMING_TRAILER, trailer, spoil=flip)
    assert (reply.status, reply.code) == (403, "SignatureDoesNotMatch"), reply


@pytest.mark.parametrize("mode", [sigv4.STREAMING_TRAILER, sigv4.STREAMING_UNSIGNED_TRAILER])
def test_an_announced_trailer_that_is_missing_is_refused(raw, bucket, mode):
    def cut(body):
        return body.replace(b"x-amz-checksum-crc32:", b"x-amz-checksum-other:")

    trailer = ("x-amz-checksum-crc32", checksum("crc32", BODY))
    assert streamed(raw, f"/{bucket}/bad", CUTS[1], mode, trailer, spoil=cut).status in (400, 403)
    assert stored(raw, bucket, "bad") is None


@pytest.mark.parametrize("spoil", [
    lambda b: b.replace(b"\r\n", b"\n\n", 1), lambda b: b"zz" + b[2:], lambda b: b"fffffffff" + b[5:],
    lambda b: b"-1" + b[2:], lambda b: b[:200_000] + b"x" * (len(b) - 200_000),
])
def test_broken_framing_is_refused(raw, bucket, spoil):
    trailer = ("x-amz-checksum-crc32", checksum("crc32", BODY))
    reply = streamed(raw, f"/{bucket}/bad", CUTS[1], sigv4.STREAMING_UNSIGNED_TRAILER, trailer, spoil=spoil)
    assert reply.status == 400, reply
    assert stored(raw, bucket, "bad") is None


def test_a_wrong_secret_and_an_unknown_key_are_refused(server, bucket):
    cases = [({"secret_key": "wrong" * 8}, "SignatureDoesNotMatch"), ({"access_key": "NOSUCHKEYAAAAAAAAAAA"}, "InvalidAccessKeyId")]
    for signer, code in cases:
        wrong = RawClient(server, **signer)
        for method in ("GET", "PUT", "DELETE"):
            reply = wrong.request(method, f"/{bucket}/k", body=b"x" if method == "PUT" else b"")
            assert (reply.status, reply.code) == (403, code), reply
        target = wrong.signer.presign("GET", wrong.host, f"/{bucket}/k")
        reply = wrong.plain("GET", target)
        assert (reply.status, reply.code) == (403, code), reply
        reply = wrong.plain("GET", wrong.signer.presign_v2("GET", f"/{bucket}/k"))
        assert (reply.status, reply.code) == (403, code), reply


def test_a_changed_request_is_refused(raw, bucket):
    good = raw.prepare("GET", f"/{bucket}/k", query=[("response-content-type", "a")])
    for change in (lambda b: b.replace(b"content-type=a", b"content-type=b", 1), lambda b: b.replace(b"/k?", b"/l?", 1),
                   lambda b: b.replace(b"GET", b"PUT", 1).replace(b"\r\n\r\n", b"\r\ncontent-length: 0\r\n\r\n")):
        reply = raw.exchange(change(good))
        assert (reply.status, reply.code) == (403, "SignatureDoesNotMatch"), reply


def test_an_unsigned_amz_header_is_refused(raw, bucket):
    good = raw.prepare("PUT", f"/{bucket}/k", body=b"x")
    reply = raw.exchange(good.replace(b"\r\n\r\n", b"\r\nx-amz-meta-sneaked: in\r\n\r\n", 1))
    assert reply.status in (400, 403), reply


@pytest.mark.parametrize("skew,ok", [(-14 * 60, True), (14 * 60, True), (-16 * 60, False), (16 * 60, False)])
def test_the_clock_may_be_fifteen_minutes_off(server, bucket, skew, ok):
    reply = RawClient(server, skew=skew).request("GET", f"/{bucket}/none")
    if ok:
        assert reply.code == "NoSuchKey"
    else:
        assert (reply.status, reply.code) == (403, "RequestTimeTooSkewed"), reply


def test_another_region_or_service_in_the_scope_is_refused(server, raw, bucket):
    reply = RawClient(server, region="mars-north-1").request("GET", f"/{bucket}/k")
    assert (reply.status, reply.code) == (400, "AuthorizationHeaderMalformed"), reply
    bad = raw.prepare("GET", f"/{bucket}/k").replace(b"/s3/aws4_request", b"/ec2/aws4_request")
    assert raw.exchange(bad).status in (400, 403)


@pytest.mark.parametrize("text", [
    "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=x", "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=, Signature=",
    "AWS4-HMAC-SHA256 Credential=////, SignedHeaders=host, Signature=zz", "Basic YTpi", "Bearer x", "AWS4-HMAC-SHA512 x", "",
])
def test_a_malformed_authorization_is_refused(raw, bucket, text):
    reply = raw.plain("GET", f"/{bucket}/k", {"authorization": text, "x-amz-date": "20240101T000000Z", "x-amz-content-sha256": sigv4.UNSIGNED})
    assert reply.status in (400, 403, 501) and reply.code, reply


def test_an_anonymous_request_is_denied(raw, bucket):
    for method in ("GET", "PUT", "DELETE", "POST"):
        reply = raw.plain(method, f"/{bucket}/k")
        assert (reply.status, reply.code) == (403, "AccessDenied"), reply
    assert raw.plain("GET", "/").status == 403
    assert raw.plain("HEAD", f"/{bucket}/k").status == 403


def test_a_version_2_header_is_told_to_use_version_4(raw, bucket):
    reply = raw.plain("GET", f"/{bucket}/k", {"authorization": "AWS TESTKEYAAAAAAAAAAAAA:frJIUN8DYpKDtOLCwo//yllqDzg=", "date": "Tue, 27 Mar 2007 19:36:42 +0000"})
    assert (reply.status, reply.code) == (400, "InvalidRequest") and "AWS4-HMAC-SHA256" in reply.message, reply


def test_presigned_urls_of_version_4_put_get_head_and_delete(raw, bucket):
    path = f"/{bucket}/pre%20signed"
    assert raw.plain("PUT", raw.signer.presign("PUT", raw.host, path), body=BODY).status == 200
    reply = raw.plain("GET", raw.signer.presign("GET", raw.host, path, [("response-content-type", "text/x-a")]))
    assert reply.status == 200 and reply.body == BODY and reply.headers["content-type"] == "text/x-a"
    assert raw.plain("GET", raw.signer.presign("GET", raw.host, path), {"range": "bytes=5-9"}).body == BODY[5:10]
    assert raw.plain("HEAD", raw.signer.presign("HEAD", raw.host, path)).headers["content-length"] == str(len(BODY))
    assert raw.plain("PUT", raw.signer.presign("GET", raw.host, path), body=b"x").status == 403
    assert raw.plain("DELETE", raw.signer.presign("DELETE", raw.host, path)).status == 204


def test_presigned_urls_of_version_2_put_and_get(raw, bucket):
    path = f"/{bucket}/pre%20signed"
    assert raw.plain("PUT", raw.signer.presign_v2("PUT", path), body=BODY).status == 200
    assert raw.plain("GET", raw.signer.presign_v2("GET", path)).body == BODY
    target = raw.signer.presign_v2("GET", path, subresources="?response-content-type=text/x-a")
    reply = raw.plain("GET", target)
    assert reply.status == 200 and reply.headers["content-type"] == "text/x-a"
    reply = raw.plain("PUT", raw.signer.presign_v2("PUT", path, content_type="text/css"), {"content-type": "text/css"}, b"x")
    assert reply.status == 200, reply


def test_an_expired_presigned_url_is_denied(server, raw, bucket):
    old = Signer(server.access_key, server.secret_key, server.region, skew=-400)
    reply = raw.plain("GET", old.presign("GET", raw.host, f"/{bucket}/k", expires=300))
    assert (reply.status, reply.code) == (403, "AccessDenied") and "expired" in reply.message.lower(), reply
    reply = raw.plain("GET", old.presign_v2("GET", f"/{bucket}/k", expires=300))
    assert (reply.status, reply.code) == (403, "AccessDenied") and "expired" in reply.message.lower(), reply
    long_ago = Signer(server.access_key, server.secret_key, server.region, skew=-3 * 86400)
    raw.request("PUT", f"/{bucket}/k", body=b"x")
    assert raw.plain("GET", long_ago.presign("GET", raw.host, f"/{bucket}/k", expires=604800)).body == b"x"


@pytest.mark.parametrize("expires", [0, -1, 604801, "abc"])
def test_a_presigned_url_with_a_bad_lifetime_is_refused(raw, bucket, expires):
    reply = raw.plain("GET", raw.signer.presign("GET", raw.host, f"/{bucket}/k", expires=expires))
    assert reply.status in (400, 403) and reply.code in ("AuthorizationQueryParametersError", "AccessDenied"), reply


def test_a_presigned_url_from_the_future_is_denied(server, raw, bucket):
    ahead = Signer(server.access_key, server.secret_key, server.region, skew=3600)
    assert raw.plain("GET", ahead.presign("GET", raw.host, f"/{bucket}/k")).status == 403


def test_a_changed_presigned_url_is_refused(raw, bucket):
    good = raw.signer.presign("GET", raw.host, f"/{bucket}/k")
    for bad in (good.replace("/k?", "/l?"), good.replace("Expires=300", "Expires=3000"), good + "&x-id=1", good[:-1] + ("0" if good[-1] != "0" else "1")):
        reply = raw.plain("GET", bad)
        assert (reply.status, reply.code) == (403, "SignatureDoesNotMatch"), (bad, reply)
    missing = good.split("&X-Amz-Signature")[0]
    assert raw.plain("GET", missing).status in (400, 403)


def test_keys_of_every_byte_are_signed_correctly(raw, bucket):
    for key in ["a b+c", "ü", "~tilde", "a%2Fb", "'(quotes)!*", "=&;,:@$", "a//b", "🐹", "\u0001"]:
        path = f"/{bucket}/" + sigv4.quote_path(key)
        assert raw.request("PUT", path, body=key.encode()).status == 200, key
        assert raw.request("GET", path).body == key.encode(), key
        assert raw.plain("GET", raw.signer.presign("GET", raw.host, path)).body == key.encode(), key


def presigned_v4(server, raw, bucket, key, headers):
    return raw.signer.presign("PUT", raw.host, f"/{bucket}/{key}", query=list(headers.items()))


def presigned_v2_by_boto3(server, raw, bucket, key, headers):
    client = server.boto3(signature_version="s3")
    client.meta.events.register_first("before-sign.s3", lambda request, **_: [request.headers.add_header(*pair) for pair in headers.items()])
    url = client.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": key})
    return url[url.index("/", len("https://")):]


@pytest.mark.parametrize("presigned", [presigned_v4, presigned_v2_by_boto3])
def test_signed_headers_in_the_query_of_a_url_take_effect(server, s3, raw, bucket, presigned):
    """SDKs put the headers of a presigned request into its query. They were dropped silently."""
    def put(key, body, headers):
        return raw.plain("PUT", presigned(server, raw, bucket, key, headers), body=body)

    s3.put_object(Bucket=bucket, Key="source", Body=b"source")
    assert put("k", b"x", {"x-amz-meta-color": "deep blue"}).status == 200
    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == {"color": "deep blue"}
    assert put("copied", b"", {"x-amz-copy-source": f"/{bucket}/source"}).status == 200
    assert s3.get_object(Bucket=bucket, Key="copied")["Body"].read() == b"source"
    for asks in ({"x-amz-acl": "public-read"}, {"x-amz-tagging": "a=b"}, {"x-amz-object-lock-mode": "COMPLIANCE"}):
        reply = put("refused", b"x", asks)
        assert (reply.status, reply.code) == (501, "NotImplemented"), asks
    assert raw.request("HEAD", f"/{bucket}/refused").status == 404
