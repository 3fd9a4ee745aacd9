"""A provider's image store on a simulated cloud, and files to put into it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import attrs
import httpx
import trio
from canned import a_config
from image_source import NAME, TAG, Source, an_intent

from trellis.openstack.clouds import CloudConfig
from trellis.openstack.wiring import wired_account
from trellis.providers.images import OpenStackImages
from trellis.providers.openstack import OpenStackProvider
from trellis.sim.cloud import CloudSpec, SimCloud, SimTransport
from trellis.spi.image import ImageIntent, UploadProgress
from trellis.spi.provider import Gone

__all__ = ["NAME", "NOTHING", "TAG", "At", "Source", "an_intent", "at_cloud"]

NOTHING = UploadProgress()

Meddle = Callable[[httpx.Request], httpx.Response | Exception | None]


class Meddled(SimTransport):
    """Keeps what was called, and lets a test answer in the cloud's place, before or after it."""

    def __init__(self, at: "At") -> None:
        super().__init__(at.cloud)
        self._at = at

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._at.calls.append(f"{request.method} {request.url.path}")
        if self._at.before is not None and (found := self._at.before(request)) is not None:
            return await _given(found)
        answer = await super().handle_async_request(request)
        if self._at.after is not None and (found := self._at.after(request)) is not None:
            return await _given(found)
        return answer


async def _given(found: httpx.Response | Exception) -> httpx.Response:
    await trio.lowlevel.checkpoint()
    if isinstance(found, Exception):
        raise found
    return found


@attrs.define(eq=False)
class At:
    """The cloud, the store on it, and what was called."""

    cloud: SimCloud
    calls: list[str] = attrs.field(factory=list)
    before: Meddle | None = None
    after: Meddle | None = None
    provider: OpenStackProvider | None = None

    @property
    def images(self) -> OpenStackImages:
        assert self.provider is not None
        assert isinstance(self.provider.images, OpenStackImages)
        return self.provider.images

    @property
    def image_calls(self) -> list[str]:
        """Calls that are about images or objects, ids left out."""
        found = [call for call in self.calls if "/image/" in call or "/object" in call]
        ids = {row.id for row in self.there()}
        for one in ids:
            found = [call.replace(one, "ID") for call in found]
        return found

    def there(self) -> list[Any]:
        """The images that callers made, as the cloud knows them."""
        region = next(iter(self.cloud._regions.values()))
        return [one for one in region.servers.glance.all.values() if not one.is_offered]

    async def upload(
        self, intent: ImageIntent, source: Source, progress: UploadProgress = NOTHING
    ) -> list[UploadProgress]:
        """Take all steps; returns what each came to."""
        steps = [progress]
        while not steps[-1].done:
            assert len(steps) < 2000
            steps.append(await self.images.upload_step(intent, steps[-1], source))
            await trio.sleep(steps[-1].wait_s)
        return steps[1:]

    async def delete(self, intent: ImageIntent, progress: UploadProgress) -> int:
        """Take all steps of a deletion; returns how many."""
        for count in range(1, 2000):
            if await self.images.delete_step(intent, progress) is Gone.DONE:
                return count
            await trio.sleep(5.0)
        raise AssertionError("it is not gone after so many steps")


@asynccontextmanager
async def at_cloud(
    spec: CloudSpec | None = None,
    *,
    settings: dict[str, Any] | None = None,
    auth_type: str = "v3password",
    quirks: Any = None,
    wires: Callable[[SimCloud], Any] | None = None,
    **config: Any,
) -> AsyncIterator[At]:
    """A stock provider on a simulated cloud, logged in.

    Args:
        wires: makes the wires in place of those that keep what was called.
    """
    at = At(SimCloud(spec or CloudSpec(name="acme")))
    mine = at.cloud.spec.credentials
    auth = {"auth_url": at.cloud.auth_url, "username": mine.username, "password": mine.password}
    if auth_type == "v3password":
        domains = {"user_domain_name": mine.user_domain, "project_domain_name": mine.project_domain}
        auth |= {**domains, "project_name": mine.project}
    else:
        auth |= {"tenant_id": at.cloud.project_id}
    cloud = CloudConfig(name="acme", auth_type=auth_type, auth=auth)
    async with (
        wired_account(
            cloud,
            lambda _: wires(at.cloud) if wires else Meddled(at),
            random=Random(1),
            wall=trio.current_time,
        ) as wired,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(wired.account.run)
        session = wired.session(at.cloud.spec.regions[0])
        at.provider = OpenStackProvider(
            a_config(**config), session, "d", settings=settings, quirks=quirks
        )
        await at.provider.home()
        at.calls.clear()
        yield at
        nursery.cancel_scope.cancel()
