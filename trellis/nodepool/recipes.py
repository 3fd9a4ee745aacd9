"""What images are made of: ``diskimages`` with their parents, as Nodepool resolves them.

`nodepool/config.py: DiskImage.setFromConfig`: from the first ancestor to the image itself, what
is empty is passed over, elements are appended, variables are merged; metadata is an image's own.
"""

import math
import re
import shlex
from collections.abc import Mapping
from typing import Any, Final

import attrs

from trellis.nodepool import model

CENTURY_S: Final = 100 * 365 * 86400
"""The longest duration that a trellis.yaml can have; a longer one means never."""
COMMAND: Final = "disk-image-create"
REBUILD_AGE_S: Final = 86_400
BUILD_TIMEOUT_S: Final = 28_800
USERNAME: Final = "zuul"
PYTHON_PATH: Final = "auto"

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OURS: Final = ("DIB_IMAGE_CACHE", "TMP_DIR", "TMPDIR")
"""What each build of Trellis has of its own."""


@attrs.frozen(kw_only=True)
class Recipe:
    """An image with all that its parents say; empty values are left out of none.

    Attributes:
        elements: names, with what stands among them as options taken out.
        options: of the build command, found among the elements.
    """

    name: str
    pause: bool = False
    elements: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    dib_cmd: str = COMMAND
    release: str = ""
    formats: tuple[str, ...] = ()
    keep_formats: tuple[str, ...] = ()
    delete_after_upload: bool = False
    rebuild_age: int = REBUILD_AGE_S
    build_timeout: int = BUILD_TIMEOUT_S
    env_vars: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    username: str = USERNAME
    python_path: str = PYTHON_PATH
    shell_type: str = ""
    metadata: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether nothing says what it is made of."""
        return not self.elements and not self.options and self.dib_cmd == COMMAND

    @property
    def build_command(self) -> str:
        """The command with its options, as one text."""
        return " ".join([self.dib_cmd, *map(shlex.quote, self.options)])


def recipe(name: str, images: Mapping[str, model.DiskImage]) -> Recipe:
    """Resolve an image of those given by name."""
    found = Recipe(name=name)
    for image in ancestry(name, images):
        found = _over(found, image)
    return found


def ancestry(name: str, images: Mapping[str, model.DiskImage]) -> tuple[model.DiskImage, ...]:
    """An image behind its ancestors, the first of them first."""
    line: list[model.DiskImage] = []
    at: str | None = name
    while at and at in images and len(line) <= len(images):
        line.append(images[at])
        at = images[at].parent
    return tuple(reversed(line))


def _over(under: Recipe, image: model.DiskImage) -> Recipe:
    elements, options = split_elements(image.elements or ())
    changes: dict[str, Any] = {
        "elements": (*under.elements, *elements),
        "options": (*under.options, *options),
        "env_vars": {**under.env_vars, **(image.env_vars or {})},
        "metadata": image.metadata or {},
    }
    if image.delete_after_upload is not None:
        changes["delete_after_upload"] = image.delete_after_upload
    for field in (
        "build_timeout", "dib_cmd", "formats", "keep_formats", "pause", "python_path",
        "rebuild_age", "shell_type", "username",
    ):  # fmt: skip
        if value := getattr(image, field):
            changes[field] = value
    if image.release:
        changes["release"] = str(image.release)
    return attrs.evolve(under, **changes)


def split_elements(elements: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of elements, and options of the command that stand among them.

    Nodepool puts all of them behind the command as they are. What stands behind an option, in the
    same item of the list, is taken for what it takes.
    """
    names: list[str] = []
    options: list[str] = []
    for element in elements:
        try:
            words = shlex.split(element)
        except ValueError:
            words = element.split()
        words = [word for word in words if word]
        at = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
        names += [name for word in words[:at] for name in word.split()]
        options += words[at:]
    return tuple(names), tuple(options)


def variables(given: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Variables that a build can have, and why the others cannot be."""
    kept, refused = {}, {}
    for name, value in given.items():
        if name in _OURS:
            refused[name] = "each build has its own"
        elif not _VARIABLE.fullmatch(name):
            refused[name] = "it is no name of a variable"
        elif "\0" in value:
            refused[name] = "its value has a NUL character"
        else:
            kept[name] = value
    return kept, refused


def image_names(names: tuple[str, ...]) -> dict[str, str]:
    """How each image is called here: as it was, but where files cannot be called so."""
    found = {name: name for name in names if _NAME.fullmatch(name)}
    taken = set(found.values())
    for name in names:
        if name not in found:
            base = re.sub(r"[^A-Za-z0-9._-]", "-", name).lstrip("._-")[:90] or "image"
            number, new = 2, base
            while new in taken:
                new = f"{base}-{number}"
                number += 1
            found[name] = new
            taken.add(new)
    return found


def can_be_split(command: str) -> bool:
    """Whether a command can be split into words as a shell does."""
    try:
        return bool(shlex.split(command))
    except ValueError:
        return False


def texts(given: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """Properties as texts, and the names of those that are none: lists and mappings."""
    kept, refused = {}, []
    for name, value in given.items():
        if isinstance(value, list | dict):
            refused.append(name)
        else:
            kept[name] = value if isinstance(value, str) else str(value)
    return kept, refused


def calls_per_second(rate: float | str | None) -> float | None:
    """A ``rate``, in seconds between calls, the other way round; None for no limit."""
    try:
        seconds = float(rate) if rate is not None else 0.0
    except ValueError:
        return None
    if not math.isfinite(seconds) or seconds <= 0:
        return None
    found = float(f"{1 / seconds:.6g}") if seconds > 1e-9 else math.inf
    return found if math.isfinite(found) and found > 0 else None


def is_number(rate: float | str) -> bool:
    """Whether a ``rate`` can be read as a number."""
    try:
        float(rate)
    except ValueError:
        return False
    return True
