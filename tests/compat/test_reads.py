"""Reads that name a range, a part or a condition, to the header."""

import datetime

import pytest

from support.wire import RawClient

BODY = bytes(range(100))
ETAG = '"7acedd1a84a4cfcb6e7a16003242945e"'


@pytest.fixture
def path(raw, bucket):
    headers = {"cache-control": "max-age=5", "expires": "Thu, 01 Dec 2044 16:00:00 GMT", "content-type": "text/plain"}
    assert raw.request("PUT", f"/{bucket}/k", headers=headers, body=BODY).headers["etag"] == ETAG
    return f"/{bucket}/k"


def get(raw, path, query=(), **headers):
    return raw.request("GET", path, query, {name.replace("_", "-"): value for name, value in headers.items()})


def dates(raw, path):
    """Last-Modified, and a second before and after it."""
    modified = raw.request("HEAD", path).headers["last-modified"]
    form = "%a, %d %b %Y %H:%M:%S GMT"
    second = datetime.timedelta(seconds=1)
    then = datetime.datetime.strptime(modified, form)
    return modified, (then - second).strftime(form), (then + second).strftime(form)


def test_if_range_gives_the_range_of_the_current_object_only(raw, path):
    modified, before, after = dates(raw, path)
    for validator, holds in ((ETAG, True), (modified, True), ('"' + "0" * 32 + '"', False), ("W/" + ETAG, False),
                             (before, False), (after, False), ("rubbish", False), (ETAG.strip('"'), False)):
        for method in ("GET", "HEAD"):
            reply = raw.request(method, path, headers={"range": "bytes=10-19", "if-range": validator})
            assert reply.status == (206 if holds else 200), (validator, reply)
            assert reply.headers["content-length"] == ("10" if holds else "100")
            assert reply.headers.get("content-range") == ("bytes 10-19/100" if holds else None)
            assert method == "HEAD" or reply.body == (BODY[10:20] if holds else BODY)
    assert get(raw, path, range="bytes=100-", if_range='"other"').body == BODY, "a range that does not count is not refused"
    assert get(raw, path, if_range=ETAG).status == 200


@pytest.mark.parametrize("text", ["bytes= 0-9", "bytes=0 -9", "bytes=0- 9", "bytes =0-9", "bytes=0-9, 20-29", "bytes=- 9"])
def test_a_range_with_white_space_is_ignored(raw, path, text):
    reply = get(raw, path, range=text)
    assert (reply.status, reply.body) == (200, BODY)


def test_a_416_gives_the_length(raw, bucket, path):
    reply = get(raw, path, range="bytes=100-")
    assert (reply.status, reply.code, reply.headers["content-range"]) == (416, "InvalidRange", "bytes */100")
    reply = raw.request("HEAD", path, headers={"range": "bytes=-0"})
    assert (reply.status, reply.headers["content-range"]) == (416, "bytes */100")
    raw.request("PUT", f"/{bucket}/empty")
    reply = get(raw, f"/{bucket}/empty", range="bytes=0-")
    assert (reply.status, reply.headers["content-range"]) == (416, "bytes */0")


def test_the_last_bytes_of_an_empty_object_are_all_of_it(raw, bucket):
    raw.request("PUT", f"/{bucket}/empty")
    for method in ("GET", "HEAD"):
        reply = raw.request(method, f"/{bucket}/empty", headers={"range": "bytes=-5"})
        assert (reply.status, reply.headers["content-length"]) == (200, "0") and "content-range" not in reply.headers


def test_a_304_carries_what_caches_need(raw, path):
    modified = dates(raw, path)[0]
    for method in ("GET", "HEAD"):
        for condition in ({"if-none-match": ETAG}, {"if-modified-since": modified}):
            reply = raw.request(method, path, headers=condition)
            assert reply.status == 304
            assert (reply.headers["etag"], reply.headers["last-modified"]) == (ETAG, modified)
            assert (reply.headers["cache-control"], reply.headers["expires"]) == ("max-age=5", "Thu, 01 Dec 2044 16:00:00 GMT")
            assert not {"content-type", "content-length", "accept-ranges"} & set(reply.headers)
    reply = raw.request("GET", path, [("response-cache-control", "no-store")], {"if-none-match": ETAG})
    assert (reply.status, reply.headers["cache-control"]) == (304, "no-store")


def test_tags_may_be_on_several_lines(raw, path):
    def lines(name, *tags):
        signed = raw.prepare("GET", path)
        return raw.exchange(signed.replace(b"\r\n\r\n", b"".join(f"\r\n{name}: {tag}".encode() for tag in tags) + b"\r\n\r\n")).status

    assert lines("if-none-match", '"x"', ETAG) == 304
    assert lines("if-none-match", '"x"', '"y"') == 200
    assert lines("if-match", '"x"', ETAG) == 200
    assert lines("if-match", '"x"', "W/" + ETAG) == 412


