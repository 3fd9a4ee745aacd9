"""Uploads by a plugin's provider to its twin, and a server of what was uploaded."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import attrs
import trio

from tests.daemon.stage import MINUTE, Stage
from tests.plugins.quirk_stories import Told
from tests.providers.image_source import Source, an_intent
from trellis.accounts import Accounts
from trellis.config import parse
from trellis.model.names import NodeId
from trellis.providers.openstack import OpenStackProvider
from trellis.sim.cloud.cloud import connector
from trellis.sim.cloud.disk_files import vhd_footer
from trellis.spi.image import ImageIntent, UploadProgress
from trellis.spi.provider import InstanceState, LaunchIntent, Tag
from trellis.world import World

SMALL = ("main", "small")
QCOW2 = b"QFI\xfb" + (2).to_bytes(4, "big") + b"\0" * 4088
FILES = {"qcow2": QCOW2, "raw": b"r" * 4096, "vhd": b"v" * 4096 + vhd_footer()}
"""A small file of each format, as the twins look at them."""


@asynccontextmanager
async def provider_of(told: Told, stage: Stage) -> AsyncIterator[OpenStackProvider]:
    """The provider of a stage, on its account and without a daemon around it."""
    configs = parse(
        stage.configuration, told.types, file="stage", folder=told.folder
    ).configuration.providers
    world = World(
        wall=stage.wall, random=Random(5), connect=connector(stage.clouds.values()),
        transport=stage.wires,
    )  # fmt: skip
    accounts = Accounts(
        read=stage.read, registry=told.types, deployment="stage", world=world, configs=configs
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(accounts.run)
        provider = (await accounts.connect(configs[0])).provider
        assert isinstance(provider, OpenStackProvider)
        yield provider
        nursery.cancel_scope.cancel()


async def uploaded(provider: OpenStackProvider, **intent: Any) -> tuple[ImageIntent, str]:
    """Upload a file of the format that suits the cloud best; what it was, and the image's id."""
    assert provider.images is not None
    form = provider.images.formats[0]
    source = Source(FILES[form])
    wanted, progress = an_intent(source, format=form, **intent), UploadProgress()
    while not progress.done:
        progress = await provider.images.upload_step(wanted, progress, source)
        await trio.sleep(progress.wait_s)
    assert progress.external_id is not None
    return wanted, progress.external_id


async def boots_in(provider: OpenStackProvider, image_id: str, key=SMALL) -> float | None:
    """Seconds until a server of an image is ACTIVE; None if it fails, or takes half an hour."""
    shape = (await provider.inventory()).offers[key].shape
    intent = LaunchIntent(
        tag=Tag(deployment="stage", node_id=NodeId("0000000001")), name="one",
        pool=key[0], label=key[1], shape=attrs.evolve(shape, image_id=image_id), az=None,
    )  # fmt: skip
    began = trio.current_time()
    await provider.create_turn()
    server_id = await provider.create(intent)
    with trio.move_on_after(30 * MINUTE):
        while True:
            await trio.sleep(1.0)
            match (await provider.get(server_id)).state:
                case InstanceState.ACTIVE:
                    return trio.current_time() - began
                case InstanceState.ERROR:
                    return None
    return None
