#!/usr/bin/env python3
"""Hostile and broken clients. Each gets the right S3 answer or is cut off; memory stays flat; a well-behaved client that
works all the time beside them sees no fault.

    tests/e2e/hostile.py [--only NAME] [--cores 2] [--connections 10000]
"""

import argparse
import pathlib
import random
import re
import resource
import socket
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import sigv4  # noqa: E402
from support.server import Server  # noqa: E402
from support.session import FAULTS, Session  # noqa: E402
from support.values import value  # noqa: E402
from support.wire import Closed, RawClient, Wire, head_bytes  # noqa: E402

BUCKET = "hostile"
MIB = 1 << 20
# A client that sends a byte now and then is cut off after the server's time-outs; these are generous bounds on them.
HEAD_CUT_SECONDS = 75
IDLE_CUT_SECONDS = 150
BODY_CUT_SECONDS = 150
# Ten thousand connections may leave the allocator this much; running all cases again must not add to it.
MEMORY_GROWTH_MAX = 256 * MIB
SECOND_PASS_GROWTH_MAX = 96 * MIB
CONNECTION_BYTES_MAX = 32 * 1024
# As in s3/http/head.rs.
HEAD_BYTES_MAX = 64 * 1024
CASES = []


def case(function):
    CASES.append(function)
    return function


class Good(threading.Thread):
    """The well-behaved client: puts and gets in turn, notes each fault and its slowest request."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.session, self.done, self.faults, self.count, self.slowest = Session(server, timeout=30), threading.Event(), [], 0, 0.0

    def run(self):
        rng = random.Random(1)
        while not self.done.is_set():
            body = value(self.count, rng.choice([100, 5000, 200_000]))
            began = time.monotonic()
            try:
                put = self.session.put(BUCKET, "good", body)
                got = self.session.get(BUCKET, "good")
                if put.status != 200 or got.status != 200 or got.body != body:
                    self.faults.append(f"request {self.count}: {put} {got}")
            except FAULTS as error:
                self.faults.append(f"request {self.count}: {type(error).__name__} {error}")
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.count += 1
            self.done.wait(0.02)
        self.session.close()


def answer(raw, data):
    """The reply to raw bytes. There must be one, even if the server does not read all of them."""
    with raw.connect() as wire:
        try:
            wire.send(data)
        except OSError:
            pass
        try:
            return wire.final()
        except TimeoutError:
            raise AssertionError("no answer and no close for 20 s") from None
        except (Closed, OSError) as error:
            raise AssertionError(f"cut off without an answer: {error}") from None


def expect(reply, statuses, codes=None, what=""):
    assert reply.status in statuses, f"{what}: {reply}, expected {statuses}"
    assert not codes or reply.code in codes, f"{what}: {reply}, expected {codes}"


@case
def a_head_of_ten_megabytes(raw, _server):
    """It is less than LINGER_BYTES, so all of it is read and the answer can't be lost behind it."""
    for filler in (b"x-a: " + b"y" * 10 * MIB, b"".join(b"x-h%d: y\r\n" % n for n in range(700_000)), None):
        data = b"GET /" + b"k" * 10 * MIB + b" HTTP/1.1\r\n" if filler is None else b"GET / HTTP/1.1\r\nhost: x\r\n" + filler
        expect(answer(raw, data + b"\r\n\r\n"), (400,), ("RequestHeaderSectionTooLarge",), "10 MB head")


@case
def a_head_at_its_limit(raw, _server):
    """The longest head is served. As many bytes without an end are refused, though the client waits for the answer."""
    free = HEAD_BYTES_MAX - len(raw.prepare("GET", f"/{BUCKET}", headers={"x-fill": ""}))
    longest = raw.prepare("GET", f"/{BUCKET}", headers={"x-fill": "y" * free})
    assert len(longest) == HEAD_BYTES_MAX
    expect(answer(raw, longest), (200,), what="the longest head")
    endless = longest.removesuffix(b"\r\n\r\n") + b"yyyy"
    expect(answer(raw, endless), (400,), ("RequestHeaderSectionTooLarge",), "a head that does not end")


@case
def a_body_shorter_than_announced(raw, server):
    with raw.connect() as wire:
        data = raw.prepare("PUT", f"/{BUCKET}/short", body=bytes(100_000))
        wire.send(data[:-1])
        wire.socket.shutdown(socket.SHUT_WR)
        expect(wire.final(), (400,), ("IncompleteBody",), "short body")
    assert raw.request("HEAD", f"/{BUCKET}/short").status == 404


