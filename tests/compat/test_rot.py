"""A disk that returns other bytes than were written: clients never get wrong bytes, and the operator is told."""

import json
import pathlib

import pytest
from botocore.exceptions import ClientError

from support.values import value

MIB = 1 << 20
SIZE = 8 * MIB


def rot(data_dir, piece):
    """Flips a bit of what is stored, behind the server's back."""
    for path in pathlib.Path(data_dir).glob("core-*/*.seg"):
        at = path.read_bytes().find(piece)
        if at >= 0:
            with path.open("r+b") as file:
                file.seek(at)
                file.write(bytes([piece[0] ^ 1]))
            return
    raise AssertionError("the bytes are in no segment")


@pytest.mark.parametrize("place", [100, SIZE - 5000], ids=["at the start", "near the end"])
def test_what_the_disk_spoils_is_not_sent_and_is_counted(own_server, tmp_path_disk, place):
    log = tmp_path_disk / "access.log"
    server = own_server(cores=1, serve_args=["--access-log", "json", "--access-log-file", str(log)])
    s3 = server.boto3(retries={"total_max_attempts": 1})
    s3.create_bucket(Bucket="bucket")
    body = value(900, SIZE)
    s3.put_object(Bucket="bucket", Key="spoiled", Body=body)
    s3.put_object(Bucket="bucket", Key="sound", Body=body[::-1])
    rot(server.data_dir, body[place:place + 64])
    with pytest.raises(Exception) as caught:
        s3.get_object(Bucket="bucket", Key="spoiled")["Body"].read()
    if place < MIB:
        assert isinstance(caught.value, ClientError) and caught.value.response["Error"]["Code"] == "InternalError"
    else:
        assert not isinstance(caught.value, ClientError), "it has to break off after it began"
    assert s3.get_object(Bucket="bucket", Key="sound")["Body"].read() == body[::-1]
    # Sound parts can still be read.
    assert s3.get_object(Bucket="bucket", Key="spoiled", Range=f"bytes={2 * MIB}-{3 * MIB}")["Body"].read() == body[2 * MIB:3 * MIB + 1]
    server.wait_for_metric("hamster_corrupt_reads_total", 1)
    server.stop()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["key"] for line in lines if line.get("error") == "InternalError"] == ["spoiled"]
