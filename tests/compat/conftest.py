"""One server for the session, a fresh bucket for each test. HAMSTER_TEST_CORES sets the server's cores."""

import contextlib
import itertools
import pathlib
import shutil
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from botocore.exceptions import ClientError  # noqa: E402

from support.server import Server, temp_dir  # noqa: E402
from support.skips import LIST, allowed  # noqa: E402
from support.wire import RawClient  # noqa: E402

_numbers = itertools.count(1)


def pytest_sessionfinish(session):
    """In CI a test that is left out is a failure, unless skips.txt lists the reason."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    # A skip is reported as file, line, and `Skipped: reason`.
    reasons = {report.longrepr[2].removeprefix("Skipped: ") for report in reporter.stats.get("skipped", [])}
    for reason in sorted(reasons):
        if not allowed(reason):
            reporter.write_line(f"\nFAILED: CI may leave nothing out for this reason: {reason} (see {LIST.name})", red=True)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def server():
    node = Server()
    node.start()
    yield node
    assert node.alive(), f"the server died during the tests:\n{node.log_tail()}"
    assert node.stop() == 0, f"SIGTERM must end with 0:\n{node.log_tail()}"


@pytest.fixture(scope="session")
def s3(server):
    return server.boto3()


@pytest.fixture
def raw(server):
    return RawClient(server)


@pytest.fixture
def bucket(s3):
    name = f"test-bucket-{next(_numbers)}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def tmp_path_disk():
    """A folder for large files, on the same disk as the data, removed at once."""
    path = temp_dir("client")
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def own_server():
    """Starts servers of the test's own; they end with the test."""
    started = []

    def start(**settings):
        node = Server(**settings)
        node.start()
        started.append(node)
        return node

    yield start
    for node in started:
        node.kill()


@contextlib.contextmanager
def _refused(status, *codes, message=None):
    with pytest.raises(ClientError) as caught:
        yield caught
    answer = caught.value.response
    got = (answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"])
    assert got[0] == status and (not codes or got[1] in codes), f"{got} {answer['Error'].get('Message')!r}, expected {status} {codes}"
    if message:
        assert message.lower() in answer["Error"]["Message"].lower()


@pytest.fixture
def refused():
    """`with refused(404, "NoSuchKey"):` the call inside must be refused with that status and one of the codes."""
    return _refused
