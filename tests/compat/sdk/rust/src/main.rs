//! The AWS SDK for Rust against one server: every way in which it frames a body, and what an application does with it.

mod check;

use std::path::Path;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{Builder, Credentials, Region, RequestChecksumCalculation};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, ChecksumType};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier};
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};

use check::{Error, KEYS, Result, SIZES, equal, fetch, same, setting, step, stream, value};

/// A client and the bucket that it works in.
struct App {
    client: Client,
    bucket: String,
}

fn secret() -> String {
    setting("SDK_SECRET_KEY")
}

fn settings(endpoint: &str, attempts: u32, secret: &str) -> Builder {
    let http = aws_smithy_http_client::Builder::new();
    let http = match check::authority() {
        None => http.build_http(),
        Some(pem) => {
            let trusted = TrustStore::empty().with_pem_certificate(pem);
            let context = TlsContext::builder().with_trust_store(trusted).build().expect("an authority");
            http.tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(context).build_https()
        }
    };
    aws_sdk_s3::config::Config::builder()
        .behavior_version_latest()
        .endpoint_url(endpoint)
        .region(Region::new(setting("SDK_REGION")))
        .credentials_provider(Credentials::new(setting("SDK_ACCESS_KEY"), secret, None, None, "test"))
        .force_path_style(true)
        .retry_config(RetryConfig::standard().with_max_attempts(attempts))
        .http_client(http)
}

impl App {
    fn new(settings: Builder) -> Self {
        Self { client: Client::from_conf(settings.build()), bucket: setting("SDK_BUCKET") }
    }

    async fn read(&self, key: &str, body: &[u8]) -> Result<()> {
        let head = self
            .client
            .head_object()
            .bucket(&self.bucket)
            .key(key)
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await?;
        equal("size", head.content_length(), Some(body.len() as i64))?;
        let object = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key)
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await?;
        same(&object.body.collect().await?.into_bytes(), body)
    }

    async fn put(&self, key: &str, body: &[u8]) -> Result<()> {
        self.client.put_object().bucket(&self.bucket).key(key).body(body.to_vec().into()).send().await?;
        self.read(key, body).await
    }
}

/// The code of a refusal.
fn code<T, E: ProvideErrorMetadata>(answer: std::result::Result<T, E>) -> Result<String> {
    match answer {
        Ok(_) => Err("an error was expected".into()),
        Err(error) => Ok(error.code().unwrap_or_default().to_owned()),
    }
}

/// Uploads a body in each form that an application can give it to the SDK.
async fn forms(
    app: &App,
    by: &Client,
    name: &str,
    file: &Path,
    algorithm: Option<ChecksumAlgorithm>,
) -> Result<()> {
    let body = std::fs::read(file)?;
    for (form, signed) in
        ["bytes", "stream", "file"].into_iter().flat_map(|form| [(form, true), (form, false)])
    {
        let name = format!("size={} {name} {form} signed={signed}", body.len());
        step(&name, async {
            let content = match form {
                "bytes" => ByteStream::from(body.clone()),
                "stream" => stream(&body),
                _ => ByteStream::from_path(file).await?,
            };
            let put = by.put_object().bucket(&app.bucket).key("body").body(content);
            let put = put.set_checksum_algorithm(algorithm.clone()).customize();
            let put = if signed { put } else { put.disable_payload_signing() };
            put.send().await?;
            app.read("body", &body).await
        })
        .await;
    }
    Ok(())
}

async fn bodies(app: &App) -> Result<()> {
    use ChecksumAlgorithm::{Crc32, Crc32C, Crc64Nvme, Sha1, Sha256};
    let required = RequestChecksumCalculation::WhenRequired;
    let plain =
        App::new(settings(&setting("SDK_ENDPOINT"), 1, &secret()).request_checksum_calculation(required));
    let file = std::env::temp_dir().join(format!("hamster-sdk-rust-{}", std::process::id()));
    for size in SIZES {
        std::fs::write(&file, value(size))?;
        for algorithm in [None, Some(Crc32), Some(Crc32C), Some(Crc64Nvme), Some(Sha1), Some(Sha256)] {
            forms(app, &app.client, &format!("{algorithm:?}"), &file, algorithm).await?;
        }
        // An algorithm would be announced without its checksum, which AWS refuses as well.
        forms(app, &plain.client, "without a checksum", &file, None).await?;
    }
    Ok(std::fs::remove_file(&file)?)
}

