"""A provider on trial: made as the daemon makes it, in front of a twin or of a live cloud.

`trial` makes account and provider on a `trellis.testing.ways.Way` and cleans up at its end;
`Trial` has the steps that checks are made of.
"""

import itertools
import math
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, Final

import attrs
import trio
import yaml

from trellis.accounts import Accounts
from trellis.config import parse
from trellis.errors import CloudError
from trellis.model.names import node_id
from trellis.model.node import Resource, ResourceKind
from trellis.sim.cloud import SimCloud
from trellis.spi.config import ProviderConfig
from trellis.spi.provider import Gone, Instance, InstanceState, LaunchIntent, Provider, Tag
from trellis.testing.ways import Connect, Way
from trellis.world import World

POOL: Final = "conformance"
LABEL: Final = "conformance"
ABSENT: Final = "absent"
"""A second label, of a flavor that no cloud has."""
NO_SUCH_FLAVOR: Final = "trellis-no-such-flavor"

_TWIN_PATIENCE_S: Final = 3600.0
_LIVE_PATIENCE_S: Final = 900.0
_LOOK_EVERY_S: Final = 2.0
_AGAIN_AFTER_S: Final = 15.0
_EMPTY_WITHIN_S: Final = 600.0


@attrs.define(eq=False, kw_only=True)
class Trial:
    """A provider, and what may be done with it in a check.

    Attributes:
        provider: the one on trial.
        config: its configuration.
        deployment: on the tag of all it makes; another one each time on a live cloud.
        twin: the cloud behind it, to be looked at and meddled with; None if it is real.
        connect: opens a stream to a server.
        patience_s: the longest wait for anything.
    """

    provider: Provider
    config: ProviderConfig
    deployment: str
    twin: SimCloud | None
    connect: Connect
    patience_s: float
    _numbers: "itertools.count[int]" = attrs.field(factory=lambda: itertools.count(1))
    _volumes: set[str] = attrs.field(factory=set)

    async def intent(self, **metadata: str) -> LaunchIntent:
        """What a new node of the label is made from.

        Raises:
            AssertionError: the cloud lacks what the label needs.
        """
        inventory = await self.provider.inventory()
        offer = inventory.offers.get((POOL, LABEL))
        assert offer is not None, f"the label is not offered: {dict(inventory.missing)}"
        number = next(self._numbers)
        return LaunchIntent(
            tag=Tag(deployment=self.deployment, node_id=node_id(number), origin="trial"),
            name=f"tr{number:010d}",
            pool=POOL,
            label=LABEL,
            shape=offer.shape,
            az=offer.zones[0] if offer.zones else None,
            metadata=metadata,
        )

    async def create(self, intent: LaunchIntent) -> str:
        """Take a turn and create the server of an intent."""
        await self.provider.create_turn()
        return await self.provider.create(intent)

    async def active(self, intent: LaunchIntent) -> Instance:
        """Create the server of an intent and wait until it is ACTIVE and has addresses."""
        external_id = await self.create(intent)
        return await self.becomes(external_id, InstanceState.ACTIVE)

    async def becomes(self, external_id: str, *states: InstanceState) -> Instance:
        """Look until a server is in one of these states; ACTIVE is awaited with addresses.

        Raises:
            AssertionError: it is not in time, or will never be.
        """
        ends_at = trio.current_time() + self.patience_s
        while True:
            seen = await self.provider.get(external_id)
            self._volumes.update(seen.volumes)
            lacking = seen.state is InstanceState.ACTIVE and seen.addresses is None
            if seen.state in states and not lacking:
                return seen
            wanted = " or ".join(state.value for state in states)
            told = f"{seen.state.value}{', without addresses' if lacking else ''}: {seen.fault}"
            final = seen.state in (InstanceState.ERROR, InstanceState.GONE)
            assert not final, f"server {external_id} should become {wanted} and is {told}"
            assert trio.current_time() < ends_at, (
                f"server {external_id} should become {wanted}, and after {self.patience_s:g} s "
                f"is {told}"
            )
            await trio.sleep(_LOOK_EVERY_S)

    async def gone(self, kind: ResourceKind, external_id: str | None, tag: Tag) -> None:
        """Delete a thing step by step, until the provider says that it is gone.

        Raises:
            AssertionError: it does not in time.
        """
        resource = Resource(kind=kind, sent_at=0.0, external_id=external_id)
        ends_at = trio.current_time() + self.patience_s
        while await self.provider.delete_step(resource, tag) is not Gone.DONE:
            assert trio.current_time() < ends_at, (
                f"{kind.value} {external_id} is not gone after {self.patience_s:g} s"
            )
            await trio.sleep(_LOOK_EVERY_S)

    async def ours(self) -> tuple[Instance, ...]:
        """The servers of this trial that a full list shows, but for those that are gone."""
        listing = await self.provider.list(None)
        return tuple(
            row
            for row in listing.instances
            if row.tag is not None
            and row.tag.deployment == self.deployment
            and row.state is not InstanceState.GONE
        )

    async def clean_up(self) -> None:
        """Delete all that carries this trial's tag, and what its servers leave behind.

        A cloud that fails is asked again: the check may have ended while it was down.

        Raises:
            AssertionError: something does not go.
            CloudError: the cloud still fails in the end.
        """
        ends_at = trio.current_time() + self.patience_s
        while True:
            try:
                return await self._clean_up()
            except CloudError:
                if trio.current_time() > ends_at:
                    raise
                await trio.sleep(_AGAIN_AFTER_S)

    async def _clean_up(self) -> None:
        servers = await self.ours()
        for row in await self.provider.find_leftovers():
            if row.tag is not None and row.tag.deployment == self.deployment:
                await self.gone(row.kind, row.external_id, row.tag)
        for server in servers:
            assert server.tag is not None
            self._volumes.update(server.volumes)
            await self.gone(ResourceKind.SERVER, server.external_id, server.tag)
        mine = {server.external_id for server in servers}
        tag = Tag(deployment=self.deployment, node_id=node_id(0))
        for row in await self.provider.find_leftovers():
            if row.server_id in mine or row.external_id in self._volumes:
                await self.gone(row.kind, row.external_id, row.tag or tag)

    async def becomes_empty(self) -> None:
        """Nothing of the account is left in the twin, and nobody else was harmed.

        The cloud may be at it still: it deletes the volumes it made after their servers.

        Raises:
            AssertionError: something is left.
        """
        assert self.twin is not None
        ends_at = trio.current_time() + _EMPTY_WITHIN_S
        while left := _left_in(self.twin):
            assert trio.current_time() < ends_at, f"left in the cloud: {', '.join(left)}"
            await trio.sleep(_LOOK_EVERY_S)
        harmed = [fact.name or fact.id for fact in self.twin.ledger.violations]
        assert not harmed, f"a stranger's things were changed: {', '.join(harmed)}"


