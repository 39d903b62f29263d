// minio-go against one server: every way in which it frames a body, and what an application does with it.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"hamster/tests/sdk/check"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

var ctx = context.Background()

func connect(endpoint string, trailers bool, attempts int) *minio.Client {
	at, err := url.Parse(endpoint)
	if err != nil {
		panic(err)
	}
	client, err := minio.New(at.Host, &minio.Options{
		Creds:           credentials.NewStaticV4(check.AccessKey, check.SecretKey, ""),
		Secure:          at.Scheme == "https",
		Transport:       check.Transport(),
		Region:          check.Region,
		BucketLookup:    minio.BucketLookupPath,
		TrailingHeaders: trailers,
		MaxRetries:      attempts,
	})
	if err != nil {
		panic(err)
	}
	return client
}

// onlyReader hides that a reader can seek and be read at an offset.
type onlyReader struct{ io.Reader }

func roundTrip(client *minio.Client, key string, body []byte, reader io.Reader, size int64, options minio.PutObjectOptions) error {
	if _, err := client.PutObject(ctx, check.Bucket, key, reader, size, options); err != nil {
		return fmt.Errorf("put: %w", err)
	}
	info, err := client.StatObject(ctx, check.Bucket, key, minio.StatObjectOptions{Checksum: true})
	if err != nil {
		return fmt.Errorf("stat: %w", err)
	}
	object, err := client.GetObject(ctx, check.Bucket, key, minio.GetObjectOptions{Checksum: true})
	if err != nil {
		return fmt.Errorf("get: %w", err)
	}
	defer object.Close()
	return check.First(check.Equal("size", info.Size, int64(len(body))), check.Same(object, body))
}

func bodies() {
	checksums := []minio.ChecksumType{
		minio.ChecksumCRC32, minio.ChecksumCRC32C, minio.ChecksumCRC64NVME, minio.ChecksumSHA1, minio.ChecksumSHA256,
	}
	for _, trailers := range []bool{true, false} {
		client := connect(check.Endpoint, trailers, 1)
		for _, unsigned := range []bool{true, false} {
			for _, size := range check.Sizes {
				name := fmt.Sprintf("trailers=%v unsigned=%v size=%d", trailers, unsigned, size)
				body := check.Value(size)
				options := minio.PutObjectOptions{DisableContentSha256: unsigned}
				put := func(how string, options minio.PutObjectOptions) {
					check.Step(name+how, func() error {
						return roundTrip(client, "body", body, bytes.NewReader(body), int64(size), options)
					})
				}
				put("", options)
				md5 := options
				md5.SendContentMd5 = true
				put(" md5", md5)
				for _, checksum := range checksums {
					if trailers {
						options.Checksum = checksum
						put(" "+checksum.String(), options)
					}
				}
			}
		}
	}
}

func multipart() {
	body := check.Value(20 << 20)
	for _, trailers := range []bool{true, false} {
		client := connect(check.Endpoint, trailers, 1)
		options := minio.PutObjectOptions{PartSize: 5 << 20}
		check.Step(fmt.Sprintf("multipart trailers=%v", trailers), func() error {
			return roundTrip(client, "parts", body, bytes.NewReader(body), int64(len(body)), options)
		})
		check.Step(fmt.Sprintf("multipart of unknown size trailers=%v", trailers), func() error {
			return roundTrip(client, "stream", body, onlyReader{bytes.NewReader(body)}, -1, options)
		})
		options.ConcurrentStreamParts, options.NumThreads = true, 3
		check.Step(fmt.Sprintf("multipart in parallel trailers=%v", trailers), func() error {
			return roundTrip(client, "parallel", body, onlyReader{bytes.NewReader(body)}, -1, options)
		})
		options.Checksum = minio.ChecksumFullObjectCRC32
		if trailers {
			check.Step("multipart with a checksum of the whole object", func() error {
				return roundTrip(client, "whole", body, bytes.NewReader(body), int64(len(body)), options)
			})
		}
	}
	check.Step("an upload that is listed and aborted", func() error {
		core := minio.Core{Client: connect(check.Endpoint, true, 1)}
		id, err := core.NewMultipartUpload(ctx, check.Bucket, "aborted", minio.PutObjectOptions{})
		if err != nil {
			return err
		}
		part, err := core.PutObjectPart(ctx, check.Bucket, "aborted", id, 1, bytes.NewReader(body[:70_000]), 70_000, minio.PutObjectPartOptions{})
		if err != nil {
			return err
		}
		parts, err := core.ListObjectParts(ctx, check.Bucket, "aborted", id, 0, 10)
		if err != nil {
			return err
		}
		if err := core.AbortMultipartUpload(ctx, check.Bucket, "aborted", id); err != nil {
			return err
		}
		_, err = core.ListObjectParts(ctx, check.Bucket, "aborted", id, 0, 10)
		return check.First(
			check.Equal("parts", len(parts.ObjectParts), 1),
			check.Equal("etag", strings.Trim(parts.ObjectParts[0].ETag, `"`), part.ETag),
			code("a part of an aborted upload", err, "NoSuchUpload"),
		)
	})
}