@case
def a_body_longer_than_announced(raw, server):
    with raw.connect() as wire:
        wire.send(raw.prepare("PUT", f"/{BUCKET}/long", body=b"12345") + b"surplus bytes that are no request\r\n\r\n")
        expect(wire.final(), (200,), what="the announced part")
        expect(wire.final(), (400,), ("BadRequest",), "the surplus")
        assert wire.closed_within(10), "after bytes that are no request the connection must end"
    assert raw.request("GET", f"/{BUCKET}/long").body == b"12345"


@case
def a_refusal_does_not_wait_for_the_body(raw, _server):
    for size in (1000, 100_000, 10_000_000):
        head = raw.signer.headers("PUT", raw.host, "/no-such-bucket/k", (), {"content-length": str(size)})
        expect(answer(raw, head_bytes("PUT", "/no-such-bucket/k", head)), (404,), ("NoSuchBucket",), f"{size} bytes announced")


@case
def more_than_five_gib_announced(raw, _server):
    head = raw.signer.headers("PUT", raw.host, f"/{BUCKET}/huge", (), {"content-length": str((5 << 30) + 1)})
    expect(answer(raw, head_bytes("PUT", f"/{BUCKET}/huge", head)), (400,), ("EntityTooLarge",), "5 GiB and a byte")


def wrong_signatures(raw):
    """(name, bytes) of a request with a bad signature in each mode."""
    path, body = f"/{BUCKET}/forged", value(1, 70_000)
    wrong = RawClient(raw.server, secret_key="wrong-secret-wrong-secret-wrong-secret-w")
    import hashlib

    yield "header, unsigned payload", wrong.prepare("PUT", path, body=body)
    yield "header, signed payload", wrong.prepare("PUT", path, body=body, payload_hash=hashlib.sha256(body).hexdigest())
    trailer = ("x-amz-checksum-crc32", sigv4.checksum("crc32", body))
    for mode in (sigv4.STREAMING, sigv4.STREAMING_TRAILER, sigv4.STREAMING_UNSIGNED_TRAILER):
        with_trailer = trailer if "TRAILER" in mode else None
        headers = {"content-encoding": "aws-chunked", "x-amz-decoded-content-length": str(len(body))}
        if with_trailer:
            headers["x-amz-trailer"] = trailer[0]
        head = wrong.signer.headers("PUT", wrong.host, path, (), headers, mode)
        framed = sigv4.unsigned_chunks([body], trailer) if mode == sigv4.STREAMING_UNSIGNED_TRAILER else wrong.signer.chunks(head, [body], with_trailer)
        head["content-length"] = str(len(framed))  # Not signed, as some clients do.
        yield mode, head_bytes("PUT", path, head) + framed
    for name, target in (("presigned 4", wrong.signer.presign("PUT", wrong.host, path)), ("presigned 2", wrong.signer.presign_v2("PUT", path))):
        yield name, head_bytes("PUT", target, {"host": wrong.host, "content-length": str(len(body))}) + body


@case
def a_bad_signature_in_each_mode(raw, _server):
    for name, data in wrong_signatures(raw):
        expect(raw.exchange(data, "PUT"), (403,), ("SignatureDoesNotMatch",), name)
    assert raw.request("HEAD", f"/{BUCKET}/forged").status == 404


@case
def a_presigned_url_replayed_after_its_time(raw, _server):
    raw.request("PUT", f"/{BUCKET}/timed", body=b"x")
    targets = [raw.signer.presign("GET", raw.host, f"/{BUCKET}/timed", expires=2), raw.signer.presign_v2("GET", f"/{BUCKET}/timed", expires=2)]
    for target in targets:
        expect(raw.plain("GET", target), (200,), what="in its time")
    time.sleep(4)
    for target in targets:
        expect(raw.plain("GET", target), (403,), ("AccessDenied",), "after its time")


@case
def signed_headers_that_multiply_a_head(raw, server):
    """62 KB from anybody grew to hundreds of MiB of text to hash: SignedHeaders named a long header over and over."""
    before, peak = time.monotonic(), server.memory_bytes("VmHWM")
    for count in (100, 5000, 15_000):
        names = ";".join(["x"] * count)
        good = raw.signer.headers("GET", raw.host, f"/{BUCKET}", (), {"x": "v" * (60_000 - 2 * count)})
        good["authorization"] = re.sub("SignedHeaders=[^,]*", f"SignedHeaders=host;{names};x-amz-content-sha256;x-amz-date", good["authorization"])
        expect(raw.exchange(head_bytes("GET", f"/{BUCKET}", good)), (403,), ("AccessDenied",), f"{count} times the same header")
    assert time.monotonic() - before < 5 and server.memory_bytes("VmHWM") - peak < 64 * MIB


