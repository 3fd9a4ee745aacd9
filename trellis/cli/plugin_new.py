"""``trellis plugin new``: writes the project of a plugin, ready to be tested."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from trellis.cli.shape import Command, note
from trellis.errors import PluginError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*\Z")
_LONGEST: Final = 40
_OWN: Final = "trellis-ci"
"""The distribution of Trellis."""
_TEMPLATE: Final = "plugin_template"
_SUFFIX: Final = ".tmpl"
_PLACES: Final = {
    "gitignore": ".gitignore",
    "ci.yml": ".github/workflows/ci.yml",
    "package/init.py": "package/__init__.py",
}
"""Files whose name in the project is another one than in the template."""


@click.command(
    cls=Command,
    examples=["trellis plugin new mycloud", "trellis plugin new mycloud --folder work/mycloud"],
)
@click.argument("name")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="Where to write it; trellis-NAME if left out. It must not be there yet, or be empty.",
)
def new(name: str, folder: Path | None) -> None:
    """Write a plugin for a cloud: a profile with examples, its twin, tests, CI, README.

    NAME is that of the provider type, as the configuration will have it: lower-case letters,
    digits and dashes.
    """
    refuse_name(name)
    where = Path(distribution(name)) if folder is None else folder
    for path in write_project(name, where):
        click.echo(path)
    note(
        f"Next: cd {where} && python3 -m venv .venv && "
        ".venv/bin/python -m pip install -e '.[testing]' && .venv/bin/pytest"
    )


def distribution(name: str) -> str:
    """The distribution of a plugin of this name."""
    return f"trellis-{name}"


def refuse_name(name: str) -> None:
    """See that a provider type may have this name, and that none has it.

    Raises:
        PluginError: it may not, with one that may.
    """
    near = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-").removeprefix("trellis-")
    if name.startswith("trellis-"):
        raise PluginError(
            f"{name!r}: the distribution will be called trellis-NAME by itself: "
            f"trellis plugin new {near or 'mycloud'}"
        )
    if not _NAME.match(name) or len(name) > _LONGEST:
        fits = near[:_LONGEST].strip("-")
        hint = f"; {fits} would do" if _NAME.match(fits) and fits != name else ""
        raise PluginError(
            f"{name!r} is no name of a provider type: it begins with a letter and has at most "
            f"{_LONGEST} lower-case letters, digits and single dashes{hint}"
        )
    if distribution(name) == _OWN:
        raise PluginError(f"{_OWN} is Trellis itself: choose another name")
    import yaml

    if yaml.safe_load(name) != name:
        raise PluginError(
            f"{name!r} means something else in YAML unless it is in quotes: choose another name"
        )
    from trellis.plugin_host import load_plugins

    host = load_plugins()
    for info in host.plugins():
        if info.name == name:
            raise PluginError(
                f"there is a plugin {name} already, from {info.origin}: choose another name"
            )
    if taken := host.providers.get(name):
        raise PluginError(
            f"plugin {taken.plugin} registers the provider type {name} already: choose another name"
        )


def write_project(name: str, folder: Path) -> list[Path]:
    """Write the files of a plugin.

    Args:
        name: of the provider type; see `refuse_name`.
        folder: made if it is not there.

    Returns:
        The files, in the order of writing.

    Raises:
        PluginError: the folder has something in it, or cannot be written.
    """
    from importlib.resources import files

    words = _words_for(name)
    made = []
    try:
        if folder.is_dir() and any(folder.iterdir()):
            raise PluginError(f"{folder} has something in it: name another one with --folder")
        folder.mkdir(parents=True, exist_ok=True)
        for inside, source in _sources(files("trellis") / _TEMPLATE):
            path = folder / _place(inside, words)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_filled(source.read_text(encoding="utf-8"), words), encoding="utf-8")
            made.append(path)
        marker = folder / words["MODULE"] / "py.typed"
        marker.touch()
    except OSError as error:
        raise PluginError(
            f"{folder} cannot be written: {error.strerror or error}: name another one with --folder"
        ) from error
    return [*made, marker]


def _words_for(name: str) -> Mapping[str, str]:
    from trellis.spi.provider import SPI_VERSION

    parts = [part.capitalize() for part in name.split("-")]
    return {
        "NAME": name,
        "DISTRIBUTION": distribution(name),
        "MODULE": f"trellis_{name.replace('-', '_')}",
        "TITLE": " ".join(parts),
        "CLASS": "".join(parts),
        "SPI": str(SPI_VERSION),
        "YEAR": str(datetime.now(UTC).year),
    }


def _sources(folder: "Traversable", above: str = "") -> "list[tuple[str, Traversable]]":
    """The files of the template by their names in it, without its suffix."""
    found = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            found += _sources(entry, f"{above}{entry.name}/")
        elif entry.name.endswith(_SUFFIX):
            found.append((above + entry.name.removesuffix(_SUFFIX), entry))
    return found


def _place(inside: str, words: Mapping[str, str]) -> str:
    place = _PLACES.get(inside, inside)
    package, _, rest = place.partition("/")
    return f"{words['MODULE']}/{rest}" if package == "package" else place


def _filled(text: str, words: Mapping[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text
