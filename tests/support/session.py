"""A small S3 client on one persistent connection, with little overhead and every fault visible to the caller."""

import base64
import hashlib
import re
import xml.sax.saxutils

from .sigv4 import UNSIGNED, Signer, query_string, quote_path
from .wire import Closed, Wire, head_bytes

# From this size on a body waits for 100 Continue, as in AWS's SDKs.
EXPECT_BYTES = 1 << 20
FAULTS = (OSError, Closed, AssertionError)


class Session:
    """Not thread-safe. After any of FAULTS it is unknown whether the request took effect."""

    def __init__(self, server, timeout=60):
        self.server, self.timeout = server, timeout
        self.host = f"127.0.0.1:{server.s3_port}"
        self.signer = Signer(server.access_key, server.secret_key, server.region)
        self.wire = None

    def close(self):
        if self.wire:
            self.wire.close()
        self.wire = None

    def request(self, method, path, query=(), body=b"", headers=None):
        """Sends one signed request and returns the reply, whatever its status."""
        extra = dict(headers or {})
        if method in ("PUT", "POST"):
            extra["content-length"] = str(len(body))
            if len(body) >= EXPECT_BYTES:
                extra["expect"] = "100-continue"
        head = self.signer.headers(method, self.host, path, query, extra, UNSIGNED)
        target = path + ("?" + query_string(query) if query else "")
        try:
            if self.wire is None:
                self.wire = Wire(self.server.s3_port, self.timeout)
            data = head_bytes(method, target, head)
            reply = self._exchange(data, body, method == "HEAD", "expect" in extra)
        except FAULTS:
            self.close()
            raise
        if reply.headers.get("connection", "").lower() == "close":
            self.close()
        return reply

    def _exchange(self, data, body, is_head, expects):
        if len(body) < 65536:
            self.wire.send(data + body)
            return self.wire.final(is_head)
        self.wire.send(data)
        if expects:
            first = self.wire.reply()
            if first.status >= 200:
                self.close()  # Refused before its body, which is never sent.
                return first
        try:
            self.wire.send(body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # Refused while sending; the answer may have arrived already.
        return self.wire.final(is_head)

    def put(self, bucket, key, body):
        return self.request("PUT", f"/{bucket}/{quote_path(key)}", body=body)

    def get(self, bucket, key, byte_range=None):
        headers = {"range": f"bytes={byte_range[0]}-{byte_range[1] - 1}"} if byte_range else None
        return self.request("GET", f"/{bucket}/{quote_path(key)}", headers=headers)

    def delete(self, bucket, key):
        return self.request("DELETE", f"/{bucket}/{quote_path(key)}")

    def delete_many(self, bucket, keys):
        """The reply, and the keys that it says are deleted (plain ones)."""
        body = "".join(f"<Object><Key>{key}</Key></Object>" for key in keys)
        body = f"<Delete>{body}</Delete>".encode()
        md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
        reply = self.request("POST", f"/{bucket}", [("delete", "")], body, {"content-md5": md5})
        return reply, [k.decode() for k in re.findall(rb"<Deleted><Key>([^<]*)</Key>", reply.body)]

    def copy(self, bucket, source, target):
        headers = {"x-amz-copy-source": f"/{bucket}/{quote_path(source)}"}
        return _error_in_body(self.request("PUT", f"/{bucket}/{quote_path(target)}", headers=headers))

    def create_bucket(self, bucket):
        reply = self.request("PUT", f"/{bucket}")
        assert reply.status in (200, 409), reply

    def create_upload(self, bucket, key):
        reply = self.request("POST", f"/{bucket}/{quote_path(key)}", [("uploads", "")])
        if reply.status != 200:
            return reply, None
        return reply, re.search(rb"<UploadId>([^<]+)</UploadId>", reply.body).group(1).decode()

    def upload_part(self, bucket, key, upload, number, body):
        return self.request("PUT", f"/{bucket}/{quote_path(key)}", [("partNumber", str(number)), ("uploadId", upload)], body)

    def complete_upload(self, bucket, key, upload, etags):
        parts = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{xml.sax.saxutils.escape(e)}</ETag></Part>" for n, e in sorted(etags.items()))
        body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        return _error_in_body(self.request("POST", f"/{bucket}/{quote_path(key)}", [("uploadId", upload)], body))

    def copy_part(self, bucket, key, upload, number, source):
        """The reply, and the part's ETag."""
        query = [("partNumber", str(number)), ("uploadId", upload)]
        headers = {"x-amz-copy-source": f"/{bucket}/{quote_path(source)}"}
        reply = _error_in_body(self.request("PUT", f"/{bucket}/{quote_path(key)}", query, headers=headers))
        found = re.search(rb"<ETag>([^<]+)</ETag>", reply.body)
        return reply, xml.sax.saxutils.unescape(found.group(1).decode(), {"&quot;": '"'}) if found else None

    def abort_upload(self, bucket, key, upload):
        return self.request("DELETE", f"/{bucket}/{quote_path(key)}", [("uploadId", upload)])

    def list_sizes(self, bucket, prefix="", page_keys=1000):
        """All keys below a prefix, in order, each with its size (plain ones: no character that XML escapes)."""
        found, token = [], None
        while True:
            query = [("list-type", "2"), ("max-keys", str(page_keys)), ("prefix", prefix)]
            query += [("continuation-token", token)] if token else []
            reply = self.request("GET", f"/{bucket}", query)
            assert reply.status == 200, reply
            rows = re.findall(rb"<Contents>.*?<Key>([^<]*)</Key>.*?<Size>([0-9]+)</Size>.*?</Contents>", reply.body, re.DOTALL)
            found += [(key.decode(), int(size)) for key, size in rows]
            more = re.search(rb"<NextContinuationToken>([^<]*)<", reply.body)
            if not more:
                return found
            token = xml.sax.saxutils.unescape(more.group(1).decode())

    def list_keys(self, bucket, page_keys=1000):
        """All keys, in order."""
        return [key for key, _ in self.list_sizes(bucket, page_keys=page_keys)]


def _error_in_body(reply):
    """Turns a 200 whose body holds an error into a 500."""
    if reply.status == 200 and reply.code:
        reply.status = 500
    return reply
