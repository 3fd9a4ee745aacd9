"""A cloud that moves under its name: nothing is concluded, and there is a way on (rule 2)."""

import json
from collections.abc import Callable

import attrs
import httpx
import pytest
import trio

from tests.daemon.stage import MINUTE, Carry, Stage
from trellis.errors import RefusedError
from trellis.model.node import NodeState
from trellis.model.status import Health
from trellis.sim.cloud.ledger import What

OLD = "/RegionOne/compute/"
NEW = "/RegionOne/compute-2/"


@attrs.define
class Move:
    """Compute is at another path from some moment on, and there alone.

    Attributes:
        old_is: how the old path answers then.
    """

    old_is: Callable[[httpx.Request], httpx.Response]
    moved: bool = False

    async def meddle(self, request: httpx.Request, carry: Carry) -> httpx.Response:
        path = request.url.path
        if path.startswith(NEW if not self.moved else OLD):
            await trio.sleep(0.05)
            return self.old_is(request)
        if path.startswith(NEW):
            body = await request.aread()
            asked = httpx.Request(
                request.method,
                str(request.url).replace(NEW, OLD),
                headers=request.headers,
                content=body,
            )
            return await carry(asked)
        response = await carry(request)
        if not path.endswith("/auth/tokens") or not self.moved:
            return response
        body = (await response.aread()).replace(OLD.encode(), NEW.encode())
        headers = [(k, v) for k, v in response.headers.items() if k != "content-length"]
        return httpx.Response(response.status_code, headers=headers, content=body)


def refuses(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("[Errno 111] Connection refused", request=request)


def page(_: httpx.Request) -> httpx.Response:
    return httpx.Response(404, content=b"<html>not here</html>")


def no_route(_: httpx.Request) -> httpx.Response:
    body = {"message": "The resource could not be found.<br />", "code": "404 Not Found"}
    return httpx.Response(404, content=json.dumps(body).encode())


def redirects(_: httpx.Request) -> httpx.Response:
    return httpx.Response(301, headers={"Location": "http://alpha.sim" + NEW})


@pytest.mark.parametrize("old_is", [refuses, page, no_route, redirects])
async def test_a_moved_endpoint_is_learnt_and_used_on_a_persons_word(
    old_is, tmp_path, autojump_clock
):
    """The new catalog is fetched within minutes, not when the token ends; then a word is asked."""
    stage = Stage(tmp_path)
    move = Move(old_is)
    stage.meddle = move.meddle
    async with stage.running() as core:
        kept = await stage.served(await stage.ask("alpha"))
        used = await stage.served(await stage.ask("alpha"))
        await trio.sleep(5 * MINUTE)
        move.moved = True
        await stage.release(used)
        began = trio.current_time()
        while "project changed" not in stage.status().reason:
            assert trio.current_time() - began < 5 * MINUTE, stage.status().reason
            await trio.sleep(1.0)
        await trio.sleep(30 * MINUTE)

        reason = stage.status().reason
        endpoint = f"http://alpha.sim{NEW}v2.1"
        assert f"'trellis provider accept alpha --endpoint {endpoint}'" in reason
        assert NodeState.DELETING is (await core.operator.node(used.nodes[0])).state
        assert [] == stage.alpha.ledger.of(What.SERVER_DELETED)

        await core.operator.accept_move("alpha", endpoint, None, "ada")

        await stage.becomes(Health.AVAILABLE, within_s=MINUTE)
        await stage.gone(used.nodes[0])
        await stage.served(await stage.ask("alpha"))
        node = await core.operator.node(kept.nodes[0])
        assert (NodeState.IN_USE, False) == (node.state, node.lost)
        assert 3 == stage.created()
        await stage.release(kept)
        await stage.gone(kept.nodes[0])


async def test_an_endpoint_that_moves_back_needs_nobody(tmp_path, autojump_clock):
    """A catalog that was wrong for a while is read again, however long its token is good."""
    stage = Stage(tmp_path)
    move = Move(page)
    stage.meddle = move.meddle
    async with stage.running() as core:
        kept = await stage.served(await stage.ask("alpha"))
        await trio.sleep(5 * MINUTE)
        move.moved = True
        await stage.becomes(Health.UNAVAILABLE)
        await trio.sleep(20 * MINUTE)
        move.moved = False

        await stage.becomes(Health.AVAILABLE, within_s=7 * MINUTE)

        node = await core.operator.node(kept.nodes[0])
        assert (NodeState.IN_USE, False) == (node.state, node.lost)
        await stage.served(await stage.ask("alpha"))


async def test_services_that_are_away_cost_few_logins(tmp_path, autojump_clock):
    """Who knows whether they have moved? Not one login a minute, however long it lasts."""
    stage = Stage(tmp_path)

    async def meddle(request, carry):
        return refuses(request) if OLD in request.url.path else await carry(request)

    async with stage.running():
        await stage.becomes(Health.AVAILABLE)
        stage.meddle = meddle
        before = len(stage.logins())
        await trio.sleep(60 * MINUTE)

        assert len(stage.logins()) - before <= 15


class TestAWordThatIsRefused:
    """What a person says is compared with where the credentials lead."""

    async def test_another_endpoint(self, tmp_path, autojump_clock):
        stage = Stage(tmp_path)
        async with stage.running() as core:
            await stage.becomes(Health.AVAILABLE)
            with pytest.raises(RefusedError, match=r"lead to http://alpha\.sim/RegionOne/compute"):
                await core.operator.accept_move("alpha", "http://elsewhere/v2.1", None, "ada")

    async def test_another_project_unnamed(self, tmp_path, autojump_clock):
        """It would have all nodes of the old one taken for gone."""
        stage = Stage(tmp_path)
        async with stage.running() as core:
            kept = await stage.served(await stage.ask("alpha"))
            stage.meddle = empty_project
            stage.alpha.revoke_all()
            await stage.becomes(Health.UNAVAILABLE)
            home = (await core.operator.node(kept.nodes[0])).home
            assert home is not None

            with pytest.raises(RefusedError, match="would be taken for gone"):
                await core.operator.accept_move("alpha", home.endpoint, None, "ada")

            node = await core.operator.node(kept.nodes[0])
            assert (NodeState.IN_USE, False) == (node.state, node.lost)

            # The old project is no more, and somebody says so.
            await core.operator.accept_move("alpha", home.endpoint, OTHER, "ada")
            await stage.becomes(Health.AVAILABLE)
            while not (await core.operator.node(kept.nodes[0])).lost:  # noqa: ASYNC110
                await trio.sleep(1.0)


OTHER = "0" * 32


async def empty_project(request: httpx.Request, carry: Carry) -> httpx.Response:
    """The login leads to another project, in which there is nothing."""
    if request.url.path.endswith("/servers/detail"):
        return httpx.Response(200, content=b'{"servers": []}')
    if "/servers/" in request.url.path:
        missing = b'{"itemNotFound": {"code": 404, "message": "Instance could not be found."}}'
        return httpx.Response(404, content=missing)
    response = await carry(request)
    if not request.url.path.endswith("/auth/tokens"):
        return response
    found = json.loads(await response.aread())
    found["token"]["project"]["id"] = OTHER
    headers = [(k, v) for k, v in response.headers.items() if k != "content-length"]
    return httpx.Response(response.status_code, headers=headers, content=json.dumps(found).encode())
