#!/usr/bin/env python3
"""Thousands of slow clients beside 64 good ones: how much longer the good ones take, and how much memory and disk the
server uses.
    tests/e2e/slow.py [--slow 300] [--cores 1] [--seconds 12] [--kinds uploads,readers,heads,mixed] [--measure]

A slow upload sends 80 KiB, which is more than a block, and then 16 KiB every 15 s, a slow reader takes as much, a slow
head sends a line now and then: just fast enough not to be cut off for it. One that the server cuts off comes back. The
good clients PUT and GET 4 KiB, and a few of them 4 MiB, at a modest pace, without slow clients first and then beside
each kind. None of their requests may fail, and the server's memory and disk, and the kernel's memory for TCP, stay below
what the limits add up to; with --slow 1000 and more, the 99th percentile of the good ones may at most double. --measure
only prints the table.
"""

import argparse
import heapq
import multiprocessing
import pathlib
import random
import resource
import selectors
import socket
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support.server import HOST, Server  # noqa: E402
from support.session import FAULTS, Session  # noqa: E402
from support.sigv4 import Signer  # noqa: E402
from support.values import value  # noqa: E402
from support.wire import head_bytes  # noqa: E402

BUCKET = "slow"
KIB, MIB = 1 << 10, 1 << 20
PIECE, PAUSE_SECONDS = 16 * KIB, 15
# How long those that were cut off wait, at least and at most: Retry-After asks for a second.
RETRY_SECONDS = (1, 3)
SLOW_BODY = 64 * MIB
KINDS = ("uploads", "readers", "heads")
# 64 clients: how many, what they put and get, and how long each pauses between two requests.
GOOD = {"4 KiB": (56, 4 * KIB, 0.1), "4 MiB": (8, 4 * MIB, 0.5)}
# What a core may hold for requests (`BODY_BUDGET_BYTES`, `INPUT_BUDGET_BYTES`), what its pools keep besides, and what a
# connection needs whatever it does.
CORE_BYTES = (96 + 16 + 64) * MIB
CONNECTION_BYTES = 24 * KIB
# What the kernel may keep for a connection (`UNSENT_BYTES`, and the overhead), and for all good ones together.
KERNEL_BYTES, KERNEL_GOOD_BYTES = 200 * KIB, 16 * MIB
# What a core may reserve on disk for uploads in progress (`SPACE_BUDGET_BYTES`), and what the good clients' objects take.
RESERVED_BYTES, WRITTEN_BYTES = 8 << 30, 3 << 30
# Latencies below this are noise of the machine, not of the server.
NOISE_MS = 20


class Slow:
    """One slow client: what it sends, how much it takes, and when next."""

    def __init__(self, kind, host, signer, number):
        self.kind, self.host, self.signer, self.number = kind, host, signer, number

    def begin(self, now):
        """Connects and sends the first bytes; the socket doesn't block."""
        self.socket = socket.socket()
        if self.kind == "readers":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIECE)
        self.socket.connect((HOST, int(self.host.split(":")[1])))
        self.socket.setblocking(False)
        self.rng = random.Random(self.number)
        self.next = now + self.rng.uniform(0, PAUSE_SECONDS)
        path = f"/{BUCKET}/slow-{self.number}"
        if self.kind == "uploads":
            headers = self.signer.headers("PUT", self.host, path, (), {"content-length": str(SLOW_BODY)})
            self.send(head_bytes("PUT", path, headers) + bytes(5 * PIECE))
        elif self.kind == "readers":
            self.send(head_bytes("GET", f"/{BUCKET}/large", self.signer.headers("GET", self.host, f"/{BUCKET}/large")))
        else:
            # Long enough to cost the server memory if it keeps what it has received.
            self.send(b"GET / HTTP/1.1\r\nhost: x\r\nx-filler: " + bytes(30 * KIB).replace(b"\0", b"y") + b"\r\n")

    def send(self, data):
        """What does not fit is lost. The next request is then refused, which is slow enough too."""
        self.socket.send(data)

    def step(self, now):
        self.next = now + (PAUSE_SECONDS if self.kind != "heads" else 5)
        if self.kind == "uploads":
            self.send(bytes(PIECE))
        elif self.kind == "heads":
            self.send(b"x-%d: y\r\n" % self.rng.randrange(1 << 30))
        elif not self.socket.recv(PIECE):
            raise ConnectionResetError


