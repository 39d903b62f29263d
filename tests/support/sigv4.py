"""A small independent S3 signer, so that each signing mode can be sent exactly right or exactly wrong.

Follows AWS's pages "Authenticating Requests: Using the Authorization Header", "... Using Query Parameters", and
"Signature Calculations for the Authorization Header: Transferring Payload in Multiple Chunks".
"""

import base64
import datetime
import hashlib
import hmac
import urllib.parse
import zlib

UNSIGNED = "UNSIGNED-PAYLOAD"
STREAMING = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
STREAMING_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
STREAMING_UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


def quote_path(path):
    """Bytes or text of a path, each byte encoded once; '/' stays."""
    return urllib.parse.quote(path, safe="/-_.~")


def quote(text):
    return urllib.parse.quote(text, safe="-_.~")


def query_string(query):
    """Canonical: sorted, each name with '='."""
    return "&".join(f"{k}={v}" for k, v in sorted((quote(k), quote(v)) for k, v in query))


def _hmac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class Signer:
    """Signs for one credential and region. `skew` seconds are added to the clock."""

    def __init__(self, access_key, secret_key, region="us-east-1", skew=0):
        self.access_key, self.secret_key, self.region, self.skew = access_key, secret_key, region, skew
        self._day, self._day_key = None, None

    def now(self):
        return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=self.skew)

    def key(self, day):
        if self._day != day:
            key = _hmac(("AWS4" + self.secret_key).encode(), day)
            for part in (self.region, "s3", "aws4_request"):
                key = _hmac(key, part)
            self._day, self._day_key = day, key
        return self._day_key

    def scope(self, day):
        return f"{day}/{self.region}/s3/aws4_request"

    def _signature(self, stamp, method, path, query, headers, signed, payload_hash):
        lines = [method, path, query_string(query)]
        lines += [f"{name}:{' '.join(headers[name].split())}" for name in signed]
        lines += ["", ";".join(signed), payload_hash]
        canonical = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        day = stamp[:8]
        text = "\n".join(["AWS4-HMAC-SHA256", stamp, self.scope(day), canonical])
        return hmac.new(self.key(day), text.encode(), hashlib.sha256).hexdigest()

    def headers(self, method, host, path, query=(), headers=None, payload_hash=UNSIGNED):
        """The headers to send (lower-case names), with authorization. `path` is already percent-encoded."""
        stamp = self.now().strftime("%Y%m%dT%H%M%SZ")
        out = {"host": host, "x-amz-date": stamp, "x-amz-content-sha256": payload_hash}
        out.update({k.lower(): v for k, v in (headers or {}).items()})
        signed = sorted(k for k in out if k not in ("expect", "connection", "transfer-encoding", "user-agent"))
        signature = self._signature(stamp, method, path, query, out, signed, payload_hash)
        credential = f"{self.access_key}/{self.scope(stamp[:8])}"
        out["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={';'.join(signed)}, Signature={signature}"
        )
        return out

    def presign(self, method, host, path, query=(), expires=300, headers=None):
        """The target (path and query) of a presigned URL of version 4."""
        stamp = self.now().strftime("%Y%m%dT%H%M%SZ")
        all_headers = {"host": host, **{k.lower(): v for k, v in (headers or {}).items()}}
        signed = sorted(all_headers)
        query = list(query) + [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", f"{self.access_key}/{self.scope(stamp[:8])}"),
            ("X-Amz-Date", stamp), ("X-Amz-Expires", str(expires)),
            ("X-Amz-SignedHeaders", ";".join(signed)),
        ]
        signature = self._signature(stamp, method, path, query, all_headers, signed, UNSIGNED)
        return f"{path}?{query_string(query)}&X-Amz-Signature={signature}"

    def presign_v2(self, method, path, expires=300, subresources="", content_type="", content_md5=""):
        """The target of a presigned URL of version 2; `path` is percent-encoded, with its bucket."""
        until = str(int(self.now().timestamp()) + expires)
        text = "\n".join([method, content_md5, content_type, until, path + subresources])
        digest = hmac.new(self.secret_key.encode(), text.encode(), hashlib.sha1).digest()
        query = [("AWSAccessKeyId", self.access_key), ("Expires", until), ("Signature", base64.b64encode(digest).decode())]
        joint = "&" if subresources else "?"
        return path + subresources + joint + "&".join(f"{k}={quote(v)}" for k, v in query)

    def chunks(self, head, parts, trailer=None):
        """The aws-chunked signed body for a request whose `head` is what `headers` returned."""
        stamp = head["x-amz-date"]
        previous = head["authorization"].rsplit("Signature=", 1)[1]
        out = b""
        for part in [*parts, b""]:
            previous = self._sign_chunk("AWS4-HMAC-SHA256-PAYLOAD", stamp, previous, EMPTY_SHA256, part)
            out += b"%x;chunk-signature=%s\r\n" % (len(part), previous.encode())
            if part:
                out += part + b"\r\n"
        if trailer is None:
            return out + b"\r\n"
        name, value = trailer
        line = f"{name}:{value}\n".encode()
        previous = self._sign_chunk("AWS4-HMAC-SHA256-TRAILER", stamp, previous, None, line)
        return out + f"{name}:{value}\r\nx-amz-trailer-signature:{previous}\r\n\r\n".encode()

    def _sign_chunk(self, algorithm, stamp, previous, empty, data):
        lines = [algorithm, stamp, self.scope(stamp[:8]), previous]
        if empty:
            lines.append(empty)
        lines.append(hashlib.sha256(data).hexdigest())
        return hmac.new(self.key(stamp[:8]), "\n".join(lines).encode(), hashlib.sha256).hexdigest()


def unsigned_chunks(parts, trailer):
    """The aws-chunked body of STREAMING-UNSIGNED-PAYLOAD-TRAILER."""
    out = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts if p) + b"0\r\n"
    if trailer:
        out += f"{trailer[0]}:{trailer[1]}\r\n".encode()
    return out + b"\r\n"


def _table(polynomial):
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (polynomial if value & 1 else 0)
        table.append(value)
    return table


_CRC32C = _table(0x82F63B78)
_CRC64NVME = _table(0x9A6C9329AC4BC9B5)


def _crc(table, bits, data):
    mask = (1 << bits) - 1
    value = mask
    for byte in data:
        value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ mask


def checksum(algorithm, data):
    """Base64 of a checksum of S3's family; the two slow ones are for small bodies."""
    raw = {
        "crc32": lambda: zlib.crc32(data).to_bytes(4, "big"),
        "crc32c": lambda: _crc(_CRC32C, 32, data).to_bytes(4, "big"),
        "crc64nvme": lambda: _crc(_CRC64NVME, 64, data).to_bytes(8, "big"),
        "sha1": lambda: hashlib.sha1(data).digest(),
        "sha256": lambda: hashlib.sha256(data).digest(),
    }[algorithm.lower()]()
    return base64.b64encode(raw).decode()


ALGORITHMS = ("crc32", "crc32c", "crc64nvme", "sha1", "sha256")
