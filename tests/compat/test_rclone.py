"""rclone: copy, sync, check and its multipart."""

import shutil
import subprocess

import pytest

from support.server import clean_env
from support.values import value

pytestmark = [pytest.mark.clients, pytest.mark.skipif(not shutil.which("rclone"), reason="no rclone: tests/run installs it")]
MIB = 1 << 20


@pytest.fixture
def rclone(server, tmp_path):
    config = tmp_path / "rclone.conf"
    config.write_text(
        "[h]\ntype = s3\nprovider = Other\n"
        f"access_key_id = {server.access_key}\nsecret_access_key = {server.secret_key}\n"
        f"endpoint = {server.endpoint}\nregion = {server.region}\n"
    )

    def run(*args, ok=True):
        command = ["rclone", "--config", str(config), "--retries", "1", "--low-level-retries", "2", *map(str, args)]
        done = subprocess.run(command, env=clean_env(), capture_output=True, text=True, timeout=600)
        assert not ok or done.returncode == 0, f"rclone {args}: {done.stdout}{done.stderr}"
        return done

    return run


@pytest.fixture
def tree(tmp_path_disk):
    root = tmp_path_disk / "tree"
    for n, size in enumerate([0, 1, 100, 65504, 131073, 5 * MIB, 23 * MIB + 77]):
        path = root / f"dir {n % 3}" / f"ü {n}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(value(n, size))
    for n in range(100):
        (root / "many").mkdir(exist_ok=True)
        (root / "many" / str(n)).write_bytes(value(n, n * 31))
    return root


def same(a, b):
    files = sorted(p.relative_to(a) for p in a.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(b) for p in b.rglob("*") if p.is_file())
    for path in files:
        assert (a / path).read_bytes() == (b / path).read_bytes(), path


@pytest.mark.parametrize("upload", [["--s3-chunk-size", "5M", "--s3-upload-cutoff", "5M"], []], ids=["multipart", "default"])
def test_copy_and_check_both_ways(rclone, bucket, tree, upload, tmp_path_disk):
    rclone("copy", *upload, tree, f"h:{bucket}/t")
    rclone("check", tree, f"h:{bucket}/t")
    rclone("check", "--download", tree, f"h:{bucket}/t")
    rclone("copy", f"h:{bucket}/t", tmp_path_disk / "back")
    same(tree, tmp_path_disk / "back")


def test_sync_follows_changes(rclone, bucket, tree, tmp_path_disk):
    rclone("sync", tree, f"h:{bucket}/t")
    (tree / "many" / "5").unlink()
    (tree / "many" / "6").write_bytes(b"changed bytes")
    rclone("sync", tree, f"h:{bucket}/t")
    rclone("check", tree, f"h:{bucket}/t")
    rclone("sync", f"h:{bucket}/t", tmp_path_disk / "back")
    same(tree, tmp_path_disk / "back")


def test_a_changed_file_is_seen_by_check(rclone, bucket, tree):
    rclone("copy", tree, f"h:{bucket}/t")
    path = tree / "many" / "50"
    path.write_bytes(bytes(len(path.read_bytes())))
    assert rclone("check", tree, f"h:{bucket}/t", ok=False).returncode != 0


def test_server_side_copy_move_list_and_purge(rclone, bucket, tree):
    rclone("copy", "--s3-chunk-size", "5M", tree, f"h:{bucket}/t")
    rclone("copy", "--s3-copy-cutoff", "5M", "--s3-chunk-size", "5M", f"h:{bucket}/t", f"h:{bucket}/u")
    rclone("check", tree, f"h:{bucket}/u")
    rclone("moveto", f"h:{bucket}/u/many/7", f"h:{bucket}/u/moved")
    assert "moved" in rclone("lsf", f"h:{bucket}/u").stdout
    rclone("purge", f"h:{bucket}/u")
    assert rclone("lsf", f"h:{bucket}").stdout.split() == ["t/"]
    assert bucket in rclone("lsd", "h:").stdout
