"""Clients with a mixed load that know exactly what each of their keys may hold.

Each client thread owns its keys, so it knows what each may hold: the value acknowledged last, or, if a request was cut
off, also the value that the request would have set. Values describe themselves. The load: PUTs from 100 bytes to 6 MiB
(new keys and overwrites), DELETE, DeleteObjects, CopyObject, multipart uploads with uploaded and copied parts, completed
and aborted, and meanwhile whole and ranged GETs and lists, all of them checked.
"""

import random
import threading

from .session import FAULTS, Session
from .values import describe, first_difference, value

PART = 5 << 20
ABSENT = None
STEPS = {"put": 45, "delete": 10, "delete_many": 3, "copy": 8, "multipart": 3, "get": 18, "get_range": 10, "list": 3}
SIZES = {(100, 4096): 40, (4096, 65536): 30, (65536, 300_000): 18, (300_000, 2 << 20): 9, (2 << 20, 6 << 20): 3}


class Lost(Exception):
    """An acknowledged write or delete is not visible, or an answer is wrong."""


class Upload:
    """A multipart upload under way: its acknowledged parts survive a crash too."""

    def __init__(self, upload_id):
        self.id, self.etags, self.contents, self.finishing = upload_id, {}, {}, False

    def content(self):
        return [piece for number in sorted(self.contents) for piece in self.contents[number]]


class Worker(threading.Thread):
    """One client. `held` maps a key to what is acknowledged: ABSENT or a list of (seed, size). `doubt` maps a key to
    what else it may hold because a request was in flight when the server died. Ends when `stop` is set or its connection
    fails, with the cause in `fault`. Evidence that the server is wrong goes into `error`."""

    def __init__(self, number, server, bucket, seeds, stop, keys=40, before=None):
        super().__init__(daemon=True)
        self.number, self.server, self.bucket, self.stop_event, self.keys = number, server, bucket, stop, keys
        self.rng = random.Random(seeds.randrange(1 << 60))
        self.held, self.doubt, self.uploads = (before.held, before.doubt, {}) if before else ({}, {}, {})
        self.next_seed = before.next_seed if before else number * 1_000_000_000
        self.writes, self.deletes, self.reads = (before.writes, before.deletes, before.reads) if before else (0, 0, 0)
        self.error = self.fault = None
        self.session = Session(server, timeout=30)

    def prefix(self):
        return f"w{self.number:02}/"

    def key(self):
        return f"{self.prefix()}k{self.rng.randrange(self.keys):03}"

    def present(self):
        """A key that surely holds something, and what it holds; None if there is no such key."""
        known = [key for key, content in self.held.items() if content is not ABSENT and key not in self.doubt]
        return self.rng.choice(known) if known else None

    def fresh(self, size):
        self.next_seed += 1
        return self.next_seed, size

    def size(self):
        return self.rng.randrange(*self.rng.choices(list(SIZES), list(SIZES.values()))[0])

    def live_bytes(self):
        return sum(length(content) for content in list(self.held.values()) if content is not ABSENT)

    def run(self):
        try:
            while not self.stop_event.is_set():
                step = self.rng.choices(list(STEPS), list(STEPS.values()))[0]
                getattr(self, step)(self.key())
        except FAULTS as error:
            self.fault = error  # What was in flight stays in `doubt`.
        except Exception as error:  # Lost, or a bug of this test, which must not look like success.
            self.error = error
        finally:
            self.session.close()

    def settle(self, key, reply, content, good):
        """Takes a reply. A good one acknowledges; after any other the outcome stays in doubt."""
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
        reply = self.session.put(self.bucket, key, value(seed, size))
        self.writes += self.settle(key, reply, [(seed, size)], (200,))

    def delete(self, key):
        self.doubt.setdefault(key, []).append(ABSENT)
        self.deletes += self.settle(key, self.session.delete(self.bucket, key), ABSENT, (204,))

    def delete_many(self, key):
        keys = sorted({key, *(self.key() for _ in range(3))})
        for key in keys:
            self.doubt.setdefault(key, []).append(ABSENT)
        reply, gone = self.session.delete_many(self.bucket, keys)
        whole = b"<Error>" not in reply.body
        if reply.status == 200 and (set(gone) != set(keys) if whole else not set(gone) <= set(keys)):
            raise Lost(f"DeleteObjects of {keys} speaks of {gone}")
        for key in gone if reply.status == 200 else keys:
            self.deletes += self.settle(key, reply, ABSENT, (200,))

    def copy(self, key):
        source = self.present()
        if source is None or source == key:
            return
        content = self.held[source]
        self.doubt.setdefault(key, []).append(content)
        self.writes += self.settle(key, self.session.copy(self.bucket, source, key), content, (200,))

    def get(self, key):
        if key not in self.doubt:
            check(self.session, self.bucket, key, [self.held.get(key, ABSENT)])
            self.reads += 1

    def get_range(self, _):
        key = self.present()
        if key is None:
            return
        whole = content_bytes(self.held[key])
        start = self.rng.randrange(len(whole))
        end = self.rng.randrange(start, min(len(whole), start + (1 << self.rng.randrange(8, 22)))) + 1
        reply = self.session.get(self.bucket, key, (start, end))
        if reply.status != 206 or reply.body != whole[start:end]:
            raise Lost(f"bytes {start} to {end} of {key}: {reply.status}, {describe(reply.body)}, of {self.held[key]}")
        self.reads += 1

    def list(self, _):
        """Checks that the list of this client's keys has exactly what is beyond doubt, with its sizes."""
        found = dict(self.session.list_sizes(self.bucket, self.prefix(), self.rng.choice([7, 1000])))
        wanted = {key: length(content) for key, content in self.held.items() if content is not ABSENT}
        for key in self.doubt:
            found.pop(key, None), wanted.pop(key, None)
        if found != wanted:
            raise Lost(f"the list of {self.prefix()} differs in {sorted(found.items() ^ wanted.items())[:5]}")
        self.reads += 1

    def multipart(self, key):
        _, upload_id = self.session.create_upload(self.bucket, key)
        if not upload_id:
            return
        upload = self.uploads[key] = Upload(upload_id)
        for number in range(1, self.rng.choice([2, 2, 3, 4])):
            self.part(key, upload, number, PART + self.rng.randrange(5000))
        source = self.present()
        if source and self.rng.random() < 0.4:
            self.copied_part(key, upload, 9, source)
        else:
            self.part(key, upload, 9, self.rng.randrange(1, 200_000))
        if self.rng.random() < 0.25:
            if self.session.abort_upload(self.bucket, key, upload.id).status == 204:
                self.uploads.pop(key)
            return
        upload.finishing = True
        self.doubt.setdefault(key, []).append(upload.content())
        reply = self.session.complete_upload(self.bucket, key, upload.id, upload.etags)
        if self.settle(key, reply, upload.content(), (200,)):
            self.uploads.pop(key)
            self.writes += 1

    def part(self, key, upload, number, size):
        seed, size = self.fresh(size)
        reply = self.session.upload_part(self.bucket, key, upload.id, number, value(seed, size))
        if reply.status != 200:
            raise OSError(f"part refused: {reply}")
        upload.etags[number], upload.contents[number] = reply.headers["etag"], [(seed, size)]

    def copied_part(self, key, upload, number, source):
        content = self.held[source]
        reply, etag = self.session.copy_part(self.bucket, key, upload.id, number, source)
        if reply.status != 200:
            raise OSError(f"copied part refused: {reply}")
        upload.etags[number], upload.contents[number] = etag, content

    def verify(self):
        """Reads all keys, resolves each doubt by what the server holds, and finishes open uploads."""
        for key, upload in list(self.uploads.items()):
            del self.uploads[key]
            if upload.finishing or not upload.etags:
                continue
            check(self.session, self.bucket, key, self.possible(key))
            reply = self.session.complete_upload(self.bucket, key, upload.id, upload.etags)
            if reply.status == 404 and reply.code == "NoSuchUpload" and 9 in upload.etags:
                continue  # All parts were there: it was being aborted.
            if reply.status != 200:
                raise Lost(f"acknowledged parts of {key} can't be completed: {reply}")
            self.held[key] = upload.content()
            self.doubt.pop(key, None)
        for key in sorted(set(self.held) | set(self.doubt)):
            self.held[key] = check(self.session, self.bucket, key, self.possible(key))
            self.doubt.pop(key, None)

    def possible(self, key):
        return [self.held.get(key, ABSENT), *self.doubt.get(key, [])]


