"""Calls and answers as values."""

import attrs
import pytest
from scripted import a_call

from trellis.errors import CloudBrokenError
from trellis.http import Answer, Verb


@attrs.frozen
class Server:
    id: str
    cores: int


def an_answer(body: bytes, kind: str = "application/json") -> Answer:
    return Answer(
        status=200,
        headers={"Content-Type": kind, "X-OpenStack-Request-ID": "req-5"},
        body=body,
        cloud="acme",
        call="GET compute /servers/{id}",
    )


def test_decode_gives_the_value():
    """A body of the right shape becomes the attrs value."""
    assert Server("a", 2) == an_answer(b'{"id": "a", "cores": 2}').decode(Server)


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b"<html>Welcome</html>", "text/html", "an HTML or XML page"),
        (b'{"id": "a", "co', "application/json", "cut off"),
        (b"", "application/json", "an empty body"),
        (b"oops", "text/plain", "no JSON (text/plain"),
        (b'{"id": "a", "cores": "two"}', "application/json", "another shape"),
        (b"\xff\xfe\x00", "application/octet-stream", "no JSON"),
    ],
)
def test_decode_refuses_what_is_no_such_json(body, kind, said):
    """The error says what was expected and what came, and carries the cloud's request id."""
    with pytest.raises(CloudBrokenError) as caught:
        an_answer(body, kind).decode(Server)

    assert said in str(caught.value)
    assert "JSON for Server" in str(caught.value)
    assert caught.value.cloud_request_id == "req-5"
    assert caught.value.cloud == "acme"


def test_request_id_is_found_under_its_old_name():
    """Old Nova sends x-compute-request-id only."""
    assert Answer(status=200, headers={"x-compute-request-id": "req-1"}).request_id == "req-1"


@pytest.mark.parametrize(
    ("method", "label", "verb"),
    [
        ("GET", "/servers", Verb.READ),
        ("HEAD", "/servers", Verb.READ),
        ("POST", "/servers", Verb.CREATE),
        ("POST", "/servers/{id}/action", Verb.CHANGE),
        ("PUT", "/ports/{id}", Verb.CHANGE),
        ("DELETE", "/servers/{id}", Verb.DELETE),
    ],
)
def test_verb_follows_method_and_path(method, label, verb):
    """An action is no create, so it is not counted against a limit of creates."""
    assert verb is Verb.of(method, label)


@pytest.mark.parametrize(
    ("method", "safe"), [("GET", True), ("DELETE", True), ("POST", False), ("PUT", False)]
)
def test_only_reads_and_deletes_are_safe_to_repeat(method, safe):
    """A create that is repeated may make a second server."""
    assert safe is a_call(method).safe_to_repeat


def test_a_call_shows_no_headers_and_no_body():
    """Tokens and passwords stay out of logs."""
    call = a_call(headers={"X-Auth-Token": "gAAAsecret"}, content=b"hunter2")

    assert "gAAAsecret" not in repr(call)
    assert "hunter2" not in repr(call)
