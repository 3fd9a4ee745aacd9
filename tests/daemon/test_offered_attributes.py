"""What a pool's configuration hands on with its nodes reaches those who ask for nodes."""

from tests.daemon.test_demand_sources import BASE, SourceStage


async def test_node_attributes_are_offered_with_the_pool(tmp_path, autojump_clock):
    """Zuul takes its executor zone from them."""
    says = "node-attributes: {executor-zone: eu, rack: r7}"
    stage = SourceStage(tmp_path)
    stage.configuration = BASE.replace("      - name: main", f"      - name: main\n        {says}")
    stage.entry = None
    stage.write()
    async with stage.running() as core:
        (pool,) = core.port.offers()

    assert {"executor-zone": "eu", "rack": "r7"} == pool.attributes
