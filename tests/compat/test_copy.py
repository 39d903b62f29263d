"""CopyObject, by boto3."""

import datetime
import hashlib

import pytest

from support.values import value

HOUR = datetime.timedelta(hours=1)
OTHER = '"00000000000000000000000000000000"'


@pytest.fixture
def source(s3, bucket):
    s3.put_object(Bucket=bucket, Key="src", Body=b"source body", Metadata={"a": "1"}, ContentType="text/plain", CacheControl="no-cache")
    return {"Bucket": bucket, "Key": "src"}


def read(s3, bucket, key):
    reply = s3.get_object(Bucket=bucket, Key=key)
    return reply, reply["Body"].read()


def test_a_copy_takes_bytes_and_metadata(s3, bucket, source):
    reply = s3.copy_object(Bucket=bucket, Key="dst", CopySource=source)
    assert reply["CopyObjectResult"]["ETag"] == f'"{hashlib.md5(b"source body").hexdigest()}"'
    assert reply["CopyObjectResult"]["LastModified"].year >= 2024
    got, data = read(s3, bucket, "dst")
    assert data == b"source body" and got["Metadata"] == {"a": "1"}
    assert got["ContentType"] == "text/plain" and got["CacheControl"] == "no-cache"


def test_the_replace_directive_takes_the_requests_metadata(s3, bucket, source):
    s3.copy_object(Bucket=bucket, Key="dst", CopySource=source, MetadataDirective="REPLACE", Metadata={"b": "2"}, ContentType="text/css")
    got, data = read(s3, bucket, "dst")
    assert data == b"source body" and got["Metadata"] == {"b": "2"} and got["ContentType"] == "text/css" and "CacheControl" not in got


def test_the_copy_directive_ignores_the_requests_metadata(s3, bucket, source):
    s3.copy_object(Bucket=bucket, Key="dst", CopySource=source, MetadataDirective="COPY", Metadata={"b": "2"})
    assert read(s3, bucket, "dst")[0]["Metadata"] == {"a": "1"}


def test_an_unknown_directive_is_refused(s3, bucket, source, refused):
    with refused(400, "InvalidArgument"):
        s3.copy_object(Bucket=bucket, Key="dst", CopySource=source, MetadataDirective="MERGE")


def test_a_copy_onto_itself_needs_a_change(s3, bucket, source, refused):
    with refused(400, "InvalidRequest"):
        s3.copy_object(Bucket=bucket, Key="src", CopySource=source)
    s3.copy_object(Bucket=bucket, Key="src", CopySource=source, MetadataDirective="REPLACE", Metadata={"n": "3"})
    got, data = read(s3, bucket, "src")
    assert data == b"source body" and got["Metadata"] == {"n": "3"}


def test_a_copy_onto_itself_may_name_the_storage_class(s3, bucket, source, refused):
    s3.copy_object(Bucket=bucket, Key="src", CopySource=source, StorageClass="STANDARD_IA")
    got, data = read(s3, bucket, "src")
    assert data == b"source body" and got["Metadata"] == {"a": "1"} and got["StorageClass"] == "STANDARD_IA"
    entry = s3.list_objects_v2(Bucket=bucket)["Contents"][0]
    assert entry["StorageClass"] == "STANDARD_IA"
    version = s3.list_object_versions(Bucket=bucket)["Versions"][0]
    assert version["StorageClass"] == "STANDARD_IA"
    s3.copy_object(Bucket=bucket, Key="dst", CopySource=source)
    assert "StorageClass" not in s3.head_object(Bucket=bucket, Key="dst"), "a copy has the class that it names, not its source's"
    s3.copy_object(Bucket=bucket, Key="src", CopySource=source, StorageClass="STANDARD")
    assert "StorageClass" not in s3.head_object(Bucket=bucket, Key="src")
    with refused(400, "InvalidStorageClass"):
        s3.copy_object(Bucket=bucket, Key="src", CopySource=source, StorageClass="BOGUS")


