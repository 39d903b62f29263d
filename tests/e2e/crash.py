#!/usr/bin/env python3
"""kill -9 at random moments under a mixed load, then a restart and a check of everything that was ever acknowledged.

The load is that of tests/support/load.py. Checked after every restart: each key byte for byte (what was deleted must
be gone), the bucket's list with its sizes, acknowledged parts of unfinished uploads (they are completed then, and read
back), and how long the start took. At the end parts of the data directory are taken away: the start must be refused, and
everything be there once they are back.

    tests/e2e/crash.py [--rounds 8] [--threads 16] [--cores 2] [--seed N] [--max-start 5]
"""

import argparse
import os
import pathlib
import random
import shutil
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support.load import Worker, verify_all  # noqa: E402
from support.server import Server  # noqa: E402
from support.session import Session  # noqa: E402

BUCKET = "crash"
# Folders of the data directory that an accident takes away, and what the refusal to start says.
ACCIDENTS = {"raft": "the log is gone", "raft meta": "the cores hold", "identity": "identity is gone", "core-00": "core-00 is missing"}


def load_and_kill(server, workers, seeds, seconds):
    stop = threading.Event()
    workers = [Worker(old.number, server, BUCKET, seeds, stop, before=old) for old in workers]
    for worker in workers:
        worker.start()
    time.sleep(seconds)
    faults = [f"worker {w.number}: {w.fault!r}" for w in workers if w.fault]
    if not server.alive() or faults:
        raise SystemExit(f"crash: the server failed by itself: {faults}\n{server.log_tail()}")
    server.kill()
    stop.set()
    for worker in workers:
        worker.join(60)
        if worker.error:
            raise SystemExit(f"crash: LOST while running: worker {worker.number}: {worker.error!r}")
    return workers


def refuse_without(server, folders, words):
    """A start without these folders must be refused in one line, and must harm nothing."""
    away = server.data_dir.parent / "away"
    away.mkdir()
    for name in folders:
        (server.data_dir / name).rename(away / name)
    server.spawn()
    code, line = server.process.wait(30), server.log_tail(1)
    assert code == 3 and words in line and "restore" in line, f"without {folders}: {code}, {line}"
    for name in folders:
        shutil.rmtree(server.data_dir / name, True)
        (away / name).rename(server.data_dir / name)
    away.rmdir()


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=8)
    options.add_argument("--threads", type=int, default=16)
    options.add_argument("--cores", type=int, default=2)
    options.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    options.add_argument("--max-start", type=float, default=5.0)
    args = options.parse_args()
    print(f"crash: {args.rounds} rounds of kill -9, {args.threads} clients, {args.cores} cores, --seed {args.seed}", flush=True)
    seeds = random.Random(args.seed)
    server = Server(cores=args.cores)
    server.start()
    Session(server).create_bucket(BUCKET)
    workers = [Worker(n, server, BUCKET, seeds, None) for n in range(args.threads)]
    for turn in range(1, args.rounds + 1):
        workers = load_and_kill(server, workers, seeds, seeds.choice([0.05, 0.5, 2, 4]) + seeds.random())
        doubt = sum(map(len, (w.doubt for w in workers)))
        took = server.start()
        failures = verify_all(server, BUCKET, workers)
        writes, deletes, reads = (sum(getattr(w, what) for w in workers) for what in ("writes", "deletes", "reads"))
        print(f"  round {turn}: {writes} writes, {deletes} deletes acknowledged and {reads} reads checked so far, "
              f"{doubt} keys in doubt, start {took:.2f} s", flush=True)
        if failures:
            os.environ["HAMSTER_TEST_KEEP"] = "1"
            print(server.log_tail())
            raise SystemExit("crash: LOST, data kept in " + str(server.data_dir) + "\n" + "\n".join(failures[:20]))
        if took > args.max_start:
            raise SystemExit(f"crash: the start took {took:.1f} s, more than {args.max_start} s")
    code = server.stop()
    assert code == 0, f"SIGTERM must end with 0, not {code}"
    for folders, words in ACCIDENTS.items():
        refuse_without(server, folders.split(), words)
    server.start()
    workers = [Worker(old.number, server, BUCKET, seeds, None, before=old) for old in workers]
    if failures := verify_all(server, BUCKET, workers):
        raise SystemExit("crash: LOST after a refused start\n" + "\n".join(failures[:20]))
    print(f"crash: {args.rounds} rounds, {writes} acknowledged writes, {deletes} deletes, 0 lost, slowest start {server.slowest_start:.2f} s")


if __name__ == "__main__":
    main()
