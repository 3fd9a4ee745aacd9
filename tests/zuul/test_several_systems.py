"""Several Zuul systems on one tree, and what a pool's configuration hands on with each node."""

import json

from trellis_zuul.paths import node_path

from tests.zuul.request_stage import a_pool, the_request_stage


async def node_of(stage, request):
    [name] = (await stage.becomes(request, "fulfilled"))["nodes"]
    return json.loads((await stage.session.get(node_path(name)))[0])


async def test_each_system_is_named_in_its_own_nodes(autojump_clock):
    """Zuul counts nodes, and shows them, by its own id; tenants of one name may be two."""
    async with the_request_stage() as stage, stage.serving():
        first = await stage.ask("small", requestor="system-1", tenant_name="acme")
        second = await stage.ask("small", requestor="system-2", tenant_name="acme")

        nodes = [await node_of(stage, request) for request in (first, second)]

        assert ["system-1", "system-2"] == [node["requestor"] for node in nodes]
        assert [first, second] == [node["allocated_to"] for node in nodes]
        assert ["acme", "acme"] == [node["tenant_name"] for node in nodes]
        assert nodes[0]["external_id"] != nodes[1]["external_id"]


async def test_one_system_does_not_wait_for_the_other(autojump_clock):
    async with the_request_stage() as stage, stage.serving():
        first = await stage.ask("small", requestor="system-1")
        second = await stage.ask("small", requestor="system-2")
        [znode] = (await stage.becomes(first, "fulfilled"))["nodes"]
        await stage.becomes(second, "fulfilled")

        await stage.cancel(second)
        await stage.use(first, znode)

        await stage.all_ends()


async def test_the_executor_zone_of_a_pool_reaches_zuul(autojump_clock):
    """Zuul takes it from the first node, and sends the build to an executor of that zone."""
    async with the_request_stage() as stage:
        stage.port.pools = (a_pool("small", attributes={"executor-zone": "eu"}),)
        async with stage.serving():
            node = await node_of(stage, await stage.ask("small"))

            assert {"executor-zone": "eu"} == node["attributes"]
            assert ("alpha", "main") == (node["provider"], node["pool"])
            [pool] = await stage.pools()
            assert pool["id"] == node["launcher"]
