"""The stories of the cassettes: each is run on a real cloud to record it and replayed in tests.

A story talks to the cloud through our client only; what must happen beside it (a quota changed,
a token revoked) it asks of `Beside`, which does nothing when the story is replayed.
"""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

import attrs
import httpx
import trio

from trellis.errors import CloudError, NotFoundError
from trellis.http import Road
from trellis.openstack.auth import Account, running_account
from trellis.openstack.clouds import CloudConfig
from trellis.openstack.compute import Compute, ServerRequest, ServerRow
from trellis.openstack.faults import error_from_fault
from trellis.openstack.image import Image
from trellis.openstack.image_write import GLANCE_DIRECT, FullImage, ImageWrites
from trellis.openstack.network import Network
from trellis.openstack.session import Session

IDENTITY: Final = "https://identity.cloud.example"
NAME: Final = "trellis-test"
CREDENTIAL_ID: Final = "0123456789abcdef0123456789abcdef"
FLAVOR, TOO_BIG, IMAGE, OUTSIDE = "ci-1c-1g", "too-big", "test-image", "public"
TAG: Final = "trellis:cassettes:0000000001"

PASSWORD: Final = CloudConfig(
    name=NAME,
    region_name="RegionOne",
    auth_type="password",
    auth={
        "auth_url": f"{IDENTITY}/v3",
        "username": NAME,
        "password": "scrubbed",
        "project_name": NAME,
        "user_domain_name": "Default",
        "project_domain_name": "Default",
    },
)
APPCRED: Final = CloudConfig(
    name=f"{NAME}-appcred",
    region_name="RegionOne",
    auth_type="v3applicationcredential",
    auth={
        "auth_url": f"{IDENTITY}/v3",
        "application_credential_id": CREDENTIAL_ID,
        "application_credential_secret": "scrubbed",
    },
)


class Beside(Protocol):
    """What happens beside a story while it is recorded."""

    async def set_cores(self, cores: int) -> None: ...

    async def make_servers(self, count: int) -> None: ...

    async def revoke(self, token: str) -> None: ...


class Nothing:
    """What happens beside a story that is replayed."""

    async def set_cores(self, cores: int) -> None:
        await trio.lowlevel.checkpoint()

    async def make_servers(self, count: int) -> None:
        await trio.lowlevel.checkpoint()

    async def revoke(self, token: str) -> None:
        await trio.lowlevel.checkpoint()


@attrs.frozen(kw_only=True)
class Scene:
    """One region of the cloud through our client."""

    account: Account
    session: Session
    beside: Beside
    compute: Compute
    network: Network
    image: Image

    async def request(self, flavor: str = FLAVOR, **metadata: str) -> ServerRequest:
        """What to create a server from, its parts looked up by name."""
        image = await self.image.find(IMAGE)
        flavors = {row.name: row.id for row in await self.compute.flavors()}
        return ServerRequest(
            name="np0000000001",
            flavor_id=flavors[flavor],
            image_id=image.id,
            metadata={"trellis_deployment": "cassettes", **metadata},
        )

    async def wait(self, server_id: str, status: str) -> list[ServerRow]:
        """Look once a second until the server has this status; all that was seen."""
        seen = [await self.compute.server(server_id)]
        while seen[-1].status != status:
            await trio.sleep(1)
            seen.append(await self.compute.server(server_id))
        return seen

    async def wait_gone(self, server_id: str) -> NotFoundError:
        """Look once a second until the server is not found."""
        while True:
            try:
                await self.compute.server(server_id)
            except NotFoundError as error:
                return error
            await trio.sleep(1)


@asynccontextmanager
async def scene(
    config: CloudConfig, transport: httpx.AsyncBaseTransport, beside: Beside
) -> AsyncIterator[Scene]:
    """Our client on this transport, as long as the block runs."""
    road = Road(config.name, transport, random=random.Random(1))
    async with running_account(config, road.beside(transport)) as account:
        session = Session(account, road, region=config.region_name)
        yield Scene(
            account=account, session=session, beside=beside, compute=Compute(session),
            network=Network(session), image=Image(session),
        )  # fmt: skip


