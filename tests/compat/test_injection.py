"""What clients send comes back in headers, in XML and in the log as text, never as structure."""

import json
import re
import xml.etree.ElementTree as ElementTree

import pytest

from support.sigv4 import quote, quote_path
from support.wire import RawClient, head_bytes

BREAKS = ["a\r\nx-injected: b", "a\nx-injected: b", "a\rx-injected: b", "a\x00b", "a\x0b\x0cb", "a\x1b[2Jb\x7f", "a\r\n\r\n<x/>", "\r\nx-injected: b"]
OVERRIDES = ["content-type", "cache-control", "content-disposition", "content-encoding", "content-language", "expires"]
MARKUP = ["<k>&amp;</k>", "a]]>b", '"\'><x y="', "<!-- k -->", "<![CDATA[k]]>", "</Key><Key>other", "&lt;", "&#60;x&#62;", "a\tb\nc", "ü🐹 "]
CONTROLS = ["a\x01b\x1fc", "\x0b", "a\rb", "\ufffe", "a\x7f\x85b"]
PATHS = ["a/../b", "./x", "x/.", "a//b", "//b", "/etc/passwd", "a/..", "a/b/../../c", "..a", "a..", "...", "~", "C:\\x", "a\\..\\..\\b", "identity/node.key", "core-00"]


@pytest.fixture(scope="module")
def filled(server, s3):
    """A bucket with keys that are markup and control characters."""
    s3.create_bucket(Bucket="markup")
    raw = RawClient(server)
    for key in MARKUP + CONTROLS:
        assert raw.request("PUT", "/markup/" + quote_path(key), body=key.encode()).status == 200
    return "markup"


def no_break(reply):
    assert "x-injected" not in reply.headers, reply.headers
    for name, value in reply.headers.items():
        assert not re.search("[\x00-\x08\x0a-\x1f\x7f]", value), (name, value)


@pytest.mark.parametrize("text", BREAKS)
def test_an_override_cannot_start_another_header(raw, bucket, text):
    path = f"/{bucket}/k"
    raw.request("PUT", path, body=b"body")
    for name in OVERRIDES:
        for method in ("GET", "HEAD"):
            with raw.connect() as wire:
                reply = raw.request(method, path, [("response-" + name, text)], wire=wire)
                no_break(reply)
                assert reply.status == 200 and reply.body == (b"body" if method == "GET" else b"")
                assert raw.request("GET", path, wire=wire).body == b"body", "the connection lost its place"
        no_break(raw.plain("GET", raw.signer.presign("GET", raw.host, path, [("response-" + name, text)])))


@pytest.mark.parametrize("text", BREAKS)
def test_metadata_of_encoded_words_cannot_start_another_header(raw, bucket, text):
    import base64

    path, word = f"/{bucket}/k", f"=?UTF-8?B?{base64.b64encode(text.encode()).decode()}?="
    assert raw.request("PUT", path, headers={"x-amz-meta-a": word, "content-disposition": word}, body=b"body").status == 200
    for method in ("GET", "HEAD"):
        reply = raw.request(method, path)
        assert reply.status == 200
        no_break(reply)


@pytest.mark.parametrize("text", BREAKS)
def test_a_key_cannot_start_another_header(raw, bucket, text):
    path = f"/{bucket}/" + quote_path(text)
    refused = "\x00" in text
    for method, query, headers in (
        ("PUT", [], {}), ("GET", [], {}), ("HEAD", [], {}), ("POST", [("uploads", "")], {}), ("GET", [("uploadId", text)], {}), ("GET", [("versionId", text)], {}),
        ("PUT", [], {"x-amz-copy-source": f"{bucket}/{quote_path(text)}-none"}), ("PUT", [], {"x-amz-copy-source": quote(text)}), ("DELETE", [], {}),
    ):
        reply = raw.request(method, path, query, headers)
        no_break(reply)
        assert reply.status == 400 if refused else reply.status in (200, 204, 400, 404), reply


def test_a_request_id_is_the_servers_own(raw, bucket):
    ids = set()
    for _ in range(3):
        reply = raw.request("GET", f"/{bucket}", headers={"x-amz-request-id": "MINE", "x-request-id": "MINE", "x-amz-id-2": "MINE"})
        assert re.fullmatch("[0-9A-F]{16}", reply.headers["x-amz-request-id"]) and "MINE" not in str(reply.headers)
        ids.add(reply.headers["x-amz-request-id"])
    assert len(ids) == 3


def values(body, name):
    return [node.text or "" for node in ElementTree.fromstring(body).iter() if node.tag.rsplit("}", 1)[-1] == name]