@case
def connections_that_take_all_descriptors(_raw, _server):
    """With few open files allowed, anybody's idle connections left none for the log's next segment, which ended the node."""
    node = Server(cores=2, open_files=400)
    node.start()
    own = RawClient(node)
    with own.connect() as wire:
        assert own.request("PUT", f"/{BUCKET}", wire=wire).status == 200
        idle = [own.connect() for _ in range(600)]
        assert node.descriptors() < 300, "connections took more than half of the descriptors"
        for n in range(300):  # Enough for new segments of each kind and for new tables of the metadata store.
            expect(own.request("PUT", f"/{BUCKET}/k{n}", body=value(n, 300_000), wire=wire), (200,), what=f"put {n} beside idle connections")
        for link in idle:
            link.close()
    assert node.alive() and own.request("GET", f"/{BUCKET}/k7").body == value(7, 300_000)
    assert node.stop() == 0, node.log_tail()


def xml_bodies():
    lol = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    yield "billion laughs", f'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY l0 "lol">{lol}]><Delete><Object><Key>&l9;</Key></Object></Delete>'
    yield "external entity", '<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]><Delete><Object><Key>&x;</Key></Object></Delete>'
    yield "deep nesting", "<a>" * 100_000
    yield "deep nesting, closed", "<Delete>" + "<a>" * 100_000 + "</a>" * 100_000 + "</Delete>"
    yield "many attributes", "<Delete " + " ".join(f'a{n}="b"' for n in range(50_000)) + "><Object><Key>k</Key></Object></Delete>"
    yield "unclosed", "<Delete><Object><Key>k</Key>"
    yield "mismatched", "<Delete><Object></Key></Delete></Object>"
    yield "another document", "<CreateBucketConfigurationX/>"
    yield "no XML", "\x01\x02 not XML at all"
    yield "empty", ""
    yield "bad reference", "<Delete><Object><Key>&#0;&#xFFFFFFFF;</Key></Object></Delete>"


@case
def malformed_xml_and_xml_bombs(raw, _server):
    upload = re.search(rb"<UploadId>([^<]+)<", raw.request("POST", f"/{BUCKET}/up", [("uploads", "")]).body).group(1).decode()
    targets = [("POST", f"/{BUCKET}", [("delete", "")]), ("POST", f"/{BUCKET}/up", [("uploadId", upload)]), ("PUT", "/new-bucket", [])]
    for name, text in xml_bodies():
        for method, path, query in targets:
            if method == "PUT" and not text:
                continue
            body = text.encode()
            md5 = __import__("base64").b64encode(__import__("hashlib").md5(body).digest()).decode()
            reply = raw.request(method, path, query, {"content-md5": md5}, body)
            if name == "many attributes" and reply.status == 200:
                continue  # Odd but harmless.
            expect(reply, (400,), what=f"{name} to {method} {path}")
            assert reply.code in ("MalformedXML", "InvalidRequest", "InvalidArgument", "MissingRequestBodyError", "MaxMessageLengthExceeded"), (name, reply)
            assert b"root:" not in reply.body
    # The answer to the last one does not wait for what would not be read: more than LINGER_BYTES.
    for size, sent in ((3 * MIB, 3 * MIB), (15 * MIB, 15 * MIB), (20 * MIB, 0)):
        body = b"<Delete><Object><Key>" + b"k" * size + b"</Key></Object></Delete>"
        md5 = __import__("base64").b64encode(__import__("hashlib").md5(body).digest()).decode()
        data = raw.prepare("POST", f"/{BUCKET}", [("delete", "")], {"content-md5": md5}, body)
        reply = answer(raw, data[:len(data) - size + sent])
        expect(reply, (400,), ("MaxMessageLengthExceeded",), f"an XML body of {size // MIB} MiB")
    assert raw.request("HEAD", "/new-bucket").status == 404


