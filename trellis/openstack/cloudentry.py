"""One entry of ``clouds.yaml``, with its profile and its region, made into a `CloudConfig`."""

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs
from keystoneauth1 import exceptions as ks
from keystoneauth1 import loading

from trellis.errors import ConfigError
from trellis.openstack.cloudfiles import CloudFile

_DEFAULTS: Final[Mapping[str, Any]] = {"auth_type": "password", "interface": "public"}

_OVERRIDES: Final = (
    "_endpoint_override",
    "_service_type",
    "_service_name",
    "_interface",
    "_region_name",
)
_OLD_NAMES: Final = {
    "tenant_id": "project_id",
    "tenant_name": "project_name",
    "auth_token": "token",
}
_LOOSE: Final = (
    *("domain_id", "domain_name", "user_domain_id", "user_domain_name"),
    *("project_domain_id", "project_domain_name", "project_id", "project_name"),
    *("token", "passcode"),
)
"""Credentials that win over those in ``auth`` when they stand beside it."""

_NEEDED: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "password": (("username", "user_id"), ("password",)),
    "v3password": (("username", "user_id"), ("password",)),
    "v2password": (("username", "user_id"), ("password",)),
    "token": (("token",),),
    "v3token": (("token",),),
    "v3applicationcredential": (
        ("application_credential_id", "application_credential_name"),
        ("application_credential_secret",),
    ),
}
"""One of each group must be given; keystoneauth1 itself asks for ``auth_url`` only."""

_WITHOUT_CATALOG: Final = ("none", "None", "", "admin_token", "token_endpoint", "http_basic")


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
        for key in ("regions", "profile", "cloud"):
            values.pop(key, None)
        self._check_numbers(values)
        values = {key: _text(key, value) for key, value in values.items()}
        self._settle_names(values)
        values = {
            key: value if key == "password" else _expanded(value, values)
            for key, value in values.items()
        }
        if "auth_url" in values["auth"]:
            values["auth"]["auth_url"] = _expanded(values["auth"]["auth_url"], values)
        auth = self._auth(values)
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
            raise self._fault(
                ("regions",),
                f"there is no region {region}; there is: {', '.join(regions)}. Capital letters "
                "matter",
            )
        return region

    def _check_numbers(self, values: Mapping[str, Any]) -> None:
        """Refuse what YAML has read as a number: it has lost leading zeros, or more."""
        if not isinstance(values["auth"], dict):
            raise self._fault(("auth",), "it must be a mapping")
        faults: list[str] = []
        for key, value in values["auth"].items():
            if not isinstance(value, str | None | list):
                faults += self._fault(
                    ("auth", key),
                    f"it is a {type(value).__name__} and must be a text: write the value in "
                    "quotes, or YAML changes it (0123 becomes 83)",
                ).faults
        for key, value in values.items():
            if key in _LOOSE and not isinstance(value, str | None):
                faults += self._fault(
                    (key,), "it must be a text: write the value in quotes, or YAML changes it"
                ).faults
        if faults:
            raise ConfigError(faults)

    def _settle_names(self, values: dict[str, Any]) -> None:
        """Bring old names to the present ones, and loose credentials into ``auth``; in place."""
        auth = values["auth"]
        if "auth_plugin" in values:
            plugin = values.pop("auth_plugin")
            values["auth_type"] = plugin if "auth_type" not in self.values else values["auth_type"]
        for key in [key for key in values if key.endswith("endpoint_type")]:
            values[key.removesuffix("endpoint_type") + "interface"] = values.pop(key)
        for old, new in _OLD_NAMES.items():
            for where in (auth, values):
                if old in where:
                    old_value = where.pop(old)
                    where.setdefault(new, old_value)
        for key in _LOOSE:
            if value := values.pop(key, None):
                auth[key] = value
        if values["auth_type"] == "v2password":
            for old, new in (("tenant_id", "project_id"), ("tenant_name", "project_name")):
                if new in auth:
                    auth[old] = auth.pop(new)
        elif auth.get("project_id") or auth.get("project_name"):
            # Given once, a domain is that of the user and of the project.
            for kind in ("id", "name"):
                if domain := auth.pop(f"domain_{kind}", None):
                    auth.setdefault(f"user_domain_{kind}", domain)
                    auth.setdefault(f"project_domain_{kind}", domain)

    def _auth(self, values: dict[str, Any]) -> dict[str, str]:
        """The plugin's options by its own names, taken out of the values."""
        auth_type = values["auth_type"]
        if auth_type in _WITHOUT_CATALOG:
            raise self._fault(
                ("auth_type",),
                f"{auth_type or 'none'} gives no project and no catalog; use "
                "v3applicationcredential or password",
            )
        try:
            options = loading.get_plugin_loader(auth_type).get_options()
        except ks.NoMatchingPlugin as error:
            there = ", ".join(sorted(loading.get_available_plugin_names()))
            raise self._fault(
                ("auth_type",), f"there is no plugin {auth_type}; installed are: {there}"
            ) from error
        given = values.pop("auth")
        auth = {}
        for option in options:
            names = [option.name, *(old.name for old in option.deprecated)]
            names = [name.replace("-", "_") for name in names]
            found = [where.pop(name, None) for where in (given, values) for name in names]
            if value := next((value for value in found if value), None):
                auth[option.dest] = value
        self._check_auth(auth_type, auth, given, [option.dest for option in options])
        return auth

    def _check_auth(
        self, auth_type: str, auth: Mapping[str, str], unknown: Mapping[str, Any], known: list[str]
    ) -> None:
        faults: list[str] = []
        for key, value in unknown.items():
            if value is not None:
                faults += self._fault(
                    ("auth", key),
                    f"auth_type {auth_type} has no such option; it has: {', '.join(known)}",
                ).faults
        for group in (("auth_url",), *_NEEDED.get(auth_type, ())):
            if not any(auth.get(key) for key in group):
                faults += self._fault(
                    ("auth",), f"{' or '.join(group)} is missing, which auth_type {auth_type} needs"
                ).faults
        url = auth.get("auth_url", "")
        if url and not url.startswith(("http://", "https://")):
            faults += self._fault(
                ("auth", "auth_url"), "it must begin with https:// or http://"
            ).faults
        if faults:
            raise ConfigError(faults)

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
    """Replace ``{region_name}`` and the like; what is no key stays as it is."""
    if not isinstance(text, str):
        return text
    return re.sub(
        r"\{(\w+)\}",
        lambda found: values[found[1]] if isinstance(values.get(found[1]), str) else found[0],
        text,
    )


def _override_keys(values: Mapping[str, Any]) -> list[str]:
    return [key for key, value in values.items() if key.endswith(_OVERRIDES) and value]


def _path(value: Any) -> str | None:
    return str(Path(value).expanduser()) if value else None