func code(what string, err error, want string) error {
	return check.Equal(what, minio.ToErrorResponse(err).Code, want)
}

func keys(client *minio.Client) {
	for _, key := range check.Keys {
		body := []byte(key)
		check.Step("key "+key, func() error {
			return check.First(
				roundTrip(client, "keys/"+key, body, bytes.NewReader(body), int64(len(body)), minio.PutObjectOptions{}),
				copied(client, "keys/"+key, body),
			)
		})
	}
	check.Step("all keys are listed and deleted at once", func() error {
		found := 0
		objects := make(chan minio.ObjectInfo, len(check.Keys)+1)
		for object := range client.ListObjects(ctx, check.Bucket, minio.ListObjectsOptions{Prefix: "keys/", Recursive: true, MaxKeys: 3}) {
			if object.Err != nil {
				return object.Err
			}
			found++
			objects <- object
		}
		close(objects)
		for failure := range client.RemoveObjects(ctx, check.Bucket, objects, minio.RemoveObjectsOptions{}) {
			return failure.Err
		}
		for object := range client.ListObjects(ctx, check.Bucket, minio.ListObjectsOptions{Prefix: "keys/"}) {
			return fmt.Errorf("%s is still there: %v", object.Key, object.Err)
		}
		return check.Equal("keys", found, len(check.Keys))
	})
}

func copied(client *minio.Client, key string, body []byte) error {
	_, err := client.CopyObject(ctx, minio.CopyDestOptions{Bucket: check.Bucket, Object: "copy"}, minio.CopySrcOptions{Bucket: check.Bucket, Object: key})
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	object, err := client.GetObject(ctx, check.Bucket, "copy", minio.GetObjectOptions{})
	if err != nil {
		return err
	}
	defer object.Close()
	return check.First(check.Same(object, body), client.RemoveObject(ctx, check.Bucket, "copy", minio.RemoveObjectOptions{}))
}

