"""The AWS SDK for Java v2, over http and TLS: the program of tests/compat/sdk/java."""

import pytest

from support import sdk

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def command():
    sdk.want("java", "java", "mvn")
    place = sdk.sources("java")
    sdk.build(["mvn", "-B", "-q", "compile", "dependency:build-classpath", "-Dmdep.outputFile=classpath"], place)
    return ["java", "-cp", f"{place / 'target' / 'classes'}:{(place / 'classpath').read_text()}", "Main"]


@pytest.mark.parametrize("scheme", ("http", "https"))
def test_all_steps_of_the_java_sdk_go_well(own_server, tmp_path, command, scheme):
    sdk.run(own_server, tmp_path, scheme, command)