def raw_bytes_are_text(body):
    assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]|\xef\xbf[\xbe\xbf]", body), body


LISTS = [[("list-type", "2")], [], [("versions", "")]]


@pytest.mark.parametrize("query", LISTS)
def test_keys_in_lists_are_text(raw, filled, query):
    body = raw.request("GET", f"/{filled}", query).body
    raw_bytes_are_text(body)
    parsed = values(body, "Key")
    for key in MARKUP:
        assert key in parsed, key
    assert len(parsed) == len(MARKUP) + len(CONTROLS)
    encoded = values(raw.request("GET", f"/{filled}", [*query, ("encoding-type", "url")]).body, "Key")
    import urllib.parse

    assert {urllib.parse.unquote(key) for key in encoded} == set(MARKUP + CONTROLS)


@pytest.mark.parametrize("text", MARKUP)
def test_the_parameters_of_a_list_come_back_as_text(raw, filled, text):
    for query in LISTS + [[("uploads", "")]]:
        for name in ("prefix", "delimiter", "marker", "key-marker", "start-after"):
            body = raw.request("GET", f"/{filled}", [*query, (name, text)]).body
            raw_bytes_are_text(body)
            root = ElementTree.fromstring(body)
            assert root.tag.rsplit("}", 1)[-1] in ("ListBucketResult", "ListVersionsResult", "ListMultipartUploadsResult")


@pytest.mark.parametrize("text", MARKUP + CONTROLS)
def test_what_an_error_repeats_is_text(server, raw, bucket, text):
    known = text in MARKUP
    replies = [
        raw.request("GET", f"/{bucket}/" + quote_path(text + "-none")),
        raw.request("GET", f"/{bucket}/k", [("versionId", text)]),
        raw.request("GET", f"/{bucket}", [("max-keys", text)]),
        raw.request("GET", f"/{bucket}", [("list-type", "2"), ("continuation-token", text)]),
        raw.request("GET", "/" + quote_path(text.replace("/", "")) + "x"),
        raw.request("PUT", f"/{bucket}/k", headers={"x-amz-copy-source": f"{bucket}/{quote_path(text)}-none"}),
        RawClient(server, access_key=re.sub("[^ -~]", "", text) or "x").request("GET", f"/{bucket}"),
        RawClient(server, region=re.sub("[^ -~]", "", text) or "x").request("GET", f"/{bucket}"),
        raw.plain("GET", f"/{bucket}/k?AWSAccessKeyId={quote(text)}&Expires=9999999999&Signature=x"),
    ]
    for reply in replies:
        assert 400 <= reply.status < 500, reply
        raw_bytes_are_text(reply.body)
        root = ElementTree.fromstring(reply.body)
        assert root.tag == "Error" and root.find("Code").text and len(root.findall("Key")) <= 1
    if known:
        assert values(replies[0].body, "Key") == [text + "-none"]


@pytest.mark.parametrize("text", MARKUP)
def test_deletes_repeat_keys_as_text(raw, bucket, text):
    document = ElementTree.Element("Delete")
    for key in (text, "../" + text):
        ElementTree.SubElement(ElementTree.SubElement(document, "Object"), "Key").text = key
    import base64
    import hashlib

    body = ElementTree.tostring(document)
    reply = raw.request("POST", f"/{bucket}", [("delete", "")], {"content-md5": base64.b64encode(hashlib.md5(body).digest()).decode()}, body)
    assert reply.status == 200 and sorted(values(reply.body, "Key")) == sorted([text, "../" + text]), reply.body


def test_boto3_reads_an_error_about_a_key_that_xml_cannot_hold(s3, bucket, refused):
    with refused(404, "NoSuchKey"):
        s3.get_object(Bucket=bucket, Key="a\x01b")
    s3.put_object(Bucket=bucket, Key="a\x01b", Body=b"x")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="a\x01b")["UploadId"]
    s3.abort_multipart_upload(Bucket=bucket, Key="a\x01b", UploadId=upload)


@pytest.mark.parametrize("reference", [b"&#1;", b"&#x1;", b"&#xB;", b"&#xFFFE;", b"\x01", b"\xef\xbf\xbf"])
def test_a_document_with_what_xml_forbids_is_malformed(raw, bucket, reference):
    import base64
    import hashlib

    raw.request("PUT", f"/{bucket}/a%01b", body=b"kept")
    body = b"<Delete><Object><Key>a" + reference + b"b</Key></Object></Delete>"
    md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
    reply = raw.request("POST", f"/{bucket}", [("delete", "")], {"content-md5": md5}, body)
    assert (reply.status, reply.code) == (400, "MalformedXML")
    assert raw.request("GET", f"/{bucket}/a%01b").body == b"kept"


