"""The clouds that ``clouds.yaml``, ``secure.yaml`` and the environment describe.

Read as openstacksdk reads them (its ``openstack.config``; tests compare the two), but for what
would surprise a daemon: a file that has a fault or was named and is not there is refused and not
passed over, a number where a text is meant is refused and not rewritten, and nothing is fetched.
"""

import difflib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from trellis.errors import ConfigError
from trellis.openstack import cloudentry
from trellis.openstack.cloudentry import CloudConfig
from trellis.openstack.cloudfiles import CloudFile, Found, find, search_path
from trellis.openstack.vendors import PROFILES

__all__ = ["CloudConfig", "Clouds", "read_clouds"]

_SELECTORS: Final = frozenset(
    {
        "OS_CLOUD",
        "OS_REGION_NAME",
        "OS_CLIENT_CONFIG_FILE",
        "OS_CLIENT_SECURE_FILE",
        "OS_CLOUD_NAME",
    }
)
_NOT_OURS: Final = ("OS_TEST", "OS_STD", "OS_LOG")
_ENVIRONMENT: Final = "the environment"


def read_clouds(
    environ: Mapping[str, str] | None = None,
    *,
    cwd: Path | None = None,
    home: Path | None = None,
    profiles: Mapping[str, Mapping[str, Any]] | None = None,
) -> "Clouds":
    """Search the files and read them.

    Args:
        environ: default the process's; ``OS_*`` variables may describe a cloud of their own.
        cwd: default the process's.
        home: the user's home folder; default the process's.
        profiles: more of them, by name, before those that come with this package.

    Raises:
        ConfigError: a file has a fault.
    """
    environ = os.environ if environ is None else environ
    folders = search_path(environ, cwd=cwd or Path.cwd(), home=home or Path.home())
    clouds = find("clouds", folders, first=environ.get("OS_CLIENT_CONFIG_FILE"))
    secure = find("secure", folders, first=environ.get("OS_CLIENT_SECURE_FILE"))
    public = find("clouds-public", folders)
    return Clouds(
        environ,
        clouds=clouds,
        secure=secure,
        public=public,
        profiles={**PROFILES, **(profiles or {})},
    )


