"""The suite's own signer against the worked examples of AWS's pages, before it is used to judge a server."""

import base64
import datetime

from support.sigv4 import EMPTY_SHA256, STREAMING, STREAMING_TRAILER, Signer, checksum


def example_signer():
    signer = Signer("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    signer.now = lambda: datetime.datetime(2013, 5, 24, tzinfo=datetime.timezone.utc)
    return signer


def test_the_get_example():
    head = example_signer().headers("GET", "examplebucket.s3.amazonaws.com", "/test.txt", (), {"range": "bytes=0-9"}, EMPTY_SHA256)
    assert head["authorization"].endswith("f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")


def test_the_presigned_example():
    target = example_signer().presign("GET", "examplebucket.s3.amazonaws.com", "/test.txt", (), 86400)
    assert target.endswith("aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404")


def test_the_chunked_example():
    signer = example_signer()
    extra = {"content-encoding": "aws-chunked", "content-length": "66824", "x-amz-decoded-content-length": "66560",
             "x-amz-storage-class": "REDUCED_REDUNDANCY"}
    head = signer.headers("PUT", "s3.amazonaws.com", "/examplebucket/chunkObject.txt", (), extra, STREAMING)
    assert head["authorization"].endswith("4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9")
    body = signer.chunks(head, [b"a" * 65536, b"a" * 1024])
    assert len(body) == 66824
    assert b"0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n" in body


def test_the_trailer_example():
    signer = example_signer()
    extra = {"content-encoding": "aws-chunked", "x-amz-decoded-content-length": "66560",
             "x-amz-storage-class": "REDUCED_REDUNDANCY", "x-amz-trailer": "x-amz-checksum-crc32c"}
    head = signer.headers("PUT", "s3.amazonaws.com", "/examplebucket/chunkObject.txt", (), extra, STREAMING_TRAILER)
    assert head["authorization"].endswith("106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e")
    body = signer.chunks(head, [b"a" * 65536, b"a" * 1024], ("x-amz-checksum-crc32c", "sOO8/Q=="))
    assert b"x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n" in body


def test_the_check_values_of_the_crcs():
    for name, value, size in (("crc32", 0xCBF43926, 4), ("crc32c", 0xE3069283, 4), ("crc64nvme", 0xAE8B14860A799888, 8)):
        assert checksum(name, b"123456789") == base64.b64encode(value.to_bytes(size, "big")).decode()
