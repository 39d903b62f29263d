"""minio-py and s3fs, over http and TLS: the programs of tests/compat/sdk/python. boto3 has the rest of this folder."""

import venv

import pytest

from support import sdk

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def python():
    sdk.want("python")
    place = sdk.sources("python")
    # An environment of its own: s3fs wants another botocore than the tests.
    venv.create(place / "venv", with_pip=True)
    sdk.build([place / "venv" / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r", "requirements.txt"], place)
    return place


@pytest.mark.parametrize("scheme", ("http", "https"))
@pytest.mark.parametrize("program", ("with_minio", "with_s3fs"))
def test_all_steps_of_a_python_sdk_go_well(own_server, tmp_path, python, program, scheme):
    sdk.run(own_server, tmp_path, scheme, [python / "venv" / "bin" / "python", python / f"{program}.py"])
