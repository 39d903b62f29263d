// The AWS SDK for JavaScript v3 against one server: every way in which it frames a body, and what an application does with it.
// NODE_EXTRA_CA_CERTS names the authority to trust.
import { strict as assert } from "node:assert";
import { Readable } from "node:stream";
import * as aws from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const env = process.env;
const Bucket = env.SDK_BUCKET;
const SIZES = [0, 1, 4096, 65535, 65536, 65537, 131071, 131072, 131073, 1 << 20, (5 << 20) + 1];
const KEYS = ["plain", "a b", "a+b", "a%20b", "ä/ö/ü€", "𝄞", "q?x=1&y=2", "h#1", "<tag>&'\"", "a//b", "~!*'()", "semi;colon,=:@$", "back\\slash", "trailing/"];
let failed = false;

async function step(name, run) {
  try {
    await run();
    console.log(`ok ${name}`);
  } catch (error) {
    failed = true;
    console.log(`FAILED ${name}: ${String(error.stack ?? error).split("\n").slice(0, 4).join(" | ")}`);
  }
}

function value(size) {
  const out = Buffer.alloc(size);
  let state = (size + 1) >>> 0;
  for (let i = 0; i < size; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    out[i] = state >>> 24;
  }
  return out;
}

function connect(settings = {}) {
  return new aws.S3Client({
    endpoint: env.SDK_ENDPOINT,
    region: env.SDK_REGION,
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: { accessKeyId: env.SDK_ACCESS_KEY, secretAccessKey: env.SDK_SECRET_KEY },
    ...settings,
  });
}

const client = connect();
const send = (command, input, by = client) => by.send(new aws[`${command}Command`]({ Bucket, ...input }));

/** A stream in pieces that no framing is made of. */
function* pieces(body) {
  for (let at = 0; at < body.length; at += 10_007) yield body.subarray(at, at + 10_007);
}
const stream = (body) => Readable.from(pieces(body), { objectMode: false });

async function read(Key, body) {
  const head = await send("HeadObject", { Key, ChecksumMode: "ENABLED" });
  assert.equal(head.ContentLength, body.length);
  const object = await send("GetObject", { Key, ChecksumMode: "ENABLED" });
  assert(body.equals(Buffer.from(await object.Body.transformToByteArray())), "what was read differs");
}

