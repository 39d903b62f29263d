#!/usr/bin/env python3
"""kill -9 at random moments under a mixed load, then a restart and a check of everything that was ever acknowledged.

Each client thread owns its keys, so what a key may hold is known exactly: what was acknowledged last, or, if a
request was cut off in flight, that or what the request would have made of it. Values describe themselves. Checked
after every restart: each key byte for byte, the bucket's list, acknowledged parts of unfinished uploads (they are
completed then, and read back), and how long the start took.

    tests/e2e/crash.py [--rounds 8] [--threads 16] [--cores 2] [--seed N] [--max-start 5]
"""

import argparse
import os
import pathlib
import random
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support.server import Server  # noqa: E402
from support.session import FAULTS, Session  # noqa: E402
from support.values import describe, first_difference, value  # noqa: E402

BUCKET = "crash"
PART = 5 << 20
KEYS_PER_THREAD = 40
ABSENT = None


class Lost(Exception):
    """An acknowledged write or delete did not survive."""


class Upload:
    """A multipart upload under way: its acknowledged parts survive a crash too."""

    def __init__(self, upload_id):
        self.id, self.etags, self.seeds, self.finishing = upload_id, {}, {}, False

    def content(self):
        return [(self.seeds[n][0], self.seeds[n][1]) for n in sorted(self.seeds)]


class Worker(threading.Thread):
    """One client. `held` maps a key to what is acknowledged: ABSENT or a list of (seed, size). `doubt` maps a key to
    what it may hold besides, since a request was in flight when the server died."""

    def __init__(self, number, server, seeds, stop):
        super().__init__(daemon=True)
        self.number, self.server, self.seeds, self.stop_event = number, server, seeds, stop
        self.rng = random.Random(seeds.randrange(1 << 60))
        self.held, self.doubt, self.uploads = {}, {}, {}
        self.next_seed = number * 1_000_000_000
        self.writes = self.deletes = self.reads = 0
        self.error = None
        self.session = Session(server, timeout=30)

    def key(self):
        return f"w{self.number:02}/k{self.rng.randrange(KEYS_PER_THREAD):03}"

    def fresh(self, size):
        self.next_seed += 1
        return self.next_seed, size

    def size(self):
        low, high = self.rng.choices([(100, 4096), (4096, 65536), (65536, 300_000), (300_000, 2 << 20), (2 << 20, 6 << 20)],
                                     [40, 30, 18, 9, 3])[0]
        return self.rng.randrange(low, high)

    def run(self):
        try:
            while not self.stop_event.is_set():
                step = self.rng.choices([self.put, self.delete, self.get, self.multipart], [60, 15, 22, 3])[0]
                step(self.key())
        except FAULTS:
            pass  # The server is dead; what was in flight stays in `doubt`.
        except Lost as error:
            self.error = error
        except Exception as error:  # A bug of this test must not look like success.
            self.error = error
        finally:
            self.session.close()

    def settle(self, key, reply, content, good):
        """A reply came. A good one acknowledges; any other leaves the doubt, as a client must."""
        if reply.status in good:
            self.held[key] = content
            self.doubt.pop(key, None)
            return True
        if reply.status < 500:
            raise Lost(f"unexpected answer for {key}: {reply}")
        return False

    def put(self, key):
        seed, size = self.fresh(self.size())
        self.doubt.setdefault(key, []).append([(seed, size)])
        reply = self.session.put(BUCKET, key, value(seed, size))
        self.writes += self.settle(key, reply, [(seed, size)], (200,))

    def delete(self, key):
        self.doubt.setdefault(key, []).append(ABSENT)
        self.deletes += self.settle(key, self.session.delete(BUCKET, key), ABSENT, (204,))

    def get(self, key):
        if key not in self.doubt:
            check(self.session, key, [self.held.get(key, ABSENT)])
            self.reads += 1

    def multipart(self, key):
        reply, upload_id = self.session.create_upload(BUCKET, key)
        if not upload_id:
            return
        upload = self.uploads[key] = Upload(upload_id)
        for number in range(1, self.rng.choice([2, 3])):
            self.part(key, upload, number, PART + self.rng.randrange(5000))
        self.part(key, upload, 9, self.rng.randrange(1, 200_000))
        upload.finishing = True
        self.doubt.setdefault(key, []).append(upload.content())
        reply = self.session.complete_upload(BUCKET, key, upload.id, upload.etags)
        if self.settle(key, reply, upload.content(), (200,)):
            self.uploads.pop(key)
            self.writes += 1

    def part(self, key, upload, number, size):
        seed, size = self.fresh(size)
        reply = self.session.upload_part(BUCKET, key, upload.id, number, value(seed, size))
        if reply.status != 200:
            raise OSError(f"part refused: {reply}")
        upload.etags[number], upload.seeds[number] = reply.headers["etag"], (seed, size)

    def verify(self):
        """After a restart: reads all keys, settles each doubt by what is there, finishes open uploads."""
        for key, upload in list(self.uploads.items()):
            del self.uploads[key]
            if upload.finishing or not upload.etags:
                continue
            check(self.session, key, [self.held.get(key, ABSENT), *self.doubt.get(key, [])])
            reply = self.session.complete_upload(BUCKET, key, upload.id, upload.etags)
            if reply.status != 200:
                raise Lost(f"acknowledged parts of {key} can't be completed: {reply}")
            self.held[key] = upload.content()
            self.doubt.pop(key, None)
        for key in sorted(set(self.held) | set(self.doubt)):
            self.held[key] = check(self.session, key, [self.held.get(key, ABSENT), *self.doubt.pop(key, [])])


