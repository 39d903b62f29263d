#!/usr/bin/env python3
"""The first minutes of a user: quickstart, its printed lines pasted into a shell, the aws CLI; and every refusal to
start in one line.

    tests/e2e/quickstart.py
"""

import atexit
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support.server import HOST, Server, binary, clean_env, free_port, temp_dir  # noqa: E402

EXPORTS = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION"]


class Quickstart:
    """`hamster quickstart` with its output read until all exports are printed and the server is ready."""

    def __init__(self, folder, ports):
        s3, listen, admin = (f"{HOST}:{p}" for p in ports)
        self.output = folder.parent / "quickstart.out"
        self.admin_port = ports[2]
        command = [binary(), "quickstart", "--data-dir", folder, "--s3", s3, "--listen", listen, "--admin", admin]
        with open(self.output, "wb") as out:
            self.process = subprocess.Popen(command, env=clean_env(), stdout=out, stderr=subprocess.STDOUT, cwd=folder.parent)
        atexit.register(self.process.kill)
        deadline = time.monotonic() + 60
        while not all(f"export {name}=" in self.text() for name in EXPORTS) or not self.ready():
            assert self.process.poll() is None, f"quickstart ended:\n{self.text()}"
            assert time.monotonic() < deadline, f"quickstart printed no exports or is not ready:\n{self.text()}"
            time.sleep(0.05)

    def text(self):
        return self.output.read_text()

    def ready(self):
        with socket.socket() as probe:
            probe.settimeout(2)
            if probe.connect_ex((HOST, self.admin_port)):
                return False
            probe.sendall(b"GET /health/ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            return b" 200 " in probe.recv(100)

    def exports(self):
        return "\n".join(line.strip() for line in self.text().splitlines() if line.strip().startswith("export ")) + "\n"

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def shell(exports, script):
    env = clean_env(AWS_CONFIG_FILE="/dev/null", AWS_SHARED_CREDENTIALS_FILE="/dev/null")
    done = subprocess.run(["bash", "-euc", exports + script], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"
    return done.stdout


def pasted_lines_put_and_get():
    if not shutil.which("aws"):
        raise SystemExit("quickstart: no aws CLI on PATH: tests/run installs it")
    folder = temp_dir("quick") / "hamster-data"
    ports = [free_port() for _ in range(3)]
    first = Quickstart(folder, ports)
    exports = first.exports()
    buckets = shell(exports, "aws s3 ls").split()
    assert buckets, "quickstart makes a first bucket"
    bucket, file = buckets[-1], folder.parent / "file"
    file.write_bytes(os.urandom(300_000))
    shell(exports, f"aws s3 cp {file} s3://{bucket}/file")
    commands = [line.strip() for line in first.text().splitlines() if line.strip().startswith("aws ")]
    assert len(commands) >= 3, f"quickstart prints three commands to try: {first.text()}"
    secrets = [p for p in folder.rglob("*") if p.is_file() and re.search("cred|key|secret", p.name)]
    assert secrets and all(p.stat().st_mode & 0o077 == 0 for p in secrets), f"files of secrets must have mode 600: {secrets}"
    assert first.stop() == 0, "SIGTERM must end with 0"
    second = Quickstart(folder, ports)
    assert second.exports() == exports, "a second run must keep the credentials"
    shell(second.exports(), f"aws s3 cp s3://{bucket}/file {file}.back && cmp {file} {file}.back")
    assert second.stop() == 0
    print("  ok: pasted lines put and got an object; a second run kept credentials and data; SIGTERM ended with 0", flush=True)


def refused_in_one_line(server, env=None, args=None, *words):
    """Runs a serve that must end by itself, with one line on stderr that holds one of the words."""
    command = args or server.command()
    done = subprocess.run(command, env=env or server.env(), capture_output=True, text=True, timeout=60)
    said = done.stderr.strip()
    assert done.returncode != 0, f"{command} must not start"
    assert said and len(said.splitlines()) == 1, f"one line wanted, got: {done.stdout}{done.stderr}"
    assert not words or any(w in said.lower() for w in words), f"{said!r} names none of {words}"
    return said


def refusals_say_what_to_do():
    node = Server(cores=1)
    node.start()
    other = Server(data_dir=node.data_dir, cores=1)
    print("  second server on the directory:", refused_in_one_line(other, None, None, "in use", "already", "running", "lock", "another"))
    for name in ("s3_port", "admin_port", "cluster_port"):
        taken = Server(cores=1)
        taken.init()
        setattr(taken, name, getattr(node, name))
        print(f"  taken {name}:", refused_in_one_line(taken, None, None, "in use", "taken", "already", "another"))
    no_credentials = Server(cores=1)
    no_credentials.init()
    env = {k: v for k, v in no_credentials.env().items() if not k.startswith("HAMSTER_")}
    print("  no credentials:", refused_in_one_line(no_credentials, env, None, "hamster_access_key_id"))
    empty = Server(cores=1)
    print("  no cluster:", refused_in_one_line(empty, None, None, "init", "quickstart"))
    founded = Server(cores=1)
    founded.init()
    print("  init twice:", refused_in_one_line(founded, None, [binary(), "init", "--data-dir", founded.data_dir], "already"))
    assert node.alive() and node.admin("/health/live")[0] == 200
    more_cores = Server(data_dir=node.data_dir, cores=3)
    assert node.stop() == 0
    print("  another --cores:", refused_in_one_line(more_cores, None, None, "cores"))


def main():
    pasted_lines_put_and_get()
    refusals_say_what_to_do()
    done = subprocess.run([binary(), "help"], capture_output=True, text=True)
    for verb in ("init", "serve", "quickstart", "status", "metrics", "version"):
        assert re.search(rf"\b{verb}\b", done.stdout), f"help does not name {verb}"
    print("quickstart: it works as printed, and every refusal is one line")


if __name__ == "__main__":
    main()
