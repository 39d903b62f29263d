#!/usr/bin/env python3
"""A real full disk: a small ext4 file system in a loop file. New bytes get 507, reads and deletes go on, writes come
back by themselves after deletes, nothing acknowledged is lost, even over a restart on the full disk.

Needs root and a loop device; if these are missing, it says so and is skipped, but not in CI.

    tests/e2e/diskfull.py [--mib 3072] [--cores 8]
"""

import argparse
import atexit
import concurrent.futures
import os
import pathlib
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support.server import Server, temp_dir  # noqa: E402
from support.session import Session  # noqa: E402
from support.skips import skip  # noqa: E402
from support.values import describe, value  # noqa: E402

BUCKET = "full"
MIB = 1 << 20
LARGE, MEDIUM, SMALL = 8 * MIB, 300_000, 4096
COME_BACK_SECONDS = 90
WRITERS = 16
# As in engine/limits.rs.
METADATA_STORE_RESERVE = 64 * MIB


def quiet(*command):
    return subprocess.run(command, capture_output=True, text=True)


def mounted(mib):
    """The mount point of a fresh file system of that size, unmounted at exit."""
    if os.geteuid() != 0:
        skip("diskfull", "mounting a file system needs root")
    folder = temp_dir("loop")
    image, point = folder / "image", folder / "mnt"
    point.mkdir()
    with open(image, "wb") as out:
        out.truncate(mib * MIB)
    for command in (["mkfs.ext4", "-q", "-F", "-m", "0", str(image)], ["mount", "-o", "loop", str(image), str(point)]):
        try:
            done = quiet(*command)
        except FileNotFoundError:
            skip("diskfull", f"{command[0]} is not installed")
        if done.returncode != 0:
            skip("diskfull", f"{command[0]} is not possible here: {done.stderr.strip()}")
    atexit.register(quiet, "umount", "-l", str(point))
    return point


class Keeper:
    """Remembers what was acknowledged, and checks it."""

    def __init__(self, server):
        self.server, self.session, self.held, self.number = server, Session(server), {}, 0
        self.lock = threading.Lock()

    def put(self, size):
        self.number += 1
        key = f"k{self.number:05}"
        reply = self.session.put(BUCKET, key, value(self.number, size))
        if reply.status == 200:
            self.held[key] = (self.number, size)
        return reply

    def fill(self, size):
        """Puts from several clients at once, so that all cores grow together, until each client is refused with a 507."""
        with concurrent.futures.ThreadPoolExecutor(WRITERS) as pool:
            return list(pool.map(lambda _: self.fill_alone(size), range(WRITERS)))[-1]

    def fill_alone(self, size):
        session = Session(self.server)
        while True:
            with self.lock:
                self.number += 1
                number = self.number
            reply = session.put(BUCKET, f"k{number:05}", value(number, size))
            if reply.status != 200:
                assert reply.status == 507, f"a full disk must answer 507, not {reply}"
                session.close()
                return reply
            with self.lock:
                self.held[f"k{number:05}"] = (number, size)

    def delete(self, keys):
        for key in keys:
            reply = self.session.delete(BUCKET, key)
            assert reply.status == 204, f"a delete must work on a full disk: {reply}"
            del self.held[key]

    def check(self):
        for key, (seed, size) in self.held.items():
            reply = self.session.get(BUCKET, key)
            assert reply.status == 200, f"{key} can't be read: {reply}"
            assert reply.body == value(seed, size), f"{key} holds {describe(reply.body)}"
        assert self.session.list_keys(BUCKET) == sorted(self.held), "the list differs from what is held"


class Lowest:
    """The fewest free bytes seen on a file system."""

    def __init__(self, point):
        self.point, self.bytes = point, free_bytes(point)
        threading.Thread(target=self.watch, daemon=True).start()

    def watch(self):
        while os.path.ismount(self.point):
            self.bytes = min(self.bytes, free_bytes(self.point))
            time.sleep(0.005)


def free_bytes(point):
    stat = os.statvfs(point)
    return stat.f_bavail * stat.f_frsize


def grow_at_once(keeper, point):
    """Leaves room for the growth of a core or two, then has all of them want to grow at the same moment."""
    ballast = point / "ballast"
    with open(ballast, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, free_bytes(point) - 400 * MIB))
    keeper.fill(LARGE)
    keeper.check()
    ballast.unlink()


def writes_come_back(keeper, size):
    began = time.monotonic()
    while True:
        reply = keeper.put(size)
        if reply.status == 200:
            return time.monotonic() - began
        assert reply.status in (503, 507), reply
        assert time.monotonic() - began < COME_BACK_SECONDS, f"writes did not come back within {COME_BACK_SECONDS} s of the deletes"
        time.sleep(0.2)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--mib", type=int, default=3072)
    options.add_argument("--cores", type=int, default=8)
    args = options.parse_args()
    point = mounted(args.mib)
    server = Server(data_dir=point / "data", cores=args.cores)
    server.log_path = point.parent / "server.log"
    server.start()
    pid = server.pid
    Session(server).create_bucket(BUCKET)
    keeper, lowest = Keeper(server), Lowest(point)
    grow_at_once(keeper, point)
    for turn in range(3):
        for size in (LARGE, MEDIUM):
            reply = keeper.fill(size)
        print(f"  full with {len(keeper.held)} objects: {reply}", flush=True)
        refused = sum(keeper.put(SMALL).status == 507 for _ in range(50))
        keeper.check()
        keeper.delete(sorted(keeper.held)[turn::3])
        took = writes_come_back(keeper, LARGE)
        keeper.check()
        print(f"  {refused} of 50 small puts refused while full; writes came back {took:.1f} s after the deletes", flush=True)
    assert server.alive() and server.pid == pid, "no restart may be needed"
    print(f"  {lowest.bytes // MIB} MiB were left at the least", flush=True)
    assert lowest.bytes >= METADATA_STORE_RESERVE, "segments and log must leave room for the metadata store"
    keeper.fill(LARGE)
    server.kill()
    took = server.start()
    keeper.session.close()
    keeper.check()
    keeper.delete(list(keeper.held)[::2])
    writes_come_back(keeper, LARGE)
    keeper.check()
    assert server.stop() == 0
    print(f"diskfull: 507 for new bytes, reads and deletes went on, writes came back, restart on the full disk in {took:.1f} s, nothing lost")


if __name__ == "__main__":
    main()
