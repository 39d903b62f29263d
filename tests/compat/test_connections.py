"""Connections before their first request: which core serves them, on which address, and for whom a proxy speaks."""

import json
import re
import socket
import ssl
import struct
import time

import pytest

from support.server import HOST, free_port
from support.wire import RawClient, Wire, head_bytes
from test_tls import certificate

PROXY = "127.0.0.2"
"""Trusted in these tests; HOST is a stranger."""


def by_core(node, name):
    """The values of a metric, core by core."""
    found = re.findall(rf'^{name}{{core="(\d+)"[^}}]*}} (\S+)$', node.admin("/metrics")[1], re.MULTILINE)
    values = {}
    for core, value in found:
        values[int(core)] = values.get(int(core), 0) + float(value)
    return [values[core] for core in sorted(values)]


def moved_since(node, before, least):
    """Body bytes that each core has received since then, once they add up to this many (bytes that came with a head
    are not among them)."""
    moved = lambda: [now - then for now, then in zip(by_core(node, "hamster_received_bytes_total"), before)]
    wait_for(lambda: sum(moved()) >= least, True)
    return moved()


def wait_for(what, wanted):
    deadline = time.monotonic() + 20
    while (found := what()) != wanted:
        assert time.monotonic() < deadline, f"{found}, not {wanted}"
        time.sleep(0.1)


# The kernel chose the core by a hash of addresses and ports: in every eighth run all four connections met at one core,
# and one of two cores then did all of the work.
def test_connections_of_a_burst_are_spread_evenly_over_the_cores(own_server):
    node = own_server(cores=2)
    raw = RawClient(node)
    assert raw.request("PUT", "/spread").status == 200
    wait_for(lambda: by_core(node, "hamster_connections"), [0, 0])
    before = by_core(node, "hamster_received_bytes_total")
    body = bytes(4 << 20)
    for number in range(12):
        wires = [raw.connect() for _ in range(4)]
        for wire in wires:
            wire.send(raw.prepare("PUT", f"/spread/{number}", body=body))
        assert [wire.final().status for wire in wires] == [200] * 4
        for wire in wires:
            wire.close()
    moved = moved_since(node, before, 47 * len(body))
    assert min(moved) > 0.4 * sum(moved), moved
    wait_for(lambda: by_core(node, "hamster_connections"), [0, 0])
    wires = [raw.connect() for _ in range(30)]
    wait_for(lambda: by_core(node, "hamster_connections"), [15, 15])


def test_idle_connections_do_not_keep_a_core_from_getting_new_ones(own_server):
    node = own_server(cores=2)
    raw = RawClient(node)
    assert raw.request("PUT", "/spread").status == 200
    idle = [raw.connect() for _ in range(20)]
    for wire in idle:
        assert raw.request("HEAD", "/spread", wire=wire).status == 200
    time.sleep(3)
    # All of them are idle now, and four busy ones are spread by the load.
    body = bytes(1 << 20)
    before = by_core(node, "hamster_received_bytes_total")
    busy = [raw.connect() for _ in range(4)]
    for _ in range(5):
        for wire in busy:
            wire.send(raw.prepare("PUT", "/spread/k", body=body))
        assert [wire.final().status for wire in busy] == [200] * 4
    moved = moved_since(node, before, 18 * len(body))
    assert min(moved) == pytest.approx(max(moved), rel=0.05), moved


def test_s3_is_served_on_every_address_that_is_given(own_server):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    port, other = free_port(), free_port()
    node = own_server(serve_args=["--s3", f"[::1]:{port}", "--s3", f"{PROXY}:{other}"])
    raw = RawClient(node)
    assert raw.request("PUT", "/every").status == 200
    for host, number in (("::1", port), (PROXY, other)):
        wire = Wire.__new__(Wire)
        wire.socket, wire.buffer = socket.create_connection((host, number), 10), b""
        assert raw.request("HEAD", "/every", wire=wire).status == 200
        wire.close()
    assert f"s3 {HOST}:{node.s3_port} [::1]:{port} {PROXY}:{other}," in node.log_path.read_text()


def test_health_is_answered_on_the_s3_port_and_is_no_request_of_s3(own_server):
    log = own_log(own_server, ["--s3-health", "/-/health"])
    raw = log.raw
    with raw.connect() as wire:
        for _ in range(2):
            wire.send(head_bytes("GET", "/-/health/ready", {"host": "10.0.0.1"}))
            reply = wire.final()
            assert (reply.status, reply.body) == (200, b"ready\n")
        wire.send(head_bytes("HEAD", "/-/health/live", {"host": "10.0.0.1"}))
        reply = wire.final(head=True)
        assert (reply.status, reply.headers["content-length"]) == (200, "5")
        # The connection goes on with requests.
        assert raw.request("GET", "/", wire=wire).status == 200
    assert raw.plain("GET", "/-/health").status in (400, 403)
    assert raw.plain("POST", "/-/health/live").status in (400, 403)
    assert [line["target"] for line in log.lines(3)] == ["/", "/-/health", "/-/health/live"]
    assert log.node.metric("hamster_requests_total") <= 3


