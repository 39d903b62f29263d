"""HTTP by hand over one socket: requests that no client library would send, and replies parsed strictly."""

import re
import socket

from .server import HOST
from .sigv4 import UNSIGNED, Signer, query_string


class Closed(Exception):
    """The server closed the connection where a reply was expected."""


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def code(self):
        """The Code of an S3 error body, or None."""
        found = re.search(rb"<Code>([^<]*)</Code>", self.body)
        return found.group(1).decode() if found else None

    @property
    def message(self):
        found = re.search(rb"<Message>([^<]*)</Message>", self.body)
        return found.group(1).decode() if found else ""

    def __repr__(self):
        return f"<{self.status} {self.code or ''} {self.message or self.body[:80]!r}>"


class Wire:
    """One connection. It sends nothing but what it is given."""

    def __init__(self, port, timeout=20, source=None):
        self.socket = socket.create_connection((HOST, port), timeout, source_address=source)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def _fill(self):
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if not data:
            raise Closed(self.buffer[:200])
        self.buffer += data

    def _line(self):
        while b"\r\n" not in self.buffer:
            self._fill()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line.decode("latin-1")

    def _exactly(self, count):
        if len(self.buffer) >= count:
            data, self.buffer = self.buffer[:count], self.buffer[count:]
            return data
        out = bytearray(count)
        filled = len(self.buffer)
        out[:filled], self.buffer = self.buffer, b""
        view = memoryview(out)
        while filled < count:
            try:
                got = self.socket.recv_into(view[filled:])
            except ConnectionResetError:
                got = 0
            if not got:
                raise Closed(f"{filled} of {count} bytes of a body")
            filled += got
        return bytes(out)

    def reply(self, head=False):
        """The next reply, an interim 100 included; `head`: it has no body whatever its headers say."""
        status_line = self._line()
        found = re.fullmatch(r"HTTP/1\.1 (\d{3}) ?.*", status_line)
        assert found, f"not a status line: {status_line!r}"
        status, headers = int(found.group(1)), {}
        while line := self._line():
            name, value = line.split(":", 1)
            name = name.lower()
            assert name == "set-cookie" or name not in headers, f"header {name} twice"
            headers[name] = value.strip()
        if head or status < 200 or status in (204, 304):
            return Reply(status, headers, b"")
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = b""
            while size := int(self._line().split(";")[0], 16):
                body += self._exactly(size)
                assert self._exactly(2) == b"\r\n"
            while self._line():
                pass
            return Reply(status, headers, body)
        if "content-length" in headers:
            return Reply(status, headers, self._exactly(int(headers["content-length"])))
        body, self.buffer = self.buffer, b""
        while data := self.socket.recv(1 << 16):
            body += data
        return Reply(status, headers, body)

    def final(self, head=False):
        """The next reply that is not an interim one."""
        while True:
            reply = self.reply(head)
            if reply.status >= 200:
                return reply

    def closed_within(self, seconds):
        """True if the server ends the connection within that time; what it sends before is dropped."""
        self.socket.settimeout(seconds)
        try:
            while self.socket.recv(1 << 16):
                pass
            return True
        except TimeoutError:
            return False
        except OSError:
            return True

    def rest(self, seconds=10):
        """Everything that arrives until the server ends the connection, which it must do within that time."""
        self.socket.settimeout(seconds)
        try:
            while True:
                self._fill()
        except Closed:
            rest, self.buffer = self.buffer, b""
            return rest


def head_bytes(method, target, headers):
    lines = [f"{method} {target} HTTP/1.1"] + [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")


class RawClient:
    """Sends single signed requests to one server, over new or given connections."""

    def __init__(self, server, **signer):
        self.server = server
        self.port = server.s3_port
        self.host = f"{HOST}:{self.port}"
        settings = {"access_key": server.access_key, "secret_key": server.secret_key, "region": server.region, **signer}
        self.signer = Signer(**settings)

    def connect(self, **options):
        return Wire(self.port, **options)

    def prepare(self, method, path, query=(), headers=None, body=b"", payload_hash=UNSIGNED):
        """The bytes of a signed request."""
        headers = dict(headers or {})
        if body or method in ("PUT", "POST"):
            headers.setdefault("content-length", str(len(body)))
        signed = self.signer.headers(method, self.host, path, query, headers, payload_hash)
        target = path + ("?" + query_string(query) if query else "")
        return head_bytes(method, target, signed) + body

    def request(self, method, path, query=(), headers=None, body=b"", payload_hash=UNSIGNED, wire=None):
        data = self.prepare(method, path, query, headers, body, payload_hash)
        return self.exchange(data, method, wire)

    def exchange(self, data, method="GET", wire=None):
        """Sends prepared bytes, returns the final reply."""
        if wire:
            wire.send(data)
            return wire.final(method == "HEAD")
        with self.connect() as fresh:
            try:
                fresh.send(data)
            except (BrokenPipeError, ConnectionResetError):
                pass  # The refusal may have arrived already.
            return fresh.final(method == "HEAD")

    def plain(self, method, target, headers=None, body=b""):
        """An unsigned request (presigned targets among them)."""
        headers = {"host": self.host, **(headers or {})}
        if body or method in ("PUT", "POST"):
            headers.setdefault("content-length", str(len(body)))
        return self.exchange(head_bytes(method, target, headers) + body, method)
