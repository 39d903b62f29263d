"""Bodies that end before their announced end: IncompleteBody, and nothing is stored."""

import socket

import pytest

from support.sigv4 import query_string
from support.wire import head_bytes

UNSIGNED, TRAILER = "UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
CHUNKS = b"1\r\n<\r\n0\r\nx-amz-checksum-crc32:/W2TCg==\r\n\r\n"


def ended_early(raw, method, path, query, headers, body, payload):
    """Sends a request whose client sends nothing after `body`."""
    signed = raw.signer.headers(method, raw.host, path, query, headers, payload)
    target = path + ("?" + query_string(query) if query else "")
    with raw.connect() as wire:
        wire.send(head_bytes(method, target, signed) + body)
        wire.socket.shutdown(socket.SHUT_WR)
        return wire.final()


def expect_incomplete(raw, bucket, reply):
    assert (reply.status, reply.code) == (400, "IncompleteBody"), reply
    assert raw.request("HEAD", f"/{bucket}/k").status == 404


@pytest.mark.parametrize("headers, body", [({"content-length": "10"}, b""), ({"content-length": "10"}, b"12345"), ({"transfer-encoding": "chunked"}, b"5\r\nhel")])
def test_an_object_cut_short(raw, bucket, headers, body):
    expect_incomplete(raw, bucket, ended_early(raw, "PUT", f"/{bucket}/k", (), headers, body, UNSIGNED))


@pytest.mark.parametrize("operation", ("UploadPart", "CompleteMultipartUpload", "DeleteObjects"))
def test_a_part_and_a_document_cut_short(raw, s3, bucket, operation):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    method, path, query, headers = {
        "UploadPart": ("PUT", f"/{bucket}/k", [("partNumber", "1"), ("uploadId", upload)], {}),
        "CompleteMultipartUpload": ("POST", f"/{bucket}/k", [("uploadId", upload)], {}),
        "DeleteObjects": ("POST", f"/{bucket}", [("delete", "")], {"content-md5": "1B2M2Y8AsgTpgAmY7PhCfg=="}),
    }[operation]
    expect_incomplete(raw, bucket, ended_early(raw, method, path, query, {**headers, "content-length": "100"}, b"<", UNSIGNED))
    assert "Parts" not in s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)


@pytest.mark.parametrize("decoded, body", [(2, CHUNKS), (0, CHUNKS), (5, b"5\r\n<ab"), (1, b"1\r\n<\r\n"), (1, CHUNKS[:20]), (1, CHUNKS[:-2]), (0, b"")])
@pytest.mark.parametrize("http_is_short", (False, True))
def test_aws_chunks_that_hold_another_length_than_announced(raw, bucket, decoded, body, http_is_short):
    length = len(body) + (50 if http_is_short else 0)
    headers = {"content-length": str(length), "x-amz-content-sha256": TRAILER, "x-amz-decoded-content-length": str(decoded), "x-amz-trailer": "x-amz-checksum-crc32"}
    expect_incomplete(raw, bucket, ended_early(raw, "PUT", f"/{bucket}/k", (), headers, body, TRAILER))
