"""Requests that two readers could end at different bytes: each is refused, its connection closed, and what stands
behind it on the wire, a good request of another client as far as a proxy is concerned, is never carried out."""

import pytest

from support.wire import head_bytes

HEADS = {
    "both lengths": b"content-length: 5\r\ntransfer-encoding: chunked\r\n",
    "both lengths, the other way": b"transfer-encoding: chunked\r\ncontent-length: 5\r\n",
    "two different lengths": b"content-length: 5\r\ncontent-length: 6\r\n",
    "two equal lengths": b"content-length: 5\r\ncontent-length: 5\r\n",
    "a list of lengths": b"content-length: 5, 6\r\n",
    "a list of equal lengths": b"content-length: 5,5\r\n",
    "a sign": b"content-length: +5\r\n",
    "a negative length": b"content-length: -1\r\n",
    "a hexadecimal length": b"content-length: 0x5\r\n",
    "an empty length": b"content-length:\r\n",
    "a length beyond 64 bits": b"content-length: 99999999999999999999\r\n",
    "chunked, then another coding": b"transfer-encoding: chunked, identity\r\n",
    "another coding, then chunked": b"transfer-encoding: gzip, chunked\r\n",
    "chunked twice": b"transfer-encoding: chunked, chunked\r\n",
    "chunked in two headers": b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
    "identity": b"transfer-encoding: identity\r\n",
    "an unknown coding": b"transfer-encoding: xchunked\r\n",
    "an empty coding": b"transfer-encoding:\r\n",
    "a vertical tab before the coding": b"transfer-encoding:\x0bchunked\r\n",
    "a space before the colon": b"content-length : 5\r\n",
    "a tab before the colon": b"transfer-encoding\t: chunked\r\n",
    "a folded header": b"x-a: 1\r\n folded: 2\r\ncontent-length: 5\r\n",
    "a folded header by a tab": b"x-a: 1\r\n\tcontent-length: 5\r\n",
    "a length folded away": b"transfer-encoding:\r\n chunked\r\n",
    "a bare CR in a value": b"x-a: a\rb\r\ncontent-length: 5\r\n",
    "a bare CR as a line's end": b"x-a: a\rcontent-length: 5\r\n",
    "a bare LF as a line's end": b"x-a: a\ncontent-length: 5\r\n",
    "NUL in a value": b"x-a: a\x00b\r\ncontent-length: 5\r\n",
    "NUL in a name": b"x-a\x00: b\r\ncontent-length: 5\r\n",
    "a line without a colon": b"x-a\r\ncontent-length: 5\r\n",
    "a second host": b"host: other\r\ncontent-length: 5\r\n",
}

BODIES = {
    "a bare LF behind the size": b"5\nhello\r\n0\r\n\r\n",
    "a bare LF behind the chunk": b"5\r\nhello\n0\r\n\r\n",
    "a bare LF at the end": b"5\r\nhello\r\n0\r\n\n",
    "a bare CR in an extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "a sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "a negative size": b"-5\r\nhello\r\n0\r\n\r\n",
    "a prefix": b"0x5\r\nhello\r\n0\r\n\r\n",
    "white space before the size": b" 5\r\nhello\r\n0\r\n\r\n",
    "white space behind the size": b"5 \r\nhello\r\n0\r\n\r\n",
    "a size of 64 bits and more": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "an empty size": b"\r\nhello\r\n0\r\n\r\n",
    "a chunk longer than its size": b"4\r\nhello\r\n0\r\n\r\n",
    "an extension without end": b"5;" + b"a" * 5000 + b"\r\nhello\r\n0\r\n\r\n",
    "extensions that outweigh the content": (b"1;" + b"a" * 1000 + b"\r\nh\r\n") * 40 + b"0\r\n\r\n",
    "trailers without end": b"5\r\nhello\r\n0\r\n" + b"name: value\r\n" * 3000 + b"\r\n",
}


def put(raw, path, lines):
    """A signed PUT whose framing is `lines`."""
    return head_bytes("PUT", path, raw.signer.headers("PUT", raw.host, path))[:-2] + lines + b"\r\n"


def one_reply(raw, data, statuses=(400,)):
    """The only reply to `data`, after which the server closes."""
    with raw.connect() as wire:
        try:
            wire.send(data)
        except OSError:
            pass  # The refusal may arrive and the connection end before everything is sent.
        reply = wire.final()
        assert reply.status in statuses, reply
        assert reply.headers.get("connection", "").lower() == "close"
        assert wire.rest() == b"", "a second request was answered"


def test_the_request_behind_a_good_one_is_carried_out(raw, bucket):
    """Without this the tests below would prove nothing."""
    with raw.connect() as wire:
        wire.send(put(raw, f"/{bucket}/k", b"content-length: 5\r\n") + b"hello")
        wire.send(put(raw, f"/{bucket}/k2", b"transfer-encoding: Chunked\r\n") + b"5;x=y\r\nhello\r\n0\r\na: b\r\n\r\n")
        wire.send(raw.prepare("PUT", f"/{bucket}/behind", body=b"b"))
        assert [wire.final().status for _ in range(3)] == [200, 200, 200]
    assert raw.request("GET", f"/{bucket}/behind").body == b"b"


@pytest.mark.parametrize("name", HEADS)
def test_an_ambiguous_head_ends_the_connection(raw, bucket, name):
    behind = raw.prepare("PUT", f"/{bucket}/behind", body=b"b")
    one_reply(raw, put(raw, f"/{bucket}/k", HEADS[name]) + b"hello" + behind)
    for key in ("k", "behind"):
        assert raw.request("HEAD", f"/{bucket}/{key}").status == 404


