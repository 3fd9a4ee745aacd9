"""``trellis demand``, and requests named by words of others, against a face on loopback."""

import json

import attrs
import pytest

from trellis.model.request import Ask
from trellis.model.status import SourceState

pytestmark = pytest.mark.slow


def asked(daemon, **metadata) -> str:
    async def ask():
        return await daemon.port.submit(
            Ask(labels=("debian-12",), requestor="zuul", metadata=metadata)
        )

    return daemon.do_async(ask).id


def dropped(daemon) -> None:
    source = attrs.evolve(daemon.board.sources["zuul"], state=SourceState.DROPPED, since=None)
    daemon.board.sources["zuul"] = source


def test_sources_are_listed(daemon, run):
    """For people in a table, for programs as data; also one that is configured no longer."""
    daemon.do(dropped, daemon)
    table, data = run("demand", "list"), run("demand", "list", "-o", "json")

    assert "2 requested, 5 fulfilled" in " ".join(table.stdout.split())
    assert json.loads(data.stdout)[0]["state"] == "dropped"


def test_what_a_dropped_one_left_is_ended(daemon, run):
    daemon.do(dropped, daemon)

    said = run("demand", "end", "zuul", "--by", "ada", "--yes")

    assert (said.exit_code, said.stdout) == (0, "7 requests ended\n")
    assert daemon.board.acts == [("end", "zuul", "ada")]


def test_that_of_a_configured_one_is_refused(daemon, run):
    said = run("demand", "end", "zuul", "--yes")

    assert said.exit_code == 1
    assert "is configured" in said.stderr


def test_a_request_is_cancelled_by_its_id_alone(daemon, run):
    """A job or a tenant may fit just one by chance, and be another's."""
    asked(daemon, zuul_job="tox")

    said = run("request", "cancel", "tox")

    assert said.exit_code == 1
    assert "there is no request tox" in said.stderr


def test_a_request_is_explained_by_another_systems_id(daemon, run):
    wanted = asked(daemon, zuul_request="100-0000000007", zuul_job="tox")
    asked(daemon, zuul_request="100-0000000008", zuul_job="tox")

    said = run("request", "explain", "100-0000000007", "-o", "json")

    assert wanted in json.loads(said.stdout)["subject"]


def test_several_are_listed_to_choose_from(daemon, run):
    ids = [asked(daemon, zuul_job="tox", zuul_request=f"100-{n}") for n in range(2)]

    said = run("request", "explain", "tox")

    assert said.exit_code == 1
    for one, number in zip(ids, range(2), strict=True):
        assert one in said.stderr
        assert f"zuul_request=100-{number}" in said.stderr
    assert "Ask for one of them by its id." in said.stderr


def test_a_list_is_narrowed_to_a_job(daemon, run):
    wanted = asked(daemon, zuul_job="tox")
    asked(daemon, zuul_job="docs")

    said = run("request", "list", "--job", "tox", "-o", "json")

    assert [row["id"] for row in json.loads(said.stdout)] == [wanted]


def test_labels_whose_host_keys_are_not_read_say_so(daemon, run):
    assert "NOT CHECKED" not in run("label", "list").stdout
    daemon.board.host_keys = False

    assert "NOT CHECKED" in run("label", "list").stdout