async fn upload(
    app: &App,
    algorithm: Option<ChecksumAlgorithm>,
    kind: Option<ChecksumType>,
    streamed: bool,
) -> Result<()> {
    let (client, bucket, body) = (&app.client, &app.bucket, value((15 << 20) + 1));
    let begin = client.create_multipart_upload().bucket(bucket).key("parts");
    let begun = begin.set_checksum_algorithm(algorithm.clone()).set_checksum_type(kind).send().await?;
    let id = begun.upload_id().ok_or("no upload id")?;
    let mut parts = CompletedMultipartUpload::builder();
    for (piece, number) in body.chunks(5 << 20).zip(1..) {
        let content = if streamed { stream(piece) } else { piece.to_vec().into() };
        let part =
            client.upload_part().bucket(bucket).key("parts").upload_id(id).part_number(number).body(content);
        let done = part.set_checksum_algorithm(algorithm.clone()).send().await?;
        parts = parts.parts(
            CompletedPart::builder()
                .part_number(number)
                .set_e_tag(done.e_tag)
                .set_checksum_crc32(done.checksum_crc32)
                .set_checksum_crc32_c(done.checksum_crc32_c)
                .set_checksum_crc64_nvme(done.checksum_crc64_nvme)
                .set_checksum_sha256(done.checksum_sha256)
                .build(),
        );
    }
    let complete = client.complete_multipart_upload().bucket(bucket).key("parts").upload_id(id);
    complete.multipart_upload(parts.build()).send().await?;
    app.read("parts", &body).await
}

async fn multipart(app: &App) {
    let composite =
        [None, Some(ChecksumAlgorithm::Crc32C), Some(ChecksumAlgorithm::Sha256)].map(|a| (a, None));
    let whole = [ChecksumAlgorithm::Crc64Nvme, ChecksumAlgorithm::Crc32]
        .map(|a| (Some(a), Some(ChecksumType::FullObject)));
    for (algorithm, kind) in composite.into_iter().chain(whole) {
        for streamed in [false, true] {
            let name = format!("multipart {algorithm:?} {kind:?} streamed={streamed}");
            step(&name, upload(app, algorithm.clone(), kind.clone(), streamed)).await;
        }
    }
    let (client, bucket, key) = (&app.client, &app.bucket, "aborted");
    step("an upload that is listed and aborted", async {
        let begun = client.create_multipart_upload().bucket(bucket).key(key).send().await?;
        let id = begun.upload_id().ok_or("no upload id")?;
        let source = format!("{bucket}/parts");
        let copy = client.upload_part_copy().bucket(bucket).key(key).upload_id(id).part_number(1);
        let copied = copy.copy_source(source).copy_source_range("bytes=1-70000").send().await?;
        let parts = client.list_parts().bucket(bucket).key(key).upload_id(id).send().await?;
        let etag = copied.copy_part_result().and_then(|part| part.e_tag());
        equal("etag", parts.parts()[0].e_tag(), etag)?;
        let uploads = client.list_multipart_uploads().bucket(bucket).send().await?;
        equal("uploads", uploads.uploads().len(), 1)?;
        client.abort_multipart_upload().bucket(bucket).key(key).upload_id(id).send().await?;
        let gone = client.list_parts().bucket(bucket).key(key).upload_id(id).send().await;
        equal("list", code(gone)?, "NoSuchUpload".into())
    })
    .await;
}

/// A key as x-amz-copy-source wants it.
fn escaped(key: &str) -> String {
    key.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

async fn keys(app: &App) {
    let (client, bucket) = (&app.client, &app.bucket);
    for key in KEYS {
        step(&format!("key {key}"), async {
            let (key, body) = (format!("keys/{key}"), key.as_bytes());
            app.put(&key, body).await?;
            let source = format!("{bucket}/{}", escaped(&key));
            client.copy_object().bucket(bucket).key("copy").copy_source(source).send().await?;
            app.read("copy", body).await
        })
        .await;
    }
    step("all keys are listed and deleted at once", async {
        let mut pages =
            client.list_objects_v2().bucket(bucket).prefix("keys/").max_keys(3).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            found.extend(page?.contents().iter().filter_map(|object| object.key().map(str::to_owned)));
        }
        let mut wanted = KEYS.map(|key| format!("keys/{key}"));
        wanted.sort();
        equal("keys", &found[..], &wanted[..])?;
        let objects: std::result::Result<_, _> =
            found.iter().map(|key| ObjectIdentifier::builder().key(key).build()).collect();
        let delete = Delete::builder().set_objects(Some(objects?)).build()?;
        let deleted = client.delete_objects().bucket(bucket).delete(delete).send().await?;
        equal("deleted", deleted.deleted().len(), KEYS.len())
    })
    .await;
    step("a delimiter", async {
        for key in ["d/1", "d/ä/2", "d/ä/3", "d/é/4"] {
            app.put(key, b"").await?;
        }
        let page = client.list_objects_v2().bucket(bucket).prefix("d/").delimiter("/").send().await?;
        equal("objects", page.contents().len(), 1)?;
        equal("prefixes", page.common_prefixes().len(), 2)
    })
    .await;
}

