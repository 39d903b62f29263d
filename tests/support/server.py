"""Starts, watches and stops one `hamster serve`. Processes are only ever ended by their own pid."""

import atexit
import http.client
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
ACCESS_KEY = "TESTKEYAAAAAAAAAAAAA"
SECRET_KEY = "test-secret-key-that-is-forty-chars-long"
REGION = "us-east-1"
HOST = "127.0.0.1"


def target_dir():
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def binary():
    """HAMSTER_BINARY, else the release build, else the debug build."""
    if "HAMSTER_BINARY" in os.environ:
        return pathlib.Path(os.environ["HAMSTER_BINARY"])
    for profile in ("release", "debug"):
        path = target_dir() / profile / "hamster"
        if path.exists():
            return path
    raise SystemExit("no hamster binary: run `cargo build --release`, or name one by HAMSTER_BINARY=")


def data_root():
    """A folder on a real disk: direct I/O does not work on every tmpfs, and syncs cost nothing there."""
    root = pathlib.Path(os.environ.get("HAMSTER_TEST_DIR", target_dir() / "test-data"))
    root.mkdir(parents=True, exist_ok=True)
    return root


def temp_dir(name):
    """A fresh folder that is removed when this process ends (kept with HAMSTER_TEST_KEEP=1)."""
    path = pathlib.Path(tempfile.mkdtemp(prefix=name + "-", dir=data_root()))
    atexit.register(_remove, path)
    return path


def _remove(path):
    if not os.environ.get("HAMSTER_TEST_KEEP"):
        shutil.rmtree(path, True)


_given_ports = set()


def free_port():
    """A port below the ephemeral range, so that no outgoing connection of a test can occupy it."""
    for _ in range(1000):
        port = random.SystemRandom().randrange(15000, 32000)
        if port in _given_ports:
            continue
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        _given_ports.add(port)
        return port
    raise RuntimeError("no free port found on loopback")


def clean_env(**extra):
    """The environment without variables that configure a client or the server."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "HAMSTER_", "RCLONE_", "RESTIC_"))}
    env.update(extra)
    return env


class Server:
    """One node on loopback. `start` returns the seconds until it reported that it was ready."""

    def __init__(self, data_dir=None, cores=None, region=REGION, serve_args=(), credentials=(ACCESS_KEY, SECRET_KEY), open_files=None):
        self.data_dir = pathlib.Path(data_dir) if data_dir else temp_dir("node") / "data"
        self.cores = cores or int(os.environ.get("HAMSTER_TEST_CORES", "2"))
        self.region = region
        self.serve_args = list(serve_args)
        self.open_files = open_files
        self.access_key, self.secret_key = credentials
        self.s3_port, self.cluster_port, self.admin_port = free_port(), free_port(), free_port()
        self.log_path = self.data_dir.parent / (self.data_dir.name + ".log")
        self.process = None
        self.founded = False
        self.slowest_start = 0.0
        atexit.register(self.kill)

    @property
    def endpoint(self):
        return f"http://{HOST}:{self.s3_port}"

    @property
    def pid(self):
        return self.process.pid

    def env(self):
        return clean_env(HAMSTER_ACCESS_KEY_ID=self.access_key, HAMSTER_SECRET_ACCESS_KEY=self.secret_key)

    def init(self):
        if self.founded or (self.data_dir.exists() and any(p.name != "lost+found" for p in self.data_dir.iterdir())):
            self.founded = True
            return
        listen = f"{HOST}:{self.cluster_port}"
        done = subprocess.run(
            [binary(), "init", "--data-dir", self.data_dir, "--listen", listen],
            env=self.env(), capture_output=True, text=True, timeout=60,
        )
        assert done.returncode == 0, f"init failed: {done.stdout}{done.stderr}"
        self.founded = True

    def command(self):
        return [
            binary(), "serve", "--data-dir", self.data_dir,
            "--s3", f"{HOST}:{self.s3_port}", "--listen", f"{HOST}:{self.cluster_port}",
            "--admin", f"{HOST}:{self.admin_port}", "--cores", str(self.cores), "--region", self.region,
            *self.serve_args,
        ]

    def spawn(self):
        with open(self.log_path, "ab") as log:
            command = self.command()
            if self.open_files:
                command = ["prlimit", f"--nofile={self.open_files}:{self.open_files}", *command]
            self.process = subprocess.Popen(command, env=self.env(), stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def start(self, timeout=60):
        self.init()
        began = time.monotonic()
        self.spawn()
        self.wait_ready(timeout)
        took = time.monotonic() - began
        self.slowest_start = max(self.slowest_start, took)
        return took

    def wait_ready(self, timeout=60):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}:\n{self.log_tail()}")
            if self.admin("/health/ready")[0] == 200:
                return
            time.sleep(0.02)
        raise RuntimeError(f"not ready after {timeout} s:\n{self.log_tail()}")

    def admin(self, path):
        """(status, text) of a path of the admin port; status 0 while nobody listens."""
        connection = http.client.HTTPConnection(HOST, self.admin_port, timeout=10)
        try:
            connection.request("GET", path)
            reply = connection.getresponse()
            return reply.status, reply.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()

    def metric(self, name):
        """The sum of a metric over its labels."""
        lines = self.admin("/metrics")[1].splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.split("{")[0].split(" ")[0] == name)

    def wait_for_metric(self, name, wanted, seconds=60):
        """Waits until a metric has the wanted value. Cores publish once a second."""
        deadline = time.monotonic() + seconds
        while (found := self.metric(name)) != wanted:
            assert time.monotonic() < deadline, f"{name} is {found}, not {wanted}"
            time.sleep(0.1)

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """Kills the process with SIGKILL and reaps it."""
        if self.alive():
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def stop(self, timeout=60):
        """Sends SIGTERM and returns the exit code. A server that does not end in time is killed and reported."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError(f"SIGTERM did not end the server within {timeout} s:\n{self.log_tail()}") from None

    def log_tail(self, lines=40):
        try:
            return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return "(no log)"

    def memory_bytes(self, field="VmRSS"):
        """Resident memory now (VmRSS) or at its peak (VmHWM)."""
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
        raise KeyError(field)

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def threads(self):
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def boto3(self, **config):
        """A boto3 client with defaults for tests: path style, no retries that hide a failure."""
        import boto3
        from botocore.config import Config

        settings = dict(retries={"max_attempts": 1, "mode": "standard"}, s3={"addressing_style": "path"},
                        connect_timeout=10, read_timeout=120, max_pool_connections=32)
        settings.update(config)
        return boto3.client("s3", endpoint_url=self.endpoint, region_name=self.region,
                            aws_access_key_id=self.access_key, aws_secret_access_key=self.secret_key,
                            config=Config(**settings))

    def client_env(self, **extra):
        """What a user of the aws CLI would export, and nothing more."""
        return clean_env(AWS_ACCESS_KEY_ID=self.access_key, AWS_SECRET_ACCESS_KEY=self.secret_key,
                         AWS_ENDPOINT_URL=self.endpoint, AWS_REGION=self.region, AWS_DEFAULT_REGION=self.region,
                         AWS_CONFIG_FILE="/dev/null", AWS_SHARED_CREDENTIALS_FILE="/dev/null",
                         AWS_EC2_METADATA_DISABLED="true", **extra)
