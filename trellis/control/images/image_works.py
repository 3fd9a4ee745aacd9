"""What moves images at one provider while it is connected: uploads, and the sweep."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Self

import attrs
import trio

from trellis.control.fleet import Fleet
from trellis.control.health import ProviderHealth
from trellis.control.images.book import ImageBook
from trellis.control.images.image_sweep import ImageSweep
from trellis.control.images.upload_fate import UploadFate, estrange_images, is_issued_upload
from trellis.control.images.uploading import Uploading
from trellis.control.lineage import let_go
from trellis.control.policy import InForce
from trellis.control.supervise import supervise
from trellis.model.node import Home
from trellis.model.provider import ProviderRecord
from trellis.spi.config import ProviderConfig
from trellis.spi.provider import Provider
from trellis.store.store import Store
from trellis.world import World


@attrs.frozen(kw_only=True)
class ImageWorks:
    """Uploads to one provider and deletes there; made anew when it connects anew."""

    uploading: Uploading
    sweep: ImageSweep

    @classmethod
    def furnish(
        cls,
        *,
        config: ProviderConfig,
        deployment: str,
        provider: Provider,
        store: Store,
        world: World,
        fleet: Fleet,
        book: ImageBook,
        in_force: InForce,
        health: ProviderHealth,
        foreign: Callable[[Home], str],
        words: Callable[[], ProviderRecord],
    ) -> Self:
        """Make both.

        Args:
            foreign: why a project and endpoint are not those of our records; "" if they are.
            words: what people have decided about single leaks.
        """

        def booted(image_id: str) -> bool:
            # By any provider: two of them may look at one project (rule 9).
            return any(node.shape.image_id == image_id for node in fleet.nodes.values())

        uploading = Uploading(
            config=config,
            deployment=deployment,
            provider=provider,
            store=store,
            world=world,
            book=book,
            health=health,
            foreign=foreign,
            image_config=lambda name: in_force.policy.images.configs.get(name),
            booted=booted,
        )
        sweep = ImageSweep(
            name=config.name,
            deployment=deployment,
            provider=provider,
            mode=config.sweep,
            wall=world.wall,
            book=book,
            foreign=foreign,
            issued=partial(is_issued_upload, store),
            booted=booted,
            estrange=partial(estrange_images, store, config.name),
            let_go=partial(let_go, store, config.name),
            words=words,
            fate=UploadFate(store=store, world=world),
        )
        return cls(uploading=uploading, sweep=sweep)

    async def run(self) -> None:
        """Run both until cancelled; a crash of one is no launch's trouble (P5).

        Raises:
            StoreFailedError: nothing can be recorded any more (in a group).
        """
        name = self.sweep.name
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_supervised, f"{name} uploads", self.uploading.run)
            nursery.start_soon(_supervised, f"{name} image sweep", self.sweep.run)


async def _supervised(name: str, run: Callable[[], Awaitable[None]]) -> None:
    # What crashed is in the log; there is nothing else to be told of it.
    await supervise(name, run, on_crash=lambda _name, _crash: None)
