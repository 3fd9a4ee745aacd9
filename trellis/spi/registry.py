"""What plugins register with: one typed registry for each thing they can add.

A mistake raises `PluginError` in the plugin's own frame, with what is wrong and what to write.
"""

import builtins
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import attrs

from trellis.errors import PluginError
from trellis.spi.config import DemandSourceConfig, ImageConfig, ProviderConfig
from trellis.spi.demand import DemandSource
from trellis.spi.image import ImageBuilder
from trellis.spi.provider import Provider
from trellis.zookeeper.session import OpenSession

if TYPE_CHECKING:
    from trellis.openstack.profile import CloudProfile
    from trellis.openstack.session import Session

_TYPE: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?\Z")


@attrs.frozen(kw_only=True)
class ProviderContext:
    """What a provider is made with, beside its configuration.

    Attributes:
        deployment: goes on the tag of everything it makes.
        session: the account's authenticated road to its cloud.
        profile: what the type was registered with; None is a stock cloud.
        settings: of the cloud's entry in clouds.yaml, as ``image_format``.
    """

    deployment: str
    session: "Session"
    profile: "CloudProfile | None" = None
    settings: Mapping[str, Any] = attrs.field(factory=dict)


ProviderFactory = Callable[[Any, ProviderContext], Provider]
"""Makes a provider of a configuration (of the class registered with it); does no I/O."""


@attrs.frozen(kw_only=True)
class DemandContext:
    """What a demand source is made with, beside its configuration.

    Attributes:
        deployment: whose nodes these are.
        wall: UTC seconds since the epoch; never goes back.
        random: the one source of chance.
        zookeeper: opens a session with ZooKeeper.
        report: to be told what stands in the source's way now, in words for people, and "" when
            nothing does: shown in ``trellis demand list``, ``/readyz`` and the log.
    """

    deployment: str
    wall: Callable[[], float]
    random: Random
    zookeeper: OpenSession
    report: Callable[[str], None] = lambda _words: None


DemandSourceFactory = Callable[[Any, DemandContext], DemandSource]
"""Makes a demand source of a configuration (of the class registered with it); does no I/O."""

ImageBuilderFactory = Callable[[Any], ImageBuilder]
"""Makes the builder of an image of its configuration (of the class registered with it); no I/O."""

F = TypeVar("F", bound=Callable[..., object])


@attrs.frozen(kw_only=True)
class Registration(Generic[F]):
    """One registered type.

    Attributes:
        plugin: name of the plugin that registered it.
        profile: of the cloud it is for; None for a stock cloud, and for what is no provider.
    """

    type: str
    factory: F
    configuration_class: builtins.type
    plugin: str
    profile: "CloudProfile | None" = None


