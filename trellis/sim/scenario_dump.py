"""A scenario as a YAML file that `trellis.sim.scenario_file` reads back."""

import enum
from pathlib import Path
from typing import Any, Final

import attrs
import yaml

from trellis.sim.cloud.spec import CloudSpec
from trellis.sim.clouds import TWINS
from trellis.sim.scenario import Scenario
from trellis.sim.twin_file import is_group_of

_ELSEWHERE: Final = frozenset({"name", "configuration", "demand", "more_demand"})


def dumped(scenario: Scenario, *, comment: str = "") -> str:
    """The text of the file; what is as it is when left out is left out.

    Args:
        scenario: what to write. Its name is not in the file: the file's name stands for it.
        comment: lines for its head.
    """
    written: dict[str, Any] = {
        _key(field): _plain(getattr(scenario, field.name))
        for field in attrs.fields(Scenario)
        if field.name not in _ELSEWHERE
        and getattr(scenario, field.name) != default_of(field, scenario)
    }
    if "clouds" in written:
        written["clouds"] = [_cloud(cloud) for cloud in scenario.clouds]
    streams = [_plain(stream) for stream in scenario.streams]
    written["demand"] = streams if len(streams) > 1 else streams[0]
    written["configuration"] = yaml.safe_load(scenario.configuration)
    head = "".join(f"# {line}".rstrip() + "\n" for line in comment.splitlines())
    return head + yaml.safe_dump(written, sort_keys=False, width=100, allow_unicode=True)


def _cloud(cloud: CloudSpec) -> dict[str, Any]:
    """A cloud; of a twin only what is otherwise than with the real cloud."""
    if cloud.twin is None:
        return dict(_plain(cloud))
    found = _over(cloud, TWINS[cloud.twin]())
    return {"name": cloud.name, "twin": cloud.twin, **found}


def _over(value: Any, base: Any) -> dict[str, Any]:
    """The keys in which *value* differs from *base*."""
    found: dict[str, Any] = {}
    for field in attrs.fields(type(value)):
        own, under = getattr(value, field.name), getattr(base, field.name)
        if own != under:
            is_group = attrs.has(type(own)) and type(own) is type(under) and is_group_of(own)
            found[_key(field)] = _over(own, under) if is_group else _plain(own)
    return found


def default_of(field: "attrs.Attribute[Any]", owner: object) -> Any:
    """What a field of *owner* is when it is left out; `attrs.NOTHING` if it cannot be."""
    default: Any = field.default
    if hasattr(default, "takes_self"):  # an `attrs.Factory`
        return default.factory(owner) if default.takes_self else default.factory()
    return default


def _key(field: "attrs.Attribute[Any]") -> str:
    return field.name.replace("_", "-")


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if attrs.has(type(value)):
        return {
            _key(field): _plain(getattr(value, field.name))
            for field in attrs.fields(type(value))
            if getattr(value, field.name) != default_of(field, value)
        }
    return value
