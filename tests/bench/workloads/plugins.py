"""What a plugin adds to the API calls of a node's life: each on its twin, beside stock.

On virtual time, as nothing but calls is counted: the same demand, the same speed of the cloud, the
same way to an address. Twins keep their own rate limits and all else that is special about them.
"""

import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import structlog.testing
import trio
import trio.testing

from tests.bench.child import BrokenRunError
from tests.bench.outcome import Outcome
from tests.bench.running import leaves
from trellis.model.node import Node
from trellis.model.status import Health
from trellis.plugin_host import load_plugins
from trellis.sim.cloud import CloudSpec, Latency, Quota, direct_networks, floating_networks
from trellis.sim.cloud.spec import Lognormal
from trellis.sim.clouds import TWINS
from trellis.sim.entries import cloud_entry
from trellis.spi.registry import ProviderRegistry
from trellis.testing.stage import Stage
from trellis.testing.ways import a_twin

_STOCK: Final = "openstack"
_PLENTY: Final = 100_000
_PACE: Final[Mapping[str, Any]] = {
    "boot": Lognormal(20.0, 45.0),
    "guest": Lognormal(3.0, 6.0),
    "delete": Lognormal(2.0, 5.0),
    "latency": Latency(),
}
_VOLUME: Final = {"boot-from-volume": True, "volume-size": 80}


def places_of(kind: str) -> dict[str, CloudSpec]:
    """A plugin's twin by what a row of the table calls it; each region that is not as the first."""
    twin = TWINS[kind]()
    others = [region for region in twin.behaviour.diskless_regions if region != twin.regions[0]]
    return {kind: twin} | {
        f"{kind}-{region}": attrs.evolve(twin, regions=(region,), outside=()) for region in others
    }


@attrs.frozen(kw_only=True)
class Count:
    """What the lives of one run came to.

    Attributes:
        calls: of each life, lists and logins included.
        way: what its nodes needed: ``direct``, ``floating`` or ``volume``.
    """

    calls: float
    way: str


@attrs.frozen(kw_only=True)
class Plugins:
    """So many requestors, each of whom asks for a node, releases it at once and asks again.

    Attributes:
        in_flight: how many requestors.
        rounds: nodes for each of them.
        kinds: provider types with a twin.
    """

    in_flight: int = 50
    rounds: int = 10
    kinds: tuple[str, ...] = tuple(TWINS)

    async def run(self, folder: Path) -> Outcome:
        """Run it, in a thread with a clock of its own."""
        return await trio.to_thread.run_sync(self._measured, folder)

    def _measured(self, folder: Path) -> Outcome:
        figures: dict[str, float] = {}
        stock = {
            "direct": self._stock(folder, networks=direct_networks()),
            "floating": self._stock(folder, networks=floating_networks()),
            "volume": self._stock(folder, label=_VOLUME, networks=direct_networks()),
        }
        for way, count in stock.items():
            assert count.way == way, f"stock by {way} went by {count.way}"
            figures[f"stock_{way}_calls"] = count.calls
        types = load_plugins(environment={}).providers
        for kind in self.kinds:
            for name, spec in places_of(kind).items():
                count = self._counted(folder / name, spec, kind, types)
                figures[f"{name}_calls"] = count.calls
                figures[f"{name}_more"] = count.calls - stock[count.way].calls
        return Outcome(figures=figures)

    def _stock(
        self, folder: Path, *, label: Mapping[str, Any] | None = None, **parts: Any
    ) -> Count:
        spec = CloudSpec(name="stock", **parts)
        types = load_plugins(environment={}).providers
        return self._counted(folder / "stock", spec, _STOCK, types, label=label)

    def _counted(
        self,
        folder: Path,
        spec: CloudSpec,
        kind: str,
        types: ProviderRegistry,
        *,
        label: Mapping[str, Any] | None = None,
    ) -> Count:
        folder.mkdir(parents=True, exist_ok=True)
        quota = Quota(
            instances=_PLENTY, cores=_PLENTY, ram_mib=_PLENTY * 1024, floating_ips=_PLENTY,
            ports=_PLENTY, volumes=_PLENTY, gigabytes=_PLENTY * 1024,
        )  # fmt: skip
        twin = None if kind == _STOCK else kind
        spec = attrs.evolve(spec, twin=twin, quota=quota, capacity=None, **_PACE)
        stage = Stage(
            folder,
            twin=spec,
            type=kind,
            types=types,
            entry=cloud_entry(a_twin(spec), types),
            label=label,
            pool=_pool(spec, kind, types),
        )
        lives = functools.partial(self._lives, stage)
        told = ""
        try:
            with structlog.testing.capture_logs():
                return trio.run(lives, clock=trio.testing.MockClock(autojump_threshold=0))
        except* AssertionError as group:
            told = "; ".join(str(error) for error in leaves(group))
        raise BrokenRunError(f"{kind} on the twin {spec.name}: {told}")

    async def _lives(self, stage: Stage) -> Count:
        nodes: list[Node] = []
        async with stage.running():
            await stage.becomes(Health.AVAILABLE)
            before = sum(stage.cloud.ledger.calls.values())
            async with trio.open_nursery() as nursery:
                for number in range(self.in_flight):
                    nursery.start_soon(self._requestor, stage, number, nodes)
            while stage.cloud.servers():  # noqa: ASYNC110 - a twin has no events
                await trio.sleep(1.0)
            calls = sum(stage.cloud.ledger.calls.values()) - before
        made = len(nodes)
        assert made == self.in_flight * self.rounds
        needs = nodes[0].shape.resources
        way = "floating" if needs.floating_ips else "volume" if needs.volumes else "direct"
        return Count(calls=calls / made if made else math.nan, way=way)

    async def _requestor(self, stage: Stage, number: int, nodes: list[Node]) -> None:
        # Not in step: lists serve all who wait at the time.
        await trio.sleep(number * 0.7)
        for _ in range(self.rounds):
            request = await stage.served()
            nodes += await stage.core.port.nodes_of(request)
            await stage.release(request)


def _pool(spec: CloudSpec, kind: str, types: ProviderRegistry) -> dict[str, Any]:
    """The networks, where a customer must name them: of several, and by name."""
    found = types.get(kind)
    profile = None if found is None else found.profile
    inside = [net.name for net in spec.networks if net.attachable and not net.external]
    if profile is not None and profile.settings.lacks_neutron:
        return {}
    return {"networks": inside} if len(inside) > 1 else {}
