#!/usr/bin/env python3
"""A million objects: keys listed per server-CPU-second, and the time of a restart, after SIGTERM and after kill -9.

    tests/e2e/million.py [--objects 1000000] [--cores 2] [--max-start 5] [--min-keys 300000]
"""

import argparse
import multiprocessing
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support.server import Server  # noqa: E402
from support.session import Session  # noqa: E402
from support.values import value  # noqa: E402

BUCKET = "million"
SIZE = 100


def key(n):
    return f"dir{n % 1000:03}/object-{n:09}"


class Address:
    """What a Session needs of a server, in a form that can be sent to another process."""

    def __init__(self, server):
        self.s3_port, self.access_key, self.secret_key, self.region = server.s3_port, server.access_key, server.secret_key, server.region


def write(address, start, end, step):
    import threading

    def run(first):
        session = Session(address)
        for n in range(first, end, step):
            reply = session.put(BUCKET, key(n), value(n, SIZE))
            assert reply.status == 200, reply

    threads = [threading.Thread(target=run, args=(start + t,)) for t in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def fill(server, objects):
    began = time.monotonic()
    processes = [multiprocessing.Process(target=write, args=(Address(server), p * 16, objects, 64)) for p in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0, "a writer failed"
    print(f"  {objects} objects written in {time.monotonic() - began:.0f} s", flush=True)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--objects", type=int, default=1_000_000)
    options.add_argument("--cores", type=int, default=2)
    options.add_argument("--max-start", type=float, default=5)
    options.add_argument("--min-keys", type=int, default=300_000)
    args = options.parse_args()
    server = Server(cores=args.cores)
    server.start()
    Session(server).create_bucket(BUCKET)
    fill(server, args.objects)
    want = sorted(key(n) for n in range(args.objects))
    rates = []
    for _ in range(3):
        cpu = server.cpu_seconds()
        assert Session(server).list_keys(BUCKET) == want, "the list differs"
        rates.append(args.objects / max(0.01, server.cpu_seconds() - cpu))
    print(f"  listed in pages of 1,000: {', '.join(f'{r:,.0f}' for r in rates)} keys per server-CPU-second", flush=True)
    assert server.stop(300) == 0
    after_stop = server.start()
    server.kill()
    after_kill = server.start()
    session = Session(server)
    for n in range(0, args.objects, max(1, args.objects // 1000)):
        assert session.get(BUCKET, key(n)).body == value(n, SIZE), key(n)
    cpu, began = server.cpu_seconds(), time.monotonic()
    time.sleep(10)
    idle = (server.cpu_seconds() - cpu) / (time.monotonic() - began)
    memory = server.memory_bytes() / (1 << 20)
    assert server.stop() == 0
    print(f"million: start {after_stop:.2f} s after SIGTERM, {after_kill:.2f} s after kill -9; {max(rates):,.0f} keys listed per CPU-second; "
          f"idle {idle:.2%} of a core; {memory:.0f} MiB resident")
    assert max(after_stop, after_kill) <= args.max_start, f"a start took over {args.max_start} s"
    assert max(rates) >= args.min_keys, f"fewer than {args.min_keys:,} keys per CPU-second"


if __name__ == "__main__":
    main()