def content_bytes(content):
    return b"".join(value(seed, size) for seed, size in content)


def check(session, key, possible):
    """The one of `possible` that the key holds; Lost if it holds none of them."""
    reply = session.get(BUCKET, key)
    if reply.status == 404:
        if ABSENT in possible:
            return ABSENT
        raise Lost(f"{key} is gone; acknowledged: {possible}")
    if reply.status != 200:
        raise Lost(f"{key} can't be read: {reply}")
    for content in possible:
        if content is not ABSENT and sum(size for _, size in content) == len(reply.body) and content_bytes(content) == reply.body:
            return content
    wanted = next((c for c in possible if c), None)
    at = first_difference(content_bytes(wanted), reply.body) if wanted else 0
    raise Lost(f"{key} holds {describe(reply.body)}, which is none of {possible}; first difference from the acknowledged at byte {at}")


def verify_all(server, workers):
    failures = []

    def run(worker):
        try:
            worker.verify()
        except (Lost, *FAULTS) as error:
            failures.append(f"worker {worker.number}: {type(error).__name__}: {error}")

    threads = [threading.Thread(target=run, args=(w,)) for w in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not failures:
        want = sorted(key for w in workers for key, content in w.held.items() if content is not ABSENT)
        got = Session(server).list_keys(BUCKET)
        if got != want:
            failures.append(f"the list differs: missing {sorted(set(want) - set(got))[:5]}, extra {sorted(set(got) - set(want))[:5]}")
    return failures


def load_and_kill(server, workers, seeds, seconds):
    stop = threading.Event()
    fresh = []
    for old in workers:
        worker = Worker(old.number, server, seeds, stop)
        worker.held, worker.doubt, worker.next_seed = old.held, old.doubt, old.next_seed
        worker.writes, worker.deletes, worker.reads = old.writes, old.deletes, old.reads
        fresh.append(worker)
    for worker in fresh:
        worker.start()
    time.sleep(seconds)
    if not server.alive():
        raise SystemExit(f"crash: the server died by itself:\n{server.log_tail()}")
    server.kill()
    stop.set()
    for worker in fresh:
        worker.join(60)
        if worker.error:
            raise SystemExit(f"crash: LOST while running: worker {worker.number}: {worker.error!r}")
    return fresh


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
    workers = [Worker(n, server, seeds, None) for n in range(args.threads)]
    for turn in range(1, args.rounds + 1):
        workers = load_and_kill(server, workers, seeds, seeds.choice([0.05, 0.5, 2, 4]) + seeds.random())
        doubt = sum(map(len, (w.doubt for w in workers)))
        took = server.start()
        failures = verify_all(server, workers)
        writes, deletes = sum(w.writes for w in workers), sum(w.deletes for w in workers)
        print(f"  round {turn}: {writes} writes and {deletes} deletes acknowledged so far, {doubt} keys in doubt, start {took:.2f} s", flush=True)
        if failures:
            os.environ["HAMSTER_TEST_KEEP"] = "1"
            print(server.log_tail())
            raise SystemExit("crash: LOST, data kept in " + str(server.data_dir) + "\n" + "\n".join(failures[:20]))
        if took > args.max_start:
            raise SystemExit(f"crash: the start took {took:.1f} s, more than {args.max_start} s")
    code = server.stop()
    assert code == 0, f"SIGTERM must end with 0, not {code}"
    print(f"crash: {args.rounds} rounds, {writes} acknowledged writes, {deletes} deletes, 0 lost, slowest start {server.slowest_start:.2f} s")


if __name__ == "__main__":
    main()
