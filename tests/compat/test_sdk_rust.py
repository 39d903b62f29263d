"""The AWS SDK for Rust, over http and TLS: the program of tests/compat/sdk/rust."""

import pytest

from support import sdk

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def command():
    sdk.want("rust", "cargo")
    place = sdk.sources("rust")
    # Apart from this project's own builds: the same target folder would mix two lock files.
    sdk.build(["cargo", "build", "--locked", "--quiet"], place, CARGO_TARGET_DIR=str(place / "target"))
    return [place / "target" / "debug" / "hamster-sdk-rust"]


@pytest.mark.parametrize("scheme", ("http", "https"))
def test_all_steps_of_the_rust_sdk_go_well(own_server, tmp_path, command, scheme):
    sdk.run(own_server, tmp_path, scheme, command)