def test_two_lines_of_ranges_are_two_ranges(raw, path):
    head = raw.prepare("GET", path).replace(b"\r\n\r\n", b"\r\nrange: bytes=0-9\r\nrange: bytes=10-19\r\n\r\n")
    reply = raw.exchange(head)
    assert (reply.status, reply.body) == (200, BODY)


def test_the_only_part_of_an_empty_object_is_empty(raw, bucket):
    raw.request("PUT", f"/{bucket}/empty")
    for method in ("GET", "HEAD"):
        reply = raw.request(method, f"/{bucket}/empty", [("partNumber", "1")])
        assert (reply.status, reply.headers["content-length"]) == (200, "0") and "content-range" not in reply.headers
    reply = get(raw, f"/{bucket}/empty", [("partNumber", "2")])
    assert (reply.status, reply.code) == (416, "InvalidPartNumber")


def test_an_empty_last_part_can_be_read_by_its_number(s3, raw, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    parts = []
    for number, body in ((1, bytes(5 << 20)), (2, b"")):
        etag = s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, Body=body)["ETag"]
        parts.append({"PartNumber": number, "ETag": etag})
    s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": parts})
    for method in ("GET", "HEAD"):
        reply = raw.request(method, f"/{bucket}/k", [("partNumber", "2")])
        assert (reply.status, reply.headers["content-length"], reply.headers["x-amz-mp-parts-count"]) == (200, "0", "2")
        assert "content-range" not in reply.headers and reply.body == b""
    reply = raw.request("HEAD", f"/{bucket}/k", [("partNumber", "1")])
    assert (reply.status, reply.headers["content-range"]) == (206, f"bytes 0-{(5 << 20) - 1}/{5 << 20}")


@pytest.mark.parametrize("number", ["0", "-1", "10001", "x", "", "1.5"])
def test_a_bad_part_number_is_refused_before_the_key_is_looked_up(raw, bucket, number):
    reply = get(raw, f"/{bucket}/none", [("partNumber", number)])
    assert (reply.status, reply.code) == (400, "InvalidArgument"), reply
    assert raw.request("HEAD", f"/{bucket}/none", [("partNumber", number)]).status == 400
    assert get(raw, f"/{bucket}/none", [("partNumber", "1")], range="bytes=0-1").code == "InvalidRequest"


def test_every_refusal_of_head_names_the_region(server, raw, bucket, path):
    wrong = RawClient(server, secret_key="wrong" * 8)
    for client, target, query, headers, status in (
        (raw, "/no-such-bucket", (), {}, 404), (wrong, f"/{bucket}", (), {}, 403), (raw, f"/{bucket}/none", (), {}, 404),
        (raw, path, (), {"if-match": '"x"'}, 412), (raw, path, (), {"range": "bytes=100-"}, 416), (raw, path, [("acl", "")], {}, 405),
        (raw, path, [("versionId", "x")], {}, 400), (raw, f"/{bucket}", (), {"x-amz-expected-bucket-owner": "111122223333"}, 403),
    ):
        reply = client.request("HEAD", target, query, headers)
        assert (reply.status, reply.headers.get("x-amz-bucket-region")) == (status, server.region), (target, reply)
    assert raw.plain("HEAD", f"/{bucket}").headers["x-amz-bucket-region"] == server.region


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_a_request_signed_for_another_region_learns_the_right_one(server, bucket, method):
    elsewhere = RawClient(server, region="eu-west-1")
    reply = elsewhere.request(method, f"/{bucket}")
    assert (reply.status, reply.headers["x-amz-bucket-region"]) == (400, server.region)
    target = elsewhere.signer.presign(method, elsewhere.host, f"/{bucket}")
    assert elsewhere.plain(method, target).headers["x-amz-bucket-region"] == server.region


def test_a_date_of_an_unknown_zone_is_a_date(raw, bucket):
    import email.utils

    date = email.utils.formatdate()
    assert date.endswith("-0000")
    head = raw.signer.headers("GET", raw.host, f"/{bucket}")
    del head["x-amz-date"], head["authorization"]
    stamp = datetime.datetime.strptime(date, "%a, %d %b %Y %H:%M:%S -0000").strftime("%Y%m%dT%H%M%SZ")
    head["date"] = date
    signed = sorted(head)
    signature = raw.signer._signature(stamp, "GET", f"/{bucket}", (), head, signed, head["x-amz-content-sha256"])
    head["authorization"] = (f"AWS4-HMAC-SHA256 Credential={raw.signer.access_key}/{raw.signer.scope(stamp[:8])}, "
                             f"SignedHeaders={';'.join(signed)}, Signature={signature}")
    assert raw.plain("GET", f"/{bucket}", head).status == 200
