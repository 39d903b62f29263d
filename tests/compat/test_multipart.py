"""The seven multipart operations, by boto3."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.values import value

MIB = 1 << 20
PART = 5 * MIB


class Upload:
    """One upload with its parts' ETags."""

    def __init__(self, s3, bucket, key, **extra):
        self.s3, self.where = s3, {"Bucket": bucket, "Key": key}
        self.id = s3.create_multipart_upload(**self.where, **extra)["UploadId"]
        self.etags = {}

    def part(self, number, body, **extra):
        reply = self.s3.upload_part(**self.where, UploadId=self.id, PartNumber=number, Body=body, **extra)
        self.etags[number] = reply["ETag"]
        return reply

    def copy(self, number, source, **extra):
        reply = self.s3.upload_part_copy(**self.where, UploadId=self.id, PartNumber=number, CopySource=source, **extra)
        self.etags[number] = reply["CopyPartResult"]["ETag"]
        return reply

    def complete(self, parts=None, **extra):
        parts = parts if parts is not None else [{"PartNumber": n, "ETag": e} for n, e in sorted(self.etags.items())]
        return self.s3.complete_multipart_upload(**self.where, UploadId=self.id, MultipartUpload={"Parts": parts}, **extra)

    def abort(self):
        return self.s3.abort_multipart_upload(**self.where, UploadId=self.id)

    def list(self, **extra):
        return self.s3.list_parts(**self.where, UploadId=self.id, **extra)


def etag_of(bodies):
    digest = hashlib.md5(b"".join(hashlib.md5(b).digest() for b in bodies)).hexdigest()
    return f'"{digest}-{len(bodies)}"'


def read(s3, bucket, key, **extra):
    return s3.get_object(Bucket=bucket, Key=key, **extra)["Body"].read()


@pytest.fixture(scope="module")
def bodies():
    return [value(1, PART), value(2, PART + 12345), value(3, 777)]


def test_parts_uploaded_out_of_order_become_one_object(s3, bucket, bodies, refused):
    upload = Upload(s3, bucket, "k", Metadata={"m": "1"}, ContentType="text/plain")
    for number in (3, 1, 2):
        reply = upload.part(number, bodies[number - 1])
        assert reply["ETag"] == f'"{hashlib.md5(bodies[number - 1]).hexdigest()}"'
    with refused(404):
        s3.head_object(Bucket=bucket, Key="k")
    reply = upload.complete()
    whole = b"".join(bodies)
    assert reply["ETag"] == etag_of(bodies) and reply["Key"] == "k" and reply["Bucket"] == bucket and reply["Location"]
    head = s3.head_object(Bucket=bucket, Key="k")
    assert head["ETag"] == etag_of(bodies) and head["ContentLength"] == len(whole)
    assert head["Metadata"] == {"m": "1"} and head["ContentType"] == "text/plain"
    assert read(s3, bucket, "k") == whole
    entry = s3.list_objects_v2(Bucket=bucket)["Contents"][0]
    assert entry["Size"] == len(whole) and entry["ETag"] == etag_of(bodies)
    for start, end in [(PART - 1, PART + 1), (PART, PART + 5), (2 * PART + 12344, 2 * PART + 12346), (len(whole) - 3, len(whole)), (10, 2 * PART)]:
        assert read(s3, bucket, "k", Range=f"bytes={start}-{end - 1}") == whole[start:end]


def test_a_part_can_be_read_by_its_number(s3, bucket, bodies, refused):
    upload = Upload(s3, bucket, "k")
    for number, body in enumerate(bodies, 1):
        upload.part(number, body)
    upload.complete()
    offset = 0
    for number, body in enumerate(bodies, 1):
        reply = s3.get_object(Bucket=bucket, Key="k", PartNumber=number)
        assert reply["Body"].read() == body and reply["PartsCount"] == 3
        assert reply["ContentRange"] == f"bytes {offset}-{offset + len(body) - 1}/{sum(map(len, bodies))}"
        assert s3.head_object(Bucket=bucket, Key="k", PartNumber=number)["ContentLength"] == len(body)
        offset += len(body)
    with refused(416, "InvalidPartNumber", "InvalidRange"):
        s3.get_object(Bucket=bucket, Key="k", PartNumber=4)


