"""Finding and reading ``clouds.yaml`` and its companions, with the place of every key."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import attrs
import yaml

from trellis.errors import ConfigError

_VARIABLE: Final = {"clouds": "CONFIG", "secure": "SECURE"}
_SUFFIXES: Final = (".yaml", ".yml", ".json")
MOST_KEPT: Final = 4
"""So many files are kept understood: clouds.yaml, secure.yaml and clouds-public.yaml, and one."""
_KeyPath: TypeAlias = tuple[str, ...]


@attrs.frozen
class CloudFile:
    """One file that was read.

    Attributes:
        values: its contents, a mapping.
    """

    path: Path
    values: Mapping[str, Any] = attrs.field(repr=False)
    _places: Mapping[_KeyPath, tuple[int, int]] = attrs.field(repr=False, factory=dict)

    def place(self, *keys: str) -> str:
        """``file:line:column`` of a key, or of the nearest key above that the file has."""
        for length in range(len(keys), 0, -1):
            if found := self._places.get(keys[:length]):
                return f"{self.path}:{found[0]}:{found[1]}"
        return str(self.path)

    def has(self, *keys: str) -> bool:
        """Whether the file has this key."""
        return keys in self._places


@attrs.frozen
class Found:
    """The outcome of a search.

    Attributes:
        file: None if there is none.
        candidates: the paths that decide: up to the one that was read, or all of them.
        passed_over: those that exist and may not be read by this user.
    """

    file: CloudFile | None
    candidates: tuple[Path, ...]
    passed_over: tuple[Path, ...]


def search_path(environ: Mapping[str, str], *, cwd: Path, home: Path) -> tuple[Path, ...]:
    """The folders in openstacksdk's order: here, the user's, the machine's."""
    user = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    real_home = Path(environ["SNAP_REAL_HOME"]) if environ.get("SNAP_REAL_HOME") else home
    machine = [Path(part) for part in (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")]
    folders = [
        cwd,
        user / "openstack",
        real_home / ".config" / "openstack",
        *(folder / "openstack" for folder in machine),
        Path("/etc/openstack"),
    ]
    return tuple(dict.fromkeys(folders))


def find(name: str, folders: tuple[Path, ...], *, first: str | None = None) -> Found:
    """Read the first file of this name that exists.

    Unlike openstacksdk, which passes over a file with a fault in it, or a missing *first*, and may
    so choose another, this refuses it.

    Args:
        name: without suffix.
        first: a path from the environment, which comes before the folders.

    Raises:
        ConfigError: the file is no YAML or JSON, or no mapping; or *first* is not there.
    """
    paths = [folder / f"{name}{suffix}" for folder in folders for suffix in _SUFFIXES]
    if first:
        paths.insert(0, Path(first))
    passed_over = []
    for number, path in enumerate(paths, 1):
        try:
            text = path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            if first and number == 1:
                raise ConfigError(
                    [
                        f"{path}: there is no such file, and OS_CLIENT_{_VARIABLE[name]}_FILE "
                        "names it. Correct or unset the variable"
                    ]
                ) from error
            continue
        except PermissionError:
            passed_over.append(path)
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError([f"{path}: cannot be read: {error}"]) from error
        return Found(_parsed(path, text), tuple(paths[:number]), tuple(passed_over))
    return Found(None, tuple(paths), tuple(passed_over))


_latest: dict[Path, tuple[str, CloudFile]] = {}
"""What files held when they were last read, and what that came to; nobody changes it."""


def _parsed(path: Path, text: str) -> CloudFile:
    """What a file says; understood once as long as it says the same.

    Every provider reads the files for itself, and one file may hold a hundred clouds.
    """
    known = _latest.get(path)
    if known is not None and known[0] == text:
        return known[1]
    found = _parse(path, text)
    _latest.pop(path, None)
    while len(_latest) >= MOST_KEPT:
        del _latest[next(iter(_latest))]
    _latest[path] = text, found
    return found


def _parse(path: Path, text: str) -> CloudFile:
    places: dict[_KeyPath, tuple[int, int]] = {}
    try:
        if path.suffix == ".json":
            values = json.loads(text)
        else:
            values = yaml.safe_load(text)
            _locate(yaml.compose(text, Loader=yaml.SafeLoader), (), places)
    except json.JSONDecodeError as error:
        raise ConfigError(
            [f"{path}:{error.lineno}:{error.colno}: this is no JSON: {error.msg}"]
        ) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        # The error's own text quotes the line, and the line may hold a password.
        raise ConfigError([f"{where}: this is no YAML: {error.problem}"]) from None
    except yaml.YAMLError as error:
        raise ConfigError([f"{path}: this is no YAML: {type(error).__name__}"]) from None
    except RecursionError:
        raise ConfigError([f"{path}: it is nested too deeply; correct its brackets"]) from None
    if not isinstance(values, dict):
        raise ConfigError([f"{path}: it is empty or no mapping; write `clouds:` at its top"])
    return CloudFile(path, values, places)


def _locate(node: Any, at: _KeyPath, places: dict[_KeyPath, tuple[int, int]]) -> None:
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        here = (*at, str(key.value))
        if here not in places:  # an alias may lead back to where we are
            places[here] = (key.start_mark.line + 1, key.start_mark.column + 1)
            if len(here) < 6:
                _locate(value, here, places)
