"""Conditional reads and writes, by boto3."""

import datetime
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

HOUR = datetime.timedelta(hours=1)
OTHER = '"00000000000000000000000000000000"'


@pytest.fixture
def put(s3, bucket):
    reply = s3.put_object(Bucket=bucket, Key="k", Body=b"body")
    modified = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    return reply["ETag"], modified


def status(call, **args):
    try:
        return call(**args)["ResponseMetadata"]["HTTPStatusCode"]
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"]


def test_reads_obey_each_condition_alone(s3, bucket, put):
    etag, modified = put
    cases = [
        ({"IfMatch": etag}, 200), ({"IfMatch": etag.strip('"')}, 200), ({"IfMatch": OTHER}, 412), ({"IfMatch": "*"}, 200),
        ({"IfNoneMatch": etag}, 304), ({"IfNoneMatch": OTHER}, 200),
        ({"IfModifiedSince": modified}, 304), ({"IfModifiedSince": modified - HOUR}, 200),
        ({"IfUnmodifiedSince": modified}, 200), ({"IfUnmodifiedSince": modified - HOUR}, 412),
    ]
    for operation in (s3.get_object, s3.head_object):
        for condition, want in cases:
            assert status(operation, Bucket=bucket, Key="k", **condition) == want, (operation.__name__, condition)


def test_reads_combine_conditions_as_rfc_7232_says(s3, bucket, put):
    etag, modified = put
    cases = [
        ({"IfMatch": etag, "IfUnmodifiedSince": modified - HOUR}, 200),
        ({"IfNoneMatch": etag, "IfModifiedSince": modified - HOUR}, 304),
        ({"IfNoneMatch": OTHER, "IfModifiedSince": modified}, 200),
        ({"IfMatch": OTHER, "IfNoneMatch": OTHER}, 412),
    ]
    for condition, want in cases:
        for operation in (s3.get_object, s3.head_object):
            assert status(operation, Bucket=bucket, Key="k", **condition) == want, condition


def test_a_304_carries_the_etag_and_no_body(s3, bucket, put):
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket=bucket, Key="k", IfNoneMatch=put[0])
    assert caught.value.response["ResponseMetadata"]["HTTPHeaders"]["etag"] == put[0]


def test_put_if_none_match_creates_once(s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="once", Body=b"first", IfNoneMatch="*")
    with refused(412, "PreconditionFailed"):
        s3.put_object(Bucket=bucket, Key="once", Body=b"second", IfNoneMatch="*")
    assert s3.get_object(Bucket=bucket, Key="once")["Body"].read() == b"first"
    s3.delete_object(Bucket=bucket, Key="once")
    s3.put_object(Bucket=bucket, Key="once", Body=b"third", IfNoneMatch="*")


def test_put_if_none_match_of_an_etag_is_refused(s3, bucket, put):
    assert status(s3.put_object, Bucket=bucket, Key="k", Body=b"x", IfNoneMatch=OTHER) in (400, 501)


def test_put_if_match_swaps(s3, bucket, put, refused):
    swapped = s3.put_object(Bucket=bucket, Key="k", Body=b"two", IfMatch=put[0])["ETag"]
    with refused(412, "PreconditionFailed"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"three", IfMatch=put[0])
    assert s3.head_object(Bucket=bucket, Key="k")["ETag"] == swapped
    with refused(404, "NoSuchKey"):
        s3.put_object(Bucket=bucket, Key="none", Body=b"x", IfMatch=put[0])


@pytest.mark.parametrize("size", [10, 300_000])
def test_exactly_one_of_many_concurrent_creators_wins(s3, bucket, size):
    def create(key, n):
        return n, status(s3.put_object, Bucket=bucket, Key=key, Body=bytes([n]) * size, IfNoneMatch="*")

    with ThreadPoolExecutor(16) as pool:
        for turn in range(5):
            results = list(pool.map(lambda n: create(f"race-{turn}", n), range(16)))
            winners = [n for n, code in results if code == 200]
            assert len(winners) == 1 and {code for _, code in results} <= {200, 409, 412}, results
            assert s3.get_object(Bucket=bucket, Key=f"race-{turn}")["Body"].read() == bytes([winners[0]]) * size


def test_a_counter_by_if_match_loses_no_increment(s3, bucket):
    s3.put_object(Bucket=bucket, Key="n", Body=b"0")

    def add(_):
        done = 0
        while done < 5:
            now = s3.get_object(Bucket=bucket, Key="n")
            body = str(int(now["Body"].read()) + 1).encode()
            done += status(s3.put_object, Bucket=bucket, Key="n", Body=body, IfMatch=now["ETag"]) == 200

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(add, range(6)))
    assert s3.get_object(Bucket=bucket, Key="n")["Body"].read() == b"30"


def test_complete_multipart_obeys_if_none_match(s3, bucket, put, refused):
    def upload(key, **condition):
        upload_id = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        part = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload_id, PartNumber=1, Body=b"part")
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        return s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id, MultipartUpload=parts, **condition)

    with refused(412, "PreconditionFailed"):
        upload("k", IfNoneMatch="*")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"body"
    upload("fresh", IfNoneMatch="*")
    upload("k", IfMatch=put[0])
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"part"


def test_a_missing_bucket_comes_before_a_condition(s3, refused):
    for call in (
        lambda: s3.put_object(Bucket="no-such-bucket", Key="k", Body=b"x", IfMatch='"x"'),
        lambda: s3.delete_object(Bucket="no-such-bucket", Key="k", IfMatch='"x"'),
        lambda: s3.complete_multipart_upload(Bucket="no-such-bucket", Key="k", UploadId="0" * 32, IfMatch='"x"',
                                             MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": "x"}]}),
    ):
        with refused(404, "NoSuchBucket"):
            call()