def test_a_part_uploaded_again_replaces_the_first(s3, bucket):
    upload = Upload(s3, bucket, "k")
    upload.part(1, b"first")
    upload.part(1, b"second!")
    assert [p["Size"] for p in upload.list()["Parts"]] == [7]
    upload.complete()
    assert read(s3, bucket, "k") == b"second!"


def test_parts_left_out_of_the_list_are_left_out_of_the_object(s3, bucket, bodies):
    upload = Upload(s3, bucket, "k")
    for number, body in enumerate(bodies, 1):
        upload.part(number, body)
    upload.complete([{"PartNumber": n, "ETag": upload.etags[n]} for n in (1, 3)])
    assert read(s3, bucket, "k") == bodies[0] + bodies[2]


def test_wrong_lists_are_refused_and_the_upload_lives_on(s3, bucket, bodies, refused):
    upload = Upload(s3, bucket, "k")
    upload.part(1, bodies[0])
    upload.part(2, bodies[2])
    one, two = ({"PartNumber": n, "ETag": upload.etags[n]} for n in (1, 2))
    with refused(400, "InvalidPartOrder"):
        upload.complete([two, one])
    with refused(400, "InvalidPart"):
        upload.complete([one, {"PartNumber": 2, "ETag": one["ETag"]}])
    with refused(400, "InvalidPart"):
        upload.complete([one, {"PartNumber": 3, "ETag": one["ETag"]}])
    with refused(400, "MalformedXML"):
        upload.complete([])
    with refused(400, "InvalidPartOrder", "InvalidPart", "MalformedXML", "InvalidRequest"):
        upload.complete([one, one])
    upload.complete([one, two])
    assert read(s3, bucket, "k") == bodies[0] + bodies[2]


def test_a_small_part_that_is_not_the_last_is_refused(s3, bucket, refused):
    upload = Upload(s3, bucket, "k")
    upload.part(1, bytes(PART - 1))
    upload.part(2, b"tail")
    with refused(400, "EntityTooSmall"):
        upload.complete()


def test_part_numbers_out_of_bounds_are_refused(s3, bucket, refused):
    upload = Upload(s3, bucket, "k")
    for number in (0, 10001, -1):
        with refused(400, "InvalidArgument"):
            upload.part(number, b"x")
    upload.part(10000, b"x")
    upload.complete()
    assert read(s3, bucket, "k") == b"x"


def test_an_aborted_upload_is_gone(s3, bucket, refused):
    upload = Upload(s3, bucket, "k")
    upload.part(1, b"x")
    assert upload.abort()["ResponseMetadata"]["HTTPStatusCode"] == 204
    for call in (lambda: upload.part(2, b"y"), upload.complete, upload.list, upload.abort):
        with refused(404, "NoSuchUpload"):
            call()
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    with refused(404):
        s3.head_object(Bucket=bucket, Key="k")


def test_unknown_uploads_are_404(s3, bucket, refused):
    upload = Upload(s3, bucket, "k")
    good = upload.id
    for bad in ("not-an-id", good[:-1] + ("0" if good[-1] != "0" else "1")):
        upload.id = bad
        with refused(404, "NoSuchUpload"):
            upload.part(1, b"x")
        with refused(404, "NoSuchUpload"):
            upload.list()
    upload.id = good
    upload.where["Key"] = "another"
    with refused(404, "NoSuchUpload"):
        upload.part(1, b"x")


def test_completing_twice_does_no_harm(s3, bucket):
    upload = Upload(s3, bucket, "k")
    upload.part(1, b"x")
    upload.complete()
    try:
        upload.complete()
    except s3.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == "NoSuchUpload"
    assert read(s3, bucket, "k") == b"x"


