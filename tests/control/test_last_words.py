"""The console of a server whose launch failed: read once where its label asks, then it goes."""

import attrs
import httpx
import pytest
import trio

from tests.daemon.stage import MINUTE, Stage, answering, hanging
from trellis.control.last_words import AT_MOST_S, MOST_CHARACTERS, MOST_LINES, shown, wants_console
from trellis.model.node import NodeState
from trellis.sim.cloud.spec import CloudSpec, fixed
from trellis.spi.config import PoolConfig, PoolLabelConfig, ProviderConfig
from trellis.testing.builders import a_node, a_server

CONFIGURATION = """
deployment: stage
labels: [{name: small}, {name: quiet}]
providers:
  - name: alpha
    type: openstack
    cloud: alpha
    boot-timeout: 60
    launch-retries: 1
    pools:
      - name: main
        labels:
          - {name: small, cloud-image: tiny, flavor-name: ci-1c-1g, console-log: true}
          - {name: quiet, cloud-image: tiny, flavor-name: ci-1c-1g}
"""
MUTE = CloudSpec(name="alpha", guest=fixed(9_999.0))
"""Servers become active, and nothing ever answers in them."""
CONSOLE = "".join(f"line {number}\n" for number in range(300)) + "Kernel panic - not syncing\n"


@pytest.fixture
def stage(tmp_path):
    stage = Stage(tmp_path, alpha=MUTE, configuration=CONFIGURATION)
    stage.alpha.show_consoles(lambda _server: CONSOLE)
    return stage


FIRST = "0000000001"


async def first_is_gone(stage, label="small"):
    """Ask for a node, and wait until the launch of the first has failed and it is proved gone.

    Returns:
        Its explanation, and the seconds between the end of its launch and that.
    """
    await stage.ask("alpha", labels=(label,))
    with trio.fail_after(30 * MINUTE):
        while True:
            await trio.sleep(1.0)
            found = await stage.core.port.explain_node(FIRST)
            if found.state == "gone":
                break
    at = {event.type: event.at for event in found.history}
    return found, at["node.gone"] - at["node.failed"]


def reads_of(stage):
    """So often a console was asked for."""
    return len([call for call in stage.calls if call[2].endswith("/action")])


async def test_its_end_is_logged_and_explained_also_when_the_node_is_gone(stage, autojump_clock):
    async with stage.running():
        found, _ = await first_is_gone(stage)

        lines = found.console.split("\n")
        assert (MOST_LINES, "Kernel panic - not syncing") == (len(lines), lines[-1])
        assert "does not answer by SSH" in found.words
        (logged,) = [x for x in stage.events if x["event"] == "launch_console"]
        assert (FIRST, found.console) == (logged["node"], logged["console"])
    assert 1 == reads_of(stage) == len([x for x in stage.calls if x[1] == "DELETE"])


async def test_a_label_that_does_not_ask_costs_no_call(stage, autojump_clock):
    async with stage.running():
        found, _ = await first_is_gone(stage, "quiet")

        assert "" == found.console
    assert 0 == reads_of(stage)


async def test_a_node_that_was_used_is_deleted_unread(tmp_path, autojump_clock):
    stage = Stage(tmp_path, configuration=CONFIGURATION)
    async with stage.running():
        request = await stage.served(await stage.ask("alpha"))
        await stage.release(request)
        await stage.gone(request.nodes[0])
    assert 0 == reads_of(stage)


@pytest.mark.parametrize("how", ["hangs", "fails", "has-none"])
async def test_a_console_that_cannot_be_read_delays_the_deletion_by_one_call(
    stage, how, autojump_clock
):
    """It is deleted all the same, and soon; nothing is asked again."""
    stage.meddle = {
        "hangs": hanging("/action"),
        "fails": answering(500, b"{}", "/action"),
        "has-none": answering(404, b"{}", "/action"),
    }[how]
    async with stage.running():
        found, took_s = await first_is_gone(stage)

        assert "" == found.console
        assert took_s < AT_MOST_S + 30.0
    assert 1 == reads_of(stage)


async def test_it_is_not_read_again_after_a_restart(stage, autojump_clock):
    """The server cannot be deleted: the next process goes on with that, and has the console."""

    async def keeps(request, carry):
        refused = request.method == "DELETE"
        return httpx.Response(409, content=b"{}") if refused else await carry(request)

    stage.meddle = keeps
    async with stage.running():
        await stage.ask("alpha")
        await trio.sleep(10 * MINUTE)
        assert [x for x in stage.events if x["event"] == "launch_console"]
    reads = reads_of(stage)
    stage.meddle = None
    async with stage.running():
        await trio.sleep(10 * MINUTE)
        found = await stage.core.port.explain_node(FIRST)

    assert "gone" == found.state
    assert found.console.endswith("not syncing")
    assert (1, 1) == (reads, reads_of(stage))


@pytest.mark.parametrize(
    ("state", "resources", "wanted"),
    [
        (NodeState.FAILED, (a_server(1),), True),
        (NodeState.FAILED, (), False),
        (NodeState.ABORTED, (a_server(1),), False),
        (NodeState.USED, (a_server(1),), False),
        (NodeState.DELETING, (a_server(1),), False),
    ],
    ids=["failed", "without-a-server", "found-no-room", "used", "deleting-already"],
)
def test_only_of_a_server_whose_launch_failed(state, resources, wanted):
    label = PoolLabelConfig(name="small", console_log=True)
    pool = PoolConfig(name="main", labels=(label,))
    config = ProviderConfig(name="alpha", type="openstack", cloud="alpha", pools=(pool,))
    node = a_node(1, state=state, provider="alpha", pool="main", label="small")
    node = attrs.evolve(node, resources=resources, ready_at=None)

    assert wanted == wants_console(node, config)


def test_nothing_of_a_guest_reaches_a_terminal_as_it_is():
    """Escapes could paint over what a person reads; a line without end could fill a record."""
    assert "a�[2Jb\n\tc" == shown("a\x1b[2Jb\r\n\tc\n\n")
    assert MOST_CHARACTERS == len(shown("x" * 100_000))
    assert "" == shown("")
