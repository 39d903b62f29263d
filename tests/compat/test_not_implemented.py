"""What Hamster does not support is refused by its name and changes nothing."""

import pytest

RULES = {"Rules": [{"ID": "r", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}]}
SELECT = {"Expression": "select * from s3object", "ExpressionType": "SQL", "InputSerialization": {"CSV": {}}, "OutputSerialization": {"CSV": {}}}

BUCKET_CALLS = {
    "PutBucketVersioning": {"VersioningConfiguration": {"Status": "Enabled"}}, "PutBucketAcl": {"ACL": "private"},
    "PutBucketPolicy": {"Policy": "{}"}, "DeleteBucketPolicy": {}, "DeleteBucketTagging": {},
    "PutBucketTagging": {"Tagging": {"TagSet": [{"Key": "a", "Value": "b"}]}}, "DeleteBucketCors": {},
    "PutBucketLifecycleConfiguration": {"LifecycleConfiguration": RULES}, "DeleteBucketEncryption": {},
    "DeleteBucketWebsite": {}, "DeleteBucketReplication": {}, "DeleteBucketOwnershipControls": {}, "DeletePublicAccessBlock": {},
}
OBJECT_CALLS = {
    "PutObjectAcl": {"ACL": "private"}, "DeleteObjectTagging": {},
    "PutObjectTagging": {"Tagging": {"TagSet": []}},
    "PutObjectLegalHold": {"LegalHold": {"Status": "ON"}},
    "PutObjectRetention": {"Retention": {"Mode": "COMPLIANCE", "RetainUntilDate": "2044-01-01T00:00:00Z"}},
    "RestoreObject": {"RestoreRequest": {"Days": 1}}, "SelectObjectContent": SELECT, "GetObjectTorrent": {},
}


def call(s3, name, **args):
    from botocore import xform_name

    return getattr(s3, xform_name(name))(**args)


@pytest.mark.parametrize("name", BUCKET_CALLS)
def test_bucket_operations_answer_with_their_name(s3, bucket, refused, name):
    with refused(501, "NotImplemented", message=name):
        call(s3, name, Bucket=bucket, **BUCKET_CALLS[name])


@pytest.mark.parametrize("name", OBJECT_CALLS)
def test_object_operations_answer_with_their_name(s3, bucket, refused, name):
    s3.put_object(Bucket=bucket, Key="k", Body=b"untouched")
    with refused(501, "NotImplemented", message=name):
        call(s3, name, Bucket=bucket, Key="k", **OBJECT_CALLS[name])
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"untouched"


@pytest.mark.parametrize("method,query", [("PUT", "renameObject"), ("PUT", "encryption"), ("PUT", "legal-hold"), ("DELETE", "tagging"),
                                          ("PUT", "retention"), ("PUT", "acl"), ("POST", "restore"), ("POST", "select")])
def test_a_subresource_is_not_taken_for_the_object(s3, raw, bucket, method, query):
    s3.put_object(Bucket=bucket, Key="k", Body=b"untouched")
    reply = raw.request(method, f"/{bucket}/k", query=[(query, "")])
    assert reply.status in (400, 405, 501), reply
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"untouched"


@pytest.mark.parametrize("headers", [
    {"x-amz-server-side-encryption-customer-algorithm": "AES256"}, {"x-amz-acl": "public-read-write"},
    {"x-amz-object-lock-mode": "COMPLIANCE"}, {"x-amz-tagging": "a=b"}, {"x-amz-write-offset-bytes": "3"},
    {"x-amz-server-side-encryption": "aws:kms"}, {"x-amz-grant-full-control": 'id="a"'},
])
def test_a_header_that_would_change_the_meaning_is_not_ignored(raw, bucket, headers):
    reply = raw.request("PUT", f"/{bucket}/k", headers=headers, body=b"x")
    assert (reply.status, reply.code) == (501, "NotImplemented"), reply
    assert raw.request("HEAD", f"/{bucket}/k").status == 404


def test_the_s3_errors_have_all_fields(raw, bucket):
    reply = raw.request("GET", f"/{bucket}/none")
    assert reply.headers["content-type"] == "application/xml"
    for tag in (b"<Code>NoSuchKey</Code>", b"<Message>", b"<Resource>", b"<RequestId>"):
        assert tag in reply.body
    request_id = reply.headers["x-amz-request-id"]
    assert request_id.encode() in reply.body
    assert raw.request("GET", f"/{bucket}/none").headers["x-amz-request-id"] != request_id


def test_a_405_lists_the_allowed_methods(raw, bucket):
    for method, path, query, allowed in (
        ("DELETE", "/", (), "GET, POST, OPTIONS"), ("POST", f"/{bucket}/k", (), "GET, HEAD, PUT, DELETE, OPTIONS"),
        ("PATCH", f"/{bucket}", (), "GET, HEAD, PUT, POST, DELETE, OPTIONS"), ("PUT", f"/{bucket}", [("location", "")], "GET, OPTIONS"),
        ("DELETE", f"/{bucket}/k", [("acl", "")], "GET, PUT, OPTIONS"), ("HEAD", f"/{bucket}", [("uploads", "")], "GET, OPTIONS"),
    ):
        reply = raw.request(method, path, query)
        assert (reply.status, reply.headers["allow"]) == (405, allowed), (method, path, reply)


def test_a_preflight_is_refused_as_without_cors(raw, bucket):
    asks = {"origin": "https://example.com", "access-control-request-method": "PUT"}
    for path, kind in ((f"/{bucket}/k", "OBJECT"), (f"/{bucket}", "BUCKET"), ("/no-such-bucket/k", "OBJECT"),
                       (f"/{bucket}/k?partNumber=1&uploadId=x", "OBJECT"), (f"/{bucket}?uploads", "BUCKET")):
        reply = raw.plain("OPTIONS", path, asks)
        assert (reply.status, reply.code) == (403, "AccessForbidden")
        assert reply.message == "CORSResponse: CORS is not enabled for this bucket."
        assert f"<Method>PUT</Method><ResourceType>{kind}</ResourceType>".encode() in reply.body
        assert not [name for name in reply.headers if name.startswith("access-control-")]
    assert (raw.plain("OPTIONS", f"/{bucket}").status, raw.plain("OPTIONS", f"/{bucket}").code) == (400, "BadRequest")
    assert raw.plain("OPTIONS", f"/{bucket}", {"origin": "https://example.com"}).code == "BadRequest"


FORM = b'--b\r\ncontent-disposition: form-data; name="key"\r\n\r\nk\r\n--b\r\ncontent-disposition: form-data; name="file"\r\n\r\nx\r\n--b--\r\n'


def test_a_form_is_refused_by_its_name_whoever_sends_it(s3, raw, bucket):
    kind = {"content-type": "multipart/form-data; boundary=b"}
    for reply in (raw.plain("POST", f"/{bucket}", kind, FORM), raw.request("POST", f"/{bucket}", (), kind, FORM)):
        assert (reply.status, reply.code) == (501, "NotImplemented") and "PostObject" in reply.message
    with raw.connect() as wire:
        for _ in range(2):
            wire.send(b"POST /%s HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: %d\r\n\r\n%s" % (bucket.encode(), len(FORM), FORM))
            assert wire.final().status == 501, "the connection goes on"
    reply = raw.plain("POST", f"/{bucket}", {}, b"x")
    assert (reply.status, reply.code) == (412, "PreconditionFailed")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