def slow_process(kinds, count, port, credentials, stop, cuts, ready):
    """Keeps `count` slow clients connected, of each kind in turn, until `stop`."""
    raise_limit()
    host, signer = f"{HOST}:{port}", Signer(*credentials)
    selector = selectors.DefaultSelector()
    clients = [Slow(kinds[number % len(kinds)], host, signer, number) for number in range(count)]
    resting = []
    for at, client in enumerate(clients):
        start(client, selector)
        if at % 50 == 49:
            time.sleep(0.02)
    ready.set()
    while not stop.is_set():
        # An answer to an upload or a head, or an end: it was cut off.
        for key, _ in selector.select(0.05):
            cut(key.data, selector, cuts, resting)
        now = time.monotonic()
        while resting and resting[0][0] <= now:
            start(heapq.heappop(resting)[2], selector)
        for client in clients:
            if client.socket and client.next <= now:
                try:
                    client.step(now)
                except (BlockingIOError, InterruptedError):
                    pass
                except OSError:
                    cut(client, selector, cuts, resting)


def start(client, selector):
    while True:
        try:
            client.begin(time.monotonic())
            break
        except OSError:
            time.sleep(0.05)
    if client.kind != "readers":
        selector.register(client.socket, selectors.EVENT_READ, client)


def cut(client, selector, cuts, resting):
    with cuts.get_lock():
        cuts.value += 1
    if client.kind != "readers":
        selector.unregister(client.socket)
    client.socket.close()
    client.socket = None
    heapq.heappush(resting, (time.monotonic() + client.rng.uniform(*RETRY_SECONDS), client.number, client))


def raise_limit():
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def good_process(server, name, count, size, pause, seconds, results):
    """Runs good clients of one size for a while; returns their latencies and faults."""
    latencies, faults = {"PUT": [], "GET": []}, []
    until = time.monotonic() + seconds

    def run(number):
        session, body, rng = Session(server, timeout=60), value(number, size), random.Random(number)
        key = f"good-{size}-{number}"
        time.sleep(rng.uniform(0, pause))
        while time.monotonic() < until:
            for method in ("PUT", "GET"):
                began = time.monotonic()
                try:
                    reply = session.put(BUCKET, key, body) if method == "PUT" else session.get(BUCKET, key)
                    if reply.status != 200 or method == "GET" and reply.body != body:
                        faults.append(f"{method} of {name}: {reply}")
                except FAULTS as error:
                    faults.append(f"{method} of {name}: {type(error).__name__} {error}")
                latencies[method].append((time.monotonic() - began) * 1000)
                time.sleep(pause * rng.uniform(0.5, 1.5))
        session.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put((name, latencies, faults))


class Plain:
    """What a Session needs to know of the server, in a form that can be sent to another process."""

    def __init__(self, server):
        self.s3_port, self.region = server.s3_port, server.region
        self.access_key, self.secret_key = server.access_key, server.secret_key


