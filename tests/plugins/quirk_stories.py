"""The stories of our plugins' quirks: told on `tests.daemon.stage`, beside a stock cloud."""

from pathlib import Path
from typing import Any

import attrs

from tests.daemon.stage import Stage
from trellis.openstack.profile import CloudProfile
from trellis.providers.config import OpenStackProviderConfig
from trellis.providers.openstack import OpenStackProvider, make_provider
from trellis.sim.cloud.spec import CloudSpec
from trellis.spi.registry import ProviderRegistry
from trellis.testing.quirk_stories import QuirkStories, Story

__all__ = ["Stories", "Story", "Told"]


@attrs.frozen
class Told:
    """What a story is told with.

    Attributes:
        folder: of its own.
        profile: the cloud's, with the quirk or without.
        types: with the plugin's type, of this profile.
    """

    folder: Path
    profile: CloudProfile
    types: ProviderRegistry

    def stage(self, **options: Any) -> Stage:
        """The daemon's core between the clouds of `Stage`, which takes the options."""
        return Stage(self.folder, types=self.types, **options)


class Stories(QuirkStories):
    """The stories of one type, as `QuirkStories` has them."""

    def __init__(
        self,
        profile: CloudProfile,
        provider: type[OpenStackProvider] = OpenStackProvider,
        configuration: type[OpenStackProviderConfig] = OpenStackProviderConfig,
    ) -> None:
        # Each story says itself which clouds it is told between.
        twin = CloudSpec(name="alpha")
        super().__init__(profile, twin, provider=provider, configuration=configuration)

    def told(self, folder: Path, profile: CloudProfile, types: ProviderRegistry) -> Told:
        """With our own stage, and the stock type for its second cloud."""
        types.add("openstack", make_provider, OpenStackProviderConfig)
        return Told(folder, profile, types)
