"""``providers:`` of a trellis.yaml."""

from collections.abc import Mapping
from typing import Any, Final

import attrs

from trellis.config.durations import write_duration
from trellis.nodepool import model
from trellis.nodepool.merging import Merged
from trellis.nodepool.pool_blocks import PoolBlocks
from trellis.nodepool.recipes import CENTURY_S, calls_per_second, is_number
from trellis.nodepool.report import Kind
from trellis.nodepool.site import Site, SiteProvider
from trellis.nodepool.telling import Telling
from trellis.nodepool.uploads import Uploads, named_images
from trellis.nodepool.writing import Block, printed

BOOT_TIMEOUT_S: Final = 60
LAUNCH_TIMEOUT_S: Final = 3600
LAUNCH_RETRIES: Final = 3
PRIORITY: Final = 100
"""What Nodepool takes where its files say nothing (`nodepool/driver/openstack/config.py`)."""


@attrs.frozen(kw_only=True)
class ProviderBlocks:
    """Makes the block of each provider.

    Attributes:
        names: how images are called here.
        types: of providers, by the cloud in clouds.yaml; others are ``openstack``.
    """

    site: Site
    names: Mapping[str, str]
    uploads: Uploads
    types: Mapping[str, str]
    telling: Telling

    def blocks(self) -> list[Block]:
        """All that have pools."""
        return [self._block(provider) for provider in self.site.providers if provider.pools]

    def _block(self, provider: SiteProvider) -> Block:
        config, block = provider.said.value, Block()
        block["name"] = config.name
        block["type"] = self.types.get(config.cloud, "openstack")
        block["cloud"] = config.cloud
        if config.region_name is not None:
            block["region-name"] = config.region_name
        self._priority(block, provider)
        self._launches(block, provider)
        self._rate(block, provider)
        self._images(block, provider)
        self._dropped(block, provider)
        pools = PoolBlocks(provider=provider, names=self.names, telling=self.telling)
        block["pools"] = pools.blocks()
        return block

    def _priority(self, block: Block, provider: SiteProvider) -> None:
        priority = provider.said.value.priority
        if priority is None:
            return
        block["priority"] = max(0, priority)
        if priority < 0:
            self.telling.say(
                block, provider.said, "priority", "no priority is below 0 here",
                explains=(("provider", provider.name, "priority"),),
            )  # fmt: skip

    def _launches(self, block: Block, provider: SiteProvider) -> None:
        config = provider.said.value
        self._time(block, provider.said, "boot_timeout", BOOT_TIMEOUT_S)
        self._time(block, provider.said, "launch_timeout", LAUNCH_TIMEOUT_S)
        retries = LAUNCH_RETRIES if config.launch_retries is None else config.launch_retries
        block["launch-retries"] = max(1, retries)
        bound = config.max_concurrency
        if bound is not None and bound > 0:
            block["max-concurrency"] = bound
            message = "bounds launches under way here; there it compared with finished ones"
            self.telling.say(block, provider.said, "max_concurrency", message)
        elif bound == 0:
            message = "takes no requests: `max-servers: 0` in the pools says that here"
            self.telling.say(block, provider.said, "max_concurrency", message)

    def _time(
        self, block: Block, said: Merged[model.OpenStackProvider], field: str, usual: int
    ) -> None:
        value = getattr(said.value, field)
        key = field.replace("_", "-")
        value = usual if value is None else value
        if value > 0:
            block[key] = write_duration(min(value, CENTURY_S))
        else:
            self.telling.say(
                block, said, field, "has to be above 0; left out",
                explains=(("provider", said.value.name, key),),
            )  # fmt: skip

    def _rate(self, block: Block, provider: SiteProvider) -> None:
        said = provider.said
        rate = said.value.rate
        if rate is None:
            return
        if not is_number(rate):
            self.telling.say(block, said, "rate", "is no number; left out")
            return
        calls = calls_per_second(rate)
        if calls is None:
            message = "is no limit: left out, and what the cloud bears is learnt from its answers"
            self.telling.say(block, said, "rate", message)
            return
        block["limits"] = {"calls-per-second": int(calls) if calls.is_integer() else calls}
        self.telling.say(
            block, said, "rate",
            "a limit of calls to each service, which all providers of one account share; of "
            "several the strictest counts",
        )  # fmt: skip

    def _images(self, block: Block, provider: SiteProvider) -> None:
        said, config = provider.said, provider.said.value
        if config.image_upload_timeout is not None:
            if config.image_upload_timeout > 0:
                timeout = min(config.image_upload_timeout, CENTURY_S)
                block["image-upload-timeout"] = write_duration(timeout)
            else:
                self.telling.say(
                    block, said, "image_upload_timeout", "has to be above 0; left out",
                    explains=(("provider", provider.name, "image-upload-timeout"),),
                )  # fmt: skip
        if properties := self.uploads.of_providers.get(provider.name):
            block["image-properties"] = dict(properties)
        named = named_images(provider)
        for image in provider.images:
            name = image.value.name
            if image.value.pause:
                hint = f"trellis image pause {self.names[name]} --provider {provider.name}"
                self.telling.say(
                    block, image, "pause", f"pause its uploads by hand: {hint}",
                    kind=Kind.TO_DO, comment=f"diskimage {printed(name)}, pause: true",
                )  # fmt: skip
            if name not in named:
                self.telling.say(
                    block, image, "",
                    f"diskimage {printed(name)} is not uploaded here: an image goes where a "
                    "label names it",
                )  # fmt: skip
            elif lost := self.uploads.lost.get((name, provider.name)):
                self.telling.say(
                    block, image, "meta",
                    f"{', '.join(lost)}: cannot differ by image and provider; give it to the image "
                    "(`metadata`) or to the provider (`image-properties`) if one of both will do",
                    kind=Kind.TO_DO, comment=f"diskimage {printed(name)}, meta",
                    explains=(("upload", self.names[name], provider.name, "properties"),),
                )  # fmt: skip
        for name in named:
            if provider.image(name) is None:
                self.telling.say(
                    block, said, "diskimages",
                    f"diskimage {printed(name)} was not uploaded here, so nothing could be "
                    "launched of it; now it is uploaded, as a label names it",
                    comment="",
                )  # fmt: skip
        self._hook(block, provider, named)

    def _hook(self, block: Block, provider: SiteProvider, named: tuple[str, ...]) -> None:
        hook = provider.said.value.post_upload_hook
        if not hook:
            return
        unsaid = [name for name in named if self.uploads.hooks.get(name) is None]
        if unsaid or not named:
            self.telling.say(
                block, provider.said, "post_upload_hook",
                "a hook is an image's here, and not all its providers had this one: write one "
                "that looks at its first argument, the provider's name, and give it to: "
                + (", ".join(self.names[name] for name in unsaid) or "its images"),
                kind=Kind.TO_DO if named else Kind.NO_EQUAL,
                explains=tuple(
                    ("image", self.names[name], "post-upload-hook") for name in unsaid
                ),
            )  # fmt: skip
        if len(unsaid) < len(named):
            message = "is run for the images here; where it fails, the upload is kept"
            self.telling.say(block, provider.said, "post_upload_hook", message)

    def _tell_of_cleaning(self, provider: SiteProvider) -> None:
        """What Nodepool would take from Trellis where both work in one project."""
        config, said = provider.said.value, provider.said
        if config.clean_floating_ips:
            self.telling.say(
                None, said, "clean_floating_ips",
                "set it to false in Nodepool before both work in one project: it deletes all "
                "floating IPs that are not attached, those of Trellis too",
                kind=Kind.TO_DO,
            )  # fmt: skip
        if config.port_cleanup_interval != 0:  # 600 if left out
            self.telling.say(
                None, said, "port_cleanup_interval",
                "set it to 0 in Nodepool before both work in one project: it deletes all ports "
                "that are down, those of Trellis too",
                kind=Kind.TO_DO,
            )  # fmt: skip

    def _dropped(self, block: Block, provider: SiteProvider) -> None:
        said = provider.said
        messages: dict[str, Any] = {
            "image_name_format": "images are called by image and build here",
            "nodepool_id": "meant nothing any more",
            "clean_floating_ips": "only what Trellis made itself is ever deleted",
            "port_cleanup_interval": "only what Trellis made itself is ever deleted",
        }
        for field, message in messages.items():
            self.telling.drop(block, said, field, message)
        self._tell_of_cleaning(provider)
        used = {label.cloud_image for pool in provider.pools for label in pool.value.labels or ()}
        for image in provider.cloud_images:
            if image.value.name not in used:
                self.telling.say(
                    block, image, "",
                    f"cloud image {printed(image.value.name)} is left out: no label names it",
                    kind=Kind.NO_EQUAL,
                )  # fmt: skip