def measure(server, seconds):
    """Percentiles in ms by (size, method), the faults, and the most memory and disk that the server used, and memory that
    the kernel used for TCP."""
    results, processes = multiprocessing.Queue(), []
    for name, (count, size, pause) in GOOD.items():
        args = (Plain(server), name, count, size, pause, seconds, results)
        processes.append(multiprocessing.Process(target=good_process, args=args))
    for process in processes:
        process.start()
    table, faults, memory, disk, kernel = {}, [], 0, 0, 0
    for _ in processes:
        while results.empty():
            memory, disk = max(memory, server.memory_bytes()), max(disk, disk_bytes(server.data_dir))
            kernel = max(kernel, kernel_bytes())
            time.sleep(0.2)
        name, latencies, failed = results.get()
        faults += failed
        for method, found in latencies.items():
            found.sort()
            table[name, method] = (found[len(found) // 2], found[min(len(found) - 1, len(found) * 99 // 100)], len(found))
    for process in processes:
        process.join()
    return table, faults, memory, disk, kernel


def kernel_bytes():
    """Bytes that the kernel keeps for the TCP connections of the machine."""
    sockets = pathlib.Path("/proc/net/sockstat").read_text().splitlines()
    tcp = next(line.split() for line in sockets if line.startswith("TCP:"))
    return int(tcp[tcp.index("mem") + 1]) * resource.getpagesize()


def disk_bytes(folder):
    """Bytes that the files in a folder take on disk."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_blocks * 512
        except FileNotFoundError:
            pass  # The server has removed it.
    return total


def report(title, table, faults, memory, disk, kernel, cuts):
    cells = "  ".join(f"{size} {method} {p50:7.1f} /{p99:8.1f} ({count})" for (size, method), (p50, p99, count) in sorted(table.items()))
    print(f"{title:>9}: {cells}  {memory / MIB:5.0f} MiB, disk {disk / MIB:5.0f} MiB, kernel {kernel / MIB:4.0f} MiB, {len(faults)} failed, {cuts} cut off", flush=True)
    for fault in faults[:5]:
        print(f"           {fault}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slow", type=int, default=300)
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=12)
    parser.add_argument("--kinds", default="uploads,readers,heads,mixed")
    parser.add_argument("--measure", action="store_true")
    options = parser.parse_args()
    raise_limit()
    server = Server(cores=options.cores, open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    server.start()
    session = Session(server)
    assert session.request("PUT", f"/{BUCKET}").status == 200
    assert session.put(BUCKET, "large", value(7, SLOW_BODY)).status == 200
    print(f"{options.slow} slow clients, {options.cores} cores; p50 / p99 in ms (requests), memory and disk of the server", flush=True)
    measure(server, 3)
    alone, *rest = measure(server, options.seconds)
    report("alone", alone, *rest, 0)
    wrong = rest[0]
    for kind in options.kinds.split(","):
        kinds = KINDS if kind == "mixed" else (kind,)
        stop, ready, cuts = multiprocessing.Event(), multiprocessing.Event(), multiprocessing.Value("l", 0)
        credentials = (server.access_key, server.secret_key, server.region)
        args = (kinds, options.slow, server.s3_port, credentials, stop, cuts, ready)
        slow = multiprocessing.Process(target=slow_process, args=args)
        slow.start()
        ready.wait()
        table, faults, memory, disk, kernel = measure(server, options.seconds)
        stop.set()
        slow.join()
        report(kind, table, faults, memory, disk, kernel, cuts.value)
        wrong += faults
        most = options.cores * CORE_BYTES + options.slow * CONNECTION_BYTES + 128 * MIB
        if memory > most:
            wrong.append(f"{kind}: {memory / MIB:.0f} MiB, more than {most / MIB:.0f}")
        if disk > options.cores * RESERVED_BYTES + WRITTEN_BYTES:
            wrong.append(f"{kind}: {disk / MIB:.0f} MiB of disk")
        if kernel > options.slow * KERNEL_BYTES + KERNEL_GOOD_BYTES:
            wrong.append(f"{kind}: {kernel / MIB:.0f} MiB of the kernel's memory for TCP")
        for cell, (_, p99, _) in table.items():
            if options.slow >= 1000 and p99 > 2 * max(alone[cell][1], NOISE_MS):
                wrong.append(f"{kind}: p99 of {cell} is {p99:.1f} ms, alone {alone[cell][1]:.1f}")
    server.stop()
    if wrong and not options.measure:
        raise SystemExit("\n".join(wrong[:20]))


if __name__ == "__main__":
    main()