@pytest.mark.parametrize("name", BODIES)
def test_an_ambiguous_chunked_body_ends_the_connection(raw, bucket, name):
    behind = raw.prepare("PUT", f"/{bucket}/behind", body=b"b")
    one_reply(raw, put(raw, f"/{bucket}/k", b"transfer-encoding: chunked\r\n") + BODIES[name] + behind)
    for key in ("k", "behind"):
        assert raw.request("HEAD", f"/{bucket}/{key}").status == 404


def test_chunked_in_http_1_0_is_refused(raw, bucket):
    data = put(raw, f"/{bucket}/k", b"transfer-encoding: chunked\r\nconnection: keep-alive\r\n").replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    one_reply(raw, data + b"5\r\nhello\r\n0\r\n\r\n" + raw.prepare("PUT", f"/{bucket}/behind", body=b"b"))
    assert raw.request("HEAD", f"/{bucket}/behind").status == 404


def test_a_request_inside_a_body_is_a_body(raw, bucket):
    inside = raw.prepare("PUT", f"/{bucket}/inside", body=b"b")
    length = {"content-length": str(len(inside))}
    for method, path, statuses in (("GET", f"/{bucket}/none", (404,)), ("DELETE", f"/{bucket}/none", (204,)), ("PUT", "/no-such-bucket/k", (404,))):
        with raw.connect() as wire:
            wire.send(head_bytes(method, path, raw.signer.headers(method, raw.host, path, (), length)) + inside)
            assert wire.final().status in statuses
            assert raw.request("HEAD", f"/{bucket}/inside", wire=wire).status == 404


def test_a_body_sent_without_the_100_it_asked_for_is_no_request(raw, bucket):
    path, inside = "/no-such-bucket/k", raw.prepare("PUT", f"/{bucket}/inside", body=b"b")
    head = raw.signer.headers("PUT", raw.host, path, (), {"content-length": str(len(inside)), "expect": "100-continue"})
    one_reply(raw, head_bytes("PUT", path, head) + inside, (404,))
    assert raw.request("HEAD", f"/{bucket}/inside").status == 404


def test_an_absolute_target_cannot_name_another_host_than_was_signed(own_server):
    """A presigned URL for a bucket's host was good for any other bucket, named by an absolute request target."""
    from support.wire import RawClient

    node = own_server(serve_args=["--domain", "s3.test.local"], cores=1)
    raw = RawClient(node)
    for bucket in ("mine", "yours"):
        raw.request("PUT", f"/{bucket}")
        raw.request("PUT", f"/{bucket}/k", body=bucket.encode())
    raw.host = "mine.s3.test.local"
    for target in (raw.signer.presign("GET", raw.host, "/k"), raw.signer.presign("GET", "s3.test.local", "/k")):
        for host in ("yours.s3.test.local", "s3.test.local/yours", f"mine.s3.test.local:{node.s3_port}"):
            reply = raw.plain("GET", f"http://{host}{target}")
            assert reply.status in (400, 403) and b"yours" != reply.body, reply
    good = raw.signer.presign("GET", raw.host, "/k")
    assert raw.plain("GET", f"http://mine.s3.test.local{good}").body == b"mine"


UNSIGNED_TRAILER = {"x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-decoded-content-length": "1", "x-amz-trailer": "x-amz-checksum-crc32"}
# minio-go's form: the trailer ends in LF, and the body in two CR LF.
MINIO_GO = b"1\r\n<\r\n0\r\nx-amz-checksum-crc32:/W2TCg==\n\r\n\r\n"


def put_aws_chunked(raw, path, framing):
    headers = {**UNSIGNED_TRAILER, **framing}
    return head_bytes("PUT", path, raw.signer.headers("PUT", raw.host, path, (), headers, headers["x-amz-content-sha256"]))


@pytest.mark.parametrize("chunked", (False, True))
def test_the_request_behind_an_aws_chunked_body_begins_where_http_says(raw, bucket, chunked):
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(MINIO_GO), MINIO_GO) if chunked else MINIO_GO
    framing = {"transfer-encoding": "chunked"} if chunked else {"content-length": str(len(body))}
    with raw.connect() as wire:
        wire.send(put_aws_chunked(raw, f"/{bucket}/k", framing) + body + raw.prepare("PUT", f"/{bucket}/behind", body=b"b"))
        assert [wire.final().status for _ in range(2)] == [200, 200]
    assert [raw.request("GET", f"/{bucket}/{key}").body for key in ("k", "behind")] == [b"<", b"b"]


@pytest.mark.parametrize("name", ("a request", "an empty line", "a trailer"))
def test_bytes_of_the_body_behind_its_aws_chunks_are_never_a_request(raw, bucket, name):
    inside = {"a request": raw.prepare("PUT", f"/{bucket}/inside", body=b"b"), "an empty line": b"\r\n", "a trailer": b"a: b\r\n\r\n"}[name]
    data = put_aws_chunked(raw, f"/{bucket}/k", {"content-length": str(len(MINIO_GO + inside))}) + MINIO_GO + inside
    with raw.connect() as wire:
        wire.send(data + raw.prepare("PUT", f"/{bucket}/behind", body=b"b"))
        reply = wire.final()
        assert (reply.status, reply.code) == (400, "InvalidRequest")
        assert wire.final().status == 200, "the connection goes on behind the body"
    assert [raw.request("HEAD", f"/{bucket}/{key}").status for key in ("k", "inside", "behind")] == [404, 404, 200]
