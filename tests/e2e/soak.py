#!/usr/bin/env python3
"""A long mixed load on one server: nothing may grow, and no answer may be wrong.

The load is that of tests/support/load.py, on a bounded set of objects, so that what is overwritten and deleted has to
come back as space. Memory, descriptors, threads and disk space are sampled all along. The medians of the tenth of the
time after the first tenth (the warm-up) are compared with those of the last tenth. It fails if

- resident memory grew by more than --memory-mib;
- open descriptors grew by more than --descriptors, or threads by more than --server-threads;
- the data directory grew beyond --space-factor times the live bytes, above what it held after the warm-up or, if that
  is more, what the store keeps for reuse by design (KEPT_MIB);
- an answer was wrong or failed, or at the end a key or the list is not what was acknowledged.

    tests/e2e/soak.py [--minutes 60] [--threads 8] [--cores 2] [--seed N] [--memory-mib 96] [--space-factor 2]
"""

import argparse
import os
import pathlib
import random
import statistics
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support.load import Worker, verify_all  # noqa: E402
from support.server import Server  # noqa: E402
from support.session import Session  # noqa: E402

BUCKET = "soak"
MIB = 1 << 20
# What is kept for reuse, according to engine/limits.rs, raft/wal and raft/kv/fjall.rs: per core four free log segments, the next
# and the active one, of 64 MiB each, 512 MiB of free extents and one step of growth; per node eight segments of the Raft
# log, of 64 MiB each, and 256 MiB of the metadata store's journal and tables.
KEPT_MIB = {"core": 6 * 64 + 512 + 64, "node": 8 * 64 + 256}
FIELDS = {"memory": MIB, "descriptors": 1, "threads": 1, "disk": MIB, "live": MIB}
UNITS = {"memory": " MiB", "descriptors": "", "threads": "", "disk": " MiB", "live": " MiB"}


def allocated_bytes(server):
    """What `du` would say, plus removed files that the server still holds open. Files that vanish meanwhile don't count."""
    paths = [os.path.join(root, name) for root, _, names in os.walk(server.data_dir) for name in names]
    found = [stat for stat in map(stat_of, paths) if stat]
    handles = f"/proc/{server.pid}/fd"
    opened = [stat_of(f"{handles}/{name}", os.stat) for name in os.listdir(handles)]
    device = os.stat(server.data_dir).st_dev
    removed = {stat.st_ino: stat for stat in opened if stat and stat.st_nlink == 0 and stat.st_dev == device}
    return sum(stat.st_blocks * 512 for stat in [*found, *removed.values()])


def stat_of(path, look=os.lstat):
    try:
        return look(path)
    except FileNotFoundError:
        return None


def sample(server, workers):
    return {
        "memory": server.memory_bytes(), "descriptors": server.descriptors(), "threads": server.threads(),
        "disk": allocated_bytes(server), "live": sum(worker.live_bytes() for worker in workers),
    }


def run(server, workers, seconds):
    """The samples of the whole time, evenly spaced; ends early, with SystemExit, at the first failure."""
    samples, pause = [], max(0.5, seconds / 600)
    began, reported = time.monotonic(), 0
    while (passed := time.monotonic() - began) < seconds:
        for worker in workers:
            if worker.error or worker.fault:
                raise SystemExit(f"soak: FAILED after {passed:.0f} s: worker {worker.number}: "
                                 f"{worker.error or worker.fault!r}\n{server.log_tail()}")
        samples.append(sample(server, workers))
        if passed >= reported:
            print(f"  {passed:5.0f} s: {shown(samples[-1])}, {sum(w.writes for w in workers)} writes", flush=True)
            reported += max(10, seconds / 20)
        time.sleep(pause)
    return samples


def shown(of):
    return ", ".join(f"{name} {of[name] / FIELDS[name]:.0f}{UNITS[name]}" for name in FIELDS)


def window(samples, start, end):
    """The medians of a part of the time."""
    part = samples[int(len(samples) * start):max(int(len(samples) * end), int(len(samples) * start) + 1)]
    return {name: statistics.median(one[name] for one in part) for name in FIELDS}


def growth(early, late, args):
    """A line for each bound that is passed."""
    kept = (KEPT_MIB["core"] * args.cores + KEPT_MIB["node"]) * MIB
    bounds = {
        "memory": early["memory"] + args.memory_mib * MIB,
        "descriptors": early["descriptors"] + args.descriptors,
        "threads": early["threads"] + args.server_threads,
        "disk": max(early["disk"], kept) + args.space_factor * late["live"],
    }
    return [f"{name} grew from {early[name] / FIELDS[name]:.0f} to {late[name] / FIELDS[name]:.0f}{UNITS[name]}, "
            f"{bound / FIELDS[name]:.0f} allowed" for name, bound in bounds.items() if late[name] > bound]


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=60)
    options.add_argument("--threads", type=int, default=8)
    options.add_argument("--cores", type=int, default=2)
    options.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    options.add_argument("--memory-mib", type=float, default=96)
    options.add_argument("--descriptors", type=int, default=16)
    options.add_argument("--server-threads", type=int, default=2)
    options.add_argument("--space-factor", type=float, default=2)
    args = options.parse_args()
    print(f"soak: {args.minutes:g} minutes, {args.threads} clients, {args.cores} cores, --seed {args.seed}", flush=True)
    seeds, stop = random.Random(args.seed), threading.Event()
    server = Server(cores=args.cores)
    server.start()
    Session(server).create_bucket(BUCKET)
    workers = [Worker(n, server, BUCKET, seeds, stop) for n in range(args.threads)]
    for worker in workers:
        worker.start()
    samples = run(server, workers, args.minutes * 60)
    stop.set()
    for worker in workers:
        worker.join(60)
    failures = [f"worker {w.number}: {w.error or w.fault!r}" for w in workers if w.error or w.fault]
    early, late = window(samples, 0.1, 0.2), window(samples, 0.9, 1)
    print(f"  after the warm-up: {shown(early)}\n  at the end:        {shown(late)}", flush=True)
    failures += growth(early, late, args) + verify_all(server, BUCKET, workers)
    if failures:
        raise SystemExit("soak: FAILED\n" + "\n".join(failures[:20]) + "\n" + server.log_tail())
    code = server.stop()
    assert code == 0, f"SIGTERM must end with 0, not {code}"
    writes, deletes, reads = (sum(getattr(w, what) for w in workers) for what in ("writes", "deletes", "reads"))
    change = ", ".join(f"{name} {early[name] / FIELDS[name]:.0f} to {late[name] / FIELDS[name]:.0f}{UNITS[name]}"
                       for name in ("memory", "descriptors", "threads", "disk"))
    print(f"soak: {args.minutes:g} minutes, {writes} writes, {deletes} deletes, {reads} reads checked, "
          f"{late['live'] / MIB:.0f} MiB live, {change}: flat")


if __name__ == "__main__":
    main()
