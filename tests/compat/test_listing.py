"""ListObjectsV2, ListObjects and ListObjectVersions, by boto3."""

import pytest

TREE = ["a", "a/1", "a/2", "a/b/1", "b", "b!", "b/1", "c", "photos/x.jpg", "photos/y.jpg", "z"]
ODD = ["sp ace", "plus+", "amp&", "lt<gt>", 'quote"', "per%cent", "new\nline", "tab\t", "ümlaut", "日本", "🐹", "a\u0001b", "\\back", "?q=1", "#frag"]


@pytest.fixture
def tree(s3, bucket):
    for key in reversed(TREE):
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    return bucket


def keys(page):
    return [o["Key"] for o in page.get("Contents", [])]


def prefixes(page):
    return [p["Prefix"] for p in page.get("CommonPrefixes", [])]


def test_keys_come_in_byte_order(s3, tree):
    page = s3.list_objects_v2(Bucket=tree)
    assert keys(page) == sorted(TREE, key=str.encode)
    assert page["KeyCount"] == len(TREE) and page["IsTruncated"] is False
    assert page["MaxKeys"] == 1000 and page["Name"] == tree


def test_an_entry_shows_size_etag_class_and_time(s3, bucket):
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"12345")
    entry = s3.list_objects_v2(Bucket=bucket)["Contents"][0]
    assert (entry["Size"], entry["ETag"], entry["StorageClass"]) == (5, put["ETag"], "STANDARD")
    assert entry["LastModified"] == s3.head_object(Bucket=bucket, Key="k")["LastModified"].replace(
        microsecond=entry["LastModified"].microsecond)
    assert "Owner" not in entry
    assert s3.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"][0]["Owner"]["ID"]


def test_prefix_and_delimiter_group_keys(s3, tree):
    page = s3.list_objects_v2(Bucket=tree, Delimiter="/")
    assert keys(page) == ["a", "b", "b!", "c", "z"]
    assert prefixes(page) == ["a/", "b/", "photos/"]
    assert page["KeyCount"] == 8 and page["Delimiter"] == "/"
    page = s3.list_objects_v2(Bucket=tree, Delimiter="/", Prefix="a/")
    assert keys(page) == ["a/1", "a/2"] and prefixes(page) == ["a/b/"] and page["Prefix"] == "a/"
    assert keys(s3.list_objects_v2(Bucket=tree, Prefix="photos")) == ["photos/x.jpg", "photos/y.jpg"]
    page = s3.list_objects_v2(Bucket=tree, Delimiter="os/", Prefix="ph")
    assert keys(page) == [] and prefixes(page) == ["photos/"]
    assert s3.list_objects_v2(Bucket=tree, Prefix="none")["KeyCount"] == 0


@pytest.mark.parametrize("page_keys", [1, 2, 3, 7])
def test_pages_of_keys_and_prefixes_join_without_gaps_or_duplicates(s3, tree, page_keys):
    seen, token = [], None
    while True:
        extra = {"ContinuationToken": token} if token else {}
        page = s3.list_objects_v2(Bucket=tree, Delimiter="/", MaxKeys=page_keys, **extra)
        assert page["KeyCount"] == len(keys(page)) + len(prefixes(page)) <= page_keys
        assert page.get("ContinuationToken") == token
        seen += keys(page) + prefixes(page)
        if not page["IsTruncated"]:
            assert "NextContinuationToken" not in page
            break
        token = page["NextContinuationToken"]
    assert sorted(seen) == sorted(["a", "b", "b!", "c", "z", "a/", "b/", "photos/"])


def test_start_after_is_exclusive_and_may_name_no_key(s3, tree):
    assert keys(s3.list_objects_v2(Bucket=tree, StartAfter="b")) == ["b!", "b/1", "c", "photos/x.jpg", "photos/y.jpg", "z"]
    page = s3.list_objects_v2(Bucket=tree, StartAfter="bb")
    assert keys(page)[0] == "c" and page["StartAfter"] == "bb"
    assert keys(s3.list_objects_v2(Bucket=tree, StartAfter="zz")) == []
    page = s3.list_objects_v2(Bucket=tree, StartAfter="a/1", Delimiter="/")
    assert "b" in keys(page)


def test_max_keys_zero_bad_and_huge(s3, tree, refused):
    page = s3.list_objects_v2(Bucket=tree, MaxKeys=0)
    assert page["KeyCount"] == 0 and page["IsTruncated"] is False
    assert s3.list_objects_v2(Bucket=tree, MaxKeys=100000)["MaxKeys"] == 1000
    with refused(400, "InvalidArgument"):
        s3.list_objects_v2(Bucket=tree, MaxKeys=-1)
    with refused(400, "InvalidArgument"):
        s3.list_objects_v2(Bucket=tree, ContinuationToken="not a token of ours")


def test_odd_keys_are_listed_as_they_were_put(s3, bucket):
    for key in ODD:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    want = sorted(ODD, key=str.encode)
    assert keys(s3.list_objects_v2(Bucket=bucket)) == want
    assert keys(s3.list_objects(Bucket=bucket)) == want
    assert [v["Key"] for v in s3.list_object_versions(Bucket=bucket)["Versions"]] == want
    for key in ODD:
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
    page = s3.list_objects_v2(Bucket=bucket, EncodingType="url", Prefix="sp")
    assert page["EncodingType"] == "url" and keys(page) == ["sp%20ace"]


