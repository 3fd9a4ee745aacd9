"""One entry of ``clouds.yaml``, with its profile and its region, made into a `CloudConfig`."""

import copy
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from trellis.errors import ConfigError
from trellis.openstack.cloudfiles import CloudFile
from trellis.openstack.credentials import Credentials

_DEFAULTS: Final[Mapping[str, Any]] = {"auth_type": "password", "interface": "public"}

_OVERRIDES: Final = (
    "_endpoint_override",
    "_service_type",
    "_service_name",
    "_interface",
    "_region_name",
)
_VERSIONS: Final = ("block_storage_api_version", "volume_api_version")
"""Of others the catalog or the calls themselves say it."""


@attrs.frozen(kw_only=True)
class CloudConfig:
    """One cloud in one region: how to log in, and what is special about it.

    Attributes:
        name: its name in clouds.yaml.
        region_name: "" if none is configured.
        regions: those the entry or its profile lists; empty if none.
        auth_type: of a keystoneauth1 plugin.
        auth: the plugin's options, by its own names; holds the secrets.
        interface: ``public``, ``internal``, ``admin``, or several with commas, best first.
        verify: whether certificates are checked.
        cacert, cert, key: paths for TLS; None for the usual.
        overrides: settings of single services, as ``compute_endpoint_override``.
        settings: all other keys, as ``image_format`` or ``networks``.
    """

    name: str
    region_name: str = ""
    regions: tuple[str, ...] = ()
    auth_type: str
    auth: Mapping[str, str] = attrs.field(repr=False)
    interface: str = "public"
    verify: bool = True
    cacert: str | None = None
    cert: str | None = None
    key: str | None = None
    overrides: Mapping[str, str] = attrs.field(factory=dict)
    settings: Mapping[str, Any] = attrs.field(factory=dict, repr=False)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files it names; a daemon watches them beside `Clouds.sources`."""
        return tuple(Path(path) for path in (self.cacert, self.cert, self.key) if path)


def place(files: tuple[CloudFile, ...], *keys: str) -> str:
    """Where an entry's key is written: ``file:line:column``."""
    for length in range(len(keys), 0, -1):
        for file in files:
            if file.has("clouds", *keys[:length]):
                return file.place("clouds", *keys[:length])
    return str(files[-1].path) if files else "the environment"