def test_a_bucket_under_the_health_path_stays_within_reach_of_signed_requests(own_server):
    node = own_server(serve_args=["--s3-health", "/health", "--s3-health-over-bucket"])
    raw = RawClient(node)
    assert raw.request("PUT", "/health").status == 200
    assert raw.request("PUT", "/health/live", body=b"mine").status == 200
    assert raw.request("GET", "/health/live").body == b"mine"
    assert raw.plain("GET", "/health/live").body == b"live\n"
    assert raw.plain("GET", raw.signer.presign("GET", raw.host, "/health/live")).body == b"mine"


class own_log:
    """A server with an access log in JSON."""

    def __init__(self, own_server, args, **settings):
        from support.server import temp_dir

        self.path = temp_dir("log") / "access.log"
        self.node = own_server(serve_args=[*args, "--access-log", "json", "--access-log-file", str(self.path)], **settings)
        self.raw = RawClient(self.node)

    def lines(self, count):
        wait_for(lambda: len(self.path.read_text().splitlines()) >= count, True)
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def last(self, count):
        return self.lines(count)[-1]["remote"]


def binary(command, family, body):
    return b"\r\n\r\n\0\r\nQUIT\n" + bytes([command, family]) + struct.pack(">H", len(body)) + body


def ipv4(address, port):
    return binary(0x21, 0x11, socket.inet_aton(address) + socket.inet_aton("192.0.2.1") + struct.pack(">HH", port, 443))


def test_a_trusted_proxy_names_the_client_and_a_stranger_names_nobody(own_server):
    log = own_log(own_server, ["--trust-proxy", f"{PROXY}/32", "--trust-proxy", "10.0.0.0/8"])
    raw, count = log.raw, 0

    def remote(source, preamble=b"", headers=None, pieces=False):
        nonlocal count
        with raw.connect(source=(source, 0)) as wire:
            if pieces:
                for at in range(len(preamble)):
                    wire.send(preamble[at:at + 1])
                    time.sleep(0.002)
                preamble = b""
            wire.send(preamble + raw.prepare("GET", "/", headers=headers))
            reply = wire.final()
        count += 1
        return reply.status, log.last(count).rsplit(":", 1)[0]

    forwarded = {"X-Forwarded-For": "198.51.100.1, 203.0.113.9, 10.0.0.2"}
    line = b"PROXY TCP4 203.0.113.7 192.0.2.1 4000 443\r\n"
    assert remote(PROXY) == (200, PROXY)
    assert remote(PROXY, headers=forwarded) == (200, "203.0.113.9")
    assert remote(PROXY, line) == (200, "203.0.113.7")
    assert remote(PROXY, line, pieces=True) == (200, "203.0.113.7")
    assert remote(PROXY, ipv4("203.0.113.8", 4000)) == (200, "203.0.113.8")
    assert remote(PROXY, ipv4("203.0.113.8", 4000), pieces=True) == (200, "203.0.113.8")
    assert remote(PROXY, binary(0x20, 0, b"")) == (200, PROXY)
    # The client that the proxy names is a stranger, whose own headers count for nothing; one that is a proxy is believed.
    assert remote(PROXY, line, headers=forwarded) == (200, "203.0.113.7")
    assert remote(PROXY, ipv4("10.0.0.3", 4000), headers=forwarded) == (200, "203.0.113.9")
    assert remote(HOST, headers=forwarded) == (200, HOST)
    for preamble in (line, ipv4("203.0.113.8", 4000)):
        status, client = remote(HOST, preamble)
        assert status in (400, 505) and client == HOST


def test_a_proxy_header_that_is_malformed_or_never_ends_closes_the_connection(own_server):
    node = own_server(serve_args=["--trust-proxy", f"{PROXY}/32"])
    raw = RawClient(node)
    for bad in (b"PROXY TCP4 there 192.0.2.1 1 2\r\n", b"PROXY " + b"x" * 200, binary(0x21, 0x12, bytes(12)), binary(0x21, 0x11, bytes(2000))):
        with raw.connect(source=(PROXY, 0)) as wire:
            wire.send(bad)
            assert wire.closed_within(5), bad[:40]
    # A header has ten seconds from its first byte on; a proxy that has sent nothing may wait.
    silent, slow = raw.connect(source=(PROXY, 0)), raw.connect(source=(PROXY, 0))
    slow.send(b"PROXY TCP4")
    assert slow.closed_within(15)
    silent.send(ipv4("203.0.113.8", 1) + raw.prepare("GET", "/"))
    assert silent.final().status == 200


def test_a_proxy_header_precedes_the_handshake_of_tls(own_server, tmp_path):
    certificate(tmp_path, "proxied")
    args = ["--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem"), "--trust-proxy", f"{PROXY}/32"]
    log = own_log(own_server, args)
    context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    for count, (preamble, expected) in enumerate([(ipv4("203.0.113.8", 9), "203.0.113.8"), (b"", PROXY)], 1):
        with log.raw.connect(source=(PROXY, 0)) as wire:
            wire.send(preamble)
            wire.socket = context.wrap_socket(wire.socket, server_hostname=HOST)
            assert log.raw.request("GET", "/", wire=wire).status == 200
        assert log.last(count).rsplit(":", 1)[0] == expected
