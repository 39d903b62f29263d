"""The aws CLI as installed, with nothing but the exported environment."""

import filecmp
import os
import shutil
import subprocess
import urllib.error
import urllib.request

import pytest

from support.values import value

pytestmark = [pytest.mark.clients, pytest.mark.skipif(not shutil.which("aws"), reason="no aws CLI on PATH: tests/run installs it")]
MIB = 1 << 20


@pytest.fixture
def aws(server):
    def run(*args, ok=True, timeout=600):
        done = subprocess.run(["aws", *map(str, args)], env=server.client_env(), capture_output=True, text=True, timeout=timeout)
        assert not ok or done.returncode == 0, f"aws {args}: {done.stdout}{done.stderr}"
        return done

    return run


def write(path, size):
    with open(path, "wb") as out:
        block = 64 * MIB
        for n, start in enumerate(range(0, size, block)):
            out.write(value(size + n, min(block, size - start)))
    return path


@pytest.mark.parametrize("size", [0, 1, 5 * MIB, 1024 * MIB], ids=["0B", "1B", "5MiB", "1GiB"])
def test_cp_both_ways_keeps_every_byte(aws, bucket, tmp_path_disk, size):
    up, down = write(tmp_path_disk / "up", size), tmp_path_disk / "down"
    aws("s3", "cp", up, f"s3://{bucket}/file")
    aws("s3", "cp", f"s3://{bucket}/file", down)
    assert filecmp.cmp(up, down, shallow=False)
    up.unlink(), down.unlink()
    aws("s3", "rm", f"s3://{bucket}/file")


def test_a_tree_of_two_thousand_files_is_synced_and_removed(aws, s3, bucket, tmp_path_disk):
    source, back = tmp_path_disk / "tree", tmp_path_disk / "back"
    for n in range(2000):
        path = source / f"d{n % 20}" / f"file {n} ü.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(value(n, (n * 37) % 9000 if n % 10 else 0))
        os.utime(path, (1_700_000_000, 1_700_000_000))  # Sync compares times: older than any upload.
    aws("s3", "sync", source, f"s3://{bucket}/tree")
    assert sum(p["KeyCount"] for p in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)) == 2000
    assert "upload" not in aws("s3", "sync", source, f"s3://{bucket}/tree").stdout
    aws("s3", "sync", f"s3://{bucket}/tree", back)
    for path in source.rglob("*.bin"):
        assert filecmp.cmp(path, back / path.relative_to(source), shallow=False)
    (source / "d0" / "file 0 ü.bin").write_bytes(b"changed")
    (source / "d1" / "file 1 ü.bin").unlink()
    out = aws("s3", "sync", "--delete", source, f"s3://{bucket}/tree").stdout
    assert out.count("upload:") == 1 and out.count("delete:") == 1
    aws("s3", "rm", "--recursive", f"s3://{bucket}/tree")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_ls_mv_mb_rb_and_streams(aws, bucket, server):
    env = server.client_env()
    subprocess.run(["aws", "s3", "cp", "-", f"s3://{bucket}/from-stdin"], input=b"piped", env=env, check=True, capture_output=True)
    assert aws("s3", "cp", f"s3://{bucket}/from-stdin", "-").stdout == "piped"
    aws("s3", "mv", f"s3://{bucket}/from-stdin", f"s3://{bucket}/moved")
    listing = aws("s3", "ls", f"s3://{bucket}/").stdout
    assert "moved" in listing and "from-stdin" not in listing
    aws("s3", "mb", f"s3://{bucket}-new")
    assert f"{bucket}-new" in aws("s3", "ls").stdout
    aws("s3", "rb", f"s3://{bucket}-new")
    aws("s3", "rb", "--force", f"s3://{bucket}")
    assert aws("s3", "ls", f"s3://{bucket}", ok=False).returncode != 0


def test_a_large_object_is_copied_on_the_server(aws, bucket, tmp_path_disk):
    up = write(tmp_path_disk / "up", 20 * MIB + 5)
    aws("s3", "cp", up, f"s3://{bucket}/a")
    aws("s3", "cp", f"s3://{bucket}/a", f"s3://{bucket}/b")
    aws("s3", "cp", f"s3://{bucket}/b", tmp_path_disk / "down")
    assert filecmp.cmp(up, tmp_path_disk / "down", shallow=False)


def test_presigned_urls_work_without_credentials(aws, bucket, s3):
    s3.put_object(Bucket=bucket, Key="dir/k e+y", Body=b"presigned body")
    url = aws("s3", "presign", f"s3://{bucket}/dir/k e+y").stdout.strip()
    with urllib.request.urlopen(url, timeout=20) as reply:
        assert reply.read() == b"presigned body"
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url.replace("/dir/", "/dir2/"), timeout=20)
    assert caught.value.code == 403


def test_s3api_reads_and_writes(aws, bucket, tmp_path):
    (tmp_path / "f").write_bytes(b"s3api body")
    aws("s3api", "put-object", "--bucket", bucket, "--key", "k", "--body", tmp_path / "f", "--metadata", "a=b", "--checksum-algorithm", "CRC64NVME")
    aws("s3api", "get-object", "--bucket", bucket, "--key", "k", "--checksum-mode", "ENABLED", tmp_path / "g")
    assert (tmp_path / "g").read_bytes() == b"s3api body"
    out = aws("s3api", "list-object-versions", "--bucket", bucket).stdout
    assert '"VersionId": "null"' in out