async function bodies() {
  const required = connect({ requestChecksumCalculation: "WHEN_REQUIRED", responseChecksumValidation: "WHEN_REQUIRED" });
  for (const size of SIZES) {
    const body = value(size);
    for (const ChecksumAlgorithm of [undefined, "CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]) {
      const put = (how, input, by) =>
        step(`size=${size} ${ChecksumAlgorithm ?? ""} ${how}`, async () => {
          await send("PutObject", { Key: "body", ChecksumAlgorithm, ...input }, by);
          await read("body", body);
        });
      await put("bytes", { Body: body });
      await put("stream", { Body: stream(body), ContentLength: size });
      if (!ChecksumAlgorithm) {
        await put("bytes without a checksum", { Body: body }, required);
        await put("stream without a checksum", { Body: stream(body), ContentLength: size }, required);
      }
    }
  }
}

async function multipart() {
  const body = value(20 << 20);
  for (const ChecksumAlgorithm of [undefined, "CRC32", "CRC64NVME", "SHA256"]) {
    for (const [how, Body] of [["bytes", body], ["stream", stream(body)]]) {
      await step(`multipart ${ChecksumAlgorithm ?? ""} ${how}`, async () => {
        await new Upload({ client, params: { Bucket, Key: "parts", Body, ChecksumAlgorithm }, partSize: 5 << 20 }).done();
        await read("parts", body);
      });
    }
  }
  await step("an upload that is listed and aborted", async () => {
    const Key = "aborted";
    const { UploadId } = await send("CreateMultipartUpload", { Key });
    const part = await send("UploadPart", { Key, UploadId, PartNumber: 1, Body: body.subarray(0, 70_000) });
    assert.equal((await send("ListParts", { Key, UploadId })).Parts[0].ETag, part.ETag);
    assert.equal((await send("ListMultipartUploads", {})).Uploads.length, 1);
    await send("AbortMultipartUpload", { Key, UploadId });
    await refused("NoSuchUpload", send("ListParts", { Key, UploadId }));
  });
}

async function refused(name, answer, type = aws.S3ServiceException) {
  const error = await answer.then(() => assert.fail(`${name} was expected`), (error) => error);
  assert.equal(error.name, name);
  assert(error instanceof type, `${error.constructor.name}`);
}

const escaped = (key) => [...Buffer.from(key)].map((byte) => `%${byte.toString(16).padStart(2, "0")}`).join("");

async function keys() {
  for (const key of KEYS) {
    await step(`key ${key}`, async () => {
      await send("PutObject", { Key: `keys/${key}`, Body: key });
      await read(`keys/${key}`, Buffer.from(key));
      await send("CopyObject", { Key: "copy", CopySource: `${Bucket}/${escaped(`keys/${key}`)}` });
      await read("copy", Buffer.from(key));
    });
  }
  await step("all keys are listed and deleted at once", async () => {
    const found = [];
    for await (const page of aws.paginateListObjectsV2({ client, pageSize: 3 }, { Bucket, Prefix: "keys/" })) {
      found.push(...page.Contents.map(({ Key }) => ({ Key })));
    }
    assert.deepEqual(found.map(({ Key }) => Key).sort(), KEYS.map((key) => `keys/${key}`).sort());
    assert.equal((await send("DeleteObjects", { Delete: { Objects: found } })).Deleted.length, KEYS.length);
  });
}

async function applications() {
  const body = value(100_000);
  await step("metadata", async () => {
    await send("PutObject", { Key: "meta", Body: body, ContentType: "text/x", ContentEncoding: "gzip, br", CacheControl: "no-cache",
      ContentDisposition: "attachment", Metadata: { colour: "a b", encoded: "=?UTF-8?B?Z3LDvG4g4oKs?=" } });
    const head = await send("HeadObject", { Key: "meta" });
    assert.deepEqual(head.Metadata, { colour: "a b", encoded: "=?UTF-8?B?Z3LDvG4g4oKs?=" });
    assert.deepEqual([head.ContentType, head.ContentEncoding, head.CacheControl, head.ContentDisposition], ["text/x", "gzip, br", "no-cache", "attachment"]);
  });
  await step("ranges", async () => {
    for (const [Range, from, to] of [["bytes=0-0", 0, 1], ["bytes=5-70000", 5, 70_001], ["bytes=99999-", 99_999, 100_000], ["bytes=-10", 99_990, 100_000]]) {
      const object = await send("GetObject", { Key: "meta", Range });
      assert(body.subarray(from, to).equals(Buffer.from(await object.Body.transformToByteArray())), Range);
    }
    await refused("InvalidRange", send("GetObject", { Key: "meta", Range: "bytes=100000-" }));
  });
  await step("presigned URLs", async () => {
    const Key = "presigned ä";
    const put = await getSignedUrl(client, new aws.PutObjectCommand({ Bucket, Key }), { expiresIn: 60 });
    const stored = await fetch(put, { method: "PUT", body });
    assert.equal(stored.status, 200, await stored.text());
    const got = await fetch(await getSignedUrl(client, new aws.GetObjectCommand({ Bucket, Key }), { expiresIn: 60 }));
    assert(body.equals(Buffer.from(await got.arrayBuffer())));
  });
  await step("errors", async () => {
    const nowhere = { Bucket: `${Bucket}-none` };
    await refused("NotFound", send("HeadObject", { Key: "none" }), aws.NotFound);
    await refused("NoSuchKey", send("GetObject", { Key: "none" }), aws.NoSuchKey);
    await refused("NoSuchBucket", send("ListObjectsV2", nowhere), aws.NoSuchBucket);
    await refused("NotFound", send("HeadBucket", nowhere), aws.NotFound);
    await refused("NoSuchBucket", send("PutObject", { ...nowhere, Key: "none", Body: stream(body), ContentLength: body.length }));
    await refused("PreconditionFailed", send("PutObject", { Key: "meta", Body: body, IfNoneMatch: "*" }));
    await refused("BucketNotEmpty", send("DeleteBucket", {}));
    await refused("SignatureDoesNotMatch", connect({ credentials: { accessKeyId: env.SDK_ACCESS_KEY, secretAccessKey: "wrong" } }).send(new aws.ListBucketsCommand({})));
  });
  await step("SlowDown is tried again", async () => {
    await send("PutObject", { Key: "slow", Body: body }, connect({ endpoint: env.SDK_SLOW_ENDPOINT, maxAttempts: 5 }));
    await read("slow", body);
  });
}

await step("a bucket", () => send("CreateBucket", {}));
await bodies();
await multipart();
await keys();
await applications();
await step("the bucket's end", async () => {
  for await (const page of aws.paginateListObjectsV2({ client }, { Bucket })) {
    for (const { Key } of page.Contents ?? []) await send("DeleteObject", { Key });
  }
  await send("DeleteBucket", {});
});
console.log("done");
process.exit(failed ? 1 : 0);
