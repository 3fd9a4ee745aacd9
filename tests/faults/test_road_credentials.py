"""Credentials that are corrected or replaced under way: no back-off stands before the new ones."""

import httpx
import trio

from tests.daemon.stage import MINUTE, Stage, in_the_token
from trellis.model.node import NodeState
from trellis.model.status import Health
from trellis.sim.cloud.ledger import What

LONG_ENOUGH_S = 40 * MINUTE
"""After it the back-off of a refused login has grown to 5 min."""


async def reread(stage: Stage) -> None:
    """What the daemon does when it sees that a file has changed."""
    assert stage.core is not None
    await stage.core.reread()


async def test_a_corrected_password_is_tried_at_once(tmp_path, autojump_clock):
    """It was wrong for long; once the file is right, the provider serves within seconds."""
    stage = Stage(tmp_path)
    assert stage.entry is not None
    right = stage.entry["auth"]["password"]
    stage.entry["auth"]["password"] = "wrong"
    stage.write()
    async with stage.running():
        await stage.becomes(Health.UNAVAILABLE)
        await trio.sleep(LONG_ENOUGH_S)
        stage.entry["auth"]["password"] = right
        stage.write()

        await reread(stage)

        await stage.becomes(Health.AVAILABLE, within_s=10.0)


async def test_a_file_that_changes_elsewhere_makes_no_login(tmp_path, autojump_clock):
    """A hundred changes of other entries are no hundred attempts of a wrong password."""
    stage = Stage(tmp_path)
    assert stage.entry is not None
    stage.entry["auth"]["password"] = "wrong"
    stage.write()
    async with stage.running():
        await stage.becomes(Health.UNAVAILABLE)
        await trio.sleep(LONG_ENOUGH_S)
        before = len(stage.logins())

        for _ in range(100):
            stage.write()
            await reread(stage)
            await trio.sleep(1.0)

        assert len(stage.logins()) - before <= 2, "those of the back-off of 5 min alone"


async def test_an_entry_that_was_missing_is_used_as_soon_as_it_is_written(tmp_path, autojump_clock):
    """A provider whose cloud is in no file looks again when a file changes."""
    stage = Stage(tmp_path)
    entry, stage.entry = stage.entry, None
    stage.write()
    async with stage.running():
        await stage.becomes(Health.UNAVAILABLE)
        await trio.sleep(LONG_ENOUGH_S)
        stage.entry = entry
        stage.write()

        await reread(stage)

        await stage.becomes(Health.AVAILABLE, within_s=10.0)


async def test_another_user_is_taken_up_and_nodes_live_on(tmp_path, autojump_clock):
    """Whoever changes the user in the file need not wait until the old one is refused."""
    stage = Stage(tmp_path)
    async with stage.running():
        kept = await stage.served(await stage.ask("alpha"))
        used = await stage.served(await stage.ask("alpha"))
        users: list[str] = []
        stage.meddle = logs_in_as("successor", users)
        assert stage.entry is not None
        stage.entry["auth"]["username"] = "successor"
        stage.write()

        await reread(stage)
        await stage.release(used)

        await stage.gone(used.nodes[0])
        await stage.served(await stage.ask("alpha"))
        node = await stage.core.operator.node(kept.nodes[0])
        assert (NodeState.IN_USE, False) == (node.state, node.lost)
        assert 3 == stage.created()
        assert ["successor"] == users


async def led_elsewhere(stage) -> str:
    """Its file names another project, which the cloud knows; the name that was right."""
    assert stage.entry is not None
    right = stage.entry["auth"]["project_name"]
    stage.entry["auth"]["project_name"] = "another"
    stage.write()
    stage.meddle = project_by_name(another="0" * 32)
    await reread(stage)
    return right


async def test_a_wrong_project_in_the_file_is_left_as_soon_as_it_is_corrected(
    tmp_path, autojump_clock
):
    """The login works and leads elsewhere: nothing is concluded, and the correction is the exit."""
    stage = Stage(tmp_path)
    async with stage.running():
        kept = await stage.served(await stage.ask("alpha"))
        right = await led_elsewhere(stage)
        status = await stage.becomes(Health.UNAVAILABLE)
        await trio.sleep(30 * MINUTE)
        assert "project changed" in status.reason
        assert [] == stage.alpha.ledger.of(What.SERVER_DELETED)

        stage.entry["auth"]["project_name"] = right
        stage.write()
        await reread(stage)

        await stage.becomes(Health.AVAILABLE, within_s=10.0)
        node = await stage.core.operator.node(kept.nodes[0])
        assert (NodeState.IN_USE, False) == (node.state, node.lost)


async def test_a_provider_that_cannot_be_used_looks_for_its_correction_itself(
    tmp_path, autojump_clock
):
    """It had worked until then; nobody is there to tell it that the file has been changed."""
    stage = Stage(tmp_path)
    async with stage.running():
        await stage.served(await stage.ask("alpha"))
        right = await led_elsewhere(stage)
        await stage.becomes(Health.UNAVAILABLE)

        stage.entry["auth"]["project_name"] = right
        stage.write()

        await stage.becomes(Health.AVAILABLE, within_s=15.0)


def logs_in_as(name: str, users: list[str]):
    """The cloud knows its user by another name as well; who logged in by it is noted."""

    async def meddle(request, carry):
        if request.url.path.endswith("/auth/tokens"):
            body = await request.aread()
            if f'"{name}"'.encode() in body:
                users.append(name)
            body = body.replace(f'"{name}"'.encode(), b'"ci"')
            request = httpx.Request(request.method, request.url, content=body)
        return await carry(request)

    return meddle


def project_by_name(**ids: str):
    """Logins for these projects lead to others' ids; all else is the same cloud."""

    async def meddle(request, carry):
        if not request.url.path.endswith("/auth/tokens"):
            return await carry(request)
        body = await request.aread()
        for name, project_id in ids.items():
            if f'"name": "{name}"'.encode() in body or f'"name":"{name}"'.encode() in body:
                own = body.replace(f'"{name}"'.encode(), b'"ci"')
                asked = httpx.Request(request.method, request.url, content=own)
                lead = in_the_token(lambda token, it=project_id: token["project"].update(id=it))
                return await lead(asked, carry)
        return await carry(request)

    return meddle
