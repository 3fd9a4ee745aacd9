"""Logs: how events look, and what never shows in them."""

import io
import json
import logging
import time

import pytest
import structlog

from trellis.logs import configure_logging, mask_text


@pytest.fixture
def logging_to():
    """Configure logging to a text; put everything back afterwards."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    loggers = ("keystoneauth", "httpx", "httpcore", "hpack", "urllib3")
    levels = {name: logging.getLogger(name).level for name in loggers}

    def logging_to(**options):
        stream = io.StringIO()
        configure_logging(stream=stream, wall=lambda: 1_700_000_000.25, **options)
        return stream

    yield logging_to
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers, root.level = before
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def test_an_event_is_one_line_of_keys_and_values(logging_to):
    stream = logging_to()

    structlog.get_logger().info("launch_ready", node="0000000007", took_s=41.5, fault="no room")

    assert stream.getvalue() == (
        '2023-11-14T22:13:20.250Z INFO launch_ready node=0000000007 took_s=41.5 fault="no room"\n'
    )


def test_an_event_can_be_json(logging_to):
    stream = logging_to(as_json=True)

    structlog.get_logger().warning("quota_refused", provider="ovh", asked={"cores": 8})

    assert json.loads(stream.getvalue()) == {
        "event": "quota_refused",
        "level": "warning",
        "timestamp": "2023-11-14T22:13:20.250Z",
        "provider": "ovh",
        "asked": {"cores": 8},
    }


def test_the_context_of_the_task_is_in_every_event(logging_to):
    stream = logging_to(as_json=True)
    structlog.contextvars.bind_contextvars(node="0000000007")

    structlog.get_logger().info("one")
    logging.getLogger("elsewhere").warning("two %s", "words")

    one, two = map(json.loads, stream.getvalue().splitlines())
    assert (one["node"], two["node"], two["event"]) == ("0000000007", "0000000007", "two words")


@pytest.mark.parametrize("name", ["keystoneauth.session", "httpx"])
def test_libraries_that_tell_of_every_request_are_quiet_below_warning(logging_to, name):
    stream = logging_to(level=logging.DEBUG)

    logging.getLogger(name).info("HTTP Request: GET http://cloud")
    logging.getLogger(name).warning("something is odd")

    assert stream.getvalue().count("\n") == 1
    assert "something is odd" in stream.getvalue()


def test_events_below_the_level_are_not_written(logging_to):
    stream = logging_to(level=logging.WARNING)

    structlog.get_logger().info("nothing")

    assert stream.getvalue() == ""


def test_a_line_break_in_a_text_makes_no_second_line(logging_to):
    stream = logging_to()

    structlog.get_logger().info("an\nevent", fault="first\n2023 ERROR forged")

    assert stream.getvalue().count("\n") == 1
    assert "\\n" in stream.getvalue()


def test_a_traceback_follows_its_event_and_is_masked(logging_to):
    stream = logging_to()

    try:
        raise ValueError("could not send password=hunter2")
    except ValueError:
        structlog.get_logger().exception("crashed")

    assert "Traceback" in stream.getvalue()
    assert "password=***" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(
    "values",
    [
        {"password": "hunter2"},
        {"admin_pass": "hunter2", "adminPass": "hunter2"},
        {"X-Auth-Token": "hunter2"},
        {"headers": {"Authorization": "hunter2", "x": [{"api_key": "hunter2"}]}},
        {"body": '{"auth": {"password": "hunter2"}}'},
        {"body": "{'adminPass': 'hunter2'}"},
        {"body": b"password=hunter2&x=1"},
        {"curl": "-H 'X-Auth-Token: hunter2'"},
        {"url": "https://user:hunter2@cloud/v3"},
        {"header": "Bearer hunter2hunter2"},
        {"clouds": [{"secret": "hunter2"}]},
        {"lease_id": "hunter2"},
        {"error": ValueError("token=hunter2")},
    ],
)
def test_secrets_are_masked_wherever_they_are(logging_to, values, as_json):
    stream = logging_to(as_json=as_json)

    structlog.get_logger().info("sent", **values)

    assert "***" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


def test_secrets_in_the_text_of_other_libraries_are_masked(logging_to):
    stream = logging_to()

    logging.getLogger("x").warning('REQ: curl -H "X-Auth-Token: %s"', "gAAAAABm" + "a" * 90)

    assert "aaaa" not in stream.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        "gAAAAABm0aXx_" + "Zq-" * 30 + "==",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    ],
)
def test_token_shapes_are_masked_in_any_text(text):
    assert mask_text(text) == "***"


@pytest.mark.parametrize(
    "text",
    [
        "token expired, 401",
        "auth_url=https://cloud:5000/v3",
        "key_name=ci",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5",
        "2001:db8::1@x",
    ],
)
def test_what_is_no_secret_stays(text):
    assert mask_text(text) == text


def test_masking_a_long_text_takes_no_longer_than_reading_it():
    texts = ["a-" * 50_000, "a." * 50_000, "password" * 10_000, "token= " * 10_000, "://" * 30_000]

    started = time.process_time()
    for text in texts:
        mask_text(text)

    assert time.process_time() - started < 2


def test_keys_that_only_sound_like_secrets_stay(logging_to):
    stream = logging_to()

    structlog.get_logger().info("login", token_expires_in_s=3600, key_name="ci", host_keys=2)

    assert "token_expires_in_s=3600 key_name=ci host_keys=2" in stream.getvalue()
