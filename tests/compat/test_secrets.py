"""No secret is shown or left open: not in a log, a reply, the status or the metrics, and not by a file's mode."""

import base64
import re
import stat
import subprocess
import time

import pytest

from support import sigv4
from support.server import Server, binary, clean_env, temp_dir
from support.wire import RawClient, head_bytes

TOKEN = "session-token-that-must-not-be-shown"


def requests(raw):
    """Requests of every kind of authentication, good and refused: (bytes to send, the secret ones among them)."""
    path = "/secrets/k"

    def signature(text):
        return re.search(r"(?:[sS]ignature=)([^&, ]+)", text).group(1)

    for signer in (raw.signer, sigv4.Signer(raw.signer.access_key, "another-secret-of-forty-characters-long")):
        head = signer.headers("GET", raw.host, path)
        yield head_bytes("GET", path, head), [signature(head["authorization"])]
        for skew in (0, -100_000):
            signer.skew = skew
            for target in (signer.presign("GET", raw.host, path), signer.presign_v2("GET", path)):
                secret = signature(target)
                yield head_bytes("GET", target, {"host": raw.host}), [secret]
                spelled = target.replace("X-Amz-Signature", "x-amz-%73ignature").replace("&Signature", "&%53ignature")
                yield head_bytes("GET", spelled, {"host": raw.host}), [secret]
                yield head_bytes("GET", target + "&X-Amz-Security-Token=" + TOKEN, {"host": raw.host}), [secret, TOKEN]
        signer.skew = 0
    head = raw.signer.headers("GET", raw.host, path, (), {"x-amz-security-token": TOKEN})
    yield head_bytes("GET", path, head), [signature(head["authorization"]), TOKEN]
    head = raw.signer.headers("PUT", raw.host, path, (), {"x-amz-decoded-content-length": "5", "content-encoding": "aws-chunked"}, sigv4.STREAMING)
    body = raw.signer.chunks(head, [b"hello"])
    chunks = [found.decode() for found in re.findall(rb"chunk-signature=(\w+)", body)]
    yield head_bytes("PUT", path, {**head, "content-length": str(len(body))}) + body, [signature(head["authorization"]), *chunks]
    head = raw.signer.headers("PUT", raw.host, path, (), {"x-amz-server-side-encryption-customer-key": TOKEN})
    yield head_bytes("PUT", path, {**head, "content-length": "0"}), [signature(head["authorization"]), TOKEN]


def run(node, *arguments):
    done = subprocess.run([binary(), *arguments, "--data-dir", node.data_dir], env=clean_env(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_secret_is_in_a_log_a_reply_the_status_or_the_metrics(own_server, tmp_path_disk, form):
    log = tmp_path_disk / "access.log"
    node = own_server(cores=1, serve_args=["--access-log", form, "--access-log-file", str(log)])
    raw = RawClient(node)
    raw.request("PUT", "/secrets")
    day = raw.signer.now().strftime("%Y%m%d")
    secrets = {node.secret_key, base64.b64encode(node.secret_key.encode()).decode(), raw.signer.key(day).hex()}
    for name in ("ca.key", "node.key"):
        lines = (node.data_dir / "identity" / name).read_text().splitlines()
        secrets.update(line for line in lines if line and not line.startswith("-----"))
    replies, statuses = [], set()
    for data, secret in requests(raw):
        reply = raw.exchange(data)
        statuses.add(reply.status)
        replies.append(str(reply.headers) + reply.body.decode())
        secrets.update(secret)
    assert statuses >= {200, 403, 404}, statuses
    time.sleep(1.5)  # Numbers are published every second.
    shown = {
        "replies": "\n".join(replies), "status": run(node, "status"), "status --json": run(node, "status", "--json"), "metrics": run(node, "metrics"),
        "/metrics": node.admin("/metrics")[1], "/health/ready": node.admin("/health/ready")[1],
        "command line": open(f"/proc/{node.pid}/cmdline").read(),
    }
    assert node.stop() == 0
    shown.update({"access log": log.read_text(), "output": node.log_path.read_text()})
    assert "Signature=***" in shown["access log"] and node.access_key in shown["access log"]
    assert "hamster_requests_total" in shown["/metrics"] and node.access_key not in shown["/metrics"]
    for place, text in shown.items():
        for secret in secrets:
            assert secret not in text, f"{secret} is in {place}"
    for path in node.data_dir.rglob("*"):
        if path.is_file() and "identity" not in path.parts:
            assert node.secret_key.encode() not in path.read_bytes(), path


def test_a_refused_secret_is_not_shown():
    node = Server(cores=1)
    node.init()
    for name, value in (("HAMSTER_SECRET_ACCESS_KEY", "5ecret"), ("HAMSTER_SECRET_ACCESS_KEY", "a secret with spaces"), ("HAMSTER_ACCESS_KEY_ID", "5ecret of an id")):
        env = {**node.env(), name: value}
        done = subprocess.run(node.command(), env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 2 and name in done.stderr and value not in done.stdout + done.stderr, done.stderr


def reachable_by_others(top):
    """Files below `top` that another user could read by their own mode and that of every folder above them."""
    def open_to_others(path):
        return path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)

    found = []
    for path in top.rglob("*"):
        folders = [folder for folder in path.parents if top in folder.parents]
        if path.is_file() and open_to_others(path) and all(open_to_others(folder) for folder in folders):
            found.append(str(path.relative_to(top)))
    return found


def test_data_is_closed_to_other_users_even_in_an_open_directory():
    """The metadata store makes its files readable by all: in a data directory of mode 755 anyone could read every key."""
    top = temp_dir("open") / "data"
    top.mkdir(mode=0o755)
    top.chmod(0o755)
    node = Server(data_dir=top, cores=2)
    node.start()
    raw = RawClient(node)
    raw.request("PUT", "/modes")
    for n in range(50):
        raw.request("PUT", f"/modes/{n}", body=b"x" * (200_000 if n % 10 == 0 else 1000))
    assert reachable_by_others(top) == []
    assert {(top / name).stat().st_mode & 0o777 for name in ("identity", "meta", "raft", "core-00", "core-01")} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in (top / "identity").iterdir()} == {0o600}
    assert node.stop() == 0
    (top / "meta").chmod(0o755)  # As an older version left it, or a restored backup.
    node.start()
    assert reachable_by_others(top) == []
    node.stop()