class Registry(Generic[F]):
    """Types by name, each with what makes it and what configures it.

    Attributes:
        what: what is registered, in words.
        base: class that every configuration class derives from.
    """

    what: str = "type"
    base: type = object

    def __init__(self) -> None:
        self._entries: dict[str, Registration[F]] = {}
        self._plugin = ""
        self._closed = False

    def add(self, type: str, factory: F, configuration_class: type) -> None:
        """Register a type.

        Args:
            type: name by which the configuration file asks for it: lower case, digits, dashes.
            factory: makes one.
            configuration_class: frozen attrs class of what the file says of it.

        Raises:
            PluginError: the name is taken or malformed, or an argument is not what it must be.
        """
        if self._closed:
            raise PluginError(
                f"{self.what} {type!r}: it is too late to register, only the hook may"
            )
        if not isinstance(type, str) or not _TYPE.match(type):
            raise PluginError(
                f"{self.what} {type!r}: a type is at most 40 lower-case letters, digits and dashes"
            )
        if not callable(factory):
            raise PluginError(f"{self.what} {type!r}: the factory {factory!r} cannot be called")
        self._check_class(type, configuration_class)
        if earlier := self._entries.get(type):
            raise PluginError(
                f"{self.what} {type!r} is already registered by plugin {earlier.plugin!r}: "
                "choose another name, or disable one of the two plugins"
            )
        self._entries[type] = Registration(
            type=type,
            factory=factory,
            configuration_class=configuration_class,
            plugin=self._plugin,
        )

    def _check_class(self, type_: str, cls: object) -> None:
        wanted = f"{self.what} {type_!r}: the configuration class must be"
        if not isinstance(cls, type):
            raise PluginError(f"{wanted} a class, not {cls!r}")
        if not issubclass(cls, self.base):
            raise PluginError(f"{wanted} a subclass of {self.base.__name__}, not {cls.__name__}")
        # A plain subclass of an attrs class passes attrs.has and would lose its own fields.
        if "__attrs_attrs__" not in vars(cls) or not attrs.inspect(cls).is_frozen:
            raise PluginError(
                f"{wanted} decorated with @attrs.frozen(kw_only=True); {cls.__name__} is not"
            )

    def types(self) -> tuple[str, ...]:
        """The registered types, sorted."""
        return tuple(sorted(self._entries))

    def get(self, type: str) -> Registration[F] | None:
        """The registration of a type, or None."""
        return self._entries.get(type)

    def registrations(self) -> tuple[Registration[F], ...]:
        """All registrations, by type."""
        return tuple(self._entries[type_] for type_ in self.types())

    @contextmanager
    def on_behalf_of(self, plugin: str) -> Iterator[None]:
        """Note *plugin* on what is added in the block; if the block raises, undo all of it."""
        before, self._plugin = dict(self._entries), plugin
        try:
            yield
        except BaseException:
            self._entries = before
            raise
        finally:
            self._plugin = ""

    def close(self) -> None:
        """Refuse further additions."""
        self._closed = True


class ProviderRegistry(Registry[ProviderFactory]):
    """The types of provider; `add(type, factory, configuration_class, profile=…)`.

    The configuration class derives from `ProviderConfig`.
    """

    what = "provider type"
    base = ProviderConfig

    def add(
        self,
        type: str,
        factory: ProviderFactory,
        configuration_class: builtins.type,
        *,
        profile: "CloudProfile | None" = None,
    ) -> None:
        """Register a type of provider.

        Args:
            type: name by which the configuration file asks for it: lower case, digits, dashes.
            factory: makes one; a class may be its own.
            configuration_class: frozen attrs class of what the file says of it.
            profile: what is the same for all customers of its cloud. It lies under an entry of
                ``clouds.yaml`` that names it, or that names neither a profile nor an
                ``auth_url``; its rates are kept to, its quirks are shown.

        Raises:
            PluginError: the name is taken or malformed, an argument is not what it must be, or
                the profile lacks something.
        """
        provider = factory if isinstance(factory, builtins.type) else None
        if profile is not None and (faults := profile.faults(provider, configuration_class)):
            raise PluginError(
                f"{self.what} {type!r}: its profile cannot be used: {'; '.join(faults)}"
            )
        super().add(type, factory, configuration_class)
        if profile is not None:
            self._entries[type] = attrs.evolve(self._entries[type], profile=profile)

    def profile_name(self, type: str) -> str | None:
        """The name of a type's profile; None if it has none, or is no type."""
        registration = self.get(type)
        profile = None if registration is None else registration.profile
        return None if profile is None else profile.name

    def profiles(self) -> Mapping[str, "CloudProfile"]:
        """The profiles of all types, by their own names."""
        return {
            registered.profile.name: registered.profile
            for registered in self.registrations()
            if registered.profile is not None
        }


class DemandSourceRegistry(Registry[DemandSourceFactory]):
    """The types of demand source; `add(type, factory, configuration_class)`.

    The configuration class derives from `DemandSourceConfig`.
    """

    what = "demand source type"
    base = DemandSourceConfig


class ImageBuilderRegistry(Registry[ImageBuilderFactory]):
    """The types of image builder; `add(type, factory, configuration_class)`.

    The configuration class derives from `ImageConfig`.
    """

    what = "image builder type"
    base = ImageConfig
