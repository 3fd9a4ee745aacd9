"""``trellis breaker`` against a face on loopback."""

import json

import pytest

pytestmark = pytest.mark.slow


def test_breakers_are_listed(daemon, run):
    """For people in a table, for programs as data."""
    table, data = run("breaker", "list"), run("breaker", "list", "-o", "json")

    assert "image debian" in table.stdout
    assert "in 42s" in table.stdout
    assert [one["id"] for one in json.loads(data.stdout)] == ["ovh-bhs1:image:0badcafe"]


def test_breaker_is_reset_with_who_and_why(daemon, run):
    """Afterwards all are closed, and the list says so."""
    said = run("breaker", "reset", "ovh-bhs1:image:0badcafe", "--by", "ada", "--reason", "mended")

    assert (said.exit_code, said.stdout) == (0, "closed\n")
    assert daemon.board.acts == [("reset", "ovh-bhs1:image:0badcafe", "ada", "mended")]
    assert "All breakers are closed." in run("breaker", "list").stderr


def test_one_that_is_not_open_is_an_error(daemon, run):
    """With the remedy."""
    said = run("breaker", "reset", "nothing")

    assert said.exit_code == 1
    assert "nothing" in said.stderr
