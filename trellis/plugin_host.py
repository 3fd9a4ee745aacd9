"""Finds plugins, loads each on its own, and lets it register what it adds.

The only module that knows pluggy's manager. A plugin that cannot be used is disabled with the
reason and what to do, all it registered is undone, and the rest goes on.
"""

import difflib
import enum
import importlib
import importlib.metadata
import inspect
import os
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final

import attrs
import pluggy

import trellis
from trellis.config.kinds import unusable_fields
from trellis.errors import PluginError
from trellis.spi import hooks
from trellis.spi.provider import SPI_VERSION
from trellis.spi.registry import (
    DemandSourceRegistry,
    ImageBuilderRegistry,
    ProviderRegistry,
    Registry,
)
from trellis.spi.version import negotiated

ENTRY_POINT_GROUP: Final = "trellis"
DISABLED_VARIABLE: Final = "TRELLIS_DISABLED_PLUGINS"
BUILT_IN: Final = "built-in"
_HOOK_PREFIX: Final = "trellis_register_"


class PluginState(enum.Enum):
    """What has become of a plugin."""

    ACTIVE = "active"
    BLOCKED = "blocked"
    """By the configuration or the environment: it was not even imported."""
    BROKEN = "broken"
    """It could not be used; `PluginInfo.problem` says why."""


@attrs.frozen(kw_only=True)
class Plugin:
    """A plugin that may be loaded.

    Attributes:
        name: what ``disabled-plugins`` calls it; the entry point's name.
        load: imports it and returns the module or object with the hooks.
        origin: distribution it comes from, or ``built-in``.
    """

    name: str
    load: Callable[[], object]
    origin: str = ""
    version: str = ""


@attrs.frozen(kw_only=True)
class PluginInfo:
    """A plugin as ``trellis plugin list`` shows it.

    Attributes:
        hooks: names of the hooks it implements.
        registered: what it added, as ``provider type 'ovh'``.
        problem: why it is not active, and what to do; "" if it is.
        spi_version: of the plugin interface, by which it is used; None if it is not.
    """

    name: str
    version: str
    origin: str
    hooks: tuple[str, ...]
    registered: tuple[str, ...]
    state: PluginState
    problem: str = ""
    spi_version: int | None = None


def built_in_plugins() -> tuple[Plugin, ...]:
    """The plugins that come with Trellis."""
    return (
        Plugin(
            name="openstack",
            # By name, as a plugin is: the host must not drag in what a plugin imports.
            load=lambda: importlib.import_module("trellis.providers.plugin"),
            origin=BUILT_IN,
            version=trellis.__version__,
        ),
        Plugin(
            name="builders",
            load=lambda: importlib.import_module("trellis.builders.plugin"),
            origin=BUILT_IN,
            version=trellis.__version__,
        ),
    )


def installed_plugins() -> tuple[Plugin, ...]:
    """The plugins of installed distributions, by name; imports none of them."""
    found = importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)
    plugins = [
        Plugin(
            name=point.name,
            load=point.load,
            origin=point.dist.name if point.dist else "",
            version=point.dist.version if point.dist else "",
        )
        for point in found
    ]
    return tuple(sorted(plugins, key=lambda plugin: (plugin.name, plugin.origin)))


def blocked_names(
    configured: Sequence[str] = (), environment: Mapping[str, str] = os.environ
) -> tuple[str, ...]:
    """Names of plugins not to load: those configured, and those of the environment's variable."""
    from_environment = environment.get(DISABLED_VARIABLE, "").replace(",", " ").split()
    return tuple(dict.fromkeys([*configured, *from_environment]))


def load_plugins(
    configured: Sequence[str] = (), environment: Mapping[str, str] = os.environ
) -> "PluginHost":
    """The host of the daemon and the commands: built-in plugins first, then installed ones.

    Args:
        configured: names not to load, from `trellis.config.disabled_plugins`.
        environment: where ``TRELLIS_DISABLED_PLUGINS`` may name more.
    """
    blocked = blocked_names(configured, environment)
    return PluginHost((*built_in_plugins(), *installed_plugins()), blocked=blocked)


