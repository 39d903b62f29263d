"""s3fs (fsspec on aiobotocore) against one server: a bucket as a file system."""

import s3fs

from steps import ACCESS_KEY, BUCKET, CA, ENDPOINT, KEYS, REGION, SECRET_KEY, SIZES, SLOW_ENDPOINT, done, step, value


def connect(endpoint):
    more = {"verify": CA} if CA else {}
    return s3fs.S3FileSystem(key=ACCESS_KEY, secret=SECRET_KEY, endpoint_url=endpoint, client_kwargs={"region_name": REGION, **more},
                             use_listings_cache=False, skip_instance_cache=True)


files = connect(ENDPOINT)


def round_trip(path, body, by=files):
    with by.open(path, "wb", block_size=5 << 20) as file:
        file.write(body)
    assert files.info(path)["size"] == len(body)
    assert files.cat_file(path) == body


def folders():
    for key in KEYS:
        round_trip(f"{BUCKET}/folder/{key}", key.encode())
    found = files.find(f"{BUCKET}/folder")
    assert sorted(found) == sorted(f"{BUCKET}/folder/{key}" for key in KEYS), found
    files.copy(f"{BUCKET}/folder", f"{BUCKET}/copy", recursive=True)
    assert len(files.find(f"{BUCKET}/copy")) == len(KEYS)
    files.mv(f"{BUCKET}/copy/plain", f"{BUCKET}/copy/moved")
    assert files.exists(f"{BUCKET}/copy/moved") and not files.exists(f"{BUCKET}/copy/plain")
    assert files.isdir(f"{BUCKET}/folder") and not files.isdir(f"{BUCKET}/none")
    files.rm(f"{BUCKET}/folder", recursive=True)
    assert not files.find(f"{BUCKET}/folder")


def read_at_places():
    body = value(6 << 20)
    round_trip(f"{BUCKET}/places", body)
    with files.open(f"{BUCKET}/places", "rb") as file:
        file.seek(-1000, 2)
        assert file.read() == body[-1000:]
        file.seek(3_000_001)
        assert file.read(70_000) == body[3_000_001:3_070_001]
    with files.open(f"{BUCKET}/places", "ab") as file:
        file.write(b"more")
    assert files.tail(f"{BUCKET}/places", 5) == body[-1:] + b"more"


def metadata():
    files.pipe_file(f"{BUCKET}/meta", b"x", Metadata={"colour": "red"})
    assert files.metadata(f"{BUCKET}/meta")["colour"] == "red"
    files.setxattr(f"{BUCKET}/meta", colour="blue")
    assert files.getxattr(f"{BUCKET}/meta", "colour") == "blue"


def errors():
    for call in (files.info, files.cat_file, files.open):
        try:
            call(f"{BUCKET}/none")
        except FileNotFoundError:
            continue
        raise AssertionError(f"{call} found a file that is none")


def end():
    files.rm(BUCKET, recursive=True)
    assert not files.exists(BUCKET)


step("a bucket", lambda: files.mkdir(BUCKET))
for size in SIZES:
    step(f"size={size}", lambda: round_trip(f"{BUCKET}/body", value(size)))
step("multipart", lambda: round_trip(f"{BUCKET}/parts", value(20 << 20)))
step("folders", folders)
step("reads at places, and an append", read_at_places)
step("metadata", metadata)
step("errors", errors)
step("SlowDown is tried again", lambda: round_trip(f"{BUCKET}/slow", b"slow", connect(SLOW_ENDPOINT)))
step("the bucket's end", end)
done()
