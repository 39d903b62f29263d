"""PutObject, GetObject, HeadObject, DeleteObject and DeleteObjects, by boto3."""

import base64
import datetime
import hashlib
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.sigv4 import ALGORITHMS, checksum
from support.values import value

MIB = 1 << 20
# Around each border of the format: small blob, block payload, slice payload, and the extent of 1,024 blocks.
BORDERS = [0, 1, 4096, 65503, 65504, 65505, 128 * 1024 - 1, 128 * 1024, 128 * 1024 + 1, 262015, 262016, 262017, MIB, 5 * MIB + 3]
EXTENT = 65504 * 1024


def etag(data):
    return f'"{hashlib.md5(data).hexdigest()}"'


def get(s3, bucket, key, **extra):
    reply = s3.get_object(Bucket=bucket, Key=key, **extra)
    return reply, reply["Body"].read()


@pytest.mark.parametrize("size", BORDERS)
def test_every_size_reads_back_with_its_md5_as_etag(s3, bucket, size):
    body = value(size, size)
    put = s3.put_object(Bucket=bucket, Key="k", Body=body)
    assert put["ETag"] == etag(body)
    reply, data = get(s3, bucket, "k")
    assert data == body and reply["ETag"] == etag(body) and reply["ContentLength"] == size
    assert reply["AcceptRanges"] == "bytes" and reply["ContentType"] == "binary/octet-stream"
    head = s3.head_object(Bucket=bucket, Key="k")
    assert (head["ContentLength"], head["ETag"], head["LastModified"]) == (size, etag(body), reply["LastModified"])


def test_an_overwrite_replaces_bytes_and_metadata(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"old", Metadata={"a": "1"}, ContentType="text/plain")
    s3.put_object(Bucket=bucket, Key="k", Body=b"newer")
    reply, data = get(s3, bucket, "k")
    assert data == b"newer" and reply["Metadata"] == {} and reply["ContentType"] == "binary/octet-stream"


def test_missing_keys_are_404(s3, bucket, refused):
    with refused(404, "NoSuchKey"):
        s3.get_object(Bucket=bucket, Key="none")
    with refused(404):
        s3.head_object(Bucket=bucket, Key="none")


