import json

import pytest

from trellis.testing.secrets import Scrubber, find_secrets


def scrubbed(value):
    return json.loads(Scrubber().body(json.dumps(value).encode()))


class TestScrubber:
    def test_only_leaves_are_replaced(self):
        """`identity.password` is an object: its password goes, its user's name stays."""
        user = {"name": "ci", "password": "x"}

        assert scrubbed({"password": {"user": user}}) == {
            "password": {"user": {"name": "ci", "password": "scrubbed"}}
        }

    def test_tokens_of_both_identity_versions(self):
        """A v2 answer holds its token as token.id; other ids stay."""
        answer = {"access": {"token": {"id": "abc", "tenant": {"id": "t1"}}, "user": {"id": "u1"}}}

        clean = scrubbed(answer)

        assert clean["access"]["token"] == {"id": "scrubbed-token-1", "tenant": {"id": "t1"}}
        assert clean["access"]["user"] == {"id": "u1"}

    def test_scrubbing_twice_changes_nothing(self):
        """What was recorded passes the same way when it is replayed."""
        scrubber = Scrubber()
        once = scrubber.body(b'{"token": {"id": "abc"}, "adminPass": "p"}')

        assert Scrubber().body(once) == once
        assert scrubber.headers({"X-Auth-Token": "scrubbed-token-7"}) == {
            "X-Auth-Token": "scrubbed-token-7"
        }

    def test_signed_urls_lose_their_signature(self):
        """Temporary URLs are secrets in their query; other queries are left as they are."""
        scrubber = Scrubber()

        assert scrubber.url("https://s/a?temp_url_sig=1&temp_url_expires=2") == (
            "https://s/a?temp_url_sig=scrubbed&temp_url_expires=2"
        )
        assert scrubber.url("https://s/a?b=%20c") == "https://s/a?b=%20c"

    @pytest.mark.parametrize("body", [b"", b"<html>", b"\xff\xfe\x00", b"{cut"])
    def test_what_is_no_json_is_left_alone(self, body):
        """Pages, images and broken answers stay as they came."""
        assert Scrubber().body(body) == body


class TestFindSecrets:
    @pytest.mark.parametrize(
        "text",
        [
            '"password": "hunter2"',
            "'adminPass': 'Zx81'",
            "adminPass: Zx81",
            "X-Auth-Token:\n      - abcdef",
            "x-subject-token: abcdef",
            "Authorization: Basic Zm9vOmJhcg==",
            "body: gAAAAABn" + "a1b2" * 8,
            "-----BEGIN RSA PRIVATE KEY-----",
            '"secret": "s"',
            '"token": {\n "expires": "x",\n "id": "0123456789abcdef"}',
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.x",
        ],
    )
    def test_shapes_are_found(self, text):
        """Each shape is found, on its line, and the finding does not repeat the value."""
        [finding, *_] = find_secrets("version: 1\n" + text)

        assert finding.line == 2
        assert "hunter2" not in str(finding)

    @pytest.mark.parametrize(
        "text",
        [
            '"password": "scrubbed"',
            "X-Auth-Token:\n      - scrubbed-token-1",
            '"password": {"user": {"name": "ci"}}',
            '"methods": ["password"]',
            '"password_expires_at": null',
            '"adminPass": null',
            "Vary:\n - X-Auth-Token\n - Accept",
            '"token": {"id": "scrubbed-token-1"}',
            "WWW-Authenticate: Keystone uri='https://identity.cloud.example'",
        ],
    )
    def test_what_was_scrubbed_is_no_secret(self, text):
        """What a scrubbed cassette rightly holds is not reported."""
        assert find_secrets(text) == ()
