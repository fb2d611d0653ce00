import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { test } from "node:test";
import {
  CopyObjectCommand, DeleteObjectsCommand, GetObjectCommand, HeadObjectCommand, ListObjectsV2Command, NoSuchKey,
  PutObjectCommand, S3Client, paginateListObjectsV2,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const Bucket = process.env.BUCKET;
const s3 = new S3Client({ endpoint: process.env.AWS_ENDPOINT_URL_S3, forcePathStyle: true });
const send = (Command, input) => s3.send(new Command({ Bucket, ...input }));
const text = async (Key) => (await send(GetObjectCommand, { Key })).Body.transformToString();

test("an object, with what belongs to it", async () => {
  const input = { Key: "a/one", Body: "content", ContentType: "text/plain", Metadata: { by: "me" } };
  const put = await send(PutObjectCommand, input);
  const got = await send(GetObjectCommand, { Key: "a/one" });
  assert.equal(await got.Body.transformToString(), "content");
  assert.equal(got.ContentType, "text/plain");
  assert.deepEqual(got.Metadata, { by: "me" });
  assert.equal(got.ETag, put.ETag);
  assert.ok(put.ChecksumCRC32);
});

test("a stream whose checksum comes after it", async () => {
  const body = Readable.from([Buffer.alloc(70_000, "x"), Buffer.alloc(70_000, "y"), Buffer.alloc(1, "z")]);
  await send(PutObjectCommand, { Key: "stream", Body: body, ContentLength: 140_001, ChecksumAlgorithm: "CRC32" });
  const got = await text("stream");
  assert.equal(got.length, 140_001);
  assert.equal(got.slice(-2), "yz");
});

test("an upload in parts, of a stream of unknown length", async () => {
  const body = Readable.from((function* () {
    for (let part = 0; part < 13; part++) yield Buffer.alloc(1 << 20, String(part % 10));
  })());
  await new Upload({ client: s3, params: { Bucket, Key: "large", Body: body }, partSize: 5 << 20 }).done();
  const head = await send(HeadObjectCommand, { Key: "large" });
  assert.equal(head.ContentLength, 13 << 20);
  const range = await send(GetObjectCommand, { Key: "large", Range: `bytes=${(12 << 20) - 1}-${12 << 20}` });
  assert.equal(await range.Body.transformToString(), "12");
});

test("pages, copies and deletions", async () => {
  for (const name of ["1", "2", "3"]) await send(PutObjectCommand, { Key: `p/${name} +ä`, Body: name });
  const keys = [];
  for await (const page of paginateListObjectsV2({ client: s3, pageSize: 2 }, { Bucket, Prefix: "p/" }))
    keys.push(...page.Contents.map((one) => one.Key));
  assert.deepEqual(keys, ["p/1 +ä", "p/2 +ä", "p/3 +ä"]);
  await send(CopyObjectCommand, { Key: "copy", CopySource: `${Bucket}/${encodeURIComponent(keys[0])}` });
  assert.equal(await text("copy"), "1");
  const gone = await send(DeleteObjectsCommand, { Delete: { Objects: keys.map((Key) => ({ Key })) } });
  assert.equal(gone.Deleted.length, 3);
  assert.equal((await send(ListObjectsV2Command, { Prefix: "p/" })).KeyCount, 0);
});

test("presigned addresses", async () => {
  const put = await getSignedUrl(s3, new PutObjectCommand({ Bucket, Key: "signed" }), { expiresIn: 60 });
  assert.equal((await fetch(put, { method: "PUT", body: "content" })).status, 200);
  const get = await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key: "signed" }), { expiresIn: 60 });
  assert.equal(await (await fetch(get)).text(), "content");
});

test("what is not there", async () => {
  await assert.rejects(text("missing"), NoSuchKey);
});