def test_the_null_version_can_be_read_and_others_not(s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert get(s3, bucket, "k", VersionId="null")[1] == b"x"
    s3.head_object(Bucket=bucket, Key="k", VersionId="null")
    with refused(400, "InvalidArgument"):
        s3.get_object(Bucket=bucket, Key="k", VersionId="bogus")


RANGES = [
    ("bytes=0-0", 0, 1), ("bytes=0-9", 0, 10), ("bytes=5-", 5, 100), ("bytes=-7", 93, 100), ("bytes=99-", 99, 100),
    ("bytes=90-2000", 90, 100), ("bytes=-5000", 0, 100), ("bytes=0-", 0, 100),
]


@pytest.mark.parametrize("text,start,end", RANGES)
def test_a_range_returns_its_bytes(s3, bucket, text, start, end):
    body = bytes(range(100))
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    reply, data = get(s3, bucket, "k", Range=text)
    assert data == body[start:end]
    assert reply["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert reply["ContentRange"] == f"bytes {start}-{end - 1}/100" and reply["ContentLength"] == end - start
    head = s3.head_object(Bucket=bucket, Key="k", Range=text)
    assert head["ResponseMetadata"]["HTTPStatusCode"] == 206 and head["ContentLength"] == end - start


@pytest.mark.parametrize("text", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_outside_is_416(s3, bucket, refused, text):
    s3.put_object(Bucket=bucket, Key="k", Body=bytes(100))
    with refused(416, "InvalidRange"):
        s3.get_object(Bucket=bucket, Key="k", Range=text)
    with refused(416):
        s3.head_object(Bucket=bucket, Key="k", Range=text)


def test_a_range_of_an_empty_object_is_416(s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    with refused(416, "InvalidRange"):
        s3.get_object(Bucket=bucket, Key="k", Range="bytes=0-")


@pytest.mark.parametrize("text", ["bytes=a-b", "bytes=9-3", "lines=0-3", "bytes=0-1,4-5", "0-3"])
def test_a_range_that_s3_does_not_know_is_ignored(s3, bucket, text):
    s3.put_object(Bucket=bucket, Key="k", Body=bytes(10))
    reply, data = get(s3, bucket, "k", Range=text)
    assert data == bytes(10) and reply["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_random_ranges_of_a_large_object_over_an_extent_border(s3, bucket):
    size = EXTENT + 3 * MIB + 17
    body = value(42, size)
    assert s3.put_object(Bucket=bucket, Key="large", Body=body)["ETag"] == etag(body)
    rng = random.Random(7)
    spots = [(EXTENT - 1, EXTENT + 1), (EXTENT - 65504, EXTENT), (EXTENT, size), (0, 1), (size - 1, size), (262016 - 1, 262016 + 1)]
    for _ in range(60):
        start = rng.randrange(size)
        spots.append((start, min(size, start + rng.choice([1, 100, 4096, 65504, 300_000, 3 * MIB]))))

    def check(spot):
        start, end = spot
        data = get(s3, bucket, "large", Range=f"bytes={start}-{end - 1}")[1]
        assert data == body[start:end], f"range {start}-{end - 1}"

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(check, spots))
    assert get(s3, bucket, "large")[1] == body


def test_part_number_of_an_object_of_one_put(s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="k", Body=b"whole")
    reply, data = get(s3, bucket, "k", PartNumber=1)
    assert data == b"whole" and reply["ContentRange"] == "bytes 0-4/5"
    with refused(416, "InvalidPartNumber", "InvalidRange"):
        s3.get_object(Bucket=bucket, Key="k", PartNumber=2)
    with refused(400, "InvalidRequest"):
        s3.get_object(Bucket=bucket, Key="k", PartNumber=1, Range="bytes=0-1")


OVERRIDES = {
    "ResponseContentType": ("content-type", "text/x-mine"), "ResponseContentLanguage": ("content-language", "de"),
    "ResponseExpires": ("expires", "Thu, 01 Dec 2044 16:00:00 GMT"), "ResponseCacheControl": ("cache-control", "max-age=3"),
    "ResponseContentDisposition": ("content-disposition", 'attachment; filename="x y.txt"'),
    "ResponseContentEncoding": ("content-encoding", "x-none"),
}


@pytest.mark.parametrize("name", OVERRIDES)
def test_a_response_override_replaces_the_header(s3, bucket, name):
    header, text = OVERRIDES[name]
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ContentType="text/plain", CacheControl="no-store")
    given = datetime.datetime(2044, 12, 1, 16, tzinfo=datetime.timezone.utc) if name == "ResponseExpires" else text
    for operation in (s3.get_object, s3.head_object):
        reply = operation(Bucket=bucket, Key="k", **{name: given})
        assert reply["ResponseMetadata"]["HTTPHeaders"][header] == text


STORED = {
    "CacheControl": "max-age=60, private", "ContentDisposition": 'attachment; filename="a.txt"', "ContentEncoding": "gzip",
    "ContentLanguage": "en, de", "ContentType": "text/html; charset=utf-8",
}


def test_stored_headers_and_metadata_come_back(s3, bucket):
    expires = datetime.datetime(2044, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
    meta = {"plain": "one", "with-dash": "two words", "empty": ""}
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Metadata=meta, Expires=expires, **STORED)
    for operation in (s3.get_object, s3.head_object):
        reply = operation(Bucket=bucket, Key="k")
        assert {k: reply[k] for k in STORED} == STORED
        assert reply["Metadata"] == meta
        assert "2044" in reply["ResponseMetadata"]["HTTPHeaders"]["expires"]


def test_metadata_of_2_kib_is_taken_and_more_is_refused(s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="k", Body=b"", Metadata={"k": "v" * 2000})
    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == {"k": "v" * 2000}
    with refused(400, "MetadataTooLarge"):
        s3.put_object(Bucket=bucket, Key="big", Body=b"", Metadata={"k": "v" * 2048})
    with refused(400, "MetadataTooLarge"):
        s3.create_multipart_upload(Bucket=bucket, Key="big", Metadata={f"k{n}": "v" * 400 for n in range(6)})


def test_content_md5_is_checked(s3, bucket, refused):
    right = base64.b64encode(hashlib.md5(b"body").digest()).decode()
    wrong = base64.b64encode(hashlib.md5(b"else").digest()).decode()
    s3.put_object(Bucket=bucket, Key="k", Body=b"body", ContentMD5=right)
    with refused(400, "BadDigest"):
        s3.put_object(Bucket=bucket, Key="bad", Body=b"body", ContentMD5=wrong)
    with refused(400, "InvalidDigest"):
        s3.put_object(Bucket=bucket, Key="bad", Body=b"body", ContentMD5="bm90IGFuIG1kNQ==")
    with refused(404):
        s3.head_object(Bucket=bucket, Key="bad")


def test_the_no_op_acls_are_taken_and_others_are_not(s3, bucket, refused):
    for acl in ("private", "bucket-owner-full-control"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL=acl)
    for extra in ({"ACL": "public-read"}, {"GrantRead": 'id="x"'}, {"Tagging": "a=b"}, {"ServerSideEncryption": "AES256"},
                  {"ObjectLockLegalHoldStatus": "ON"}, {"WebsiteRedirectLocation": "/x"}, {"StorageClass": "OUTPOSTS"}):
        with refused(400 if "StorageClass" in extra else 501, *(["InvalidStorageClass"] if "StorageClass" in extra else ["NotImplemented"])):
            s3.put_object(Bucket=bucket, Key="refused", Body=b"x", **extra)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", StorageClass="STANDARD")


def test_a_deleted_object_is_gone_and_a_second_delete_is_fine(s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    for _ in range(2):
        assert s3.delete_object(Bucket=bucket, Key="k")["ResponseMetadata"]["HTTPStatusCode"] == 204
    with refused(404, "NoSuchKey"):
        s3.get_object(Bucket=bucket, Key="k")


def test_a_delete_by_version_null_deletes(s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    s3.delete_object(Bucket=bucket, Key="k", VersionId="null")
    with refused(404):
        s3.head_object(Bucket=bucket, Key="k")


def test_a_conditional_delete_is_not_ignored(s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    with pytest.raises(s3.exceptions.ClientError) as caught:
        s3.delete_object(Bucket=bucket, Key="k", IfMatch='"00000000000000000000000000000000"')
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] in (412, 501)
    s3.head_object(Bucket=bucket, Key="k")


def test_delete_objects_deletes_many_and_names_each(s3, bucket):
    keys = [f"k{n}" for n in range(20)] + ["<&>", "ü", "sp ace"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    keys.append("never-there")
    reply = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": k} for k in keys]})
    assert sorted(d["Key"] for d in reply["Deleted"]) == sorted(keys) and "Errors" not in reply
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_delete_objects_by_version_null_and_quiet(s3, bucket):
    for key in ("a", "b"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    reply = s3.delete_objects(Bucket=bucket, Delete={"Quiet": True, "Objects": [{"Key": "a", "VersionId": "null"}]})
    assert "Deleted" not in reply and "Errors" not in reply
    reply = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "b", "VersionId": "null"}]})
    assert reply["Deleted"][0]["Key"] == "b" and reply["Deleted"][0]["VersionId"] == "null"
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_delete_objects_takes_a_thousand_and_refuses_more(s3, bucket, refused):
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": f"k{n}"} for n in range(1000)]})
    with refused(400, "MalformedXML"):
        s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": f"k{n}"} for n in range(1001)]})
    with refused(404, "NoSuchBucket"):
        s3.delete_objects(Bucket="no-such-bucket", Delete={"Objects": [{"Key": "k"}]})


SIX = ["a", "a/b", "a//b", "/a", "./a", "a/../b", "a/", "//", ".", "a/.", "b/..", "a/./b"]


def test_a_key_is_bytes_and_not_a_path(s3, bucket):
    for key in SIX:
        s3.put_object(Bucket=bucket, Key=key, Body=b"body of " + key.encode())
    for key in SIX:
        assert get(s3, bucket, key)[1] == b"body of " + key.encode(), key
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == sorted(SIX)
    for key in SIX:
        s3.delete_object(Bucket=bucket, Key=key)
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


@pytest.mark.parametrize("key", ["../a", "a/../../b", "..", "a/b/../../../c"])
def test_a_key_that_climbs_above_the_root_is_refused(s3, bucket, refused, key):
    with refused(400):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")


def test_the_longest_key_is_taken_and_a_longer_one_refused(s3, bucket, refused):
    for key in ("k" * 1024, "ü" * 512, "🐹" * 256):
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
        assert get(s3, bucket, key)[1] == key.encode()
    for key in ("k" * 1025, "ü" * 512 + "a", "🐹" * 257):
        with refused(400, "KeyTooLongError"):
            s3.put_object(Bucket=bucket, Key=key, Body=b"x")


def test_many_writers_and_readers_see_their_own_writes(s3, bucket):
    def work(n):
        for turn in range(15):
            body = value(n * 1000 + turn, random.Random(n * 1000 + turn).choice([10, 5000, 70_000, 400_000]))
            s3.put_object(Bucket=bucket, Key=f"w{n}", Body=body)
            assert get(s3, bucket, f"w{n}")[1] == body

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))


DELETE = b"<Delete><Object><Key>k</Key></Object></Delete>"


def test_a_deletion_of_many_needs_a_checksum_of_its_document(s3, raw, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"kept")
    for payload_hash in ("UNSIGNED-PAYLOAD", hashlib.sha256(DELETE).hexdigest()):
        reply = raw.request("POST", f"/{bucket}", [("delete", "")], body=DELETE, payload_hash=payload_hash)
        assert (reply.status, reply.code) == (400, "InvalidRequest"), reply
        assert reply.message == "Missing required header for this request: Content-MD5"
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"kept"
    for algorithm in ALGORITHMS:
        headers = {f"x-amz-checksum-{algorithm}": checksum(algorithm, DELETE)}
        assert raw.request("POST", f"/{bucket}", [("delete", "")], headers, DELETE).status == 200


def test_no_retention_can_be_bypassed_where_there_is_no_object_lock(s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="k", Body=b"kept")
    message = "x-amz-bypass-governance-retention is only applicable to Object Lock enabled buckets."
    with refused(400, "InvalidArgument", message=message):
        s3.delete_object(Bucket=bucket, Key="k", BypassGovernanceRetention=True)
    with refused(400, "InvalidArgument", message=message):
        s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k"}]}, BypassGovernanceRetention=True)
    with refused(404, "NoSuchBucket"):
        s3.delete_object(Bucket="no-such-bucket", Key="k", BypassGovernanceRetention=True)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"kept"
    s3.delete_object(Bucket=bucket, Key="k", BypassGovernanceRetention=False)


ATTRIBUTES = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]


