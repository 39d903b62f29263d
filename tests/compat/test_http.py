"""HTTP/1.1 as clients really speak it, over bare sockets."""

import email.header
import socket
import time

import pytest

from support import sigv4
from support.server import HOST
from support.values import value
from support.wire import Closed, RawClient, head_bytes

BODY = value(5, 100_000)


def expecting(raw, path, body, **extra):
    headers = {"content-length": str(len(body)), "expect": "100-continue", **extra}
    return head_bytes("PUT", path, raw.signer.headers("PUT", raw.host, path, (), headers))


@pytest.mark.parametrize("body", [BODY, b"x", b""])
def test_expect_is_answered_by_100_before_every_accepted_body(raw, bucket, body):
    with raw.connect() as wire:
        for turn in range(3):
            wire.send(expecting(raw, f"/{bucket}/k{turn}", body))
            assert wire.reply().status == 100
            wire.send(body)
            assert wire.reply().status == 200
        assert raw.request("GET", f"/{bucket}/k2", wire=wire).body == body


def test_a_refusal_without_100_closes_the_connection(server, raw, bucket):
    wrong = RawClient(server, secret_key="wrong" * 8)
    for sender, path in ((wrong, f"/{bucket}/k"), (raw, "/no-such-bucket/k")):
        with sender.connect() as wire:
            wire.send(expecting(sender, path, BODY))
            first = wire.reply()
            if first.status == 100:
                wire.send(BODY)
                first = wire.reply()
                assert first.status in (403, 404)
            else:
                assert first.status in (403, 404)
                assert first.headers.get("connection", "").lower() == "close"
                assert wire.closed_within(10)


def test_a_refused_body_that_was_sent_all_the_same_does_not_hide_the_answer(server, bucket):
    wrong = RawClient(server, secret_key="wrong" * 8)
    for size in (10, 100_000, 3_000_000):
        reply = wrong.request("PUT", f"/{bucket}/k", body=bytes(size))
        assert (reply.status, reply.code) == (403, "SignatureDoesNotMatch")


def test_pipelined_requests_are_answered_in_order(raw, bucket):
    with raw.connect() as wire:
        burst = b"".join(raw.prepare("PUT", f"/{bucket}/p{n}", body=b"%d" % n * (n * 100 + 1)) for n in range(20))
        burst += b"".join(raw.prepare("GET", f"/{bucket}/p{n}") for n in range(20))
        wire.send(burst)
        for _ in range(20):
            assert wire.final().status == 200
        for n in range(20):
            assert wire.final().body == b"%d" % n * (n * 100 + 1)


def test_a_request_in_single_bytes_is_understood(raw, bucket):
    with raw.connect() as wire:
        for byte in raw.prepare("PUT", f"/{bucket}/slow", body=b"drip"):
            wire.send(bytes([byte]))
        assert wire.final().status == 200
    assert raw.request("GET", f"/{bucket}/slow").body == b"drip"


def test_one_connection_serves_many_requests_and_errors_between(raw, bucket):
    with raw.connect() as wire:
        for n in range(100):
            assert raw.request("PUT", f"/{bucket}/k", body=b"%d" % n, wire=wire).status == 200
            assert raw.request("GET", f"/{bucket}/none", wire=wire).status == 404
            assert raw.request("GET", f"/{bucket}/k", wire=wire).body == b"%d" % n
            assert raw.request("HEAD", f"/{bucket}/k", wire=wire).status == 200
            assert raw.request("DELETE", f"/{bucket}/k", wire=wire).status == 204


def test_connection_close_is_obeyed(raw, bucket):
    with raw.connect() as wire:
        reply = raw.request("GET", f"/{bucket}/none", headers={"connection": "close"}, wire=wire)
        assert reply.status == 404 and reply.headers["connection"].lower() == "close"
        assert wire.closed_within(5)


def test_http_1_0_gets_its_reply_and_a_close(raw, bucket):
    with raw.connect() as wire:
        raw.request("PUT", f"/{bucket}/k", body=b"x")
        data = raw.prepare("GET", f"/{bucket}/k").replace(b"HTTP/1.1", b"HTTP/1.0", 1)
        wire.send(data)
        try:
            reply = wire.final()
            assert reply.status in (200, 505)
        except (AssertionError, Closed) as error:
            assert b"HTTP/1.0" in str(error).encode(), error
        assert wire.closed_within(5)


def test_head_returns_what_get_would_without_the_body(raw, bucket):
    raw.request("PUT", f"/{bucket}/k", body=BODY, headers={"content-type": "text/x-a", "x-amz-meta-a": "b"})
    got = raw.request("GET", f"/{bucket}/k")
    with raw.connect() as wire:
        head = raw.request("HEAD", f"/{bucket}/k", wire=wire)
        for name in ("content-length", "etag", "content-type", "last-modified", "x-amz-meta-a", "accept-ranges"):
            assert head.headers[name] == got.headers[name]
        missing = raw.request("HEAD", f"/{bucket}/none", wire=wire)
        assert missing.status == 404
        assert raw.request("GET", f"/{bucket}/k", wire=wire).body == BODY
        assert wire.buffer == b""


def chunked(parts):
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\n\r\n"


@pytest.mark.parametrize("parts", [[BODY], [BODY[:10], BODY[10:70_000], BODY[70_000:]], []])
def test_a_chunked_body_is_taken(raw, bucket, parts):
    path = f"/{bucket}/k"
    head = raw.signer.headers("PUT", raw.host, path, (), {"transfer-encoding": "chunked"})
    with raw.connect() as wire:
        wire.send(head_bytes("PUT", path, head) + chunked(parts))
        assert wire.final().status == 200
        assert raw.request("GET", path, wire=wire).body == b"".join(parts)


