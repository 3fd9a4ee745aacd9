"""What a running provider has to do with images: what it takes, what its labels boot from."""

from collections.abc import Callable
from typing import Final

import attrs

from trellis.control.fleet import Fleet
from trellis.control.health import ProviderHealth
from trellis.control.images.book import ImageBook
from trellis.control.images.choice import Choice
from trellis.control.images.image_works import ImageWorks
from trellis.control.images.upload_place import image_store
from trellis.control.policy import InForce
from trellis.images.snapshot import ProviderPlace
from trellis.model.image import Standing, Upload, UploadState
from trellis.model.node import Home, Login, Node, Shape
from trellis.model.provider import ProviderRecord
from trellis.spi.config import ProviderConfig
from trellis.spi.provider import Inventory, Offer, Provider
from trellis.store.store import Store
from trellis.world import World

_OF_THE_IMAGE: Final = (
    "connection_type", "connection_port", "username", "python_path", "shell_type",
)  # fmt: skip
_PLAIN: Final = Login()


@attrs.frozen(kw_only=True)
class SharedImages:
    """What all providers share of images.

    Attributes:
        nudge: asks for a pass over images soon.
    """

    book: ImageBook
    choice: Choice
    in_force: InForce
    nudge: Callable[[], None]


class ImagesHere:
    """Images at one provider, as long as it is at work, connected or not."""

    def __init__(self, provider: str, shared: SharedImages) -> None:
        self._name, self._shared = provider, shared
        self._format: str | None = None
        self._no_images = ""

    @property
    def book(self) -> ImageBook:
        """All images on record."""
        return self._shared.book

    # -------------------------------------------------------------------------- uploads

    def connected(self, provider: Provider) -> None:
        """Note in which format its cloud takes images, if any."""
        store = image_store(provider)
        self._format = store.formats[0] if store is not None and store.formats else None
        self._no_images = "" if store is not None else "images cannot be uploaded there"
        self._shared.choice.takes_none(self._name, self._no_images)
        self._shared.nudge()

    def taken_up(self) -> None:
        """Note that it is configured otherwise, and connects anew."""
        self._format, self._no_images = None, ""
        self._shared.nudge()

    def place(self, config: ProviderConfig, *, dropped: bool) -> ProviderPlace:
        """What of images matters there."""
        named = (label.image for pool in config.pools for label in pool.labels)
        return ProviderPlace(
            name=self._name,
            images=frozenset(image for image in named if image is not None),
            format=self._format or self._format_of_before(),
            no_images=self._no_images,
            dropped=dropped,
        )

    def furnish(
        self,
        *,
        config: ProviderConfig,
        deployment: str,
        provider: Provider,
        store: Store,
        world: World,
        fleet: Fleet,
        health: ProviderHealth,
        foreign: Callable[[Home], str],
        words: Callable[[], ProviderRecord],
    ) -> ImageWorks:
        """What uploads to it and deletes there, while it is connected: see `ImageWorks`."""
        return ImageWorks.furnish(
            config=config,
            deployment=deployment,
            provider=provider,
            store=store,
            world=world,
            fleet=fleet,
            book=self._shared.book,
            in_force=self._shared.in_force,
            health=health,
            foreign=foreign,
            words=words,
        )

    def has_uploads(self) -> bool:
        """Whether there is something left of it in the cloud."""
        return bool(self._shared.book.at_provider(self._name))

    def external_ids(self) -> frozenset[str]:
        """The images in its cloud that are ours."""
        uploads = self._shared.book.at_provider(self._name)
        return frozenset(one.external_id for one in uploads if one.external_id is not None)

    def _format_of_before(self) -> str | None:
        """What it took when it was connected last: the newest upload tells."""
        uploads = self._shared.book.at_provider(self._name)
        newest = max(uploads, key=lambda one: one.created_at, default=None)
        return newest.artifact.format if newest is not None else None

    # ------------------------------------------------------------------------- launches

    def dressed(self, inventory: Inventory | None) -> Inventory | None:
        """What labels come to with the images that launches boot from now.

        The same object as before while nothing of it has changed.
        """
        if inventory is None:
            return None
        return self._shared.choice.dressed(self._name, inventory)

    def against(self, node: Node, offer: Offer | None) -> str:
        """Why a node must not be created from the image it was to boot from; "" if it may.

        Args:
            offer: what its label came down to, before the image is chosen; None if to nothing.
        """
        upload = self._shared.book.by_external.get((self._name, node.shape.image_id))
        if upload is None:
            if offer is None or offer.image is None:
                return ""
            return f"image {node.shape.image_name} is no upload of {offer.image} any more"
        if upload.state is not UploadState.READY:
            return f"image {node.shape.image_name} is being deleted"
        if upload.standing is Standing.WITHDRAWN and not self._pinned(upload):
            return f"image {node.shape.image_name} was withdrawn: {upload.standing_why}"
        return ""

    def _pinned(self, upload: Upload) -> bool:
        pin = self._shared.book.record(upload.image).place(self._name).pin
        return pin is not None and pin.build_id == upload.build_id


def same_but_image(shape: Shape, offer: Offer) -> bool:
    """Whether a node's shape is what its label comes down to, whichever upload it boots from."""
    if offer.image is not None:
        shape = attrs.evolve(
            shape, image_id=offer.shape.image_id, image_name=offer.shape.image_name
        )
    return shape == offer.shape


def login_of(label: Login, image: Login) -> Login:
    """How to log in to a node: as its image says, but for what its label says otherwise."""
    taken = {
        name: getattr(image, name)
        for name in _OF_THE_IMAGE
        if getattr(label, name) == getattr(_PLAIN, name)
    }
    return attrs.evolve(label, **taken)
