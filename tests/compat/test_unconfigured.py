"""A setting that nobody has made is answered as AWS answers it: an empty document, or an error of its own. Clients ask before they act:
`aws s3 cp` between buckets for tags, Terraform for everything, fsspec for the versions of a bucket that it removes."""

import pytest

EMPTY = {
    "GetBucketVersioning": {}, "GetBucketLogging": {}, "GetBucketAccelerateConfiguration": {}, "GetBucketNotificationConfiguration": {},
    "GetBucketRequestPayment": {"Payer": "BucketOwner"},
    "GetBucketOwnershipControls": {"OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}},
    "ListBucketInventoryConfigurations": {"IsTruncated": False}, "ListBucketMetricsConfigurations": {"IsTruncated": False},
    "ListBucketAnalyticsConfigurations": {"IsTruncated": False}, "ListBucketIntelligentTieringConfigurations": {"IsTruncated": False},
}
MISSING = {
    "GetBucketTagging": "NoSuchTagSet", "GetBucketWebsite": "NoSuchWebsiteConfiguration", "GetBucketCors": "NoSuchCORSConfiguration",
    "GetBucketReplication": "ReplicationConfigurationNotFoundError", "GetBucketLifecycleConfiguration": "NoSuchLifecycleConfiguration",
    "GetBucketPolicy": "NoSuchBucketPolicy", "GetBucketPolicyStatus": "NoSuchBucketPolicy",
    "GetBucketEncryption": "ServerSideEncryptionConfigurationNotFoundError", "GetObjectLockConfiguration": "ObjectLockConfigurationNotFoundError",
    "GetPublicAccessBlock": "NoSuchPublicAccessBlockConfiguration",
}


def call(s3, name, **args):
    from botocore import xform_name

    reply = getattr(s3, xform_name(name))(**args)
    reply.pop("ResponseMetadata")
    return reply


@pytest.mark.parametrize("name", EMPTY)
def test_a_setting_that_a_bucket_lacks_is_an_empty_document(s3, bucket, name):
    assert call(s3, name, Bucket=bucket) == EMPTY[name]


@pytest.mark.parametrize("name", MISSING)
def test_a_setting_that_a_bucket_lacks_is_an_error_of_its_own(s3, bucket, refused, name):
    with refused(404, MISSING[name]):
        call(s3, name, Bucket=bucket)


@pytest.mark.parametrize("name", [*EMPTY, *MISSING, "GetBucketAcl"])
def test_a_missing_bucket_has_no_settings(s3, refused, name):
    with refused(404, "NoSuchBucket"):
        call(s3, name, Bucket="there-is-no-such-bucket")


def test_access_control_lists_name_the_owner(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    owner = s3.list_buckets()["Owner"]
    for acl in (call(s3, "GetBucketAcl", Bucket=bucket), call(s3, "GetObjectAcl", Bucket=bucket, Key="k")):
        assert acl["Owner"]["ID"] == owner["ID"]
        (grant,) = acl["Grants"]
        assert (grant["Permission"], grant["Grantee"]["ID"], grant["Grantee"]["Type"]) == ("FULL_CONTROL", owner["ID"], "CanonicalUser")


def test_an_object_has_no_tags_and_no_lock(s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert call(s3, "GetObjectTagging", Bucket=bucket, Key="k") == {"TagSet": []}
    for name in ("GetObjectRetention", "GetObjectLegalHold"):
        with refused(400, "InvalidRequest", message="Object Lock"):
            call(s3, name, Bucket=bucket, Key="k")
    for name in ("GetObjectTagging", "GetObjectAcl", "GetObjectRetention", "GetObjectLegalHold"):
        with refused(404, "NoSuchKey"):
            call(s3, name, Bucket=bucket, Key="none")
