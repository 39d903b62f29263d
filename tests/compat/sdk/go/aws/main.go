// The AWS SDK for Go v2 against one server: every way in which it frames a body, and what an application does with it.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"hamster/tests/sdk/check"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	transfer "github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

var (
	ctx    = context.Background()
	bucket = aws.String(check.Bucket)
)

func connect(endpoint string, attempts int, more ...func(*s3.Options)) *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(endpoint),
		Region:       check.Region,
		Credentials:  credentials.NewStaticCredentialsProvider(check.AccessKey, check.SecretKey, ""),
		HTTPClient:   &http.Client{Transport: check.Transport()},
		UsePathStyle: true,
		Retryer:      retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts = attempts }),
	}, more...)
}

// stream hides that a reader can seek.
type stream struct{ io.Reader }

func read(client *s3.Client, key string, body []byte) error {
	head, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: aws.String(key), ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		return fmt.Errorf("head: %w", err)
	}
	object, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String(key), ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		return fmt.Errorf("get: %w", err)
	}
	defer object.Body.Close()
	return check.First(check.Equal("size", *head.ContentLength, int64(len(body))), check.Same(object.Body, body))
}

func put(client *s3.Client, key string, body []byte, reader io.Reader, algorithm types.ChecksumAlgorithm, options ...func(*s3.Options)) error {
	input := &s3.PutObjectInput{Bucket: bucket, Key: aws.String(key), Body: reader, ContentLength: aws.Int64(int64(len(body))), ChecksumAlgorithm: algorithm}
	if _, err := client.PutObject(ctx, input, options...); err != nil {
		return fmt.Errorf("put: %w", err)
	}
	return read(client, key, body)
}

func bodies(client *s3.Client) {
	whenRequired := func(o *s3.Options) { o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired }
	unsigned := s3.WithAPIOptions(v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
	for _, size := range check.Sizes {
		body := check.Value(size)
		step := func(name string, reader io.Reader, algorithm types.ChecksumAlgorithm, options ...func(*s3.Options)) {
			check.Step(fmt.Sprintf("size=%d %s", size, name), func() error { return put(client, "body", body, reader, algorithm, options...) })
		}
		for _, algorithm := range []types.ChecksumAlgorithm{"", types.ChecksumAlgorithmCrc32, types.ChecksumAlgorithmCrc32c,
			types.ChecksumAlgorithmCrc64nvme, types.ChecksumAlgorithmSha1, types.ChecksumAlgorithmSha256} {
			step(string(algorithm), bytes.NewReader(body), algorithm)
			step(string(algorithm)+" unsigned", bytes.NewReader(body), algorithm, unsigned)
			if strings.HasPrefix(check.Endpoint, "https") { // Over http the SDK refuses to.
				step(string(algorithm)+" stream", stream{bytes.NewReader(body)}, algorithm)
			}
		}
		step("without a checksum", bytes.NewReader(body), "", whenRequired)
		step("without a checksum, unsigned", bytes.NewReader(body), "", whenRequired, unsigned)
	}
}

func multipart(client *s3.Client) {
	body := check.Value(20 << 20)
	for _, algorithm := range []transfer.ChecksumAlgorithm{"", "SHA256", "CRC64NVME", "CRC32C"} {
		check.Step("multipart "+string(algorithm), func() error {
			manager := transfermanager.New(client, func(o *transfermanager.Options) {
				o.PartSizeBytes = 5 << 20
				o.MultipartUploadThreshold = 5 << 20
			})
			input := &transfermanager.UploadObjectInput{Bucket: bucket, Key: aws.String("parts"), Body: bytes.NewReader(body), ChecksumAlgorithm: algorithm}
			if _, err := manager.UploadObject(ctx, input); err != nil {
				return err
			}
			return read(client, "parts", body)
		})
	}
	check.Step("an upload that is listed and aborted", func() error {
		key := aws.String("aborted")
		upload, err := client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: key})
		if err != nil {
			return err
		}
		part, err := client.UploadPart(ctx, &s3.UploadPartInput{Bucket: bucket, Key: key, UploadId: upload.UploadId, PartNumber: aws.Int32(1), Body: bytes.NewReader(body[:70_000])})
		if err != nil {
			return err
		}
		parts, err := client.ListParts(ctx, &s3.ListPartsInput{Bucket: bucket, Key: key, UploadId: upload.UploadId})
		if err != nil {
			return err
		}
		uploads, err := client.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: bucket})
		if err != nil {
			return err
		}
		if _, err := client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: bucket, Key: key, UploadId: upload.UploadId}); err != nil {
			return err
		}
		_, err = client.ListParts(ctx, &s3.ListPartsInput{Bucket: bucket, Key: key, UploadId: upload.UploadId})
		return check.First(check.Equal("etag", *parts.Parts[0].ETag, *part.ETag), check.Equal("uploads", len(uploads.Uploads), 1), code("list", err, "NoSuchUpload"))
	})
}

func is[T error](err error) error {
	var typed T
	if !errors.As(err, &typed) {
		return fmt.Errorf("%T was expected, not %v", typed, err)
	}
	return nil
}

func code(what string, err error, want string) error {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return fmt.Errorf("%s: no API error: %v", what, err)
	}
	return check.Equal(what, api.ErrorCode(), want)
}