@case
def keys_that_climb_or_are_invalid(raw, _server):
    bad = ["/../x", "/a/../../x", "/%2e%2e/x", "/..", "/../../etc/passwd", "/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "/a%00b", "/%00", "/%ff%fe", "/" + "k" * 1025, "/%c0%af"]
    for path in bad:
        for method in ("PUT", "GET", "HEAD", "DELETE"):
            reply = raw.request(method, f"/{BUCKET}{path}", body=b"x" if method == "PUT" else b"")
            escaped_otherwise = bool(re.search("%[0-9a-f]*[a-f]|%2e", path))  # Escaped otherwise than signed: refused for either reason.
            expect(reply, (400, 403) if escaped_otherwise else (400,), what=f"{method} {path[:40]}")
    expect(answer(raw, raw.prepare("GET", f"/{BUCKET}/raw").replace(b"/raw", b"/r\x00w", 1)), (400,), ("BadRequest",), "NUL in the target")
    for key in ("🐹", "emoji/🦀🦀/end", "k" * 1024):
        path = f"/{BUCKET}/" + sigv4.quote_path(key)
        expect(raw.request("PUT", path, body=key.encode()), (200,), what=key[:20])
        assert raw.request("GET", path).body == key.encode()


@case
def random_bytes_and_mutated_requests(raw, _server):
    rng = random.Random(99)
    good = raw.prepare("PUT", f"/{BUCKET}/mutant", query=[("x", "y")], headers={"x-amz-meta-a": "b"}, body=b"body")
    for turn in range(400):
        data = bytearray(rng.randbytes(rng.randrange(1, 3000)) if turn % 4 == 0 else good)
        if turn % 4:
            for _ in range(rng.randrange(1, 6)):
                data[rng.randrange(len(data))] = rng.randrange(256)
        with raw.connect(timeout=5) as wire:
            wire.send(bytes(data))
            wire.socket.shutdown(socket.SHUT_WR)
            try:
                status = wire.final().status
                assert status != 500, f"mutation {turn} was answered by 500: {bytes(data)[:200]!r}"
            except Closed as error:
                # The client gave up within a head: there is no request to answer.
                assert b"\r\n\r\n" not in data and not error.args[0], f"mutation {turn} was not answered: {bytes(data)[:200]!r}"


@case
def requests_that_leave_in_the_middle(raw, _server):
    data = raw.prepare("PUT", f"/{BUCKET}/partial", body=value(3, 2 * MIB))
    big = raw.prepare("PUT", f"/{BUCKET}/large", body=value(4, 16 * MIB))
    expect(raw.exchange(big), (200,), what="a large put")
    read = raw.prepare("GET", f"/{BUCKET}/large")
    for turn in range(150):
        with raw.connect() as wire:
            if turn % 2:
                wire.send(data[: random.Random(turn).randrange(len(data))])
            else:
                wire.send(read)
                wire.socket.recv(100)
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    assert raw.request("HEAD", f"/{BUCKET}/partial").status == 404


class Dripper(threading.Thread):
    """Sends a byte every ten seconds (a minute for a body) and reports when it was cut off. `answer` is what the server
    must say then, None if nothing."""

    def __init__(self, raw, start, pause, limit, answer=b"<Code>RequestTimeout</Code>"):
        super().__init__(daemon=True)
        self.raw, self.first, self.pause, self.limit, self.cut_after = raw, start, pause, limit, None
        self.received, self.answer = b"", answer

    def closed(self, wire):
        """Whether the server ends the connection before the next byte is due; keeps what it says."""
        wire.socket.settimeout(self.pause)
        try:
            while data := wire.socket.recv(1 << 16):
                self.received += data
            return True
        except OSError as error:
            return not isinstance(error, TimeoutError)

    def run(self):
        began = time.monotonic()
        with self.raw.connect() as wire:
            wire.send(self.first)
            while time.monotonic() - began < self.limit:
                if self.closed(wire):
                    self.cut_after = time.monotonic() - began
                    return
                try:
                    wire.send(b"x")
                except OSError:
                    self.cut_after = time.monotonic() - began
                    return


def start_drippers(raw):
    head = raw.signer.headers("PUT", raw.host, f"/{BUCKET}/drip", (), {"content-length": "1000"})
    found = {
        "a head by a byte every ten seconds": Dripper(raw, b"GET / HTTP/1.1\r\nhost: x\r\nx-a: ", 10, HEAD_CUT_SECONDS),
        "nothing sent at all": Dripper(raw, b"", IDLE_CUT_SECONDS, IDLE_CUT_SECONDS, answer=None),
        "a body by a byte a minute": Dripper(raw, head_bytes("PUT", f"/{BUCKET}/drip", head), 60, BODY_CUT_SECONDS),
        "a body that stops": Dripper(raw, head_bytes("PUT", f"/{BUCKET}/drip", head) + b"begun", BODY_CUT_SECONDS, BODY_CUT_SECONDS),
    }
    for dripper in found.values():
        dripper.start()
    return found


def idle_connections(raw, server, count):
    """Opens many idle connections from several loopback addresses, works beside them, and closes them."""
    before, descriptors = server.memory_bytes(), server.descriptors()
    opened = []
    try:
        for n in range(count):
            link = socket.socket()
            link.settimeout(10)
            link.bind((f"127.0.0.{2 + n // 5000}", 0))
            opened.append(link)
            link.connect(("127.0.0.1", server.s3_port))
        fresh = Session(server, timeout=30)
        expect(fresh.put(BUCKET, "beside", b"x" * 5000), (200,), what="a put beside idle connections")
        expect(fresh.get(BUCKET, "beside"), (200,), what="a get beside idle connections")
        held = server.descriptors() - descriptors
        assert held > count - 50, f"the server holds {held} of {count} idle connections, which are fewer than its limit"
        grown = server.memory_bytes() - before
        assert grown < count * CONNECTION_BYTES_MAX, f"{count} idle connections took {grown / MIB:.0f} MiB"
    finally:
        for link in opened:
            link.close()
    deadline = time.monotonic() + 60
    while server.descriptors() > descriptors + 50:
        assert time.monotonic() < deadline, f"{server.descriptors()} descriptors are open after all clients left ({descriptors} before)"
        time.sleep(0.2)
    print(f"  ok: {count} idle connections, {grown / MIB:.0f} MiB more")


def settled_memory(server):
    """The least resident memory within some seconds: the allocator gives freed pages back with a delay."""
    least = server.memory_bytes()
    for _ in range(10):
        time.sleep(0.5)
        least = min(least, server.memory_bytes())
    return least


def run_cases(raw, server, args, failures):
    for function in CASES:
        if args.only and args.only not in function.__name__:
            continue
        began = time.monotonic()
        try:
            function(raw, server)
        except (AssertionError, *FAULTS) as error:
            failures.append(f"{function.__name__.replace('_', ' ')}: {type(error).__name__}: {error}")
            print(f"  FAILED: {failures[-1]}", flush=True)
            continue
        assert server.alive(), f"{function.__name__} killed the server:\n{server.log_tail()}"
        print(f"  ok: {function.__name__.replace('_', ' ')} ({time.monotonic() - began:.1f} s, {server.memory_bytes() / MIB:.0f} MiB)", flush=True)
    if not args.only or args.only in "idle_connections":
        idle_connections(raw, server, args.connections)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only")
    options.add_argument("--cores", type=int, default=2)
    options.add_argument("--connections", type=int, default=10_000)
    args = options.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    want = 2 * args.connections + 2000  # Half of what the server may open are connections.
    if hard != resource.RLIM_INFINITY and hard < want:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (want, want))
        except (ValueError, OSError):
            args.connections = hard // 2 - 500
            print(f"  note: the descriptor limit allows {args.connections} connections only")
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    else:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, want), hard))
    server = Server(cores=args.cores)
    server.start()
    raw = RawClient(server)
    assert raw.request("PUT", f"/{BUCKET}").status == 200
    for n in range(300):  # Warm pools and caches, so that growth below is growth.
        raw.request("PUT", f"/{BUCKET}/warm{n % 10}", body=value(n, [100, 200_000, 3 * MIB][n % 3]))
    good = Good(server)
    good.start()
    drippers = start_drippers(raw) if not args.only else {}
    before, failures = server.memory_bytes(), []
    run_cases(raw, server, args, failures)
    after_first = settled_memory(server)
    if not args.only and not failures:
        run_cases(raw, server, args, failures)
        again = settled_memory(server) - after_first
        print(f"  all once more: memory changed by {again / MIB:.0f} MiB")
        if again > SECOND_PASS_GROWTH_MAX:
            failures.append(f"memory grew by another {again / MIB:.0f} MiB when all cases ran again")
    for name, dripper in drippers.items():
        dripper.join()
        if dripper.cut_after is None:
            failures.append(f"{name}: still connected after {dripper.limit} s")
            continue
        # The access log said so before any client was told.
        if dripper.answer not in dripper.received if dripper.answer else dripper.received:
            failures.append(f"{name}: cut off with {dripper.received[:300]!r} in place of {dripper.answer!r}")
            continue
        print(f"  ok: {name}: cut off after {dripper.cut_after:.0f} s")
    good.done.set()
    good.join()
    assert server.alive(), server.log_tail()
    assert not good.faults, f"the well-behaved client saw {len(good.faults)} faults: {good.faults[:5]}"
    grown = settled_memory(server) - before
    assert grown < MEMORY_GROWTH_MAX, f"memory grew by {grown / MIB:.0f} MiB"
    assert server.stop() == 0
    if failures:
        raise SystemExit(f"hostile: {len(failures)} failed:\n" + "\n".join(failures))
    print(f"hostile: all answered rightly; {good.count} good requests beside them, slowest {good.slowest:.2f} s; memory grew by {grown / MIB:.0f} MiB")


if __name__ == "__main__":
    main()
