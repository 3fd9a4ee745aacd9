"""Under a scarce rate of calls a backlog of launches holds up no deletion, and the reverse."""

import pytest
import trio

from tests.daemon.stage import CONFIGURATION, MINUTE, Stage
from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.spec import CloudSpec, Quota

pytestmark = pytest.mark.slow

SCARCE = CONFIGURATION.replace(
    "    cloud: alpha\n", "    cloud: alpha\n    limits: {calls-per-second: 1, burst: 1}\n"
).replace("max-servers: 10", "max-servers: 1000")
PLENTY = Quota(instances=2000, cores=-1, ram_mib=-1, ports=-1)


def deleted(stage):
    return len(stage.alpha.ledger.of(What.SERVER_DELETED))


def servers_deleted(stage):
    return [
        path
        for cloud, method, path in stage.calls
        if (cloud, method) == ("alpha", "DELETE") and "/servers/" in path
    ]


async def test_deletions_go_on_while_hundreds_wait_to_be_launched(tmp_path, autojump_clock):
    """One call a second, 600 launches before it: ten nodes are deleted within half a minute."""
    stage = Stage(tmp_path, alpha=CloudSpec(name="alpha", quota=PLENTY), configuration=SCARCE)
    async with stage.running():
        used = [await stage.served(await stage.ask("alpha")) for _ in range(10)]
        for _ in range(600):
            await stage.ask("alpha")
        await trio.sleep(MINUTE)
        for request in used:
            await stage.release(request)
        launched = stage.created()
        await trio.sleep(0.5 * MINUTE)

        assert len(servers_deleted(stage)) >= 10
        await trio.sleep(MINUTE)
        assert deleted(stage) == 10
        # Launches went on meanwhile: a tenth of the turns at least, and most of them afterwards.
        assert stage.created() >= launched + 9


async def test_launches_go_on_while_hundreds_are_deleted(tmp_path, autojump_clock):
    """And the list is read all the time: without it nobody would know that any is gone."""
    slow = SCARCE.replace("limits: {calls-per-second: 1, burst: 1}", "limits: {burst: 500}")
    stage = Stage(tmp_path, alpha=CloudSpec(name="alpha", quota=PLENTY), configuration=slow)
    async with stage.running():
        asked = [await stage.ask("alpha") for _ in range(200)]
        used = [await stage.served(request_id) for request_id in asked]
        await stage.take_up(SCARCE)
        await trio.sleep(MINUTE)
        for request in used:
            await stage.release(request)
        await trio.sleep(5.0)
        before, began = stage.created(), len(stage.calls)
        for _ in range(50):
            await stage.ask("alpha")
        await trio.sleep(2 * MINUTE)

        calls = [(m, p) for cloud, m, p in stage.calls[began:] if cloud == "alpha"]
        assert stage.created() >= before + 10
        assert sum(m == "GET" and p.endswith("/servers/detail") for m, p in calls) >= 10
        assert sum(m == "DELETE" for m, _ in calls) >= 40
