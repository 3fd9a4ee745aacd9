"""A story for each quirk of a profile, told twice: as the plugin has it, and with it switched off.

What holds with a quirk must fail without it, or nothing shows that the quirk is needed.

    STORIES = QuirkStories(PROFILE, TWIN)

    @STORIES.of("zones")
    async def only_one_zone_is_used(told):
        stage = told.stage()
        async with stage.running():
            zones = {node.az for _ in range(6) for node in await stage.nodes()}
        assert zones == {"zone-1"}
"""

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import attrs

from trellis.errors import TrellisError
from trellis.openstack.profile import CloudProfile
from trellis.providers.config import OpenStackProviderConfig
from trellis.providers.openstack import OpenStackProvider
from trellis.sim.cloud import CloudSpec
from trellis.spi.config import with_defaults
from trellis.spi.registry import ProviderContext, ProviderRegistry
from trellis.testing.stage import Stage

Story = Callable[[Any], Awaitable[None]]
_HOOK: Final = "hook."


@attrs.frozen(kw_only=True)
class Told:
    """What a story is told with.

    Attributes:
        folder: of its own.
        profile: the cloud's, with the quirk or without.
        types: with the plugin's type, of this profile.
        twin: what the cloud is like.
    """

    folder: Path
    profile: CloudProfile
    types: ProviderRegistry
    twin: CloudSpec

    def stage(self, **options: Any) -> Stage:
        """The core of the daemon in front of the twin; the options are those of `Stage`."""
        given = {"twin": self.twin, "type": self.profile.name, "types": self.types}
        return Stage(self.folder, **{**given, **options})


class QuirkStories:
    """The stories of one provider type.

    Args:
        profile: the cloud's.
        twin: what the cloud is like.
        provider: the type's class; hooks are its overridden methods.
        configuration: its configuration class, before the profile's defaults.
    """

    def __init__(
        self,
        profile: CloudProfile,
        twin: CloudSpec,
        *,
        provider: type[OpenStackProvider] = OpenStackProvider,
        configuration: type[OpenStackProviderConfig] = OpenStackProviderConfig,
    ) -> None:
        self.profile, self._twin = profile, twin
        self._provider, self._configuration = provider, configuration
        self._stories: dict[str, Story] = {}

    @property
    def names(self) -> list[str]:
        """The quirks of the profile: each needs a story."""
        return [quirk.name for quirk in self.profile.quirks]

    def of(self, *names: str) -> Callable[[Story], Story]:
        """Decorate the story of a quirk, or of several that it needs at once.

        Raises:
            ValueError: there is no such quirk, or it has a story already.
        """

        def add(story: Story) -> Story:
            for name in names:
                if name not in self.names:
                    raise ValueError(f"{self.profile.name} has no quirk {name}")
                if name in self._stories:
                    raise ValueError(f"quirk {name} has two stories")
                self._stories[name] = story
            return story

        return add

    def untold(self) -> list[str]:
        """Quirks without a story."""
        return [name for name in self.names if name not in self._stories]

    async def tell(self, name: str, folder: Path, *, without: bool = False) -> None:
        """Tell the story of a quirk.

        Args:
            folder: takes the files of the story.
            without: the cloud is taken for stock in this one respect.

        Raises:
            KeyError: there is no such quirk, or it has no story.
            Exception: whatever the story raises: as it must without the quirk.
        """
        profile, provider = self.profile, self._provider
        if without:
            profile = profile.without(name)
            if name.startswith(_HOOK):
                provider = _stock_in(provider, name.removeprefix(_HOOK))
        await self._stories[name](self.told(folder, profile, self.types(profile, provider)))

    async def fails_without(self, name: str, folder: Path) -> list[BaseException]:
        """Tell the story of a quirk without it, and return why it failed.

        Raises:
            AssertionError: it holds all the same: the quirk is not needed, or the story does not
                show what it is for.
            Exception: what is neither an assertion nor an error of Trellis: the story is broken.
        """
        try:
            await self.tell(name, folder, without=True)
        except Exception as error:
            reasons = list(_leaves(error))
            if all(isinstance(reason, AssertionError | TrellisError) for reason in reasons):
                return reasons
            raise
        raise AssertionError(f"the story of {name} holds without it")

    def told(self, folder: Path, profile: CloudProfile, types: ProviderRegistry) -> Any:
        """What a story is told with; to be overridden by whoever has another stage."""
        return Told(folder=folder, profile=profile, types=types, twin=self._twin)

    def types(self, profile: CloudProfile, provider: type[OpenStackProvider]) -> ProviderRegistry:
        """Where the type is registered, with this profile and this class."""

        def make(config: OpenStackProviderConfig, context: ProviderContext) -> OpenStackProvider:
            return provider(
                config,
                context.session,
                context.deployment,
                quirks=profile.settings,
                settings=context.settings,
            )

        types = ProviderRegistry()
        configuration = with_defaults(self._configuration, "Config", profile.defaults)
        types.add(profile.name, make, configuration, profile=profile)
        return types


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        yield error
        return
    for inner in error.exceptions:
        yield from _leaves(inner)


def _stock_in(provider: type[OpenStackProvider], method: str) -> type[OpenStackProvider]:
    """The provider with the stock method in the place of its own."""
    return type(provider.__name__, (provider,), {method: getattr(OpenStackProvider, method)})
