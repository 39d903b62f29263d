"""The checksum family, by boto3 (as headers, since the endpoint is plain HTTP; trailers are in test_signing)."""

import base64
import hashlib
import zlib

import pytest

from support.sigv4 import checksum
from support.values import value

FAMILY = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]
PART = 5 << 20


def field(algorithm):
    return f"Checksum{algorithm}"


@pytest.mark.parametrize("algorithm", FAMILY)
def test_a_checksum_is_verified_stored_and_returned(s3, bucket, algorithm, refused):
    body = b"checksummed body"
    right = checksum(algorithm, body)
    put = s3.put_object(Bucket=bucket, Key="k", Body=body, **{field(algorithm): right})
    assert put[field(algorithm)] == right and put["ChecksumType"] == "FULL_OBJECT"
    for operation in (s3.get_object, s3.head_object):
        reply = operation(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
        assert reply[field(algorithm)] == right and reply["ChecksumType"] == "FULL_OBJECT"
    assert field(algorithm) not in s3.head_object(Bucket=bucket, Key="k")
    entry = s3.list_objects_v2(Bucket=bucket)["Contents"][0]
    assert entry["ChecksumAlgorithm"] == [algorithm] and entry["ChecksumType"] == "FULL_OBJECT"
    with refused(400, "BadDigest"):
        s3.put_object(Bucket=bucket, Key="bad", Body=body, **{field(algorithm): checksum(algorithm, b"other")})
    with refused(400, "InvalidRequest", "InvalidArgument"):
        s3.put_object(Bucket=bucket, Key="bad", Body=body, **{field(algorithm): "AAAA"})
    with refused(404):
        s3.head_object(Bucket=bucket, Key="bad")


@pytest.mark.parametrize("algorithm", FAMILY)
@pytest.mark.parametrize("size", [0, 300_000])
def test_the_sdk_computes_and_checks_it(s3, bucket, algorithm, size):
    body = value(size, size)
    s3.put_object(Bucket=bucket, Key="k", Body=body, ChecksumAlgorithm=algorithm)
    reply = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert reply["Body"].read() == body and reply[field(algorithm)]


def test_the_sdks_default_is_kept(s3, bucket):
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"body")
    crc = base64.b64encode(zlib.crc32(b"body").to_bytes(4, "big")).decode()
    assert put["ChecksumCRC32"] == crc
    assert s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["ChecksumCRC32"] == crc


def test_a_part_range_gives_no_whole_checksum(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=bytes(1000), ChecksumAlgorithm="CRC32")
    reply = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED", Range="bytes=0-9")
    assert reply["Body"].read() == bytes(10)


def upload(s3, bucket, algorithm, kind, bodies):
    created = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm=algorithm, **({"ChecksumType": kind} if kind else {}))
    assert created["ChecksumAlgorithm"] == algorithm
    parts = []
    for number, body in enumerate(bodies, 1):
        reply = s3.upload_part(Bucket=bucket, Key="k", UploadId=created["UploadId"], PartNumber=number, Body=body, ChecksumAlgorithm=algorithm)
        parts.append({"PartNumber": number, "ETag": reply["ETag"], field(algorithm): reply[field(algorithm)]})
    return created["UploadId"], parts


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "SHA1", "SHA256"])
def test_a_composite_checksum_is_that_of_the_parts_checksums(s3, bucket, algorithm):
    bodies = [value(1, PART), value(2, 1000)]
    upload_id, parts = upload(s3, bucket, algorithm, None, bodies)
    listed = s3.list_parts(Bucket=bucket, Key="k", UploadId=upload_id)
    assert [p[field(algorithm)] for p in listed["Parts"]] == [p[field(algorithm)] for p in parts]
    assert listed["ChecksumAlgorithm"] == algorithm and listed["ChecksumType"] == "COMPOSITE"
    done = s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload_id, MultipartUpload={"Parts": parts})
    joined = b"".join(base64.b64decode(p[field(algorithm)]) for p in parts)
    want = checksum(algorithm, joined) + "-2"
    assert done[field(algorithm)] == want and done["ChecksumType"] == "COMPOSITE"
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert head[field(algorithm)] == want and head["ChecksumType"] == "COMPOSITE"
    part = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED", PartNumber=2)
    assert part["ContentLength"] == 1000
    assert s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["Body"].read() == b"".join(bodies)


def slow_checksum(algorithm, data):
    """The checksum of large data: by awscrt if Python's own would take minutes."""
    if algorithm == "CRC32":
        return checksum(algorithm, data)
    crt = pytest.importorskip("awscrt.checksums")
    number, size = (crt.crc32c(data), 4) if algorithm == "CRC32C" else (crt.crc64nvme(data), 8)
    return base64.b64encode(number.to_bytes(size, "big")).decode()


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME"])
def test_a_full_object_checksum_is_that_of_all_bytes(s3, bucket, algorithm, refused):
    bodies = [value(1, PART), value(2, PART + 77), value(3, 1000)]
    upload_id, parts = upload(s3, bucket, algorithm, "FULL_OBJECT", bodies)
    want = slow_checksum(algorithm, b"".join(bodies))
    wrong = slow_checksum(algorithm, b"other")
    with refused(400, "BadDigest"):
        s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload_id, MultipartUpload={"Parts": parts},
                                     ChecksumType="FULL_OBJECT", **{field(algorithm): wrong})
    done = s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload_id, MultipartUpload={"Parts": parts},
                                        ChecksumType="FULL_OBJECT", **{field(algorithm): want})
    assert done[field(algorithm)] == want and done["ChecksumType"] == "FULL_OBJECT"
    reply = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert reply["Body"].read() == b"".join(bodies) and reply[field(algorithm)] == want


