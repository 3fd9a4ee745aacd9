"""Finding by name or id what the configuration names, with near matches where it is not there."""

import difflib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Protocol, TypeVar

from trellis.errors import TrellisError
from trellis.openstack.compute import FlavorRow


class MissingError(TrellisError):
    """The cloud lacks what a label needs; the text says what, and what comes near."""


class Named(Protocol):
    """A thing of a cloud."""

    @property
    def id(self) -> str:
        """Its id."""
        ...

    @property
    def name(self) -> str:
        """Its name, which need not be its own alone."""
        ...


N = TypeVar("N", bound=Named)


def by_name_or_id(what: str, wanted: str, rows: Sequence[N]) -> N:
    """The one thing of this id or name.

    Raises:
        MissingError: there is none, or several of this name.
    """
    for row in rows:
        if row.id == wanted:
            return row
    named = [row for row in rows if row.name == wanted]
    if not named:
        raise MissingError(f"no {what} {wanted!r}{near(wanted, (row.name for row in rows))}")
    if len(named) > 1:
        ids = ", ".join(row.id for row in named[:5])
        raise MissingError(f"{len(named)} {what}s are called {wanted!r}, give the id: {ids}")
    return named[0]


def choose_flavor(
    flavors: Sequence[FlavorRow],
    *,
    name: str | None,
    min_ram: int | None,
    passed_over: Sequence[str] = (),
) -> FlavorRow:
    """The flavor of this name or id; or the smallest by memory and name that has *min_ram*.

    Args:
        name: with *min_ram*, a part of the flavor's name is enough.
        min_ram: in MiB.
        passed_over: patterns of names that *min_ram* does not mean.

    Raises:
        MissingError: there is none.
    """
    usable = [flavor for flavor in flavors if not flavor.disabled]
    if min_ram is None:
        assert name is not None
        return by_name_or_id("flavor", name, usable)
    usable = [f for f in usable if not any(fnmatchcase(f.name, one) for one in passed_over)]
    large = [f for f in usable if f.ram >= min_ram and (name is None or name in f.name)]
    if not large:
        part = f" and {name!r} in its name" if name else ""
        most = max((f.ram for f in usable), default=0)
        raise MissingError(f"no flavor with {min_ram} MiB{part}; the largest has {most} MiB")
    return min(large, key=lambda flavor: (flavor.ram, flavor.name))


def near(wanted: str, known: Iterable[str]) -> str:
    """A hint in words to what *wanted* may have meant."""
    names = sorted({name for name in known if name})
    if not names:
        return "; the project sees none at all"
    matches = difflib.get_close_matches(wanted[:100], names, 3, 0.5)
    if matches:
        return "; near: " + ", ".join(matches)
    shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    return f"; there are: {shown}"