def test_attributes_of_an_object_of_one_put(s3, bucket, refused):
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"12345", ChecksumAlgorithm="SHA256")
    found = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=ATTRIBUTES)
    assert found["ETag"] == put["ETag"].strip('"') and found["ObjectSize"] == 5 and found["StorageClass"] == "STANDARD"
    assert found["Checksum"]["ChecksumSHA256"] == put["ChecksumSHA256"] and found["Checksum"]["ChecksumType"] == "FULL_OBJECT"
    assert "ObjectParts" not in found
    assert found["LastModified"] == s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    assert s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ObjectSize"]).keys() == {"ResponseMetadata", "LastModified", "ObjectSize"}
    with refused(404, "NoSuchKey"):
        s3.get_object_attributes(Bucket=bucket, Key="none", ObjectAttributes=ATTRIBUTES)
    with refused(404, "NoSuchBucket"):
        s3.get_object_attributes(Bucket="no-such-bucket", Key="k", ObjectAttributes=ATTRIBUTES)
    with refused(400, "InvalidArgument"):
        s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["Owner"])
    with refused(400, "InvalidArgument"):
        s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=ATTRIBUTES, MaxParts=-1)


def test_attributes_list_the_parts_of_a_multipart_object_by_their_checksums(s3, raw, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm="CRC32")["UploadId"]
    parts = []
    for number, size in ((1, 5 * MIB), (2, 5 * MIB), (3, 7)):
        part = s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, Body=value(number, size), ChecksumAlgorithm="CRC32")
        parts.append({"PartNumber": number, "ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]})
    s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": parts})

    def listed(**page):
        return s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ObjectParts"], **page)["ObjectParts"]

    found = listed()
    assert (found["TotalPartsCount"], found["IsTruncated"], found["MaxParts"]) == (3, False, 1000)
    assert [(p["PartNumber"], p["Size"]) for p in found["Parts"]] == [(1, 5 * MIB), (2, 5 * MIB), (3, 7)]
    assert [p["ChecksumCRC32"] for p in found["Parts"]] == [p["ChecksumCRC32"] for p in parts]
    seen, marker = [], 0
    while True:
        page = listed(MaxParts=1, PartNumberMarker=marker)
        seen += [p["PartNumber"] for p in page["Parts"]]
        if not page["IsTruncated"]:
            break
        marker = page["NextPartNumberMarker"]
    assert seen == [1, 2, 3]
    reply = raw.request("GET", f"/{bucket}/k", [("attributes", "")])
    assert (reply.status, reply.code) == (400, "InvalidRequest")


def test_last_modified_never_goes_back_however_long_a_body_takes(raw, bucket, s3):
    """A PUT had the time at which it began: a slow one made its object look older than the one that it replaced."""
    path = f"/{bucket}/slow"
    data = raw.prepare("PUT", path, body=b"body")
    with raw.connect() as wire:
        wire.send(data[:-1])
        time.sleep(2.2)
        s3.put_object(Bucket=bucket, Key="slow", Body=b"quick")
        before = s3.head_object(Bucket=bucket, Key="slow")["LastModified"]
        wire.send(data[-1:])
        assert wire.final().status == 200
    assert raw.request("GET", path).body == b"body"
    assert s3.head_object(Bucket=bucket, Key="slow")["LastModified"] >= before
