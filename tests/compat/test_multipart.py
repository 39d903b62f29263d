"""The seven multipart operations, by boto3."""

import base64
import hashlib
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.values import value
from support.wire import RawClient

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


def result_of(reply):
    """What a Complete says about the object that it made."""
    return {name: value for name, value in reply.items() if name != "ResponseMetadata"}


@pytest.mark.parametrize("asked", [{}, {"ChecksumAlgorithm": "SHA256"}, {"ChecksumAlgorithm": "CRC32", "ChecksumType": "FULL_OBJECT"}])
def test_a_repeated_complete_gets_the_first_answer_even_after_a_restart(own_server, refused, bodies, asked):
    """A client that lost the first answer got 404. It took the finished upload for a failed one and sent everything again."""
    node = own_server()
    s3 = node.boto3()
    s3.create_bucket(Bucket="bucket")
    upload = Upload(s3, "bucket", "k", **asked)
    field = "Checksum" + asked.get("ChecksumAlgorithm", "CRC32")
    parts = []
    for number in (1, 2):
        reply = upload.part(number, bodies[2 * number - 2], ChecksumAlgorithm=asked.get("ChecksumAlgorithm", "CRC32"))
        parts.append({"PartNumber": number, "ETag": reply["ETag"], field: reply[field]})
    first = upload.complete(parts, IfNoneMatch="*")
    assert result_of(upload.complete(parts, IfNoneMatch="*")) == result_of(first)
    node.kill()
    node.start()
    assert result_of(upload.complete(parts, IfNoneMatch="*")) == result_of(first) and first["ETag"] == etag_of([bodies[0], bodies[2]])
    for calls in (lambda: upload.complete(parts[:1]), upload.list, upload.abort, lambda: upload.part(3, b"x")):
        with refused(404, "NoSuchUpload"):
            calls()
    assert "Uploads" not in s3.list_multipart_uploads(Bucket="bucket")
    assert read(s3, "bucket", "k") == bodies[0] + bodies[2]
    s3.put_object(Bucket="bucket", Key="k", Body=b"another")
    with refused(404, "NoSuchUpload"):
        upload.complete(parts)
    assert read(s3, "bucket", "k") == b"another"


def test_a_complete_can_demand_what_it_replaces(s3, bucket, refused):
    upload = Upload(s3, bucket, "k")
    upload.part(1, b"new")
    with refused(404, "NoSuchKey"):
        upload.complete(IfMatch='"x"')
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"old")["ETag"]
    with refused(412, "PreconditionFailed"):
        upload.complete(IfNoneMatch="*")
    with refused(412, "PreconditionFailed"):
        upload.complete(IfMatch='"x"')
    with refused(501, "NotImplemented"):
        upload.complete(IfNoneMatch=etag)
    upload.complete(IfMatch=etag)
    assert read(s3, bucket, "k") == b"new"


def test_the_last_part_may_be_empty(s3, bucket, bodies):
    upload = Upload(s3, bucket, "k")
    upload.part(1, bodies[0])
    assert upload.part(2, b"")["ETag"] == '"d41d8cd98f00b204e9800998ecf8427e"'
    assert [p["Size"] for p in upload.list()["Parts"]] == [PART, 0]
    assert upload.complete()["ETag"] == etag_of([bodies[0], b""])
    assert read(s3, bucket, "k") == bodies[0] and read(s3, bucket, "k", Range=f"bytes={PART - 2}-") == bodies[0][-2:]
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "k"})
    assert read(s3, bucket, "copy") == bodies[0]
    alone = Upload(s3, bucket, "alone")
    alone.copy(1, {"Bucket": bucket, "Key": s3.put_object(Bucket=bucket, Key="none") and "none"})
    alone.complete()
    assert read(s3, bucket, "alone") == b"" and s3.head_object(Bucket=bucket, Key="alone")["ETag"] == etag_of([b""])


def test_a_missing_bucket_comes_before_an_impossible_upload(s3, refused):
    for upload_id in ("no-id", "0" * 32):
        where = {"Bucket": "no-such-bucket", "Key": "k", "UploadId": upload_id}
        part = [{"PartNumber": 1, "ETag": "x"}]
        for call in (
            lambda: s3.upload_part(**where, PartNumber=1, Body=b"x"),
            lambda: s3.upload_part_copy(**where, PartNumber=1, CopySource={"Bucket": "no-such-bucket", "Key": "s"}),
            lambda: s3.complete_multipart_upload(**where, MultipartUpload={"Parts": part}),
            lambda: s3.abort_multipart_upload(**where),
            lambda: s3.list_parts(**where),
        ):
            with refused(404, "NoSuchBucket"):
                call()
    with refused(404, "NoSuchBucket"):
        s3.create_multipart_upload(Bucket="no-such-bucket", Key="k")