@attrs.frozen(kw_only=True)
class Entry:
    """An entry as written, not yet understood.

    Attributes:
        files: that may hold a part of it, the one that wins first.
    """

    name: str
    values: Mapping[str, Any] = attrs.field(repr=False)
    profile: Mapping[str, Any] = attrs.field(repr=False)
    files: tuple[CloudFile, ...] = ()

    def read(self, region: str) -> CloudConfig:
        """Understand the entry for a region; "" for its first.

        Raises:
            ConfigError: it has faults, or no such region.
        """
        self._check_profile()
        regions = self._regions()
        region = self._choose(region, regions)
        values = _laid_over(
            copy.deepcopy(dict(_DEFAULTS)),
            _underscored(self.profile),
            _underscored(self.values),
            _underscored(regions.get(region, {})),
            {"region_name": region},
        )
        for key in ("regions", "profile", "cloud", "needed"):
            values.pop(key, None)
        needed = self.profile.get("needed", {})  # its own word: no entry has such a key
        needed = needed if isinstance(needed, dict) else {}
        credentials = Credentials(written=self.values, fault=self._fault)
        loader = credentials.loader(values)
        credentials.check_numbers(values, loader)
        values = {key: _text(key, value) for key, value in values.items()}
        credentials.settle_names(values)
        credentials.check_needed(values, **needed)
        values = {
            key: value if key == "password" else _expanded(value, values)
            for key, value in values.items()
        }
        if "auth_url" in values["auth"]:
            values["auth"]["auth_url"] = _expanded(values["auth"]["auth_url"], values)
        auth = credentials.options(values, loader)
        interface = values.pop("interface")
        verify = self._verify(values)
        return CloudConfig(
            name=self.name,
            region_name=values.pop("region_name"),
            regions=tuple(name for name in regions if name),
            auth_type=values.pop("auth_type"),
            auth=auth,
            interface=",".join(interface) if isinstance(interface, list) else interface,
            verify=verify,
            **{key: _path(values.pop(key, None)) for key in ("cacert", "cert", "key")},
            overrides={key: str(values.pop(key)) for key in _override_keys(values)},
            settings=values,
        )

    def _fault(self, keys: tuple[str, ...], message: str) -> ConfigError:
        path = ".".join(("clouds", self.name, *keys))
        return ConfigError([f"{place(self.files, self.name, *keys)}: {path}: {message}"])

    def _check_profile(self) -> None:
        if self.profile.get("status") == "shutdown":
            raise self._fault(
                ("profile",), f"this cloud no longer exists: {self.profile.get('message', '')}"
            )

    def _regions(self) -> dict[str, Mapping[str, Any]]:
        """The known regions with what is special in each; empty if none is known."""
        entry, profile = _underscored(self.values), _underscored(self.profile)
        for source in (entry, profile):
            if "regions" in source:
                return self._expanded_regions(source["regions"])
            if names := source.get("region_name"):
                names = names if isinstance(names, list) else str(names).split(",")
                return {str(name): {} for name in names}
        return {}

    def _expanded_regions(self, listed: Any) -> dict[str, Mapping[str, Any]]:
        if not isinstance(listed, list):
            raise self._fault(("regions",), "it must be a list of names, or of name and values")
        regions: dict[str, Mapping[str, Any]] = {}
        for one in listed:
            if not isinstance(one, dict):
                regions[str(one)] = {}
            elif "name" not in one or not set(one) <= {"name", "values"}:
                raise self._fault(
                    ("regions",), "an entry that is no name must have name and values, no more"
                )
            elif not isinstance(one.get("values") or {}, Mapping):
                raise self._fault(("regions",), "the values of a region must be a mapping")
            else:
                regions[str(one["name"])] = one.get("values") or {}
        return regions

    def _choose(self, region: str, regions: Mapping[str, Any]) -> str:
        if not region:
            return next(iter(regions), "")
        if regions and region not in regions:
            known = (
                ""
                if "regions" in _underscored(self.values)
                else (
                    ". If the cloud has it all the same, write it into the entry, as "
                    f"regions: [{region}]"
                )
            )
            raise self._fault(
                ("regions",),
                f"there is no region {region}; there is: {', '.join(regions)}. Capital letters "
                f"matter{_other_case(region, regions)}{known}",
            )
        return region

    def _verify(self, values: dict[str, Any]) -> bool:
        insecure = self._flag("insecure", values.pop("insecure", False))
        verify = self._flag("verify", values.pop("verify", True))
        return verify and not insecure

    def _flag(self, key: str, value: Any) -> bool:
        if value is None:
            return key == "verify"
        text = str(value).lower()
        if text not in ("true", "false"):
            raise self._fault((key,), "it must be true or false; a file goes into cacert")
        return text == "true"


def _other_case(name: str, known: Iterable[str]) -> str:
    """A hint to the name that is the same but for capital letters; "" if there is none."""
    meant = [other for other in known if other.lower() == name.lower()]
    return f" (is {' or '.join(meant)} meant?)" if meant else ""


def _laid_over(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Each layer over the one before; ``auth`` key by key, all else whole."""
    merged: dict[str, Any] = {"auth": {}}
    for layer in layers:
        for key, value in layer.items():
            if key == "auth" and isinstance(value, dict) and isinstance(merged["auth"], dict):
                merged["auth"].update(value)
            elif value is not None:
                merged[key] = copy.deepcopy(value)
    return merged


def _underscored(values: Mapping[str, Any]) -> dict[str, Any]:
    """Hyphens in keys as underscores, in ``auth`` as well."""
    return {
        str(key).replace("-", "_"): (
            _underscored(value) if isinstance(value, Mapping) and key == "auth" else value
        )
        for key, value in values.items()
    }


def _text(key: str, value: Any) -> Any:
    """Numbers as texts, as openstacksdk has them: ``identity_api_version: 3`` is ``"3"``."""
    if isinstance(value, bool) or key == "api_timeout":
        return value
    return str(value) if isinstance(value, int | float) else value


def _expanded(text: Any, values: Mapping[str, Any]) -> Any:
    """Replace ``{region_name}`` and the like; what is no key stays as it is.

    ``{region_name:lower}`` is the same in small letters, as hosts of a region have it.
    """
    if not isinstance(text, str):
        return text

    def value(found: re.Match[str]) -> str:
        known = values.get(found[1])
        if not isinstance(known, str):
            return found[0]
        return known.lower() if found[2] else known

    return re.sub(r"\{(\w+)(:lower)?\}", value, text)


def _override_keys(values: Mapping[str, Any]) -> list[str]:
    return [
        key
        for key, value in values.items()
        if value and (key.endswith(_OVERRIDES) or key in _VERSIONS)
    ]


def _path(value: Any) -> str | None:
    return str(Path(value).expanduser()) if value else None
