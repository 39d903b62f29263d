#!/usr/bin/env python3
"""A 5 GiB object by 16 parallel parts and by one PUT, with the server's peak memory under 512 MiB; ranges read back correctly.

Needs about 11 GiB of disk. Not part of the default run.

    tests/e2e/big.py [--gib 5] [--cores 2] [--max-mib 512]
"""

import argparse
import pathlib
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support.server import Server  # noqa: E402
from support.session import Session  # noqa: E402
from support.values import value  # noqa: E402
from support.wire import head_bytes  # noqa: E402

BUCKET = "big"
MIB = 1 << 20
PART = 64 * MIB
PIECE = 4 * MIB


def piece(n):
    """Piece n of the object's endless content; both uploads hold the same bytes."""
    return value(n + 1, PIECE)


def content(start, end):
    out = b"".join(piece(n) for n in range(start // PIECE, (end - 1) // PIECE + 1))
    return out[start % PIECE:start % PIECE + end - start]


def by_parts(server, size):
    session = Session(server)
    _, upload = session.create_upload(BUCKET, "parts")
    local, etags = threading.local(), {}

    def part(number):
        if not hasattr(local, "session"):
            local.session = Session(server, timeout=600)
        start = (number - 1) * PART
        reply = local.session.upload_part(BUCKET, "parts", upload, number, content(start, min(size, start + PART)))
        assert reply.status == 200, reply
        etags[number] = reply.headers["etag"]

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(part, range(1, (size + PART - 1) // PART + 1)))
    assert session.complete_upload(BUCKET, "parts", upload, etags).status == 200


def by_one_put(server, size):
    session = Session(server, timeout=600)
    path = f"/{BUCKET}/whole"
    head = session.signer.headers("PUT", session.host, path, (), {"content-length": str(size)})
    from support.wire import Wire

    with Wire(server.s3_port, 600) as wire:
        wire.send(head_bytes("PUT", path, head))
        for start in range(0, size, PIECE):
            wire.send(content(start, min(size, start + PIECE)))
        reply = wire.final()
        assert reply.status == 200, reply


def ranges_are_right(server, key, size):
    session, rng = Session(server, timeout=600), random.Random(3)
    spots = [(0, 1), (size - 1, size), (PART - 1, PART + 1), (size - 3 * MIB, size)]
    spots += [(s, min(size, s + rng.choice([1, 4096, 65504, 5 * MIB]))) for s in (rng.randrange(size) for _ in range(100))]
    for start, end in spots:
        reply = session.get(BUCKET, key, (start, end))
        assert reply.status == 206 and reply.body == content(start, end), f"{key} {start}-{end}: {reply.status}"
    for start in range(0, size, 256 * MIB):
        reply = session.get(BUCKET, key, (start, min(size, start + 256 * MIB)))
        assert reply.body == content(start, min(size, start + 256 * MIB)), f"{key} from {start}"


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--gib", type=float, default=5)
    options.add_argument("--cores", type=int, default=2)
    options.add_argument("--max-mib", type=int, default=512)
    args = options.parse_args()
    size = int(args.gib * 1024 * MIB)
    server = Server(cores=args.cores)
    server.start()
    Session(server).create_bucket(BUCKET)
    for name, upload, key in (("16 parallel parts", by_parts, "parts"), ("one PUT", by_one_put, "whole")):
        cpu, began = server.cpu_seconds(), time.monotonic()
        upload(server, size)
        took, cpu = time.monotonic() - began, server.cpu_seconds() - cpu
        ranges_are_right(server, key, size)
        peak = server.memory_bytes("VmHWM") / MIB
        print(f"  {args.gib} GiB by {name}: {took:.1f} s, {cpu / (size / 1e9):.2f} CPU-seconds per GB, peak memory {peak:.0f} MiB", flush=True)
        assert peak < args.max_mib, f"peak memory {peak:.0f} MiB is over {args.max_mib} MiB"
    assert server.stop() == 0
    print(f"big: {args.gib} GiB both ways, every byte right, peak memory {peak:.0f} MiB")


if __name__ == "__main__":
    main()