@attrs.frozen(kw_only=True)
class Story:
    """One story.

    Attributes:
        path: below ``cassettes/openstack``.
        about: what happens in it, for the cassette's head.
        tell: what it does and returns.
    """

    path: str
    about: str
    tell: Callable[[Scene], Awaitable[Any]]
    config: CloudConfig

    @property
    def name(self) -> str:
        """Its file's name without the ending."""
        return self.path.rpartition("/")[2].removesuffix(".yaml")


STORIES: Final[dict[str, Story]] = {}


def _story(service: str, config: CloudConfig = PASSWORD) -> Callable[[Any], Any]:
    def keep(tell: Callable[[Scene], Awaitable[Any]]) -> Callable[[Scene], Awaitable[Any]]:
        name = tell.__name__
        STORIES[name] = Story(
            path=f"{service}/{name}.yaml", about=tell.__doc__ or "", tell=tell, config=config
        )
        return tell

    return keep


async def refusal(call: Awaitable[object]) -> CloudError:
    """The error with which a cloud refuses what it must refuse."""
    try:
        answer = await call
    except CloudError as error:
        return error
    raise AssertionError(f"the cloud accepted it: {answer}")


@_story("identity")
async def password_login(scene: Scene) -> Any:
    """A login by name and password, with discovery; the catalog says where compute is."""
    return await scene.session.home()


@_story("identity", APPCRED)
async def application_credential_login(scene: Scene) -> Any:
    """A login by application credential, which brings its project with it."""
    return await scene.session.home()


@_story(
    "identity",
    attrs.evolve(PASSWORD, auth={**PASSWORD.auth, "password": "scrubbed, and wrong"}),
)
async def wrong_password(scene: Scene) -> Any:
    """A login with a wrong password is refused once, however many ask."""
    first = await refusal(scene.session.home())
    return first, await refusal(scene.session.home()), scene.account.state


@_story("identity")
async def expired_token(scene: Scene) -> Any:
    """Nova refuses a token that keystone has revoked; one more login, and the call succeeds."""
    before = await scene.account.token()
    await scene.beside.revoke(before.token)
    limits = await scene.compute.limits()
    return before, limits, await scene.account.token(), scene.account.state


@_story("compute")
async def inventory(scene: Scene) -> Any:
    """What a region offers: flavors, zones, an image by name, the quota and its use."""
    return (
        await scene.compute.flavors(),
        await scene.compute.zones(),
        await scene.image.find(IMAGE),
        await scene.image.find("no-such-image"),
        await scene.compute.limits(),
    )


@_story("compute")
async def launch(scene: Scene) -> Any:
    """A server's whole life: created, BUILD, ACTIVE, deleted, gone, and a DELETED row after."""
    request = await scene.request(trellis_node_id="0000000001")
    server_id = await scene.compute.create_server(request)
    life = await scene.wait(server_id, "ACTIVE")
    listed = await scene.compute.servers(changes_since=life[0].updated)
    await scene.compute.delete_server(server_id)
    gone = await scene.wait_gone(server_id)
    changed = await scene.compute.servers(changes_since=life[0].updated)
    return server_id, life, listed, gone, changed, await scene.compute.servers()


@_story("compute")
async def over_quota(scene: Scene) -> Any:
    """A create for which the project has too few cores is refused."""
    request = await scene.request(TOO_BIG)
    return await refusal(scene.compute.create_server(request))


@_story("compute")
async def no_valid_host(scene: Scene) -> Any:
    """A create that the quota allows and no host can take ends in ERROR with a fault."""
    await scene.beside.set_cores(9000)
    server_id = await scene.compute.create_server(await scene.request(TOO_BIG))
    [*_, last] = await scene.wait(server_id, "ERROR")
    await scene.compute.delete_server(server_id)
    await scene.wait_gone(server_id)
    await scene.beside.set_cores(80)
    return last, error_from_fault(last.fault.message, last.fault.code)