def complete_by_hand(raw, path, upload_id, body, **headers):
    return raw.request("POST", path, query=[("uploadId", upload_id)], headers=headers, body=body)


def listed(number, etag):
    return f"<CompleteMultipartUpload><Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>".encode()


def test_a_part_number_out_of_bounds_in_a_complete_is_an_invalid_argument(s3, raw, bucket):
    upload = Upload(s3, bucket, "k")
    upload.part(1, b"x")
    for number in ("0", "-1", "10001"):
        reply = complete_by_hand(raw, f"/{bucket}/k", upload.id, listed(number, "x"))
        assert (reply.status, reply.code) == (400, "InvalidArgument"), number
    assert complete_by_hand(raw, f"/{bucket}/k", upload.id, listed("one", "x")).code == "MalformedXML"


def test_the_md5_of_a_complete_is_checked(s3, raw, bucket):
    upload = Upload(s3, bucket, "k")
    body = listed(1, upload.part(1, b"x")["ETag"])
    reply = complete_by_hand(raw, f"/{bucket}/k", upload.id, body, **{"content-md5": "1B2M2Y8AsgTpgAmY7PhCfg=="})
    assert (reply.status, reply.code) == (400, "BadDigest")
    reply = complete_by_hand(raw, f"/{bucket}/k", upload.id, body, **{"content-md5": "x"})
    assert (reply.status, reply.code) == (400, "InvalidDigest")
    right = base64.b64encode(hashlib.md5(body).digest()).decode()
    assert complete_by_hand(raw, f"/{bucket}/k", upload.id, body, **{"content-md5": right}).status == 200


def test_checksums_in_a_presigned_query_do_not_count(raw, bucket):
    """SDKs put there what they computed over nothing."""
    path, wrong = f"/{bucket}/k", [("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-sdk-checksum-algorithm", "CRC32")]

    def presigned(method, query, body):
        return raw.plain(method, raw.signer.presign(method, raw.host, path, query + wrong), body=body)

    assert presigned("PUT", [], b"some bytes").status == 200
    started = raw.request("POST", path, query=[("uploads", "")])
    upload_id = re.search(rb"<UploadId>(.*?)<", started.body).group(1).decode()
    part = presigned("PUT", [("partNumber", "1"), ("uploadId", upload_id)], b"some bytes")
    assert part.status == 200, part
    done = presigned("POST", [("uploadId", upload_id)], listed(1, part.headers["etag"]))
    assert done.status == 200 and b"<Error>" not in done.body, done


def check_locations(raw, scheme):
    """Completes uploads at the address of the server and at the host of a bucket."""

    def location(path):
        started = raw.request("POST", path, query=[("uploads", "")])
        upload_id = re.search(rb"<UploadId>(.*?)<", started.body).group(1).decode()
        etag = raw.request("PUT", path, query=[("partNumber", "1"), ("uploadId", upload_id)], body=b"x").headers["etag"]
        done = complete_by_hand(raw, path, upload_id, listed(1, etag))
        return re.search(rb"<Location>(.*?)<", done.body).group(1).decode()

    assert raw.request("PUT", "/my-bucket").status == 200
    assert location("/my-bucket/a%20b/%C3%BC%2B%26") == f"{scheme}://{raw.host}/my-bucket/a%20b/%C3%BC%2B%26"
    raw.host = f"my-bucket.s3.test.local:{raw.port}"
    assert location("/a/key") == f"{scheme}://{raw.host}/a/key"


def test_the_location_is_the_url_that_the_client_used(own_server):
    """On a virtual host it named the bucket twice."""
    node = own_server(serve_args=["--domain", "s3.test.local"], cores=1)
    check_locations(RawClient(node), "http")


@pytest.mark.parametrize("storage_class", ["STANDARD_IA", "DEEP_ARCHIVE"])
def test_an_upload_keeps_its_storage_class(s3, bucket, storage_class):
    upload = Upload(s3, bucket, "k", StorageClass=storage_class)
    upload.part(1, b"x")
    assert upload.list()["StorageClass"] == storage_class
    assert s3.list_multipart_uploads(Bucket=bucket)["Uploads"][0]["StorageClass"] == storage_class
    upload.complete()
    assert s3.head_object(Bucket=bucket, Key="k")["StorageClass"] == storage_class
    assert s3.list_objects_v2(Bucket=bucket)["Contents"][0]["StorageClass"] == storage_class


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
    # The bytes of others would be written where the parts were.
    for number in range(16):
        s3.put_object(Bucket="bucket", Key=f"other-{number}", Body=value(500 + number, PART))
    assert start + download.read() == b"".join(bodies)
    assert read(s3, "bucket", "k") == b"new"