def _left_in(twin: SimCloud) -> list[str]:
    user = twin.spec.credentials.username
    return [f"server {server.name}" for server in twin.servers() if server.who == user] + [
        f"{what} {one.id}"
        for what, things in (
            ("floating IP", twin.floating_ips()),
            ("volume", twin.volumes()),
            ("keypair", twin.keypairs()),
        )
        for one in things
        if one.who == user
    ]


@asynccontextmanager
async def trial(way: Way, folder: Path, *, settings: Mapping[str, Any]) -> AsyncIterator[Trial]:
    """Make the provider of a way, and clean up behind it at the end of the block.

    Args:
        folder: what relative paths of the settings are relative to.
        settings: the provider's part of a configuration, as `settings_for` makes it.

    Raises:
        ConfigError: the settings do not suit the provider type.
    """
    document = {"deployment": "trial", "labels": [{"name": LABEL}, {"name": ABSENT}]}
    text = yaml.safe_dump({**document, "providers": [dict(settings)]})
    configuration = parse(text, way.types, file="trial", folder=folder).configuration
    (config,) = configuration.providers
    live = way.twin is None
    # A live project may hold what an earlier trial left behind: it must not be taken for ours.
    deployment = f"trial-{uuid.uuid4().hex[:8]}" if live else "trial"
    accounts = Accounts(
        read=way.read,
        registry=way.types,
        deployment=deployment,
        world=World(wall=way.wall, random=Random(1), connect=way.connect, transport=way.transports),
        configs=[config],
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(accounts.run)
        provider = (await accounts.connect(config)).provider
        async with provider.open():
            made = Trial(
                provider=provider,
                config=config,
                deployment=deployment,
                twin=way.twin,
                connect=way.connect,
                patience_s=_LIVE_PATIENCE_S if live else _TWIN_PATIENCE_S,
            )
            yield made
        nursery.cancel_scope.cancel()


def settings_for(
    way: Way,
    *,
    cloud: str,
    label: Mapping[str, Any],
    pool: Mapping[str, Any],
    provider: Mapping[str, Any],
) -> dict[str, Any]:
    """The provider's part of a configuration: one pool, and two labels of which one is absent.

    Args:
        cloud: name of the entry in clouds.yaml.
        label, pool, provider: keys as in the file, beside or in place of those that are made
            here; one that is None is left out.
    """
    offered = _with({"name": LABEL}, label)
    absent = _with(offered, {"name": ABSENT, "flavor-name": NO_SUCH_FLAVOR, "min-ram": None})
    pools = [_with({"name": POOL, "labels": [offered, absent]}, pool)]
    region = {} if way.region is None else {"region-name": way.region}
    given = {"name": "trial", "type": way.kind, "cloud": cloud, **region, "pools": pools}
    return _with(given, provider)


def _with(ground: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in {**ground, **above}.items() if value is not None}


def beyond(limit: float | int | None) -> bool:
    """Whether a limit of a quota binds nothing."""
    return limit is None or limit == math.inf