def test_list_parts_pages(s3, bucket):
    upload = Upload(s3, bucket, "k")
    for number in (1, 2, 3, 5, 8):
        upload.part(number, bytes(number))
    page = upload.list()
    assert [(p["PartNumber"], p["Size"]) for p in page["Parts"]] == [(1, 1), (2, 2), (3, 3), (5, 5), (8, 8)]
    assert all(p["ETag"] == upload.etags[p["PartNumber"]] and p["LastModified"] for p in page["Parts"])
    assert page["UploadId"] == upload.id and page["StorageClass"] == "STANDARD" and page["Initiator"]["ID"] and page["Owner"]["ID"]
    page = upload.list(MaxParts=2)
    assert [p["PartNumber"] for p in page["Parts"]] == [1, 2] and page["IsTruncated"] and page["NextPartNumberMarker"] == 2
    page = upload.list(MaxParts=10, PartNumberMarker=3)
    assert [p["PartNumber"] for p in page["Parts"]] == [5, 8] and not page["IsTruncated"]


def test_list_uploads_pages_and_groups(s3, bucket):
    made = [Upload(s3, bucket, key) for key in ("a/1", "a/1", "a/2", "b", "c/1")]
    want = sorted((u.where["Key"], u.id) for u in made)
    everything = s3.list_multipart_uploads(Bucket=bucket)
    assert sorted((u["Key"], u["UploadId"]) for u in everything["Uploads"]) == want
    assert [u["Key"] for u in everything["Uploads"]] == ["a/1", "a/1", "a/2", "b", "c/1"] and not everything["IsTruncated"]
    entry = everything["Uploads"][0]
    assert entry["Initiated"].year >= 2024 and entry["StorageClass"] == "STANDARD"
    page = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert [u["Key"] for u in page["Uploads"]] == ["b"] and [p["Prefix"] for p in page["CommonPrefixes"]] == ["a/", "c/"]
    page = s3.list_multipart_uploads(Bucket=bucket, Prefix="a/")
    assert [u["Key"] for u in page["Uploads"]] == ["a/1", "a/1", "a/2"]
    seen, marker = [], {}
    while True:
        page = s3.list_multipart_uploads(Bucket=bucket, MaxUploads=1, **marker)
        seen += [(u["Key"], u["UploadId"]) for u in page["Uploads"]]
        if not page["IsTruncated"]:
            break
        marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
    assert sorted(seen) == want and len(seen) == 5
    page = s3.list_multipart_uploads(Bucket=bucket, KeyMarker="a/2")
    assert [u["Key"] for u in page["Uploads"]] == ["b", "c/1"]


def test_uploads_of_one_key_do_not_mix(s3, bucket):
    first, second = Upload(s3, bucket, "k"), Upload(s3, bucket, "k")
    first.part(1, b"first")
    second.part(1, b"second")
    second.complete()
    assert read(s3, bucket, "k") == b"second"
    first.complete()
    assert read(s3, bucket, "k") == b"first"


def test_part_copy_whole_and_by_range(s3, bucket, refused):
    body = value(9, 12 * MIB)
    s3.put_object(Bucket=bucket, Key="src", Body=body)
    source = {"Bucket": bucket, "Key": "src"}
    upload = Upload(s3, bucket, "dst")
    reply = upload.copy(1, source)
    assert reply["CopyPartResult"]["ETag"] == f'"{hashlib.md5(body).hexdigest()}"' and reply["CopyPartResult"]["LastModified"]
    upload.copy(2, source, CopySourceRange=f"bytes=1000-{PART + 999}")
    upload.copy(3, source, CopySourceRange=f"bytes={12 * MIB - 10}-{12 * MIB - 1}")
    for bad in ("bytes=0-", "bytes=-5", "0-5", "bytes=5-2"):
        with refused(400, "InvalidArgument"):
            upload.copy(4, source, CopySourceRange=bad)
    for far in (f"bytes=0-{12 * MIB}", f"bytes={12 * MIB}-{13 * MIB}"):
        with pytest.raises(s3.exceptions.ClientError) as caught:
            upload.copy(4, source, CopySourceRange=far)
        assert caught.value.response["Error"]["Code"] in ("InvalidArgument", "InvalidRange")
    upload.complete()
    assert read(s3, bucket, "dst") == body + body[1000:PART + 1000] + body[-10:]


