"""Stories that any provider can play with its cloud: recorded once, told again by tests.

A story talks to the cloud through the plugin's provider only, and always in the same way: same
tag, same names, no chance. What it makes, it deletes.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import attrs
import trio

from trellis.errors import QuotaExceededError, TrellisError
from trellis.inspection.opening import Opened
from trellis.model.names import NodeId
from trellis.model.node import Resource, ResourceKind
from trellis.model.quota import RESOURCE_NAMES
from trellis.spi.provider import (
    Capability,
    Gone,
    Instance,
    InstanceState,
    Inventory,
    LaunchIntent,
    Provider,
    PublicAddress,
    Tag,
)

DEPLOYMENT: Final = "cassettes"
POOL: Final = "main"
LABEL: Final = "check"
UNKNOWN_SERVER: Final = "00000000-0000-4000-8000-000000000000"
_TAG: Final = Tag(deployment=DEPLOYMENT, node_id=NodeId("0000000001"))
NAME: Final = "np0000000001"
_LOOK_EVERY_S: Final = 2.0
_PATIENCE_S: Final = 900.0


class CannotTellError(TrellisError):
    """A story cannot be told at this cloud, or would not be safe; the text says why."""


@attrs.frozen(kw_only=True)
class Scene:
    """A provider at its cloud, with steps that stories are made of."""

    there: Opened

    @property
    def provider(self) -> Provider:
        """The plugin's."""
        return self.there.provider

    async def offered(self) -> Inventory:
        """What the cloud has, with an offer for the label.

        Raises:
            CannotTellError: it lacks what the label names.
        """
        inventory = await self.provider.inventory()
        if (POOL, LABEL) not in inventory.offers:
            why = inventory.missing.get((POOL, LABEL), "no image and flavor are given")
            raise CannotTellError(f"{why}. Give --image, and --flavor or --network if need be")
        return inventory

    async def intent(self) -> LaunchIntent:
        """What a server of the label is made from; always the same.

        Raises:
            CannotTellError: the cloud lacks what the label names.
        """
        offer = (await self.offered()).offers[POOL, LABEL]
        return LaunchIntent(
            tag=_TAG,
            name=NAME,
            pool=POOL,
            label=LABEL,
            shape=offer.shape,
            az=offer.zones[0] if offer.zones else None,
        )

    async def active(self, server_id: str) -> list[Instance]:
        """Look at a server until it is ACTIVE and has addresses; all that was seen.

        Raises:
            CannotTellError: it will never be, or is not in time.
        """
        ends_at = trio.current_time() + _PATIENCE_S
        seen: list[Instance] = []
        while True:
            seen.append(await self.provider.get(server_id))
            state = seen[-1].state
            if state is InstanceState.ACTIVE and seen[-1].addresses is not None:
                return seen
            if state in (InstanceState.ERROR, InstanceState.GONE):
                raise CannotTellError(f"the server is {state.value}: {seen[-1].fault}")
            if trio.current_time() > ends_at:
                raise CannotTellError(f"no server became ACTIVE within {_PATIENCE_S:g} s")
            await trio.sleep(_LOOK_EVERY_S)

    async def gone(self, kind: ResourceKind, external_id: str | None) -> int:
        """Delete a thing until it is proved gone; how many steps it took."""
        resource = Resource(kind=kind, sent_at=0.0, external_id=external_id)
        steps = 1
        while await self.provider.delete_step(resource, _TAG) is not Gone.DONE:
            steps += 1
            await trio.sleep(_LOOK_EVERY_S)
        return steps

    async def tidy(self) -> None:
        """Delete what a story that was broken off may have made, whatever became of it.

        Raises:
            CloudError: the cloud does not let it.
        """
        if Capability.FLOATING_IPS in self.provider.capabilities:
            await self.gone(ResourceKind.FLOATING_IP, None)
        while (left := await self.provider.find(_TAG, NAME)) is not None:
            if left.state is InstanceState.GONE:
                return
            await self.gone(ResourceKind.SERVER, left.external_id)


@attrs.frozen(kw_only=True)
class CloudStory:
    """One story.

    Attributes:
        service: whose exchange it is mostly; a folder of the cassettes.
        about: what happens in it, in a sentence.
        makes: what it makes, and deletes at its end; "" for one that only asks.
        needs_label: it needs an image and a flavor.
        tell: tells it, and returns what the provider made of the answers.
    """

    name: str
    service: str
    about: str
    makes: str
    needs_label: bool
    tell: Callable[[Scene], Awaitable[Any]]

    @property
    def path(self) -> str:
        """Its cassette, below a cloud's folder."""
        return f"{self.service}/{self.name}.yaml"


