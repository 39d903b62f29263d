import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.net.URI;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletionException;
import java.util.concurrent.Executors;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.core.ResponseBytes;
import software.amazon.awssdk.core.async.AsyncRequestBody;
import software.amazon.awssdk.core.checksums.RequestChecksumCalculation;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.http.nio.netty.NettyNioAsyncHttpClient;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.retries.DefaultRetryStrategy;
import software.amazon.awssdk.services.s3.S3AsyncClient;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.S3Configuration;
import software.amazon.awssdk.services.s3.model.ChecksumAlgorithm;
import software.amazon.awssdk.services.s3.model.ChecksumMode;
import software.amazon.awssdk.services.s3.model.GetObjectResponse;
import software.amazon.awssdk.services.s3.model.HeadObjectResponse;
import software.amazon.awssdk.services.s3.model.NoSuchBucketException;
import software.amazon.awssdk.services.s3.model.NoSuchKeyException;
import software.amazon.awssdk.services.s3.model.ObjectIdentifier;
import software.amazon.awssdk.services.s3.model.S3Exception;
import software.amazon.awssdk.services.s3.model.S3Object;
import software.amazon.awssdk.services.s3.presigner.S3Presigner;

/** The AWS SDK for Java v2 against one server: every way in which it frames a body, and what an application does with it. */
final class Main {
    static final String BUCKET = System.getenv("SDK_BUCKET");
    static final int[] SIZES = {0, 1, 4096, 65535, 65536, 65537, 131071, 131072, 131073, 1 << 20, (5 << 20) + 1};
    static final List<String> KEYS = List.of("plain", "a b", "a+b", "a%20b", "ä/ö/ü€", "𝄞", "q?x=1&y=2", "h#1", "<tag>&'\"",
        "a//b", "~!*'()", "semi;colon,=:@$", "back\\slash", "trailing/");
    static final StaticCredentialsProvider CREDENTIALS = StaticCredentialsProvider.create(
        AwsBasicCredentials.create(System.getenv("SDK_ACCESS_KEY"), System.getenv("SDK_SECRET_KEY")));
    static final Region REGION = Region.of(System.getenv("SDK_REGION"));
    static final String ENDPOINT = System.getenv("SDK_ENDPOINT");
    static final S3Client client = connect(ENDPOINT, 1, true, RequestChecksumCalculation.WHEN_SUPPORTED);
    static boolean failed = false;

    interface Step {
        void run() throws Exception;
    }

    static void step(String name, Step step) {
        try {
            step.run();
            System.out.println("ok " + name);
        } catch (Throwable error) {
            failed = true;
            System.out.println("FAILED " + name + ": " + error.toString().replace('\n', ' ') + " " + Arrays.stream(error.getStackTrace())
                .filter(frame -> frame.getClassName().startsWith("Main")).findFirst().map(Object::toString).orElse(""));
        }
    }

    static void same(Object got, Object want) {
        if (!want.equals(got)) {
            throw new AssertionError(got + " is not " + want);
        }
    }

    static byte[] value(int size) {
        byte[] out = new byte[size];
        int state = size + 1;
        for (int i = 0; i < size; i++) {
            state = state * 1664525 + 1013904223;
            out[i] = (byte) (state >>> 24);
        }
        return out;
    }

    /** Trusts the authority in SDK_CA alone, where there is one. */
    static TrustManager[] trust() {
        String path = System.getenv("SDK_CA");
        if (path == null || path.isEmpty()) {
            return null;
        }
        try (InputStream pem = Files.newInputStream(Path.of(path))) {
            KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
            store.load(null);
            store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(pem));
            TrustManagerFactory factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
            factory.init(store);
            return factory.getTrustManagers();
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
    }

