"""minio-py against one server."""

import io
from datetime import timedelta

import urllib3
from minio import Minio
from minio.commonconfig import REPLACE, ComposeSource, CopySource
from minio.deleteobjects import DeleteObject
from minio.error import S3Error

from steps import ACCESS_KEY, BUCKET, CA, ENDPOINT, KEYS, REGION, SECRET_KEY, SIZES, SLOW_ENDPOINT, done, step, value

SLOW = urllib3.Retry(total=5, backoff_factor=0.2, status_forcelist=[503])


def connect(endpoint, retries=0):
    scheme, host = endpoint.split("://")
    pool = urllib3.PoolManager(ca_certs=CA, cert_reqs="CERT_REQUIRED", retries=retries)
    return Minio(host, ACCESS_KEY, SECRET_KEY, secure=scheme == "https", region=REGION, http_client=pool)


client = connect(ENDPOINT)


def read(key, body, **options):
    reply = client.get_object(BUCKET, key, **options)
    try:
        assert reply.read() == body, f"{key}: what was read differs"
    finally:
        reply.close()
        reply.release_conn()


def put(key, body, by=client, **options):
    by.put_object(BUCKET, key, io.BytesIO(body), len(body), **options)
    assert client.stat_object(BUCKET, key).size == len(body)
    read(key, body)


def stream(key, body):
    client.put_object(BUCKET, key, io.BytesIO(body), -1, part_size=5 << 20)
    read(key, body)


def keys():
    for key in KEYS:
        def one():
            put("keys/" + key, key.encode())
            client.copy_object(BUCKET, "copy", CopySource(BUCKET, "keys/" + key))
            read("copy", key.encode())
        step("key " + key, one)

    def listed():
        found = [entry.object_name for entry in client.list_objects(BUCKET, "keys/", recursive=True)]
        assert sorted(found) == sorted("keys/" + key for key in KEYS), found
        assert list(client.list_objects(BUCKET, "keys/", recursive=True, use_api_v1=True))
        assert not list(client.remove_objects(BUCKET, [DeleteObject(key) for key in found]))
        assert not list(client.list_objects(BUCKET, "keys/"))
    step("all keys are listed and deleted at once", listed)


def metadata():
    put("meta", value(100_000), content_type="text/x", metadata={"colour": "a b", "Content-Language": "de, en"})
    found = client.stat_object(BUCKET, "meta")
    assert (found.content_type, found.metadata["x-amz-meta-colour"], found.metadata["content-language"]) == ("text/x", "a b", "de, en")
    client.copy_object(BUCKET, "meta2", CopySource(BUCKET, "meta"), metadata={"colour": "red"}, metadata_directive=REPLACE)
    assert client.stat_object(BUCKET, "meta2").metadata["x-amz-meta-colour"] == "red"


def ranges():
    body = value(100_000)
    for offset, length in ((0, 1), (5, 70_000), (99_999, 0), (50_000, 50_000)):
        read("meta", body[offset:offset + length] if length else body[offset:], offset=offset, length=length)


def presigned():
    pool, body = urllib3.PoolManager(ca_certs=CA), value(3)
    url = client.presigned_put_object(BUCKET, "presigned ä", timedelta(minutes=1))
    assert pool.request("PUT", url, body=body).status == 200
    assert pool.request("GET", client.presigned_get_object(BUCKET, "presigned ä", timedelta(minutes=1))).data == body


def composed():
    large = value(5 << 20)
    put("large", large)
    client.compose_object(BUCKET, "composed", [ComposeSource(BUCKET, "large"), ComposeSource(BUCKET, "meta")])
    read("composed", large + value(100_000))


def refused(code, call, *args):
    try:
        call(*args)
    except S3Error as error:
        assert error.code == code, error
    else:
        raise AssertionError(f"{code} was expected")


def errors():
    refused("NoSuchKey", client.stat_object, BUCKET, "none")
    refused("NoSuchKey", client.get_object, BUCKET, "none")
    refused("NoSuchBucket", client.put_object, BUCKET + "-none", "k", io.BytesIO(b"x"), 1)
    refused("BucketNotEmpty", client.remove_bucket, BUCKET)
    assert not client.bucket_exists(BUCKET + "-none") and client.bucket_exists(BUCKET)


def end():
    for entry in client.list_objects(BUCKET, recursive=True):
        client.remove_object(BUCKET, entry.object_name)
    client.remove_bucket(BUCKET)


step("a bucket", lambda: client.make_bucket(BUCKET))
for size in SIZES:
    step(f"size={size}", lambda: put("body", value(size)))
    step(f"size={size} stream", lambda: stream("body", value(size)))
step("multipart", lambda: put("parts", value(20 << 20), part_size=5 << 20))
step("multipart of unknown size", lambda: stream("parts", value(20 << 20)))
keys()
step("metadata", metadata)
step("ranges", ranges)
step("presigned URLs", presigned)
step("composed of two objects", composed)
step("errors", errors)
step("SlowDown is tried again", lambda: put("slow", value(70_000), connect(SLOW_ENDPOINT, SLOW)))
step("the bucket's end", end)
done()