STORIES: Final[dict[str, CloudStory]] = {}
"""By name, in the order in which they are recorded."""

_Tell = Callable[[Scene], Awaitable[Any]]


def _story(service: str, *, makes: str = "", needs_label: bool = True) -> Callable[[_Tell], _Tell]:
    def keep(tell: _Tell) -> _Tell:
        name = getattr(tell, "__name__", "")
        about = " ".join((tell.__doc__ or "").split())
        STORIES[name] = CloudStory(
            name=name, service=service, about=about, makes=makes, needs_label=needs_label,
            tell=tell,
        )  # fmt: skip
        return tell

    return keep


@_story("identity", needs_label=False)
async def login(scene: Scene) -> Any:
    """A login as the entry has it; the catalog says where compute is."""
    return await scene.provider.home()


@_story("compute", needs_label=False)
async def limits(scene: Scene) -> Any:
    """The quota, and what is used of it."""
    return await scene.provider.limits()


@_story("compute", needs_label=False)
async def unknown_server(scene: Scene) -> Any:
    """A server that nobody made: looking at it and deleting it both prove that it is gone."""
    seen = await scene.provider.get(UNKNOWN_SERVER)
    return seen, await scene.gone(ResourceKind.SERVER, UNKNOWN_SERVER)


@_story("compute")
async def offer(scene: Scene) -> Any:
    """What a label comes to: flavor, image, networks and zones, by name."""
    return await scene.offered()


@_story("compute", makes="one server")
async def launch(scene: Scene) -> Any:
    """A server's whole life: created, ACTIVE with addresses, found by its tag, deleted, gone."""
    intent = await scene.intent()
    server_id = await scene.provider.create(intent)
    life = await scene.active(server_id)
    found = await scene.provider.find(intent.tag, intent.name)
    await scene.gone(ResourceKind.SERVER, server_id)
    return life, found, await scene.provider.get(server_id)


@_story("network", makes="one server and one floating IP")
async def floating_ip(scene: Scene) -> Any:
    """A server's floating IP: given, the same when asked for again, found, deleted twice."""
    if Capability.FLOATING_IPS not in scene.provider.capabilities:
        raise CannotTellError("this plugin gives no floating IPs (capability floating-ips)")
    intent = await scene.intent()
    server_id = await scene.provider.create(intent)
    life = await scene.active(server_id)
    first = await scene.provider.attach_public(intent.tag, server_id)
    again = await scene.provider.attach_public(intent.tag, server_id)
    reached = await _until_public(scene, server_id, first)
    left = await scene.provider.find_leftovers()
    await scene.gone(ResourceKind.FLOATING_IP, first.external_id)
    await scene.gone(ResourceKind.FLOATING_IP, first.external_id)
    await scene.gone(ResourceKind.SERVER, server_id)
    return life[-1], first, again, reached, [row for row in left if row.tag == intent.tag]


async def _until_public(scene: Scene, server_id: str, given: PublicAddress) -> Instance:
    """Look until the server is shown with the address: nova may be late to tell."""
    while True:
        seen = await scene.provider.get(server_id)
        if seen.addresses is not None and seen.addresses.public_ipv4 == given.address:
            return seen
        await trio.sleep(_LOOK_EVERY_S)


@_story("compute", makes="nothing, as the cloud refuses it: a server above the quota")
async def over_quota(scene: Scene) -> Any:
    """A server above the quota is refused, and the refusal says that it is the quota."""
    reading = await scene.provider.limits()
    intent = await scene.intent()
    size = intent.shape.resources
    counted = "instances", "cores", "ram_mib"
    if not set(counted) & set(reading.limits.short_of(reading.used, size)):
        free = ", ".join(
            f"{getattr(reading.limits, name)} {name} less {getattr(reading.used, name)}"
            for name in RESOURCE_NAMES[:3]
        )
        raise CannotTellError(
            f"a server of flavor {intent.shape.flavor_name} would be made: the project has room "
            f"for it ({free}). Give a --flavor that is larger than what is left"
        )
    try:
        server_id = await scene.provider.create(intent)
    except QuotaExceededError as refusal:
        return refusal  # any other error may have made it all the same
    await scene.gone(ResourceKind.SERVER, server_id)
    raise CannotTellError("the cloud made the server all the same; it is deleted again")
