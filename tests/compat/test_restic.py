"""restic: init, backup, check --read-data, restore, prune."""

import shutil
import subprocess

import pytest

from support.server import clean_env
from support.values import value

pytestmark = [pytest.mark.clients, pytest.mark.skipif(not shutil.which("restic"), reason="no restic: tests/run installs it")]
MIB = 1 << 20


@pytest.fixture
def restic(server, bucket, tmp_path):
    env = clean_env(AWS_ACCESS_KEY_ID=server.access_key, AWS_SECRET_ACCESS_KEY=server.secret_key, AWS_DEFAULT_REGION=server.region,
                    RESTIC_REPOSITORY=f"s3:{server.endpoint}/{bucket}/repo", RESTIC_PASSWORD="test", RESTIC_CACHE_DIR=str(tmp_path / "cache"))

    def run(*args):
        done = subprocess.run(["restic", *map(str, args)], env=env, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"restic {args}: {done.stdout}{done.stderr}"
        return done.stdout

    return run


def restored(restic, source, target):
    restic("restore", "latest", "--target", target)
    for path in source.rglob("*"):
        if path.is_file():
            assert (target / path.relative_to("/")).read_bytes() == path.read_bytes(), path


def test_a_backup_is_checked_restored_and_pruned(restic, tmp_path_disk):
    source = tmp_path_disk / "source"
    source.mkdir()
    for n in range(120):
        (source / f"small-{n}").write_bytes(value(n, n * 997))
    (source / "large").write_bytes(value(1, 40 * MIB + 3))
    restic("init")
    restic("backup", source)
    restic("check", "--read-data")
    restored(restic, source, tmp_path_disk / "one")
    (source / "large").write_bytes(value(2, 30 * MIB))
    (source / "small-3").unlink()
    restic("backup", source)
    restored(restic, source, tmp_path_disk / "two")
    restic("forget", "--keep-last", "1", "--prune")
    restic("check", "--read-data")
    restored(restic, source, tmp_path_disk / "three")
    assert len(restic("snapshots", "--compact").splitlines()) < 10