def test_a_sha_cannot_be_full_object(s3, bucket, refused):
    with refused(400, "InvalidRequest"):
        s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm="SHA256", ChecksumType="FULL_OBJECT")


def test_wrong_part_checksums_are_refused(s3, bucket, refused):
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm="SHA256")["UploadId"]
    where = {"Bucket": bucket, "Key": "k", "UploadId": upload_id}
    with refused(400, "BadDigest"):
        s3.upload_part(**where, PartNumber=1, Body=b"x", ChecksumSHA256=checksum("sha256", b"y"))
    part = s3.upload_part(**where, PartNumber=1, Body=b"x", ChecksumSHA256=checksum("sha256", b"x"))
    wrong = {"PartNumber": 1, "ETag": part["ETag"], "ChecksumSHA256": checksum("sha256", b"y")}
    with refused(400, "InvalidPart", "BadDigest"):
        s3.complete_multipart_upload(**where, MultipartUpload={"Parts": [wrong]})


def unchecked(node):
    """A client that sends no checksum of its own, like SDKs before 2025."""
    return node.boto3(request_checksum_calculation="when_required")


def test_an_object_without_a_checksum_gets_crc64nvme(server, bucket):
    s3 = unchecked(server)
    for body in (b"", b"body", value(3, 200_000)):
        want = checksum("crc64nvme", body)
        put = s3.put_object(Bucket=bucket, Key="k", Body=body)
        assert (put["ChecksumCRC64NVME"], put["ChecksumType"]) == (want, "FULL_OBJECT")
        assert put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
        head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
        assert (head["ChecksumCRC64NVME"], head["ChecksumType"]) == (want, "FULL_OBJECT")
        assert "ChecksumCRC64NVME" not in s3.head_object(Bucket=bucket, Key="k")
        entry = s3.list_objects_v2(Bucket=bucket)["Contents"][0]
        assert (entry["ChecksumAlgorithm"], entry["ChecksumType"]) == (["CRC64NVME"], "FULL_OBJECT")
        copy = s3.copy_object(Bucket=bucket, Key="k2", CopySource={"Bucket": bucket, "Key": "k"})["CopyObjectResult"]
        assert copy["ChecksumCRC64NVME"] == want
        s3.delete_object(Bucket=bucket, Key="k2")


def test_an_upload_without_a_checksum_gets_crc64nvme(server, bucket):
    s3 = unchecked(server)
    source = value(7, 2 * PART)
    s3.put_object(Bucket=bucket, Key="src", Body=source)
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    where = {"Bucket": bucket, "Key": "k", "UploadId": upload_id}
    bodies = [value(1, PART), source[5:PART + 5], value(2, 1000)]
    first = s3.upload_part(**where, PartNumber=2, Body=bodies[0])
    copied = s3.upload_part_copy(**where, PartNumber=5, CopySource={"Bucket": bucket, "Key": "src"}, CopySourceRange=f"bytes=5-{PART + 4}")
    last = s3.upload_part(**where, PartNumber=9, Body=bodies[2])
    assert last["ChecksumCRC64NVME"] == checksum("crc64nvme", bodies[2])
    assert "ChecksumAlgorithm" not in s3.list_parts(**where), "nobody asked for one"
    parts = [{"PartNumber": number, "ETag": etag} for number, etag in
             ((2, first["ETag"]), (5, copied["CopyPartResult"]["ETag"]), (9, last["ETag"]))]
    done = s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    want = slow_checksum("CRC64NVME", b"".join(bodies))
    assert (done["ChecksumCRC64NVME"], done["ChecksumType"]) == (want, "FULL_OBJECT")
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (head["ChecksumCRC64NVME"], head["ChecksumType"]) == (want, "FULL_OBJECT")


@pytest.mark.parametrize("algorithm, kind", [("SHA256", None), ("CRC32", None), ("CRC32", "FULL_OBJECT")])
def test_a_complete_must_fit_the_checksum_of_its_upload(s3, bucket, algorithm, kind, refused):
    """AWS, "CompleteMultipartUpload": the type is compared, a composite needs every part's checksum, and numbers have no gaps."""
    upload_id, parts = upload(s3, bucket, algorithm, kind, [value(1, PART), value(2, 1000)])
    where = {"Bucket": bucket, "Key": "k", "UploadId": upload_id}
    other = "COMPOSITE" if kind else "FULL_OBJECT"
    with refused(400, "BadDigest"):
        s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts}, ChecksumType=other)
    with refused(400, "InvalidPartOrder"):
        s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts[1:]})
    bare = [parts[0], {"PartNumber": 2, "ETag": parts[1]["ETag"]}]
    if kind:
        assert s3.complete_multipart_upload(**where, MultipartUpload={"Parts": bare})["ETag"]
        return
    with refused(400, "InvalidRequest", message="It was missing for part 2"):
        s3.complete_multipart_upload(**where, MultipartUpload={"Parts": bare})
    s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts}, ChecksumType="COMPOSITE")


def test_an_upload_without_algorithm_takes_parts_with_any(s3, bucket):
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="k", UploadId=upload_id, PartNumber=1, Body=b"x")
    s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload_id,
                                 MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


def test_etags_do_not_depend_on_checksums(s3, bucket):
    for algorithm in FAMILY:
        put = s3.put_object(Bucket=bucket, Key="k", Body=b"same", ChecksumAlgorithm=algorithm)
        assert put["ETag"] == f'"{hashlib.md5(b"same").hexdigest()}"'