def length(content):
    return sum(size for _, size in content)


def content_bytes(content):
    return b"".join(value(seed, size) for seed, size in content)


def check(session, bucket, key, possible):
    """The one of `possible` that the key holds; Lost if it holds none of them."""
    reply = session.get(bucket, key)
    if reply.status == 404:
        if ABSENT in possible:
            return ABSENT
        raise Lost(f"{key} is gone; acknowledged: {possible}")
    if reply.status != 200:
        raise Lost(f"{key} can't be read: {reply}")
    for content in possible:
        if content is not ABSENT and length(content) == len(reply.body) and content_bytes(content) == reply.body:
            return content
    wanted = next((c for c in possible if c), None)
    at = first_difference(content_bytes(wanted), reply.body) if wanted else 0
    raise Lost(f"{key} holds {describe(reply.body)}, which is none of {possible}; first difference from the acknowledged at byte {at}")


def verify_all(server, bucket, workers):
    """Checks every key of every client byte for byte, then the list of the bucket; returns a line for each failure."""
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
        want = sorted((key, length(content)) for w in workers for key, content in w.held.items() if content is not ABSENT)
        got = Session(server).list_sizes(bucket)
        if got != want:
            failures.append(f"the list differs: missing {sorted(set(want) - set(got))[:5]}, extra {sorted(set(got) - set(want))[:5]}")
    return failures
