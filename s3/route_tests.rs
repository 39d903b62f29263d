use super::*;

fn route_with(method: &str, target: &str, host: &str, extra: &str) -> Result<Route, S3Error> {
    let mut head = RequestHead::new();
    let text = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{extra}\r\n");
    head.parse(text.as_bytes()).unwrap().unwrap();
    Route::of(&head, &["s3.example".into(), "eu.s3.example".into()])
}

fn operation(request: &str) -> Operation {
    let (method, target) = request.split_once(' ').unwrap();
    route_with(method, target, "localhost:9000", "").unwrap_or_else(|e| panic!("{request}: {e}")).operation
}

fn code(request: &str) -> Code {
    let (method, target) = request.split_once(' ').unwrap();
    route_with(method, target, "localhost:9000", "").map(|r| panic!("{request}: {r:?}")).unwrap_err().code()
}

#[test]
fn every_operation_is_found() {
    use Operation::*;
    for (request, want) in [
        ("GET /", ListBuckets),
        ("GET /?x-id=ListBuckets", ListBuckets),
        ("PUT /bucket", CreateBucket),
        ("PUT /bucket/", CreateBucket),
        ("HEAD /bucket", HeadBucket),
        ("DELETE /bucket", DeleteBucket),
        ("GET /bucket?location", GetBucketLocation),
        ("GET /bucket", ListObjects),
        ("GET /bucket/?prefix=acl", ListObjects),
        ("GET /bucket?list-type=2&prefix=a", ListObjectsV2),
        ("GET /bucket?versions", ListObjectVersions),
        ("GET /bucket?uploads=", ListMultipartUploads),
        ("POST /bucket?delete", DeleteObjects),
        ("PUT /bucket/k?x-id=PutObject", PutObject),
        ("GET /bucket/k", GetObject),
        ("GET /bucket/k?partNumber=1", GetObject),
        ("GET /bucket/k?versionId=null&response-expires=x", GetObject),
        ("HEAD /bucket/k", HeadObject),
        ("DELETE /bucket/k?versionId=1", DeleteObject),
        ("POST /bucket/k?uploads", CreateMultipartUpload),
        ("PUT /bucket/k?partNumber=1&uploadId=u", UploadPart),
        ("POST /bucket/k?uploadId=u", CompleteMultipartUpload),
        ("DELETE /bucket/k?uploadId=u", AbortMultipartUpload),
        ("GET /bucket/k?uploadId=u", ListParts),
    ] {
        assert_eq!(operation(request), want, "{request}");
    }
    let copy = |target| route_with("PUT", target, "h", "x-amz-copy-source: /b/k\r\n").unwrap().operation;
    assert_eq!(copy("/bucket/k"), CopyObject);
    assert_eq!(copy("/bucket/k?uploadId=u&partNumber=2"), UploadPartCopy);
}

#[test]
fn subresources_select_an_operation() {
    for (request, want) in [
        ("GET /bucket?acl", "GetBucketAcl"),
        ("PUT /bucket/?policy", "PutBucketPolicy"),
        ("DELETE /bucket?tagging=", "DeleteBucketTagging"),
        ("GET /bucket?versioning", "GetBucketVersioning"),
        ("GET /bucket?versioning&list-type=2", "GetBucketVersioning"),
        ("GET /bucket?inventory", "ListBucketInventoryConfigurations"),
        ("GET /bucket?inventory&id=1", "GetBucketInventoryConfiguration"),
        ("POST /bucket", "PostObject"),
        ("OPTIONS /bucket/k", "PreflightRequest"),
        ("GET /bucket/k?acl", "GetObjectAcl"),
        ("PUT /bucket/k?tagging", "PutObjectTagging"),
        ("PUT /bucket/k?%74agging", "PutObjectTagging"),
        ("GET /bucket/k?attributes", "GetObjectAttributes"),
        ("POST /bucket/k?restore", "RestoreObject"),
        ("POST /bucket/k?select&select-type=2", "SelectObjectContent"),
        ("GET /bucket/k?torrent", "GetObjectTorrent"),
    ] {
        assert_eq!(operation(request).name(), want, "{request}");
    }
    let refusal = Operation::PutObjectAcl.not_implemented();
    assert_eq!((refusal.code(), refusal.message().contains("PutObjectAcl")), (Code::NotImplemented, true));
}

#[test]
fn a_subresource_with_a_wrong_method_is_not_a_plain_request() {
    for request in [
        "PUT /",
        "PATCH /bucket",
        "DELETE /bucket?location",
        "PUT /bucket?uploads",
        "HEAD /bucket?acl",
        "DELETE /bucket?acl",
        "DELETE /bucket?versions",
        "PUT /bucket/k?uploads",
        "DELETE /bucket/k?acl",
        "DELETE /bucket/k?torrent",
        "POST /bucket/k",
        "GET /bucket?delete",
        "HEAD /bucket/k?uploadId=u",
        "GET /bucket/k?append",
    ] {
        assert_eq!(code(request), Code::MethodNotAllowed, "{request}");
    }
    assert_eq!(code("PUT /bucket/k?uploadId=u"), Code::InvalidArgument);
    assert_eq!(code("PUT /bucket/k?partNumber=1"), Code::InvalidArgument);
    assert_eq!(code("GET /bucket?list-type=3"), Code::InvalidArgument);
}

#[test]
fn keys_keep_their_bytes() {
    let key = |path: &str| {
        let route = route_with("GET", &format!("/bucket/{path}"), "h", "").unwrap();
        assert_eq!(route.bucket.unwrap().as_str(), "bucket");
        route.key.unwrap().into_string()
    };
    for plain in ["a", "a/b", "a//b", "/a", "./a", "a/../b", "a+b", "a/", "/"] {
        assert_eq!(key(plain), plain);
    }
    assert_eq!(key("a%2Fb%20c%252F%F0%9F%90%B9"), "a/b c%2F🐹");
    assert_eq!(code("GET /bucket/../k"), Code::InvalidURI);
    assert_eq!(code("GET /bucket/a/%2E%2E/../k"), Code::InvalidURI);
    assert_eq!(code("GET /bucket/a%00"), Code::InvalidArgument);
    assert_eq!(code("GET /bucket/%ff"), Code::InvalidURI);
    assert_eq!(code("GET /bucket/%f"), Code::InvalidURI);
    assert_eq!(code(&format!("GET /bucket/{}", "k".repeat(1025))), Code::KeyTooLongError);
    assert_eq!(code("GET /Bu"), Code::InvalidBucketName);
    assert_eq!(code("GET //k"), Code::InvalidBucketName);
}

#[test]
fn hosts_name_buckets_below_the_domains() {
    let at = |host: &str, target: &str| {
        let route = route_with("GET", target, host, "").unwrap();
        (route.bucket.map(BucketName::into_string), route.key.map(ObjectKey::into_string), route.operation)
    };
    let (bucket, key) = (Some("bu.cket".to_string()), Some("a//b".to_string()));
    assert_eq!(at("bu.cket.s3.example", "/a//b"), (bucket.clone(), key.clone(), Operation::GetObject));
    assert_eq!(at("bu.cket.EU.s3.example:9000", "/a//b"), (bucket.clone(), key, Operation::GetObject));
    assert_eq!(at("bu.cket.s3.example", "/"), (bucket, None, Operation::ListObjects));
    assert_eq!(at("s3.example", "/"), (None, None, Operation::ListBuckets));
    assert_eq!(at("xs3.example", "/"), (None, None, Operation::ListBuckets));
    assert_eq!(at("[::1]:9000", "/"), (None, None, Operation::ListBuckets));
}