async fn applications(app: &App) {
    let (client, bucket, body) = (&app.client, &app.bucket, value(100_000));
    step("metadata", async {
        let put =
            client.put_object().bucket(bucket).key("meta").body(body.clone().into()).content_type("text/x");
        put.content_encoding("gzip, br").cache_control("no-cache").metadata("plain", "a b").send().await?;
        let head = client.head_object().bucket(bucket).key("meta").send().await?;
        equal("metadata", head.metadata().and_then(|all| all.get("plain")).map(String::as_str), Some("a b"))?;
        equal("type", head.content_type(), Some("text/x"))?;
        equal("encoding", head.content_encoding(), Some("gzip, br"))?;
        equal("cache", head.cache_control(), Some("no-cache"))
    })
    .await;
    step("a streamed body with an encoding of its own", async {
        let put =
            client.put_object().bucket(bucket).key("encoded").body(stream(&body)).content_encoding("gzip");
        put.send().await?;
        let head = client.head_object().bucket(bucket).key("encoded").send().await?;
        equal("encoding", head.content_encoding(), Some("gzip"))?;
        app.read("encoded", &body).await
    })
    .await;
    step("ranges", async {
        let get = |range: &str| client.get_object().bucket(bucket).key("meta").range(range).send();
        for (range, want) in [
            ("bytes=0-0", &body[..1]),
            ("bytes=5-70000", &body[5..70_001]),
            ("bytes=99999-", &body[99_999..]),
            ("bytes=-10", &body[99_990..]),
        ] {
            same(&get(range).await?.body.collect().await?.into_bytes(), want)?;
        }
        equal("a range behind the end", code(get("bytes=100000-").await)?, "InvalidRange".into())
    })
    .await;
    step("presigned URLs", async {
        let minute = PresigningConfig::expires_in(Duration::from_secs(60))?;
        let put = client
            .put_object()
            .bucket(bucket)
            .key("presigned ä")
            .content_type("a/b")
            .presigned(minute.clone())
            .await?;
        fetch(&put, &body)?;
        let get = client.get_object().bucket(bucket).key("presigned ä").presigned(minute).await?;
        same(&fetch(&get, b"")?, &body)
    })
    .await;
    step("SlowDown is tried again", async {
        let slow = settings(&setting("SDK_SLOW_ENDPOINT"), 5, &secret());
        let slow = App::new(slow);
        slow.client.put_object().bucket(bucket).key("slow").body(stream(&body)).send().await?;
        app.read("slow", &body).await
    })
    .await;
}

async fn errors(app: &App) -> Result<()> {
    let (client, bucket, nowhere) = (&app.client, &app.bucket, format!("{}-none", app.bucket));
    let head = client.head_object().bucket(bucket).key("none").send().await.expect_err("no such object");
    equal("head", head.into_service_error().is_not_found(), true)?;
    let get = client.get_object().bucket(bucket).key("none").send().await.expect_err("no such object");
    equal("get", get.into_service_error().is_no_such_key(), true)?;
    let list = client.list_objects_v2().bucket(&nowhere).send().await.expect_err("no such bucket");
    equal("list", list.into_service_error().is_no_such_bucket(), true)?;
    let gone = client.head_bucket().bucket(&nowhere).send().await.expect_err("no such bucket");
    equal("head of a bucket", gone.into_service_error().is_not_found(), true)?;
    let put = client.put_object().bucket(&nowhere).key("none").body(stream(&value(100_000))).send().await;
    equal("put without bucket", code(put)?, "NoSuchBucket".into())?;
    let twice =
        client.put_object().bucket(bucket).key("meta").if_none_match("*").body(stream(b"x")).send().await;
    equal("put twice", code(twice)?, "PreconditionFailed".into())?;
    equal(
        "a full bucket's end",
        code(client.delete_bucket().bucket(bucket).send().await)?,
        "BucketNotEmpty".into(),
    )?;
    let wrong = App::new(settings(&setting("SDK_ENDPOINT"), 1, "wrong"));
    equal("a wrong secret", code(wrong.client.list_buckets().send().await)?, "SignatureDoesNotMatch".into())
}

async fn run() -> std::result::Result<(), Error> {
    let app = App::new(settings(&setting("SDK_ENDPOINT"), 1, &secret()));
    let (client, bucket) = (&app.client, &app.bucket);
    step("a bucket", async {
        client.create_bucket().bucket(bucket).send().await?;
        Ok(())
    })
    .await;
    bodies(&app).await?;
    multipart(&app).await;
    keys(&app).await;
    applications(&app).await;
    step("errors", errors(&app)).await;
    step("the bucket's end", async {
        let mut pages = client.list_objects_v2().bucket(bucket).into_paginator().send();
        while let Some(page) = pages.next().await {
            for key in page?.contents().iter().filter_map(|object| object.key()) {
                client.delete_object().bucket(bucket).key(key).send().await?;
            }
        }
        client.delete_bucket().bucket(bucket).send().await?;
        Ok(())
    })
    .await;
    Ok(())
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run()).expect("a bucket and a temporary file");
    check::done();
}