def test_part_copy_obeys_conditions_and_misses(s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="src", Body=b"body")
    etag = s3.head_object(Bucket=bucket, Key="src")["ETag"]
    source = {"Bucket": bucket, "Key": "src"}
    upload = Upload(s3, bucket, "dst")
    upload.copy(1, source, CopySourceIfMatch=etag)
    with refused(412, "PreconditionFailed"):
        upload.copy(1, source, CopySourceIfNoneMatch=etag)
    with refused(404, "NoSuchKey"):
        upload.copy(1, {"Bucket": bucket, "Key": "none"})
    with refused(404, "NoSuchUpload"):
        s3.upload_part_copy(Bucket=bucket, Key="dst", UploadId="none", PartNumber=1, CopySource=source)


def test_a_multipart_object_is_copied_into_one_part(s3, bucket, bodies):
    upload = Upload(s3, bucket, "src")
    for number, body in enumerate(bodies, 1):
        upload.part(number, body)
    upload.complete()
    whole = b"".join(bodies)
    reply = s3.copy_object(Bucket=bucket, Key="dst", CopySource={"Bucket": bucket, "Key": "src"})
    assert reply["CopyObjectResult"]["ETag"] == f'"{hashlib.md5(whole).hexdigest()}"'
    assert read(s3, bucket, "dst") == whole


def test_a_part_with_a_wrong_md5_is_refused(s3, bucket, refused):
    upload = Upload(s3, bucket, "k")
    with refused(400, "BadDigest"):
        upload.part(1, b"body", ContentMD5="1B2M2Y8AsgTpgAmY7PhCfg==")
    assert "Parts" not in upload.list()


def test_sixteen_parts_at_once(s3, bucket):
    parts = [value(100 + n, PART) for n in range(16)]
    upload = Upload(s3, bucket, "k")
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: upload.part(n + 1, parts[n]), range(16)))
    assert upload.complete()["ETag"] == etag_of(parts)
    assert read(s3, bucket, "k") == b"".join(parts)


def test_transfer_manager_round_trip(s3, bucket, tmp_path):
    body = value(5, 37 * MIB + 11)
    (tmp_path / "up").write_bytes(body)
    s3.upload_file(str(tmp_path / "up"), bucket, "k")
    s3.download_file(bucket, "k", str(tmp_path / "down"))
    assert (tmp_path / "down").read_bytes() == body


def test_a_bucket_with_a_live_upload_or_after_it_can_be_emptied(s3, bucket):
    upload = Upload(s3, bucket, "k")
    upload.part(1, b"x")
    upload.abort()
    s3.delete_bucket(Bucket=bucket)


def test_a_download_goes_on_while_its_object_is_replaced(own_server):
    server = own_server()
    s3 = server.boto3()
    s3.create_bucket(Bucket="bucket")
    bodies = [value(400 + n, PART) for n in range(16)]
    upload = Upload(s3, "bucket", "k")
    for number, body in enumerate(bodies, 1):
        upload.part(number, body)
    upload.complete()

    server.wait_for_metric("hamster_index_entries", 16)
    download = s3.get_object(Bucket="bucket", Key="k")["Body"]
    start = download.read(MIB)
    s3.put_object(Bucket="bucket", Key="k", Body=b"new")
    server.wait_for_metric("hamster_index_entries", 1)
    # Others' bytes would come to lie where the parts were.
    for number in range(16):
        s3.put_object(Bucket="bucket", Key=f"other-{number}", Body=value(500 + number, PART))
    assert start + download.read() == b"".join(bodies)
    assert read(s3, "bucket", "k") == b"new"
