"""The operations on buckets, by boto3."""

import pytest


def names(page):
    return [b["Name"] for b in page["Buckets"]]


def test_a_created_bucket_is_listed_with_its_time_and_owner(s3, bucket):
    page = s3.list_buckets()
    assert bucket in names(page)
    assert page["Owner"]["ID"]
    entry = next(b for b in page["Buckets"] if b["Name"] == bucket)
    assert entry["CreationDate"].year >= 2024


def test_list_buckets_pages_in_order_and_by_prefix(s3):
    made = [f"page-me-{n:02}" for n in range(7)]
    for name in made:
        s3.create_bucket(Bucket=name)
    seen, token, pages = [], None, 0
    while True:
        extra = {"ContinuationToken": token} if token else {}
        page = s3.list_buckets(MaxBuckets=3, Prefix="page-me-", **extra)
        assert len(page["Buckets"]) <= 3
        seen += names(page)
        pages += 1
        token = page.get("ContinuationToken")
        if not token:
            break
    assert seen == made and pages == 3
    assert names(s3.list_buckets(Prefix="page-me-03")) == ["page-me-03"]
    assert names(s3.list_buckets(Prefix="no-such-")) == []


def test_creating_a_bucket_answers_with_its_location(s3):
    assert s3.create_bucket(Bucket="with-location")["Location"] == "/with-location"


def test_creating_ones_own_bucket_again_is_no_error_in_us_east_1(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"kept")
    created = next(b for b in s3.list_buckets()["Buckets"] if b["Name"] == bucket)["CreationDate"]
    assert s3.create_bucket(Bucket=bucket)["Location"] == f"/{bucket}"
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"kept"
    assert next(b for b in s3.list_buckets()["Buckets"] if b["Name"] == bucket)["CreationDate"] == created


@pytest.mark.parametrize("name", ["ab", "UpperCase", "under_score", "a" * 64, "dots..twice", "-dash-first", "192.168.5.4", "dash-last-"])
def test_a_bad_bucket_name_is_refused(s3, refused, name):
    with refused(400, "InvalidBucketName"):
        s3.create_bucket(Bucket=name)


@pytest.mark.parametrize("name", ["abc", "a" * 63, "with.dots.inside", "1234567", "a-b-c"])
def test_a_good_bucket_name_is_taken(s3, name):
    s3.create_bucket(Bucket=name)
    s3.delete_bucket(Bucket=name)


def test_a_bucket_for_another_region_is_refused(s3, refused):
    with refused(400, "IllegalLocationConstraintException", "InvalidLocationConstraint"):
        s3.create_bucket(Bucket="elsewhere", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})


def test_head_bucket_returns_the_region_or_404(s3, server, bucket, refused):
    reply = s3.head_bucket(Bucket=bucket)
    assert reply["ResponseMetadata"]["HTTPHeaders"]["x-amz-bucket-region"] == server.region
    with refused(404):
        s3.head_bucket(Bucket="no-such-bucket")


def test_a_deleted_bucket_is_gone(s3, bucket, refused):
    reply = s3.delete_bucket(Bucket=bucket)
    assert reply["ResponseMetadata"]["HTTPStatusCode"] == 204
    with refused(404, "NoSuchBucket"):
        s3.delete_bucket(Bucket=bucket)
    with refused(404, "NoSuchBucket"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    with refused(404, "NoSuchBucket"):
        s3.get_object(Bucket=bucket, Key="k")
    with refused(404, "NoSuchBucket"):
        s3.list_objects_v2(Bucket=bucket)
    with refused(404, "NoSuchBucket"):
        s3.create_multipart_upload(Bucket=bucket, Key="k")
    s3.create_bucket(Bucket=bucket)
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_a_bucket_with_an_object_is_not_deleted(s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    with refused(409, "BucketNotEmpty"):
        s3.delete_bucket(Bucket=bucket)
    s3.delete_object(Bucket=bucket, Key="k")
    s3.delete_bucket(Bucket=bucket)


def test_the_location_of_us_east_1_is_null(s3, bucket, refused):
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    with refused(404, "NoSuchBucket"):
        s3.get_bucket_location(Bucket="no-such-bucket")


def test_another_region_is_returned_as_location_and_creates_a_bucket_once(own_server, refused):
    node = own_server(region="eu-central-1", cores=1)
    s3 = node.boto3()
    s3.create_bucket(Bucket="over-there", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    assert s3.get_bucket_location(Bucket="over-there")["LocationConstraint"] == "eu-central-1"
    with refused(409, "BucketAlreadyOwnedByYou"):
        s3.create_bucket(Bucket="over-there", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})


def test_the_no_op_acl_of_a_bucket_is_taken_and_others_are_not(s3, refused):
    s3.create_bucket(Bucket="acl-private", ACL="private")
    with refused(501, "NotImplemented"):
        s3.create_bucket(Bucket="acl-public", ACL="public-read")


def test_the_expected_owner_is_the_account_that_list_buckets_shows(s3, bucket, refused):
    owner = s3.list_buckets()["Owner"]
    account = owner["DisplayName"]
    assert len(account) == 12 and account.isdigit()
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ExpectedBucketOwner=account)
    s3.head_bucket(Bucket=bucket, ExpectedBucketOwner=owner["ID"])
    copy = dict(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "k"}, ExpectedBucketOwner=account)
    s3.copy_object(**copy, ExpectedSourceBucketOwner=account)
    with refused(403, "AccessDenied"):
        s3.copy_object(**copy, ExpectedSourceBucketOwner="111122223333")
    with refused(403, "AccessDenied"):
        s3.get_object(Bucket=bucket, Key="k", ExpectedBucketOwner="111122223333")
    with refused(400, "InvalidBucketOwnerAWSAccountID"):
        s3.delete_object(Bucket=bucket, Key="k", ExpectedBucketOwner="hamster")
