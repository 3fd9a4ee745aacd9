"""Images of several files: which definition of each counts, and what its parents are.

A builder resolves an image by its own file alone. Two builders may have parents of one name that
are not the same: then each keeps its own, one of them under another name.
"""

from collections.abc import Sequence

import attrs

from trellis.nodepool import model
from trellis.nodepool.merging import Conflict, Placed
from trellis.nodepool.reading import NodepoolFile
from trellis.nodepool.recipes import ancestry

_Image = Placed[model.DiskImage]


def images_of(
    files: Sequence[NodepoolFile], builders: Sequence[NodepoolFile], conflicts: list[Conflict]
) -> tuple[tuple[_Image, ...], dict[str, _Image]]:
    """Of each image what its builder reads: what a launcher's file says of it counts for nothing.

    Args:
        builders: the files that go before the others.
        conflicts: what other files say otherwise is added to them.

    Returns:
        The images, and those of them that are parents for one file alone, by their names.
    """
    order = [*builders, *(file for file in files if file not in builders)]
    by_name: dict[str, list[_Image]] = {}
    for file in order:
        for i, image in enumerate(file.images):
            one = Placed(value=image, source=file.source, path=("diskimages", i))
            by_name.setdefault(image.name, []).append(one)
    counts: dict[str, _Image] = {}
    for name, parts in by_name.items():
        parts.sort(key=lambda part: _emptiness(part.value))
        counts[name] = parts[0]
        for one in parts[1:]:
            if not (one.value.abstract and parts[0].value.abstract):
                conflicts += _disagreeing(parts[0], one)
    lineage = _Lineage(order, counts)
    images = tuple([lineage.with_parent(image) for image in counts.values()])
    return (*lineage.copies.values(), *images), lineage.originals


class _Lineage:
    """Finds the parent of each image as its own file has it.

    Attributes:
        copies: parents that had to get another name, by that.
        originals: the same as their files have them.
    """

    def __init__(self, files: Sequence[NodepoolFile], counts: dict[str, _Image]) -> None:
        self._counts = counts
        self._in_file = {
            file.source.name: {image.name: image for image in file.images} for file in files
        }
        stems = short_names([file.source.name for file in files])
        self._stems = dict(zip(self._in_file, stems, strict=True))
        self._placed = {
            (file.source.name, image.name): Placed(
                value=image, source=file.source, path=("diskimages", i)
            )
            for file in files
            for i, image in enumerate(file.images)
        }
        self._names: dict[tuple[str, str], str] = {}
        self.copies: dict[str, _Image] = {}
        self.originals: dict[str, _Image] = {}

    def with_parent(self, image: _Image) -> _Image:
        """The image with the name that its parent has here."""
        parent = image.value.parent
        if not parent:
            return image
        name = self._name(image.source.name, parent)
        return attrs.evolve(image, value=attrs.evolve(image.value, parent=name))

    def _name(self, file: str, name: str) -> str:
        """How an image of a file is called as a parent."""
        counts = self._counts[name].source.name
        if ancestry(name, self._in_file[file]) == ancestry(name, self._in_file[counts]):
            return name
        if (file, name) not in self._names:
            new = base = f"{name}-{self._stems[file]}"
            number = 2
            while new in self._counts or new in self.copies:
                new, number = f"{base}-{number}", number + 1
            self._names[file, name] = new
            original = self._placed[file, name]
            value = attrs.evolve(original.value, name=new, abstract=True)
            self.copies[new] = self.with_parent(attrs.evolve(original, value=value))
            self.originals[new] = original
        return self._names[file, name]


def _disagreeing(counts: _Image, other: _Image) -> list[Conflict]:
    """What one file says of an image otherwise than the file that counts."""
    return [
        Conflict(
            path=other.path_of(field.name),
            place=other.place(field.name),
            counts=counts.place(field.name),
        )
        for field in attrs.fields(model.DiskImage)
        if (said := getattr(other.value, field.name)) and said != getattr(counts.value, field.name)
    ]


def _emptiness(image: model.DiskImage) -> int:
    if image.elements or image.parent or image.dib_cmd:
        return 0
    return 1 if says_more_than_its_name(image) else 2


def says_more_than_its_name(image: model.DiskImage) -> bool:
    """Whether an image has a key that is not empty, beside its name."""
    return any(
        getattr(image, field.name)
        for field in attrs.fields(model.DiskImage)
        if field.name != "name"
    )


def short_names(files: Sequence[str]) -> list[str]:
    """A name for each file, of its own name, and of its folder's where that is not enough."""
    parts = [file.replace("\\", "/").split("/") for file in files]
    short = [_stem(one[-1]) for one in parts]
    if len(set(short)) < len(short):
        short = [
            f"{_clean(one[-2])}-{name}" if len(one) > 1 else name
            for one, name in zip(parts, short, strict=True)
        ]
    taken: set[str] = set()
    for i, name in enumerate(short):
        while short[i] in taken:
            short[i] = f"{name}-{i + 1}"
        taken.add(short[i])
    return short


def _stem(name: str) -> str:
    return _clean(name.rsplit(".", 1)[0])


def _clean(name: str) -> str:
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in name).strip("-")
    return kept[:40] or "nodepool"