    static S3Client connect(String endpoint, int attempts, boolean chunked, RequestChecksumCalculation checksums) {
        return S3Client.builder().endpointOverride(URI.create(endpoint)).region(REGION).credentialsProvider(CREDENTIALS)
            .serviceConfiguration(S3Configuration.builder().pathStyleAccessEnabled(true).chunkedEncodingEnabled(chunked).build())
            .requestChecksumCalculation(checksums)
            .httpClient(UrlConnectionHttpClient.builder().tlsTrustManagersProvider(Main::trust).build())
            .overrideConfiguration(o -> o.retryStrategy(DefaultRetryStrategy.standardStrategyBuilder().maxAttempts(attempts).build()))
            .build();
    }

    static S3AsyncClient connectAsync() {
        return S3AsyncClient.builder().endpointOverride(URI.create(ENDPOINT)).region(REGION).credentialsProvider(CREDENTIALS)
            .forcePathStyle(true).multipartEnabled(true).multipartConfiguration(m -> m.minimumPartSizeInBytes(5L << 20).thresholdInBytes(8L << 20))
            .httpClient(NettyNioAsyncHttpClient.builder().tlsTrustManagersProvider(Main::trust).build())
            .overrideConfiguration(o -> o.retryStrategy(DefaultRetryStrategy.standardStrategyBuilder().maxAttempts(1).build()))
            .build();
    }

    static void read(String key, byte[] body) {
        HeadObjectResponse head = client.headObject(r -> r.bucket(BUCKET).key(key).checksumMode(ChecksumMode.ENABLED));
        same(head.contentLength(), (long) body.length);
        ResponseBytes<GetObjectResponse> object = client.getObjectAsBytes(r -> r.bucket(BUCKET).key(key).checksumMode(ChecksumMode.ENABLED));
        same(Arrays.equals(object.asByteArrayUnsafe(), body), true);
    }

    /** A body that the SDK can't know beforehand. */
    static RequestBody stream(byte[] body) {
        return RequestBody.fromContentProvider(() -> new ByteArrayInputStream(body), body.length, "application/octet-stream");
    }

    static void bodies(S3AsyncClient async) {
        S3Client whole = connect(ENDPOINT, 1, false, RequestChecksumCalculation.WHEN_SUPPORTED);
        S3Client plain = connect(ENDPOINT, 1, true, RequestChecksumCalculation.WHEN_REQUIRED);
        for (int size : SIZES) {
            byte[] body = value(size);
            for (ChecksumAlgorithm algorithm : new ChecksumAlgorithm[] {null, ChecksumAlgorithm.CRC32, ChecksumAlgorithm.CRC32_C,
                ChecksumAlgorithm.SHA1, ChecksumAlgorithm.SHA256}) {
                for (Map.Entry<String, S3Client> by : Map.of("chunked", client, "whole", whole, "checksums when required", plain).entrySet()) {
                    step("size=" + size + " " + algorithm + " " + by.getKey(), () -> {
                        by.getValue().putObject(r -> r.bucket(BUCKET).key("body").checksumAlgorithm(algorithm), RequestBody.fromBytes(body));
                        read("body", body);
                        by.getValue().putObject(r -> r.bucket(BUCKET).key("body").checksumAlgorithm(algorithm), stream(body));
                        read("body", body);
                    });
                }
                step("size=" + size + " " + algorithm + " async", () -> {
                    async.putObject(r -> r.bucket(BUCKET).key("body").checksumAlgorithm(algorithm), AsyncRequestBody.fromBytes(body)).join();
                    read("body", body);
                });
            }
        }
    }