func applications(client *minio.Client) {
	body := check.Value(100_000)
	check.Step("metadata", func() error {
		options := minio.PutObjectOptions{UserMetadata: map[string]string{"Colour": "grün €"}, ContentType: "text/x", ContentEncoding: "gzip, br", CacheControl: "no-cache"}
		if err := roundTrip(client, "meta", body, bytes.NewReader(body), int64(len(body)), options); err != nil {
			return err
		}
		info, err := client.StatObject(ctx, check.Bucket, "meta", minio.StatObjectOptions{})
		if err != nil {
			return err
		}
		return check.First(
			check.Equal("metadata", info.UserMetadata["Colour"], "grün €"),
			check.Equal("type", info.ContentType, "text/x"),
			check.Equal("encoding", info.Metadata.Get("Content-Encoding"), "gzip, br"),
			check.Equal("cache", info.Metadata.Get("Cache-Control"), "no-cache"),
		)
	})
	check.Step("ranges", func() error {
		for _, bounds := range [][2]int64{{0, 0}, {5, 70_000}, {99_999, 99_999}, {0, -10}, {50_000, 0}} {
			options := minio.GetObjectOptions{}
			if err := options.SetRange(bounds[0], bounds[1]); err != nil {
				return err
			}
			object, err := client.GetObject(ctx, check.Bucket, "meta", options)
			if err != nil {
				return err
			}
			from, to := bounds[0], bounds[1]+1
			switch {
			case bounds[1] < 0:
				from, to = int64(len(body))+bounds[1], int64(len(body))
			case bounds[1] == 0 && from > 0:
				to = int64(len(body))
			}
			if err := check.Same(object, body[from:to]); err != nil {
				return fmt.Errorf("%v: %w", bounds, err)
			}
		}
		object, err := client.GetObject(ctx, check.Bucket, "meta", minio.GetObjectOptions{})
		if err != nil {
			return err
		}
		defer object.Close()
		if _, err := object.Seek(-1000, io.SeekEnd); err != nil {
			return err
		}
		return check.Same(object, body[len(body)-1000:])
	})
	check.Step("presigned URLs", func() error {
		put, err := client.PresignedPutObject(ctx, check.Bucket, "presigned ä", time.Minute)
		if err != nil {
			return err
		}
		if _, err := check.Fetch("PUT", put.String(), http.Header{}, body); err != nil {
			return err
		}
		get, err := client.PresignedGetObject(ctx, check.Bucket, "presigned ä", time.Minute, url.Values{"response-content-type": {"a/b"}})
		if err != nil {
			return err
		}
		got, err := check.Fetch("GET", get.String(), http.Header{}, nil)
		return check.First(err, check.Same(bytes.NewReader(got), body))
	})
	check.Step("composed of two objects", func() error {
		large := check.Value(5 << 20)
		if _, err := client.PutObject(ctx, check.Bucket, "large", bytes.NewReader(large), int64(len(large)), minio.PutObjectOptions{}); err != nil {
			return err
		}
		source := func(key string) minio.CopySrcOptions {
			return minio.CopySrcOptions{Bucket: check.Bucket, Object: key}
		}
		if _, err := client.ComposeObject(ctx, minio.CopyDestOptions{Bucket: check.Bucket, Object: "composed"}, source("large"), source("meta")); err != nil {
			return err
		}
		object, err := client.GetObject(ctx, check.Bucket, "composed", minio.GetObjectOptions{})
		if err != nil {
			return err
		}
		return check.Same(object, append(large, body...))
	})
	check.Step("errors", func() error {
		_, head := client.StatObject(ctx, check.Bucket, "none", minio.StatObjectOptions{})
		object, err := client.GetObject(ctx, check.Bucket, "none", minio.GetObjectOptions{})
		if err != nil {
			return err
		}
		_, get := object.Read(make([]byte, 1))
		_, bucket := client.StatObject(ctx, check.Bucket+"-none", "none", minio.StatObjectOptions{})
		_, put := client.PutObject(ctx, check.Bucket+"-none", "none", bytes.NewReader(body), int64(len(body)), minio.PutObjectOptions{})
		condition := minio.PutObjectOptions{}
		condition.SetMatchETagExcept("*")
		_, twice := client.PutObject(ctx, check.Bucket, "meta", bytes.NewReader(body), int64(len(body)), condition)
		exists, err := client.BucketExists(ctx, check.Bucket+"-none")
		return check.First(err, code("head", head, "NoSuchKey"), code("get", get, "NoSuchKey"), code("head without bucket", bucket, "NoSuchKey"),
			code("put without bucket", put, "NoSuchBucket"), code("put twice", twice, "PreconditionFailed"), check.Equal("bucket", exists, false),
			client.MakeBucket(ctx, check.Bucket, minio.MakeBucketOptions{}), // In us-east-1 one's own bucket may be made again.
			code("a full bucket's end", client.RemoveBucket(ctx, check.Bucket), "BucketNotEmpty"))
	})
	check.Step("SlowDown is tried again", func() error {
		return roundTrip(connect(check.SlowEndpoint, true, 10), "slow", body, bytes.NewReader(body), int64(len(body)), minio.PutObjectOptions{})
	})
}

func main() {
	client := connect(check.Endpoint, true, 1)
	check.Step("a bucket", func() error { return client.MakeBucket(ctx, check.Bucket, minio.MakeBucketOptions{}) })
	bodies()
	multipart()
	keys(client)
	applications(client)
	check.Step("the bucket's end", func() error {
		for object := range client.ListObjects(ctx, check.Bucket, minio.ListObjectsOptions{Recursive: true}) {
			if err := check.First(object.Err, client.RemoveObject(ctx, check.Bucket, object.Key, minio.RemoveObjectOptions{})); err != nil {
				return err
			}
		}
		return client.RemoveBucket(ctx, check.Bucket)
	})
	check.Done()
}
