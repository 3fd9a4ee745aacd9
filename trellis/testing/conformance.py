"""`ProviderConformance`: the tests that every provider passes, for a plugin's own test folder.

    class TestMyCloud(ProviderConformance):
        type = "mycloud"
        twin = CloudSpec(name="mycloud", ...)

They run on the twin, on virtual time, and on recorded cassettes; with ``pytest --live ENTRY`` on
the cloud that an entry of ``clouds.yaml`` names. What a provider cannot do it says itself
(`Provider.capabilities`): nothing is declared here, and a test that needs more is skipped with the
capability that is missing.

Needs ``trellis-ci[testing]``.
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
import pytest_trio
import trio
from trio.testing import MockClock

from trellis.http import lane_transports
from trellis.sim.cloud import CloudSpec, SimCloud, Strangers
from trellis.spi.registry import ProviderRegistry
from trellis.testing.checks import (
    AddressChecks,
    CassetteChecks,
    LifeChecks,
    ListChecks,
    QueryChecks,
    TroubleChecks,
)
from trellis.testing.live import Live, live_of
from trellis.testing.trial import Trial, settings_for, trial
from trellis.testing.types import problems_of, types_of
from trellis.testing.ways import Way, a_twin, reader, twin_entry, twin_label, twin_way

_CLEANED_UP_WITHIN_S = 7200.0
_trio_fixture: Callable[[Any], Any] = pytest_trio.trio_fixture
_MEDDLED_WITH = ("faults", "outages", "quota", "page", "latency", "rate_limits")


class ProviderConformance(
    LifeChecks, QueryChecks, ListChecks, AddressChecks, TroubleChecks, CassetteChecks
):
    """The conformance tests of one type of provider; to be subclassed as ``Test…``.

    Attributes:
        type: the provider type, as configuration files name it.
        twin: a simulated cloud that behaves as the real one does.
        plugin: the module with the hooks; None finds the type among the installed plugins.
        label: keys of the label in the configuration, in place of the twin's first image and
            flavor; one that is None is left out.
        pool: keys of its pool, as ``networks``.
        provider: keys of the provider, as ``floating-network``.
        cassettes: the folder with the plugin's cassettes, if it has any: each that ``trellis
            plugin record`` wrote is told to the provider again.
    """

    type: ClassVar[str] = ""
    twin: ClassVar[CloudSpec | None] = None
    plugin: ClassVar[ModuleType | None] = None
    label: ClassVar[Mapping[str, Any]] = {}
    pool: ClassVar[Mapping[str, Any]] = {}
    provider: ClassVar[Mapping[str, Any]] = {}

    # ------------------------------------------------------------ what a subclass may override

    def types(self) -> ProviderRegistry:
        """Where the type is registered: by `plugin`, or by what is installed."""
        return types_of(self.plugin)

    def entry(self, cloud: SimCloud) -> Mapping[str, Any]:
        """The entry of ``clouds.yaml`` with which a customer logs in at the twin."""
        registration = self.types().get(self.type)
        return twin_entry(cloud, None if registration is None else registration.profile)

    # -------------------------------------------------------------------------------- fixtures

    @pytest.fixture
    def trial_clock(self, request: pytest.FixtureRequest) -> MockClock | None:
        """Virtual time that jumps over every wait; real time on a live cloud."""
        return None if live_of(request.config) else MockClock(autojump_threshold=0.0)

    @pytest.fixture
    def trial_connects(self, request: pytest.FixtureRequest) -> bool:
        """Whether servers are to be connected to."""
        live = live_of(request.config)
        return live is None or live.connects

    @_trio_fixture
    async def trial(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Trial]:
        """The provider on trial; all that it made is deleted again at the end."""
        live = live_of(request.config)
        async with self.on_twin(tmp_path) if live is None else self.on_live(live) as made:
            yield made  # noqa: ASYNC119 - pytest-trio resumes it, whatever the test did

    def on_twin(self, folder: Path) -> AbstractAsyncContextManager[Trial]:
        """A trial on the twin; *folder* takes its clouds.yaml.

        Raises:
            pytest.fail.Exception: the class lacks something, or the plugin cannot be used.
        """
        return _tidy(self._twin_way(folder), folder, self)

    def on_live(self, live: Live) -> AbstractAsyncContextManager[Trial]:
        """A trial on a live cloud: it makes servers there, and deletes them."""
        types = self._registered()
        way = Way(
            kind=self.type,
            types=types,
            read=reader(types),
            transports=lane_transports(),
            connect=trio.open_tcp_stream,
            wall=time.time,
            region=live.region,
        )
        return _tidy(way, Path.cwd(), self, live)

    def _twin_way(self, folder: Path) -> Way:
        if self.twin is None:
            pytest.fail(f"{type_name(self)} has no twin: set `twin` to a CloudSpec", pytrace=False)
        types = self._registered()
        # Somebody else is always there: what is not ours must never be touched.
        cloud = a_twin(self.twin, strangers=Strangers(servers_at_start=2, floating_ips_at_start=1))
        return twin_way(self.type, types, cloud, self.entry(cloud), folder)

    def _registered(self) -> ProviderRegistry:
        types = self.types()
        if types.get(self.type) is None:
            why = "".join(
                f"\n  {name} is disabled: {problem}" for name, problem in problems_of(self.plugin)
            )
            pytest.fail(
                f"{type_name(self)}: no plugin registers the provider type {self.type!r}; there "
                f"is: {', '.join(types.types())}{why}",
                pytrace=False,
            )
        return types


def type_name(test: object) -> str:
    """The class of a test, for messages."""
    return test.__class__.__name__


@asynccontextmanager
async def _tidy(
    way: Way, folder: Path, test: ProviderConformance, live: Live | None = None
) -> AsyncIterator[Trial]:
    if way.twin is not None:
        label = {**twin_label(way.twin.spec), **test.label}
        cloud, pool = way.twin.spec.name, test.pool
    else:
        assert live is not None
        size = {"min-ram": 1} if live.flavor is None else {"flavor-name": live.flavor}
        label = {**test.label, "flavor-name": None, "cloud-image": live.image, **size}
        networks = {"networks": list(live.networks)} if live.networks else {}
        cloud, pool = live.cloud, {**test.pool, **networks}
    settings = settings_for(way, cloud=cloud, label=label, pool=pool, provider=test.provider)
    as_it_was = None if way.twin is None else way.twin.spec
    async with trial(way, folder, settings=settings) as made:
        yield made
        # Not in a `finally`: pytest-trio comes back here whether or not the test has failed.
        if way.twin is not None and as_it_was is not None:
            way.twin.change(
                **{name: getattr(as_it_was, name) for name in _MEDDLED_WITH},
            )
        with trio.fail_after(_CLEANED_UP_WITHIN_S):
            await made.clean_up()
        if way.twin is not None:
            await made.becomes_empty()