    static void multipart(S3AsyncClient async) {
        byte[] body = value(20 << 20);
        for (ChecksumAlgorithm algorithm : new ChecksumAlgorithm[] {null, ChecksumAlgorithm.CRC32, ChecksumAlgorithm.SHA256}) {
            step("multipart " + algorithm, () -> {
                async.putObject(r -> r.bucket(BUCKET).key("parts").checksumAlgorithm(algorithm), AsyncRequestBody.fromBytes(body)).join();
                read("parts", body);
            });
        }
        step("multipart of unknown size", () -> {
            var executor = Executors.newSingleThreadExecutor();
            try {
                async.putObject(r -> r.bucket(BUCKET).key("parts"), AsyncRequestBody.fromInputStream(new ByteArrayInputStream(body), null, executor)).join();
            } finally {
                executor.shutdown();
            }
            read("parts", body);
        });
        step("an upload that is listed and aborted", () -> {
            String id = client.createMultipartUpload(r -> r.bucket(BUCKET).key("aborted")).uploadId();
            String etag = client.uploadPart(r -> r.bucket(BUCKET).key("aborted").uploadId(id).partNumber(1), RequestBody.fromBytes(value(70_000))).eTag();
            same(client.listParts(r -> r.bucket(BUCKET).key("aborted").uploadId(id)).parts().get(0).eTag(), etag);
            client.abortMultipartUpload(r -> r.bucket(BUCKET).key("aborted").uploadId(id));
            refused("NoSuchUpload", S3Exception.class, () -> client.listParts(r -> r.bucket(BUCKET).key("aborted").uploadId(id)));
        });
    }

    static void refused(String code, Class<? extends S3Exception> type, Callable<?> call) throws Exception {
        try {
            call.call();
        } catch (CompletionException | S3Exception error) {
            S3Exception cause = (S3Exception) (error instanceof CompletionException ? error.getCause() : error);
            if (code != null) {
                same(cause.awsErrorDetails().errorCode(), code);
            }
            same(type.isInstance(cause), true);
            return;
        }
        throw new AssertionError(code + " was expected");
    }

    static void keys() {
        for (String key : KEYS) {
            step("key " + key, () -> {
                byte[] body = key.getBytes(StandardCharsets.UTF_8);
                client.putObject(r -> r.bucket(BUCKET).key("keys/" + key), RequestBody.fromBytes(body));
                read("keys/" + key, body);
                client.copyObject(r -> r.sourceBucket(BUCKET).sourceKey("keys/" + key).destinationBucket(BUCKET).destinationKey("copy"));
                read("copy", body);
            });
        }
        step("all keys are listed and deleted at once", () -> {
            List<ObjectIdentifier> found = new ArrayList<>();
            TreeSet<String> wanted = new TreeSet<>();
            KEYS.forEach(key -> wanted.add("keys/" + key));
            for (S3Object object : client.listObjectsV2Paginator(r -> r.bucket(BUCKET).prefix("keys/").maxKeys(3)).contents()) {
                found.add(ObjectIdentifier.builder().key(object.key()).build());
                wanted.remove(object.key());
            }
            same(wanted.isEmpty() && found.size() == KEYS.size(), true);
            same(client.deleteObjects(r -> r.bucket(BUCKET).delete(d -> d.objects(found))).deleted().size(), KEYS.size());
        });
    }

    static byte[] fetch(String method, URL url, Map<String, List<String>> headers, byte[] body) throws Exception {
        var connection = (java.net.HttpURLConnection) url.openConnection();
        if (connection instanceof HttpsURLConnection secure) {
            SSLContext context = SSLContext.getInstance("TLS");
            context.init(null, trust(), null);
            secure.setSSLSocketFactory(context.getSocketFactory());
        }
        connection.setRequestMethod(method);
        headers.forEach((name, values) -> {
            if (!name.equalsIgnoreCase("host")) {
                connection.setRequestProperty(name, String.join(",", values));
            }
        });
        if (body != null) {
            connection.setDoOutput(true);
            connection.getOutputStream().write(body);
        }
        same(connection.getResponseCode(), 200);
        return connection.getInputStream().readAllBytes();
    }