def test_more_than_a_thousand_keys_are_paged(s3, bucket):
    from concurrent.futures import ThreadPoolExecutor

    want = [f"n/{n:05}" for n in range(1203)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: s3.put_object(Bucket=bucket, Key=key, Body=b""), want))
    first = s3.list_objects_v2(Bucket=bucket)
    assert first["IsTruncated"] and first["KeyCount"] == 1000
    for operation in ("list_objects_v2", "list_objects"):
        pages = s3.get_paginator(operation).paginate(Bucket=bucket, PaginationConfig={"PageSize": 400})
        assert [key for page in pages for key in keys(page)] == want
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket, PaginationConfig={"PageSize": 400})
    assert [v["Key"] for page in pages for v in page["Versions"]] == want


def test_version_1_pages_by_marker(s3, tree):
    page = s3.list_objects(Bucket=tree, MaxKeys=3)
    assert keys(page) == ["a", "a/1", "a/2"] and page["IsTruncated"] and "KeyCount" not in page
    assert page["Contents"][0]["Owner"]["ID"]
    page = s3.list_objects(Bucket=tree, Marker="a/2", MaxKeys=2)
    assert keys(page) == ["a/b/1", "b"] and page["Marker"] == "a/2"


def test_version_1_returns_next_marker_with_a_delimiter(s3, tree):
    seen, marker = [], ""
    while True:
        page = s3.list_objects(Bucket=tree, Delimiter="/", MaxKeys=2, Marker=marker)
        seen += keys(page) + prefixes(page)
        if not page["IsTruncated"]:
            break
        marker = page["NextMarker"]
    assert sorted(seen) == sorted(["a", "b", "b!", "c", "z", "a/", "b/", "photos/"])


def test_version_1_returns_no_next_marker_without_a_delimiter(s3, tree):
    page = s3.list_objects(Bucket=tree, MaxKeys=3)
    assert page["IsTruncated"] and "NextMarker" not in page


def test_an_empty_continuation_token_is_incorrect(s3, raw, bucket, refused):
    with refused(400, "InvalidArgument", message="The continuation token provided is incorrect"):
        s3.list_objects_v2(Bucket=bucket, ContinuationToken="")
    assert raw.request("GET", f"/{bucket}", [("list-type", "2"), ("continuation-token", "")]).code == "InvalidArgument"
    assert raw.request("GET", "/", [("continuation-token", "")]).status == 200


def test_a_page_whose_end_xml_cannot_express_is_refused(raw, bucket):
    """Its next marker would have to be another text, and the next page would leave out the keys between the two."""
    for key in ("a%01", "b"):
        assert raw.request("PUT", f"/{bucket}/{key}").status == 200
    for query in ([], [("versions", "")]):
        reply = raw.request("GET", f"/{bucket}", [*query, ("max-keys", "1")])
        assert (reply.status, reply.code) == (400, "InvalidArgument") and "encoding-type=url" in reply.message
        assert raw.request("GET", f"/{bucket}", [*query, ("max-keys", "1"), ("encoding-type", "url")]).status == 200
        assert raw.request("GET", f"/{bucket}", query).status == 200
    reply = raw.request("GET", f"/{bucket}", [("list-type", "2"), ("max-keys", "1")])
    assert reply.status == 200 and b"NextContinuationToken" in reply.body


def test_versions_of_a_bucket_without_versioning_are_null_and_current(s3, tree):
    page = s3.list_object_versions(Bucket=tree)
    assert [v["Key"] for v in page["Versions"]] == sorted(TREE)
    assert all(v["VersionId"] == "null" and v["IsLatest"] for v in page["Versions"])
    assert "DeleteMarkers" not in page
    entry = page["Versions"][0]
    assert entry["ETag"] == s3.head_object(Bucket=tree, Key="a")["ETag"] and entry["Size"] == 1 and entry["Owner"]["ID"]


def test_versions_page_and_group(s3, tree):
    page = s3.list_object_versions(Bucket=tree, Delimiter="/", Prefix="a")
    assert [v["Key"] for v in page["Versions"]] == ["a"] and prefixes(page) == ["a/"]
    seen, marker = [], {}
    while True:
        page = s3.list_object_versions(Bucket=tree, MaxKeys=2, **marker)
        seen += [v["Key"] for v in page.get("Versions", [])]
        if not page["IsTruncated"]:
            break
        marker = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}
    assert seen == sorted(TREE)


def test_an_overwritten_key_is_listed_once(s3, bucket):
    for body in (b"1", b"22", b"333"):
        s3.put_object(Bucket=bucket, Key="k", Body=body)
    assert [v["Size"] for v in s3.list_object_versions(Bucket=bucket)["Versions"]] == [3]
    assert [o["Size"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [3]


def test_listing_a_missing_bucket_is_404(s3, refused):
    for operation in (s3.list_objects, s3.list_objects_v2, s3.list_object_versions, s3.list_multipart_uploads):
        with refused(404, "NoSuchBucket"):
            operation(Bucket="no-such-bucket")
