"""s3cmd: put, get, sync, du, del."""

import shutil
import subprocess

import pytest

from support.server import HOST, clean_env
from support.values import value

pytestmark = [pytest.mark.clients, pytest.mark.skipif(not shutil.which("s3cmd"), reason="no s3cmd: tests/run installs it")]
MIB = 1 << 20


@pytest.fixture
def s3cmd(server, tmp_path):
    config = tmp_path / "s3cfg"
    host = f"{HOST}:{server.s3_port}"
    config.write_text(
        f"[default]\naccess_key = {server.access_key}\nsecret_key = {server.secret_key}\n"
        f"host_base = {host}\nhost_bucket = {host}\nuse_https = False\nbucket_location = {server.region}\n"
    )

    def run(*args):
        done = subprocess.run(["s3cmd", "-c", str(config), "--no-progress", *map(str, args)], env=clean_env(), capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"s3cmd {args}: {done.stdout}{done.stderr}"
        return done.stdout

    return run


@pytest.mark.parametrize("size", [0, 1, 70_000, 20 * MIB + 9], ids=["0B", "1B", "70KB", "multipart"])
def test_put_get_and_del_keep_every_byte(s3cmd, bucket, tmp_path_disk, size):
    body = value(size, size)
    (tmp_path_disk / "up").write_bytes(body)
    s3cmd("put", "--multipart-chunk-size-mb=5", tmp_path_disk / "up", f"s3://{bucket}/d ir/ü")
    s3cmd("get", f"s3://{bucket}/d ir/ü", tmp_path_disk / "down")
    assert (tmp_path_disk / "down").read_bytes() == body
    assert s3cmd("du", f"s3://{bucket}").split()[0] == str(size)
    s3cmd("del", f"s3://{bucket}/d ir/ü")
    assert s3cmd("ls", "--recursive", f"s3://{bucket}").strip() == ""


def test_sync_both_ways_and_del_recursive(s3cmd, bucket, tmp_path_disk):
    source, back = tmp_path_disk / "source", tmp_path_disk / "back"
    back.mkdir()
    for n in range(60):
        path = source / f"d{n % 4}" / f"f {n}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(value(n, n * 501))
    s3cmd("sync", f"{source}/", f"s3://{bucket}/t/")
    s3cmd("sync", f"s3://{bucket}/t/", f"{back}/")
    for path in source.rglob("*"):
        if path.is_file():
            assert (back / path.relative_to(source)).read_bytes() == path.read_bytes()
    (source / "d0" / "f 0").unlink()
    s3cmd("sync", "--delete-removed", f"{source}/", f"s3://{bucket}/t/")
    assert len(s3cmd("ls", "--recursive", f"s3://{bucket}").splitlines()) == 59
    s3cmd("cp", f"s3://{bucket}/t/d1/f 1", f"s3://{bucket}/copied")
    s3cmd("del", "--recursive", "--force", f"s3://{bucket}")
    assert s3cmd("ls", "--recursive", f"s3://{bucket}").strip() == ""


def test_mb_and_rb(s3cmd, bucket):
    s3cmd("mb", f"s3://{bucket}-new")
    assert f"s3://{bucket}-new" in s3cmd("ls")
    s3cmd("rb", f"s3://{bucket}-new")
    assert f"s3://{bucket}-new" not in s3cmd("ls")