class PluginHost:
    """Loads plugins when it is made, and holds what they registered.

    Args:
        plugins: what to load, in this order: those a test names; see also `load_plugins`.
        blocked: names not to load; a distribution's name blocks all of its plugins.

    Attributes:
        providers, demand_sources, image_builders: what the active plugins registered.
        warnings: blocked names that no plugin has.
    """

    def __init__(self, plugins: Iterable[Plugin], *, blocked: Sequence[str] = ()) -> None:
        self.providers = ProviderRegistry()
        self.demand_sources = DemandSourceRegistry()
        self.image_builders = ImageBuilderRegistry()
        self._registries: dict[str, Registry[Any]] = {
            "trellis_register_providers": self.providers,
            "trellis_register_demand_sources": self.demand_sources,
            "trellis_register_image_builders": self.image_builders,
        }
        self._manager = _Manager(hooks.PROJECT)
        self._manager.add_hookspecs(hooks)
        for name in blocked:
            self._manager.set_blocked(name)
        wanted = tuple(plugins)
        self.warnings = _unknown_blocked(blocked, wanted)
        self._plugins: list[PluginInfo] = []
        for plugin in wanted:
            self._plugins.append(self._admit(plugin))
        for registry in self._registries.values():
            registry.close()

    def plugins(self) -> tuple[PluginInfo, ...]:
        """Every plugin that was found, in the order of loading."""
        return tuple(self._plugins)

    def broken(self) -> tuple[PluginInfo, ...]:
        """The plugins that could not be used; each deserves an error in the log."""
        return tuple(info for info in self._plugins if info.state is PluginState.BROKEN)

    def _admit(self, plugin: Plugin) -> PluginInfo:
        if self._manager.is_blocked(plugin.name) or (
            plugin.origin and self._manager.is_blocked(plugin.origin)
        ):
            problem = f"blocked by 'disabled-plugins' or {DISABLED_VARIABLE}"
            return _info(plugin, PluginState.BLOCKED, problem)
        try:
            version, implemented = self._load(plugin)
        except PluginError as error:
            return _info(plugin, PluginState.BROKEN, str(error))
        registered = tuple(
            f"{registry.what} {registration.type!r}"
            for registry in self._registries.values()
            for registration in registry.registrations()
            if registration.plugin == plugin.name
        )
        return attrs.evolve(
            _info(plugin, PluginState.ACTIVE),
            hooks=implemented,
            registered=registered,
            spi_version=version,
        )

    def _load(self, plugin: Plugin) -> tuple[int, tuple[str, ...]]:
        for other in self._plugins:
            if other.name == plugin.name and other.state is PluginState.ACTIVE:
                raise PluginError(
                    f"the name is taken by a plugin of {other.origin or 'this process'}: "
                    "uninstall one of the two, or rename its entry point"
                )
        try:
            module = _guarded(plugin.load, "importing it failed")
        except PluginError as error:
            raise _with_a_hint(error, plugin) from error
        version = _negotiate(module, plugin)
        if self._manager.is_registered(module):
            raise PluginError(f"it is loaded already as {self._manager.get_name(module)!r}")
        try:
            _guarded(lambda: self._manager.register(module, plugin.name), "its hooks are wrong")
            implemented = self._hooks_of(module)
            with ExitStack() as undo:
                for registry in self._registries.values():
                    undo.enter_context(registry.on_behalf_of(plugin.name))
                for hook in implemented:
                    self._call(hook, module)
        except PluginError:
            if self._manager.is_registered(module):
                self._manager.unregister(module)
            raise
        return version, implemented

    def _hooks_of(self, module: object) -> tuple[str, ...]:
        implemented = tuple(caller.name for caller in self._manager.get_hookcallers(module) or ())
        known = list(self._registries)
        for name in implemented:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f", did you mean {near[0]!r}?" if near else f"; hooks are {known}"
                raise PluginError(f"there is no hook {name!r}{hint}")
        _guarded(self._manager.check_pending, "its hooks are wrong")
        if not implemented:
            raise PluginError(f"it implements none of the hooks {', '.join(known)}")
        # In the order of the registries, whatever order the module has them in.
        return tuple(name for name in known if name in implemented)

    def _call(self, hook: str, module: object) -> None:
        registry = self._registries[hook]
        before = set(registry.types())
        others = [p for p in self._manager.get_plugins() if p is not module]
        caller = self._manager.subset_hook_caller(hook, others)
        answers = _guarded(lambda: caller(register=registry), f"{hook} failed")
        for answer in answers if isinstance(answers, list) else ():
            if inspect.iscoroutine(answer):
                answer.close()
                raise PluginError(f"{hook} is async, but hooks are plain functions")
        for registration in registry.registrations():
            cls = registration.configuration_class
            if registration.type not in before and (unusable := unusable_fields(cls)):
                raise PluginError(
                    f"{registry.what} {registration.type!r}: its configuration class cannot be "
                    f"filled from a file: {'; '.join(unusable)}"
                )


class _Manager(pluggy.PluginManager):
    """Takes every function named like a hook for one, so that a forgotten marker is no silence."""

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        options = super().parse_hookimpl_opts(plugin, name)
        unmarked = options is None and name.startswith(_HOOK_PREFIX)
        return {} if unmarked and inspect.isroutine(getattr(plugin, name)) else options


def _guarded(call: Callable[[], Any], what: str) -> Any:
    # Supervision of foreign code: whatever it raises is its own failure and not the daemon's.
    try:
        return call()
    except (Exception, SystemExit) as error:
        if isinstance(error, PluginError | pluggy.PluginValidationError):
            reason = str(error)
        else:
            reason = f"{type(error).__name__}: {error} ({_place(error)})"
        raise PluginError(f"{what}: {_one_line(reason)}") from error


def _with_a_hint(error: PluginError, plugin: Plugin) -> PluginError:
    """What to upgrade, where a plugin wants a part of Trellis that is not there."""
    cause = error.__cause__
    if not isinstance(cause, ImportError) or (cause.name or "").split(".")[0] != "trellis":
        return error
    return PluginError(
        f"{error}: it is built for another release of trellis-ci than {trellis.__version__} "
        f"(version {SPI_VERSION} of the SPI): upgrade {plugin.origin or plugin.name} or trellis-ci"
    )


def _place(error: BaseException) -> str:
    """Where it was raised: module and line, which is what the plugin's author needs."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1]
    return f"{os.path.basename(last.filename)}:{last.lineno}"


def _negotiate(module: object, plugin: Plugin) -> int:
    if plugin.origin == BUILT_IN:
        return SPI_VERSION
    declared = getattr(module, "trellis_spi_version", None)
    return negotiated(declared, plugin.origin or plugin.name, trellis.__version__)


def _unknown_blocked(blocked: Sequence[str], plugins: Sequence[Plugin]) -> tuple[str, ...]:
    known = list(dict.fromkeys(name for p in plugins for name in (p.name, p.origin) if name))
    warnings = []
    for name in blocked:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            warnings.append(f"disabled plugin {name!r} is not installed{hint}")
    return tuple(warnings)


def _info(plugin: Plugin, state: PluginState, problem: str = "") -> PluginInfo:
    return PluginInfo(
        name=plugin.name,
        version=plugin.version,
        origin=plugin.origin,
        hooks=(),
        registered=(),
        state=state,
        problem=problem,
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500]