def test_aws_chunked_inside_chunked_is_taken(raw, bucket):
    path = f"/{bucket}/k"
    body = sigv4.unsigned_chunks([BODY], ("x-amz-checksum-crc32", sigv4.checksum("crc32", BODY)))
    extra = {"transfer-encoding": "chunked", "content-encoding": "aws-chunked", "x-amz-trailer": "x-amz-checksum-crc32",
             "x-amz-decoded-content-length": str(len(BODY))}
    head = raw.signer.headers("PUT", raw.host, path, (), extra, sigv4.STREAMING_UNSIGNED_TRAILER)
    assert raw.exchange(head_bytes("PUT", path, head) + chunked([body[:1000], body[1000:]])).status == 200
    assert raw.request("GET", path).body == BODY


def test_a_put_without_length_is_411(raw, bucket):
    head = raw.signer.headers("PUT", raw.host, f"/{bucket}/k")
    reply = raw.exchange(head_bytes("PUT", f"/{bucket}/k", head))
    assert (reply.status, reply.code) == (411, "MissingContentLength"), reply


GARBAGE = [
    b"\x00\x01\x02\x03\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), b"GET / HTTP/1.1\r\nhost\r\n\r\n", b"GET /a b HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: x\r\nx-\x00: y\r\n\r\n", b"GET /%zz HTTP/1.1\r\nhost: x\r\n\r\n",
]


@pytest.mark.parametrize("data", GARBAGE)
def test_garbage_is_refused_or_cut_off(raw, data):
    with raw.connect() as wire:
        wire.send(data)
        try:
            reply = wire.final()
            assert reply.status in (400, 403, 501, 505), reply
        except Closed:
            pass


def test_an_http_1_1_request_without_host_is_refused(raw):
    reply = raw.exchange(b"GET / HTTP/1.1\r\n\r\n")
    assert reply.status == 400, reply


def test_methods_that_s3_does_not_have_are_refused(raw, bucket):
    for method in ("PATCH", "TRACE", "CONNECT", "BREW"):
        reply = raw.request(method, f"/{bucket}/k")
        assert reply.status in (400, 405, 501), (method, reply)


def test_non_ascii_metadata_comes_back_by_rfc_2047(raw, bucket):
    text = "grüße 日本 🐹"
    path = f"/{bucket}/k"
    encoded = email.header.Header(text, "utf-8").encode(maxlinelen=0)
    assert raw.request("PUT", path, headers={"x-amz-meta-given": encoded}, body=b"x").status == 200
    got = raw.request("GET", path).headers["x-amz-meta-given"]
    decoded = str(email.header.make_header(email.header.decode_header(got)))
    assert decoded == text, got


def test_raw_utf8_metadata_comes_back_by_rfc_2047(raw, bucket):
    text = "grüße 日本"
    path = f"/{bucket}/k"
    reply = raw.request("PUT", path, headers={"x-amz-meta-raw": text}, body=b"x")
    assert reply.status == 200, reply
    got = raw.request("GET", path).headers["x-amz-meta-raw"]
    got.encode("ascii")
    assert str(email.header.make_header(email.header.decode_header(got))) == text, got


@pytest.mark.parametrize("path", ["/%FF", "/a%00b", "/../x", "/a/../../x", "/" + "k" * 1025])
def test_invalid_keys_are_refused(raw, bucket, path):
    for method in ("PUT", "GET", "DELETE"):
        reply = raw.request(method, f"/{bucket}{path}", body=b"x" if method == "PUT" else b"")
        assert reply.status == 400 and reply.code, (method, reply)


def test_virtual_host_buckets_are_found(own_server):
    node = own_server(serve_args=["--domain", "s3.test.local"], cores=1)
    raw = RawClient(node)
    raw.host = "my-bucket.s3.test.local"
    assert raw.request("PUT", "/").status == 200
    assert raw.request("PUT", "/a/key", body=b"hosted").status == 200
    assert raw.request("GET", "/a/key").body == b"hosted"
    assert b"<Key>a/key</Key>" in raw.request("GET", "/", query=[("list-type", "2")]).body
    raw.host = f"my-bucket.s3.test.local:{node.s3_port}"
    assert raw.request("GET", "/a/key").body == b"hosted"
    raw.host = "s3.test.local"
    assert raw.request("GET", "/my-bucket/a/key").body == b"hosted"
    raw.host = f"{HOST}:{node.s3_port}"
    assert raw.request("GET", "/my-bucket/a/key").body == b"hosted"


def test_a_client_that_leaves_early_leaves_nothing_half_done(raw, bucket):
    path = f"/{bucket}/left"
    data = raw.prepare("PUT", path, body=BODY)
    for cut in (len(data) - len(BODY), len(data) - len(BODY) + 1000, len(data) - 1):
        with raw.connect() as wire:
            wire.send(data[:cut])
            wire.socket.shutdown(socket.SHUT_WR)
        time.sleep(0.05)
        assert raw.request("HEAD", path).status == 404


def test_a_reader_that_leaves_early_harms_no_one(raw, bucket):
    big = value(6, 8 << 20)
    assert raw.request("PUT", f"/{bucket}/big", body=big).status == 200
    for _ in range(50):
        with raw.connect() as wire:
            wire.send(raw.prepare("GET", f"/{bucket}/big"))
            wire.socket.recv(1000)
    assert raw.request("GET", f"/{bucket}/big").body == big
