"""The S3 port over TLS, where SDKs send checksums as trailers."""

import shutil
import ssl
import subprocess
import time

import pytest

from support.server import HOST
from support.values import value
from support.wire import RawClient
from test_multipart import check_locations

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl to make a certificate with")


def certificate(folder, name):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext",
         f"subjectAltName=IP:{HOST},DNS:localhost", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        check=True, capture_output=True,
    )


def client(node, folder):
    import boto3
    from botocore.config import Config

    return boto3.client("s3", endpoint_url=node.endpoint.replace("http:", "https:"), region_name=node.region, verify=str(folder / "cert.pem"),
                        aws_access_key_id=node.access_key, aws_secret_access_key=node.secret_key,
                        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}))


class TlsClient(RawClient):
    def __init__(self, node, folder):
        super().__init__(node)
        self.context = ssl.create_default_context(cafile=folder / "cert.pem")

    def connect(self, **options):
        wire = super().connect(**options)
        wire.socket = self.context.wrap_socket(wire.socket, server_hostname=HOST)
        return wire


@pytest.fixture
def folder(tmp_path):
    certificate(tmp_path, "first")
    return tmp_path


def test_objects_go_both_ways_over_tls_with_trailers(own_server, folder):
    node = own_server(serve_args=["--tls-cert", str(folder / "cert.pem"), "--tls-key", str(folder / "key.pem")])
    s3 = client(node, folder)
    s3.create_bucket(Bucket="secure")
    for size in (0, 1, 100_000, 9 << 20):
        body = value(size, size)
        for algorithm in ("CRC32", "CRC64NVME", "SHA256"):
            s3.put_object(Bucket="secure", Key="k", Body=body, ChecksumAlgorithm=algorithm)
            reply = s3.get_object(Bucket="secure", Key="k", ChecksumMode="ENABLED")
            assert reply["Body"].read() == body and reply["Checksum" + algorithm]
    (folder / "up").write_bytes(value(3, 30 << 20))
    s3.upload_file(str(folder / "up"), "secure", "large")
    s3.download_file("secure", "large", str(folder / "down"))
    assert (folder / "down").read_bytes() == (folder / "up").read_bytes()


def test_the_location_of_a_completed_upload_is_an_https_url(own_server, folder):
    tls = ["--tls-cert", str(folder / "cert.pem"), "--tls-key", str(folder / "key.pem")]
    node = own_server(serve_args=[*tls, "--domain", "s3.test.local"], cores=1)
    check_locations(TlsClient(node, folder), "https")


def test_a_new_certificate_is_taken_without_restart(own_server, folder):
    node = own_server(serve_args=["--tls-cert", str(folder / "cert.pem"), "--tls-key", str(folder / "key.pem")])
    client(node, folder).list_buckets()
    certificate(folder, "second")

    def served_name():
        command = ["openssl", "s_client", "-connect", f"{HOST}:{node.s3_port}"]
        shown = subprocess.run(command, input=b"", capture_output=True, timeout=20).stdout
        return b"CN = second" in shown or b"CN=second" in shown

    deadline = time.monotonic() + 60
    while not served_name():
        assert time.monotonic() < deadline, "the new certificate is still not served after 60 s"
        time.sleep(0.5)
    client(node, folder).list_buckets()