    static void applications() {
        byte[] body = value(100_000);
        step("metadata", () -> {
            client.putObject(r -> r.bucket(BUCKET).key("meta").contentType("text/x").contentEncoding("gzip, br").cacheControl("no-cache")
                .metadata(Map.of("colour", "a b", "encoded", "=?UTF-8?B?Z3LDvG4g4oKs?=")), RequestBody.fromBytes(body));
            HeadObjectResponse head = client.headObject(r -> r.bucket(BUCKET).key("meta"));
            same(head.metadata(), Map.of("colour", "a b", "encoded", "=?UTF-8?B?Z3LDvG4g4oKs?="));
            same(List.of(head.contentType(), head.contentEncoding(), head.cacheControl()), List.of("text/x", "gzip, br", "no-cache"));
        });
        step("ranges", () -> {
            int[][] bounds = {{0, 1}, {5, 70_001}, {99_999, 100_000}};
            for (int[] range : bounds) {
                byte[] got = client.getObjectAsBytes(r -> r.bucket(BUCKET).key("meta").range("bytes=" + range[0] + "-" + (range[1] - 1))).asByteArray();
                same(Arrays.equals(got, Arrays.copyOfRange(body, range[0], range[1])), true);
            }
            refused("InvalidRange", S3Exception.class, () -> client.getObjectAsBytes(r -> r.bucket(BUCKET).key("meta").range("bytes=100000-")));
        });
        step("presigned URLs", () -> {
            try (S3Presigner presigner = S3Presigner.builder().endpointOverride(URI.create(ENDPOINT)).region(REGION).credentialsProvider(CREDENTIALS)
                .serviceConfiguration(S3Configuration.builder().pathStyleAccessEnabled(true).build()).build()) {
                var put = presigner.presignPutObject(p -> p.signatureDuration(Duration.ofMinutes(1)).putObjectRequest(r -> r.bucket(BUCKET).key("presigned ä").contentType("a/b")));
                fetch("PUT", put.url(), put.signedHeaders(), body);
                var get = presigner.presignGetObject(p -> p.signatureDuration(Duration.ofMinutes(1)).getObjectRequest(r -> r.bucket(BUCKET).key("presigned ä")));
                same(Arrays.equals(fetch("GET", get.url(), get.signedHeaders(), null), body), true);
            }
        });
        step("errors", () -> {
            String nowhere = BUCKET + "-none";
            refused(null, NoSuchKeyException.class, () -> client.headObject(r -> r.bucket(BUCKET).key("none")));
            refused("NoSuchKey", NoSuchKeyException.class, () -> client.getObjectAsBytes(r -> r.bucket(BUCKET).key("none")));
            refused(null, NoSuchBucketException.class, () -> client.headBucket(r -> r.bucket(nowhere)));
            refused("NoSuchBucket", NoSuchBucketException.class, () -> client.listObjectsV2(r -> r.bucket(nowhere)));
            refused("NoSuchBucket", S3Exception.class, () -> client.putObject(r -> r.bucket(nowhere).key("none"), RequestBody.fromBytes(body)));
            refused("PreconditionFailed", S3Exception.class, () -> client.putObject(r -> r.bucket(BUCKET).key("meta").ifNoneMatch("*"), RequestBody.fromBytes(body)));
            refused("BucketNotEmpty", S3Exception.class, () -> client.deleteBucket(r -> r.bucket(BUCKET)));
        });
        step("SlowDown is tried again", () -> {
            S3Client slow = connect(System.getenv("SDK_SLOW_ENDPOINT"), 5, true, RequestChecksumCalculation.WHEN_SUPPORTED);
            slow.putObject(r -> r.bucket(BUCKET).key("slow"), RequestBody.fromBytes(body));
            read("slow", body);
        });
    }

    public static void main(String[] arguments) {
        step("a bucket", () -> client.createBucket(r -> r.bucket(BUCKET)));
        try (S3AsyncClient async = connectAsync()) {
            bodies(async);
            multipart(async);
        }
        keys();
        applications();
        step("the bucket's end", () -> {
            for (S3Object object : client.listObjectsV2Paginator(r -> r.bucket(BUCKET)).contents()) {
                client.deleteObject(r -> r.bucket(BUCKET).key(object.key()));
            }
            client.deleteBucket(r -> r.bucket(BUCKET));
        });
        System.out.println("done");
        System.exit(failed ? 1 : 0);
    }
}
