"""What an entry of ``clouds.yaml`` logs in with: the options of one keystoneauth1 plugin."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import attrs

from trellis.errors import ConfigError
from trellis.openstack import loaders

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
"""One of each group must be given beside what a plugin's options say themselves: keystoneauth1's
own ask for ``auth_url`` only."""

_WITHOUT_CATALOG: Final = ("none", "None", "", "admin_token", "token_endpoint", "http_basic")


@attrs.frozen(kw_only=True)
class Credentials:
    """Reads the part of an entry that is about logging in; its methods in their order.

    Attributes:
        written: the entry as written, without its profile.
        fault: makes the error about a key of the entry, with its place in the file.
    """

    written: Mapping[str, Any] = attrs.field(repr=False)
    fault: Callable[[tuple[str, ...], str], ConfigError]

    def loader(self, values: Mapping[str, Any]) -> Any:
        """What makes the plugin that logs in.

        Raises:
            ConfigError: there is none, or what it gives is of no use.
        """
        key = "auth_type" if "auth_type" in self.written else "auth_plugin"
        auth_type = values["auth_type"] if key == "auth_type" else values.get(key)
        auth_type = str(auth_type or values["auth_type"])
        if auth_type in _WITHOUT_CATALOG:
            raise self.fault(
                ("auth_type",),
                f"{auth_type or 'none'} gives no project and no catalog; use "
                "v3applicationcredential or password",
            )
        try:
            return loaders.find_loader(auth_type)
        except ConfigError as error:
            raise self.fault(("auth_type",), str(error)) from error

    def check_numbers(self, values: Mapping[str, Any], loader: Any) -> None:
        """Refuse what YAML has read as a number: it has lost leading zeros, or more.

        Raises:
            ConfigError: for all of them.
        """
        options = _names_of(loader)  # they may stand beside ``auth`` as well
        if not isinstance(values["auth"], dict):
            raise self.fault(("auth",), "it must be a mapping")
        faults: list[str] = []
        for key, value in values["auth"].items():
            if not isinstance(value, str | None | list):
                faults += self.fault(
                    ("auth", key),
                    f"it is a {type(value).__name__} and must be a text: write the value in "
                    "quotes, or YAML changes it (0123 becomes 83)",
                ).faults
        for key, value in values.items():
            credential = key in _LOOSE or key in _OLD_NAMES or key in options
            if credential and not isinstance(value, str | None):
                faults += self.fault(
                    (key,), "it must be a text: write the value in quotes, or YAML changes it"
                ).faults
        if faults:
            raise ConfigError(faults)

    def settle_names(self, values: dict[str, Any]) -> None:
        """Bring old names to the present ones, and loose credentials into ``auth``; in place."""
        auth = values["auth"]
        if "auth_plugin" in values:
            plugin = values.pop("auth_plugin")
            values["auth_type"] = plugin if "auth_type" not in self.written else values["auth_type"]
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
        if auth.get("project_id") or auth.get("project_name"):
            # Given once, a domain is that of the user and of the project.
            for kind in ("id", "name"):
                if domain := auth.pop(f"domain_{kind}", None):
                    auth.setdefault(f"user_domain_{kind}", domain)
                    auth.setdefault(f"project_domain_{kind}", domain)

    def check_needed(
        self, values: Mapping[str, Any], profile: str = "", keys: Iterable[str] = ()
    ) -> None:
        """Refuse an entry without what its profile leaves to the customer.

        Args:
            profile: its name.
            keys: in question, as ``auth.project_name``; an id does for a name, and the reverse.

        Raises:
            ConfigError: for all that is missing.
        """
        auth = values["auth"]
        faults: list[str] = []
        by_credential = "application_credential_id" in auth or "application_credential_name" in auth
        for path in keys:
            *where, key = path.split(".")
            given = {**values, **auth}  # credentials may stand beside ``auth``
            one = key.rpartition("_")[0]
            names = [key, f"{one}_id", f"{one}_name"] if key.endswith(("_id", "_name")) else [key]
            if any(given.get(name) for name in names) or (by_credential and key != "auth_url"):
                continue
            faults += self.fault(
                tuple(where),
                f"{' or '.join(dict.fromkeys(names))} is missing, which is another for each "
                f"customer of {profile}: write yours into the entry",
            ).faults
        if faults:
            raise ConfigError(faults)

    def options(self, values: dict[str, Any], loader: Any) -> dict[str, str]:
        """The plugin's options by its own names, taken out of the values.

        Raises:
            ConfigError: for what it does not have, and for what it lacks.
        """
        if loaders.takes_tenants(loader):
            _rename(values["auth"], {"project_id": "tenant_id", "project_name": "tenant_name"})
        given = values.pop("auth")
        auth = {}
        for option in loader.get_options():
            names = _spellings(option)
            found = [where.pop(name, None) for where in (given, values) for name in names]
            if value := next((value for value in found if value), None):
                auth[option.dest] = value
        self._check_auth(values["auth_type"], loader, auth, given)
        return auth

    def _check_auth(
        self, auth_type: str, loader: Any, auth: Mapping[str, str], unknown: Mapping[str, Any]
    ) -> None:
        known = ", ".join(option.dest for option in loader.get_options())
        faults: list[str] = []
        for key, value in unknown.items():
            if value is not None:
                faults += self.fault(
                    ("auth", key),
                    f"auth_type {auth_type} has no such option; it has: {known}"
                    f"{_instead(key, loader)}",
                ).faults
        alone = [(name,) for name in loaders.required(loader)]
        for group in dict.fromkeys((("auth_url",), *alone, *_NEEDED.get(auth_type, ()))):
            if not any(auth.get(key) for key in group):
                faults += self.fault(
                    ("auth",), f"{' or '.join(group)} is missing, which auth_type {auth_type} needs"
                ).faults
        url = auth.get("auth_url", "")
        if url and not url.startswith(("http://", "https://")):
            faults += self.fault(
                ("auth", "auth_url"), "it must begin with https:// or http://"
            ).faults
        if faults:
            raise ConfigError(faults)


def _instead(key: str, loader: Any) -> str:
    """What the entry would look like with which this credential can be used; "" for no other."""
    if key in _LOOSE:
        return ""  # of projects and domains: others have those, but that is not the mistake
    for name in loaders.names_with(key, tenants=loaders.takes_tenants(loader)):
        needed = [key for key in loaders.required(loaders.find_loader(name)) if key != "auth_url"]
        needed = needed or [group[0] for group in _NEEDED.get(name, ())]
        shown = ", ".join(f"{key}: …" for key in needed)
        return f". With {key}, write auth_type: {name}, and auth: {{{shown}}}"
    return ""


def _spellings(option: Any) -> list[str]:
    names = [option.name, *(old.name for old in option.deprecated)]
    return [name.replace("-", "_") for name in names]


def _names_of(loader: Any) -> frozenset[str]:
    """All names of its options but the URL's."""
    options = (name for option in loader.get_options() for name in _spellings(option))
    return frozenset(options) - {"auth_url"}


def _rename(values: dict[str, Any], names: Mapping[str, str]) -> None:
    for old, new in names.items():
        if old in values:
            values[new] = values.pop(old)
