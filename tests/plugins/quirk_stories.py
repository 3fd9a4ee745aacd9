"""A story for each quirk of a plugin, told twice: as the plugin has it, and with it switched off.

What holds with the quirk must fail without it, or nothing shows that it is needed.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs

from tests.daemon.stage import Stage
from trellis.openstack.profile import CloudProfile
from trellis.providers.config import OpenStackProviderConfig
from trellis.providers.openstack import OpenStackProvider
from trellis.spi.config import with_defaults
from trellis.spi.registry import ProviderContext, ProviderRegistry

Story = Callable[["Told"], Awaitable[None]]
HOOK = "hook."


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


class Stories:
    """The stories of one type.

    Args:
        profile: the cloud's.
        provider: its class; hooks are its overridden methods.
        configuration: its configuration class, before the profile's defaults.
    """

    def __init__(
        self,
        profile: CloudProfile,
        provider: type[OpenStackProvider] = OpenStackProvider,
        configuration: type[OpenStackProviderConfig] = OpenStackProviderConfig,
    ) -> None:
        self.profile = profile
        self._provider, self._configuration = provider, configuration
        self._stories: dict[str, Story] = {}

    @property
    def names(self) -> list[str]:
        """The quirks of the profile: each needs a story."""
        return [quirk.name for quirk in self.profile.quirks]

    def of(self, *names: str) -> Callable[[Story], Story]:
        """Decorate the story of a quirk, or of several that it needs at once."""

        def add(story: Story) -> Story:
            for name in names:
                assert name in self.names, f"there is no quirk {name}"
                assert name not in self._stories, f"quirk {name} has two stories"
                self._stories[name] = story
            return story

        return add

    def untold(self) -> list[str]:
        """Quirks without a story."""
        return [name for name in self.names if name not in self._stories]

    async def tell(self, name: str, folder: Path, *, without: bool = False) -> None:
        """Tell the story of a quirk; *without* it, the cloud is stock in this one respect."""
        profile, provider = self.profile, self._provider
        if without:
            profile = profile.without(name)
            if name.startswith(HOOK):
                provider = _without(provider, name.removeprefix(HOOK))
        await self._stories[name](Told(folder, profile, self._types(profile, provider)))

    def _types(self, profile: CloudProfile, provider: type[OpenStackProvider]) -> ProviderRegistry:
        def make(config: OpenStackProviderConfig, context: ProviderContext) -> OpenStackProvider:
            return provider(config, context.session, context.deployment, quirks=profile.settings)

        types = ProviderRegistry()
        configuration = with_defaults(self._configuration, "Config", profile.defaults)
        types.add("openstack", make, OpenStackProviderConfig)
        types.add(profile.name, make, configuration, profile=profile)
        return types


def _without(provider: type[OpenStackProvider], method: str) -> type[OpenStackProvider]:
    return type(provider.__name__, (provider,), {method: getattr(OpenStackProvider, method)})