def test_a_put_keeps_its_storage_class(s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", StorageClass="GLACIER_IR")
    assert s3.get_object(Bucket=bucket, Key="k")["StorageClass"] == "GLACIER_IR"
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", StorageClass="STANDARD")
    assert "StorageClass" not in s3.head_object(Bucket=bucket, Key="k")
    with refused(400, "InvalidStorageClass"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", StorageClass="BOGUS")


def test_a_copy_obeys_its_conditions(s3, bucket, source, refused):
    head = s3.head_object(**source)
    etag, modified = head["ETag"], head["LastModified"]
    good = [
        {"CopySourceIfMatch": etag}, {"CopySourceIfNoneMatch": OTHER}, {"CopySourceIfModifiedSince": modified - HOUR},
        {"CopySourceIfUnmodifiedSince": modified}, {"CopySourceIfMatch": etag, "CopySourceIfUnmodifiedSince": modified - HOUR},
    ]
    bad = [
        {"CopySourceIfMatch": OTHER}, {"CopySourceIfNoneMatch": etag}, {"CopySourceIfModifiedSince": modified},
        {"CopySourceIfUnmodifiedSince": modified - HOUR}, {"CopySourceIfNoneMatch": etag, "CopySourceIfModifiedSince": modified - HOUR},
    ]
    for condition in good:
        s3.copy_object(Bucket=bucket, Key="dst", CopySource=source, **condition)
    for condition in bad:
        with refused(412, "PreconditionFailed"):
            s3.copy_object(Bucket=bucket, Key="never", CopySource=source, **condition)
    with refused(404):
        s3.head_object(Bucket=bucket, Key="never")


def test_missing_sources_are_404(s3, bucket, refused):
    with refused(404, "NoSuchKey"):
        s3.copy_object(Bucket=bucket, Key="dst", CopySource={"Bucket": bucket, "Key": "none"})
    with refused(404, "NoSuchBucket"):
        s3.copy_object(Bucket=bucket, Key="dst", CopySource={"Bucket": "no-such-bucket", "Key": "none"})
    with refused(404, "NoSuchBucket"):
        s3.copy_object(Bucket="no-such-bucket", Key="dst", CopySource={"Bucket": bucket, "Key": "none"})


def test_a_malformed_source_is_refused(s3, bucket, refused):
    with refused(400, "InvalidArgument"):
        s3.copy_object(Bucket=bucket, Key="dst", CopySource="nokey")


@pytest.mark.parametrize("key", ["sp ace+plus", "ü/日本", "per%20cent", "a//b", "q?x=1&y", "x/../up"])
def test_odd_source_keys_are_found(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    s3.copy_object(Bucket=bucket, Key="dst", CopySource={"Bucket": bucket, "Key": key})
    assert read(s3, bucket, "dst")[1] == key.encode()


def test_a_copy_by_version_null_works_and_another_does_not(s3, bucket, source, refused):
    s3.copy_object(Bucket=bucket, Key="dst", CopySource={**source, "VersionId": "null"})
    with refused(400, "InvalidArgument"):
        s3.copy_object(Bucket=bucket, Key="dst", CopySource={**source, "VersionId": "bogus"})


def test_a_copy_between_buckets_and_of_every_size(s3, bucket):
    other = bucket + "-other"
    s3.create_bucket(Bucket=other)
    for size in (0, 1, 65504, 131072, 131073, 3_000_000):
        body = value(size, size)
        s3.put_object(Bucket=bucket, Key="s", Body=body)
        s3.copy_object(Bucket=other, Key="d", CopySource={"Bucket": bucket, "Key": "s"})
        assert read(s3, other, "d")[1] == body


def test_a_copy_outlives_its_source(s3, bucket, source):
    s3.copy_object(Bucket=bucket, Key="dst", CopySource=source)
    s3.delete_object(**source)
    assert read(s3, bucket, "dst")[1] == b"source body"


def test_a_copy_can_ask_for_a_checksum(s3, bucket, source):
    result = s3.copy_object(Bucket=bucket, Key="dst", CopySource=source, ChecksumAlgorithm="SHA256")["CopyObjectResult"]
    assert result["ChecksumSHA256"]
    assert s3.head_object(Bucket=bucket, Key="dst", ChecksumMode="ENABLED")["ChecksumSHA256"] == result["ChecksumSHA256"]
