"""The plugins that log in: keystoneauth1's own, and those that other distributions bring.

They are found by keystoneauth1's own entry point group, so that what logs in for Trellis logs in
for every client that uses it. Two distributions may bring one name (`rackspace_apikey` is also
that of the package ``rackspaceauth``), which keystoneauth1 takes for none at all: here Trellis's
own is used, and the log says so.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

import structlog

from trellis.errors import ConfigError

log = structlog.get_logger()

GROUP: Final = "keystoneauth1.plugin"
_STOCK: Final = "keystoneauth1"
_OWN: Final = "trellis-"
_COMMON: Final = ("v2password", "password", "v3applicationcredential", "token")
"""Of keystoneauth1's many, those that a hint may name."""


@cache
def find_loader(auth_type: str) -> Any:
    """The loader of an ``auth_type``: it knows the options, and makes the plugin of them.

    Raises:
        ConfigError: there is none, or it cannot be imported; the message says what there is.
    """
    found = [point for point in _points() if point.name == auth_type]
    if not found:
        there = ", ".join(sorted({point.name for point in _points()}))
        raise ConfigError([f"there is no plugin {auth_type}; installed are: {there}"])
    chosen = preferred(found)
    try:
        return chosen.load()()
    except Exception as error:  # whatever a stranger's module does when it is imported
        raise ConfigError(
            [
                f"the plugin {auth_type} of {_origin(chosen)} cannot be used: "
                f"{type(error).__name__}: {error}"
            ]
        ) from error


def preferred(found: Iterable[EntryPoint]) -> EntryPoint:
    """The one to use of several of one name: Trellis's, else keystoneauth1's, else by name."""
    first, *others = sorted(found, key=_rank)
    if others:
        log.info(
            "auth_plugin_chosen",
            auth_type=first.name,
            used=_origin(first),
            instead_of=", ".join(_origin(other) for other in others),
        )
    return first


def names_with(option: str, *, tenants: bool) -> list[str]:
    """The common ``auth_type``s, and those of other distributions, that have an option.

    Args:
        tenants: whether those that log in at v2.0 are named before others.
    """
    there = _points()
    names = [*_COMMON, *sorted({p.name for p in there if _origin(p) != _STOCK})]
    fit = [name for name in names if option in _dests(name)]
    return sorted(fit, key=lambda name: takes_tenants(find_loader(name)) is not tenants)


def takes_tenants(loader: Any) -> bool:
    """Whether it has tenants, as Keystone v2.0 calls projects."""
    dests = {option.dest for option in loader.get_options()}
    return "tenant_id" in dests and "project_id" not in dests


def required(loader: Any) -> Mapping[str, None]:
    """The options without which it cannot be."""
    return {option.dest: None for option in loader.get_options() if option.required}


@cache
def _points() -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=GROUP))


def _dests(name: str) -> set[str]:
    try:
        return {option.dest for option in find_loader(name).get_options()}
    except ConfigError:
        return set()  # it is broken or not there, and a hint needs neither


def _origin(point: EntryPoint) -> str:
    return "an unknown distribution" if point.dist is None else point.dist.name


def _rank(point: EntryPoint) -> tuple[bool, bool, str]:
    origin = _origin(point)
    return not origin.startswith(_OWN), origin != _STOCK, origin
