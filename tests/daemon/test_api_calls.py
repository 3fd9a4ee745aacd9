"""Calls to clouds are counted once, however many providers share an account."""

from collections import Counter

import trio

from tests.daemon.stage import MINUTE, Stage

SHARED = """
deployment: stage
labels: [{name: small}]
providers:
  - name: alpha-one
    type: openstack
    cloud: alpha
    pools: &pools
      - {name: main, labels: [{name: small, cloud-image: tiny, flavor-name: ci-1c-1g}]}
  - {name: alpha-two, type: openstack, cloud: alpha, pools: *pools}
  - {name: beta, type: openstack, cloud: beta, pools: *pools}
"""


async def test_calls_are_counted_as_the_clouds_count_them(tmp_path, autojump_clock):
    """Each provider shows those of its account; together they are those that were made."""
    stage = Stage(tmp_path, configuration=SHARED)
    async with stage.running() as core:
        for name in ("alpha-one", "alpha-two", "beta"):
            await stage.served(await stage.ask(name))
        await trio.sleep(MINUTE)

        counted = core.operator.api_calls()
        shown = {p.name: dict(p.api_calls) for p in core.operator.providers()}
        overview = core.operator.overview(1)
        made = Counter(cloud for cloud, _, _ in stage.calls)

    assert {cloud: sum(calls.values()) for cloud, calls in counted.items()} == dict(made)
    assert shown["alpha-one"] == shown["alpha-two"] == counted["alpha"]
    assert overview.api_calls == made.total()