class Clouds:
    """One reading of the files; made by `read_clouds`."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        clouds: Found,
        secure: Found,
        public: Found,
        profiles: Mapping[str, Mapping[str, Any]] = PROFILES,
    ) -> None:
        self._profiles = profiles
        self._found = (clouds, secure, public)
        self._files = tuple(found.file for found in (secure, clouds) if found.file)
        self._entries: dict[str, dict[str, Any]] = {}
        for file in reversed(self._files):
            self._entries = _merged(self._entries, _section(file, "clouds"))
        self._public = _section(public.file, "public-clouds") if public.file else {}
        self._default = environ.get("OS_CLOUD") or None
        self._add_environment(environ)
        if self._default is None and len(self._entries) == 1:
            self._default = next(iter(self._entries))

    @property
    def names(self) -> tuple[str, ...]:
        """All clouds, in the files' order."""
        return tuple(self._entries)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that were read."""
        return tuple(found.file.path for found in self._found if found.file)

    def sources(self) -> tuple[Path, ...]:
        """The paths to watch: a change, appearance or end of one may change what is read.

        They need not exist. Files that entries name (``cacert``, ``cert``, ``key``) are not
        among them: see `CloudConfig.files`.
        """
        return tuple(dict.fromkeys(path for found in self._found for path in found.candidates))

    def get(
        self, name: str | None = None, region: str | None = None, *, profile: str | None = None
    ) -> CloudConfig:
        """One cloud, in one of its regions.

        Args:
            name: None for the default: ``OS_CLOUD``, the cloud of the environment, or the only
                one there is.
            region: compared exactly; None for the entry's first.
            profile: of an entry that names none, and no ``auth_url``.

        Raises:
            ConfigError: there is no such cloud or region, or its entry has a fault.
        """
        if name is None:
            name = self._default
        if name is None:
            raise ConfigError(
                [f"{self._where}: no cloud is chosen; name one of: {', '.join(self.names)}"]
            )
        if name not in self._entries:
            raise ConfigError([self._unknown(name)])
        entry = cloudentry.Entry(
            name=name,
            values=self._entries[name],
            profile=self._profile(name, self._entries[name], profile),
            files=self._files,
        )
        return entry.read(region or "")

    def _profile(
        self, name: str, entry: Mapping[str, Any], default: str | None
    ) -> Mapping[str, Any]:
        """What the entry's vendor profile says; {} if it has none."""
        wanted = entry.get("profile") or entry.get("cloud")
        if not wanted and not _says_where(entry):
            wanted = default
        if not wanted:
            return {}
        if wanted in self._public:
            return self._public[wanted]
        if wanted in self._profiles:
            return self._profiles[wanted]
        key = "profile" if entry.get("profile") else "cloud"
        there = _near(str(wanted), [*self._public, *self._profiles])
        raise ConfigError(
            [
                f"{cloudentry.place(self._files, name, key)}: clouds.{name}.{key}: there is no "
                f"profile {wanted}{there}. Profiles are not fetched: write it into a "
                "clouds-public.yaml beside clouds.yaml, under public-clouds, or write auth_url "
                "and the rest into the entry"
            ]
        )

    def _add_environment(self, environ: Mapping[str, str]) -> None:
        """Make a cloud of the ``OS_*`` variables, if they are more than selectors."""
        ours = {
            key: value
            for key, value in environ.items()
            if key.startswith("OS_") and not key.startswith(_NOT_OURS)
        }
        name = environ.get("OS_CLOUD_NAME", "envvars")
        if name in self._entries:
            raise ConfigError(
                [
                    f"{cloudentry.place(self._files, name)}: clouds.{name}: this name is that of "
                    "the cloud of the OS_* variables (OS_CLOUD_NAME). Rename one of the two"
                ]
            )
        if not set(ours) - _SELECTORS:
            return
        self._entries[name] = {key[3:].lower(): value for key, value in ours.items()}
        # They select among clouds and describe none.
        for key in ("cloud", "client_config_file", "client_secure_file", "cloud_name"):
            self._entries[name].pop(key, None)
        if self._default is None:
            self._default = name

    @property
    def _where(self) -> str:
        return ", ".join(str(path) for path in self.files) or _ENVIRONMENT

    def _unknown(self, name: str) -> str:
        closed = [path for found in self._found for path in found.passed_over]
        rights = (
            f" {', '.join(map(str, closed))} may not be read by this user; is it there?"
            if closed
            else ""
        )
        if not self.names:
            looked = ", ".join(str(path) for path in self._found[0].candidates[:6])
            return (
                f"there is no cloud {name}: no clouds.yaml was found (looked for {looked}, …)."
                f"{rights} Write one, or set OS_CLIENT_CONFIG_FILE to its path"
            )
        return f"{self._where}: there is no cloud {name}{_near(name, self.names)}.{rights}"


def _section(file: CloudFile, key: str) -> dict[str, dict[str, Any]]:
    """The mapping of entries below a top key; each entry is a mapping."""
    section = file.values.get(key)
    if section is None:
        section = {}
    faults = []
    if not isinstance(section, dict):
        raise ConfigError([f"{file.place(key)}: {key}: it must map names to clouds"])
    for name, entry in section.items():
        if not isinstance(name, str):
            faults.append(f"{file.place(key)}: {key}.{name}: write the name in quotes")
        elif not isinstance(entry, dict):
            faults.append(f"{file.place(key, name)}: {key}.{name}: it must be a mapping")
    if faults:
        raise ConfigError(faults)
    return section


def _says_where(entry: Mapping[str, Any]) -> bool:
    """Whether an entry has an ``auth_url`` of its own, among its credentials or beside them."""
    auth = entry.get("auth")
    places = (entry, auth) if isinstance(auth, Mapping) else (entry,)
    return any(place.get(key) for place in places for key in ("auth_url", "auth-url"))


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """*above* laid over *below*, mapping by mapping."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        if isinstance(value, dict) and isinstance(under, dict):
            merged[key] = _merged(under, value)
        else:
            merged[key] = value
    return merged


def _near(name: str, names: Iterable[str]) -> str:
    """The names that were perhaps meant, for the end of a sentence."""
    names = list(names)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    close += [other for other in names if other.lower() == name.lower() and other not in close]
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return f"; there is: {', '.join(names)}" if names else ""