@_story("compute")
async def build_failure(scene: Scene) -> Any:
    """A build that fails on its host ends in ERROR with a fault."""
    server_id = await scene.compute.create_server(await scene.request(realcloud_build_fail="abort"))
    [*_, last] = await scene.wait(server_id, "ERROR")
    await scene.compute.delete_server(server_id)
    await scene.wait_gone(server_id)
    return last, error_from_fault(last.fault.message, last.fault.code)


@_story("compute")
async def delete_twice(scene: Scene) -> Any:
    """Deleting a server that is gone is refused as not found; so is looking at it."""
    server_id = await scene.compute.create_server(await scene.request())
    await scene.wait(server_id, "ACTIVE")
    await scene.compute.delete_server(server_id)
    gone = await scene.wait_gone(server_id)
    return gone, await refusal(scene.compute.delete_server(server_id))


@_story("compute")
async def paging(scene: Scene) -> Any:
    """A list of three servers, one a page, is followed to its end; by name it is one."""
    await scene.beside.make_servers(3)
    listed = await scene.compute.servers(limit=1)
    return listed, await scene.compute.servers(name="paged-1")


@_story("network")
async def floating_ip(scene: Scene) -> Any:
    """A floating IP with our mark: allocated on a port, found by its mark, deleted twice."""
    server_id = await scene.compute.create_server(await scene.request())
    await scene.wait(server_id, "ACTIVE")
    outside = next(row for row in await scene.network.networks() if row.external)
    [port] = await scene.network.ports(device_id=server_id)
    made = await scene.network.create_floating_ip(
        network_id=outside.id,
        port_id=port.id,
        fixed_address=port.fixed_ips[0].ip_address,
        description=TAG,
    )
    found = await scene.network.floating_ips(description=TAG)
    quota = (await scene.network.quota((await scene.session.home()).project_id)).floatingip
    await scene.network.delete_floating_ip(made.id)
    refused = await refusal(scene.network.delete_floating_ip(made.id))
    await scene.compute.delete_server(server_id)
    await scene.wait_gone(server_id)
    return port, made, found, quota, refused


class SmallFile:
    """A body of 64 KiB that no image can be booted from."""

    size: Final = 65_536

    @asynccontextmanager
    async def open(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """See `trellis.http.message.Stream`."""

        async def pieces() -> AsyncIterator[bytes]:
            await trio.lowlevel.checkpoint()
            yield b"\0" * self.size

        yield pieces()


IMAGE_TAG: Final = {"trellis_deployment": "cassettes", "trellis_image": "debian-12"}


async def _active(glance: ImageWrites, image_id: str) -> FullImage:
    while (row := await glance.image(image_id)).status != "active":  # noqa: ASYNC110
        await trio.sleep(1)
    return row


async def _made(glance: ImageWrites) -> FullImage:
    return await glance.create(
        name="debian-12-0000000001.1", disk_format="raw", properties=IMAGE_TAG, visibility="private"
    )


@_story("image")
async def image_put(scene: Scene) -> Any:
    """An image is made, sent, found by its mark and changed; not sent twice, nor deleted twice."""
    glance = ImageWrites(scene.session)
    made = await _made(glance)
    await glance.put_file(made.id, SmallFile())
    active = await _active(glance, made.id)
    twice = await refusal(glance.put_file(made.id, SmallFile()))
    changed = await glance.set_properties(made.id, {"os_distro": "debian"})
    found = await glance.images({"name": made.name})
    await glance.delete(made.id)
    gone = await refusal(glance.image(made.id))
    return made, active, twice, changed, found, gone, await refusal(glance.delete(made.id))


@_story("image")
async def image_import(scene: Scene) -> Any:
    """What was staged is imported, by a task of the cloud's own; not before it is staged."""
    glance = ImageWrites(scene.session)
    ways = await glance.import_methods()
    made = await _made(glance)
    early = await refusal(glance.start_import(made.id, GLANCE_DIRECT))
    await glance.stage(made.id, SmallFile())
    staged = await glance.image(made.id)
    await glance.start_import(made.id, GLANCE_DIRECT)
    active = await _active(glance, made.id)
    await glance.delete(made.id)
    return ways, early, staged, active