func keys(client *s3.Client) {
	for _, key := range check.Keys {
		check.Step("key "+key, func() error {
			if err := put(client, "keys/"+key, []byte(key), strings.NewReader(key), ""); err != nil {
				return err
			}
			source := check.Bucket + "/" + escaped("keys/"+key)
			if _, err := client.CopyObject(ctx, &s3.CopyObjectInput{Bucket: bucket, Key: aws.String("copy"), CopySource: aws.String(source)}); err != nil {
				return fmt.Errorf("copy: %w", err)
			}
			return read(client, "copy", []byte(key))
		})
	}
	check.Step("all keys are listed and deleted at once", func() error {
		var found []types.ObjectIdentifier
		pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: bucket, Prefix: aws.String("keys/"), MaxKeys: aws.Int32(3)})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return err
			}
			for _, object := range page.Contents {
				found = append(found, types.ObjectIdentifier{Key: object.Key})
			}
		}
		deleted, err := client.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: bucket, Delete: &types.Delete{Objects: found}})
		if err != nil {
			return err
		}
		return check.First(check.Equal("keys", len(found), len(check.Keys)), check.Equal("deleted", len(deleted.Deleted), len(check.Keys)))
	})
	check.Step("a delimiter", func() error {
		for _, key := range []string{"d/1", "d/ä/2", "d/ä/3", "d/é/4"} {
			if err := put(client, key, nil, strings.NewReader(""), ""); err != nil {
				return err
			}
		}
		page, err := client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket, Prefix: aws.String("d/"), Delimiter: aws.String("/"), EncodingType: types.EncodingTypeUrl})
		if err != nil {
			return err
		}
		return check.First(check.Equal("objects", len(page.Contents), 1), check.Equal("prefixes", len(page.CommonPrefixes), 2))
	})
}

// escaped is a key as x-amz-copy-source wants it.
func escaped(key string) string {
	var out strings.Builder
	for _, b := range []byte(key) {
		fmt.Fprintf(&out, "%%%02X", b)
	}
	return out.String()
}

func applications(client *s3.Client) {
	body := check.Value(100_000)
	check.Step("metadata", func() error {
		_, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("meta"), Body: bytes.NewReader(body), ContentType: aws.String("text/x"),
			ContentEncoding: aws.String("gzip, br"), CacheControl: aws.String("no-cache"), Metadata: map[string]string{"colour": "grün €", "plain": "a b"}})
		if err != nil {
			return err
		}
		head, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: aws.String("meta")})
		if err != nil {
			return err
		}
		return check.First(
			check.Equal("metadata", head.Metadata["plain"], "a b"), check.Equal("metadata beyond ASCII", head.Metadata["colour"], "=?UTF-8?B?Z3LDvG4g4oKs?="),
			check.Equal("type", *head.ContentType, "text/x"), check.Equal("encoding", *head.ContentEncoding, "gzip, br"), check.Equal("cache", *head.CacheControl, "no-cache"),
		)
	})
	check.Step("ranges", func() error {
		for text, want := range map[string][]byte{"bytes=0-0": body[:1], "bytes=5-70000": body[5:70_001], "bytes=99999-": body[99_999:], "bytes=-10": body[99_990:]} {
			object, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("meta"), Range: aws.String(text)})
			if err != nil {
				return err
			}
			if err := check.Same(object.Body, want); err != nil {
				return fmt.Errorf("%s: %w", text, err)
			}
		}
		_, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("meta"), Range: aws.String("bytes=100000-")})
		return code("a range behind the end", err, "InvalidRange")
	})
	check.Step("presigned URLs", func() error {
		presign := s3.NewPresignClient(client, s3.WithPresignExpires(time.Minute))
		key := aws.String("presigned ä")
		put, err := presign.PresignPutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key, ContentType: aws.String("a/b")})
		if err != nil {
			return err
		}
		if _, err := check.Fetch(put.Method, put.URL, put.SignedHeader, body); err != nil {
			return err
		}
		get, err := presign.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key})
		if err != nil {
			return err
		}
		got, err := check.Fetch(get.Method, get.URL, get.SignedHeader, nil)
		return check.First(err, check.Same(bytes.NewReader(got), body))
	})
	check.Step("errors", func() error {
		none, noBucket := aws.String("none"), aws.String(check.Bucket+"-none")
		_, head := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: none})
		_, get := client.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: none})
		_, list := client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: noBucket})
		_, gone := client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: noBucket})
		_, put := client.PutObject(ctx, &s3.PutObjectInput{Bucket: noBucket, Key: none, Body: bytes.NewReader(body)})
		_, twice := client.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("meta"), Body: bytes.NewReader(body), IfNoneMatch: aws.String("*")})
		_, full := client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: bucket})
		wrong := connect(check.Endpoint, 1, func(o *s3.Options) {
			o.Credentials = credentials.NewStaticCredentialsProvider(check.AccessKey, "wrong", "")
		})
		_, denied := wrong.ListBuckets(ctx, &s3.ListBucketsInput{})
		return check.First(is[*types.NotFound](head), is[*types.NoSuchKey](get), is[*types.NoSuchBucket](list), is[*types.NotFound](gone),
			code("put without bucket", put, "NoSuchBucket"), code("put twice", twice, "PreconditionFailed"), code("a full bucket's end", full, "BucketNotEmpty"),
			code("a wrong secret", denied, "SignatureDoesNotMatch"))
	})
	check.Step("SlowDown is tried again", func() error {
		return put(connect(check.SlowEndpoint, 5), "slow", body, bytes.NewReader(body), "")
	})
}

func main() {
	client := connect(check.Endpoint, 1)
	check.Step("a bucket", func() error {
		_, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket})
		return err
	})
	bodies(client)
	multipart(client)
	keys(client)
	applications(client)
	check.Step("the bucket's end", func() error {
		pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: bucket})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return err
			}
			for _, object := range page.Contents {
				if _, err := client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: object.Key}); err != nil {
					return err
				}
			}
		}
		_, err := client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: bucket})
		return err
	})
	check.Done()
}