def files_of(node):
    """Every file and folder of the data directory and beside it, without the numbers of segments and tables."""
    top = node.data_dir.parent
    return {re.sub(r"\d+", "N", str(path.relative_to(top))) for path in top.rglob("*")}


def test_keys_like_paths_are_plain_keys_and_reach_no_file(own_server):
    node = own_server(cores=1)
    raw = RawClient(node)
    raw.request("PUT", "/paths")
    raw.request("PUT", "/paths/plain", body=b"x" * 1000)
    raw.request("PUT", "/paths/large", body=b"x" * 1_000_000)
    before = files_of(node)
    for at, key in enumerate(PATHS):
        for size in (100, 300_000):
            assert raw.request("PUT", "/paths/" + quote_path(key), body=bytes([at]) * size).status == 200, key
    for at, key in enumerate(PATHS):
        assert raw.request("GET", "/paths/" + quote_path(key)).body == bytes([at]) * 300_000, key
    keys = values(raw.request("GET", "/paths", [("list-type", "2")]).body, "Key")
    assert sorted(keys) == sorted([*PATHS, "plain", "large"])
    for path in ("/../x", "/%2e%2e/x", "/..%2fx", "/a/%2e%2e/%2e%2e/x", "/..", "/../../../../../../etc/passwd", "/a%00/../b", "/%2e%2e%5c%2e%2e%2fx"):
        for method in ("PUT", "GET", "DELETE"):
            head = raw.signer.headers(method, raw.host, f"/paths{path}")
            reply = raw.exchange(head_bytes(method, f"/paths{path}", {**head, "content-length": "0"}), method)
            assert reply.status in (400, 403), (method, path, reply)
    for path in ("/..", "/../paths/plain", "/%2e%2e/x", "/.%2e/identity/node.key", "/identity", "/core-00", "/..%2f..%2fetc/passwd"):
        reply = raw.request("GET", path)
        assert reply.status in (400, 403, 404) and b"PRIVATE" not in reply.body, (path, reply)
    new = {name for name in files_of(node) - before if not re.search(r"^data/(core-N/\w+-N\.seg|meta/.*|raft/N\.wal)$", name)}
    assert not new, new


HOSTILE = 'a" 200 -\n{"forged": true}\r\n\x1b[2K\x85\u2028\u202e\\'


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_client_can_forge_a_line_of_the_log(own_server, tmp_path_disk, form):
    log = tmp_path_disk / "access.log"
    node = own_server(cores=1, serve_args=["--access-log", form, "--access-log-file", str(log)])
    raw = RawClient(node)
    raw.request("PUT", "/logged")
    sent = 1
    key = "/logged/" + quote_path(HOSTILE)
    for method, body in (("PUT", b"x"), ("GET", b""), ("DELETE", b"")):
        raw.request(method, key, [("x-id", HOSTILE)], body=body)
        sent += 1
    for agent in ('u" 200 "', "ü\u2028\u202e \u009b", "\\", "u" * 5000):
        data = raw.prepare("GET", "/logged").replace(b"\r\n\r\n", b"\r\nuser-agent: " + agent.encode() + b"\r\n\r\n")
        raw.exchange(data)
        sent += 1
    for data in (b"GET /\"\n HTTP/1.1\r\n\r\n", b"rubbish\r\n\r\n", b"GET /%22%0a HTTP/1.1\r\nhost: x\r\n\r\n", "GET /ü\u2028\u009b?\u202e HTTP/1.1\r\nhost: x\r\n\r\n".encode()):
        assert raw.exchange(data).status in (400, 403)
        sent += 1
    assert node.stop() == 0
    text = log.read_bytes().decode()
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]", text)
    lines = text.splitlines()
    assert len(lines) == sent, text
    for line in lines:
        if form == "json":
            entry = json.loads(line)
            assert "forged" not in entry and entry["remote"].startswith("127.0.0.1:")
            assert entry["status"] < 300 or entry["error"], entry
        else:
            words = re.findall(r'"(?:[^"\\]|\\.)*"|[^ "]+', line)
            assert len(words) == 15 and " ".join(words) == line, line
            assert words[2].startswith("127.0.0.1:") and re.fullmatch("[2-5][0-9][0-9]", words[7]), line
    if form == "json":
        assert HOSTILE in {json.loads(line)["key"] for line in lines}
