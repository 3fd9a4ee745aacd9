"""A cloud's profile: all that is the same for each of its customers, with what says so.

A profile is a list of quirks. Each names the one value that is not stock, what the cloud does,
how that is known, from when to when, and how to see it again; nothing about a cloud is set
without that. What is used (`Quirks`, the ground of a ``clouds.yaml`` entry) is made of the list.
"""

import enum
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final

import attrs

from trellis.http.buckets import Limit, RatePlan
from trellis.http.message import Verb
from trellis.openstack.faults import Row
from trellis.openstack.quirks import Quirks

_SETTINGS: Final = {field.name: field for field in attrs.fields(Quirks)}
_ENTRY: Final = "entry."
_DEFAULT: Final = "default."
_RATE: Final = "rate."
_HOOK: Final = "hook."
_VERBS: Final = {verb.value: verb for verb in Verb}


class Mark(enum.Enum):
    """How sure a statement about a cloud is."""

    DOCUMENTED = "documented"
    """Read in code, configuration or documentation that is named beside it."""
    RUN = "run"
    """Tried, without the cloud itself."""
    INFERRED = "inferred"
    """It follows from what is documented, and is not stated there."""
    UNVERIFIED = "unverified"
    """Reported in one place only: to be checked before anything rests on it."""


@attrs.frozen(kw_only=True)
class Quirk:
    """One way in which a cloud is not stock.

    Attributes:
        name: a field of `Quirks`; ``entry.KEY`` for a key of its ``clouds.yaml`` entry, with dots
            into mappings; ``default.KEY`` for the default of a key of the configuration;
            ``rate.SERVICE`` or ``rate.SERVICE.VERB`` for a `Limit` of all calls to a service or
            of one class of them; or ``hook.METHOD`` for a method that its provider overrides.
        value: in place of the stock value; None for a hook.
        does: what this cloud does, as a sentence.
        evidence: who says so: repository and file, documentation, or the row of the survey.
        era: from when to when, as ``2013-16`` or ``since 2015``.
        check: how to see it again.
        mark: how sure it is.
        section: of the survey's part 1; a field's own if left out.
    """

    name: str
    value: Any = None
    does: str
    evidence: str
    era: str
    check: str
    mark: Mark = Mark.DOCUMENTED
    section: str = ""

    @property
    def stock(self) -> str:
        """What a stock cloud does in its place; "" for what stock has no word on."""
        field = _SETTINGS.get(self.name)
        return "" if field is None else str(field.metadata["stock"])

    @property
    def dimension(self) -> str:
        """The section of the survey's part 1 that it belongs to."""
        field = _SETTINGS.get(self.name)
        return self.section or ("" if field is None else str(field.metadata["section"]))


@attrs.frozen(kw_only=True, slots=False)
class CloudProfile:
    """One cloud, as far as all its customers see the same.

    Attributes:
        name: as ``profile:`` in ``clouds.yaml`` has it, and mostly the provider type's.
        title: its proper name.
        status: whether it is in operation, since or until when.
        regions: that are known; a cloud may have more, or show fewer to a customer.
        needed: keys of the ``clouds.yaml`` entry that only the customer can know.
        quirks: where it is not stock.
        refusals: in which words it refuses, where those of all clouds
            (`trellis.openstack.faults`) would be misread; those of logins are of the service
            ``identity``.
    """

    name: str
    title: str
    status: str
    regions: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    quirks: tuple[Quirk, ...] = ()
    refusals: tuple[Row, ...] = ()

    def faults(self, provider: type | None = None, configuration: type | None = None) -> list[str]:
        """What is wrong with the profile itself, for whoever writes it; empty if nothing is.

        Args:
            provider: class of the provider, which must have the methods of the hooks.
            configuration: its configuration class, which must have the keys of the defaults.
        """
        found: list[str] = []
        for text in ("name", "title", "status"):
            if not getattr(self, text):
                found.append(f"the profile has no {text}")
        names = [quirk.name for quirk in self.quirks]
        for name in sorted({name for name in names if names.count(name) > 1}):
            found.append(f"quirk {name} is there twice")
        for quirk in self.quirks:
            found += _faults(quirk, provider, configuration)
        return found

    @cached_property
    def settings(self) -> Quirks:
        """The values of its quirks, stock for all else."""
        return Quirks(**{x.name: x.value for x in self.quirks if x.name in _SETTINGS})

    @cached_property
    def entry(self) -> Mapping[str, Any]:
        """What lies under an entry of ``clouds.yaml``, in its form."""
        entry: dict[str, Any] = {"regions": list(self.regions)} if self.regions else {}
        if self.needed:
            entry["needed"] = {"profile": self.name, "keys": list(self.needed)}
        for quirk in self.quirks:
            if quirk.name.startswith(_ENTRY):
                *path, key = quirk.name.removeprefix(_ENTRY).split(".")
                place = entry
                for part in path:
                    place = place.setdefault(part, {})
                place[key] = quirk.value
        return entry

    @property
    def defaults(self) -> Mapping[str, Any]:
        """Defaults of keys of the provider's configuration, by the field's name."""
        return {
            quirk.name.removeprefix(_DEFAULT).replace("-", "_"): quirk.value
            for quirk in self.quirks
            if quirk.name.startswith(_DEFAULT)
        }

    @property
    def rates(self) -> RatePlan:
        """How fast its services may be called."""
        found = {
            quirk.name.removeprefix(_RATE): quirk.value
            for quirk in self.quirks
            if quirk.name.startswith(_RATE)
        }
        split = {tuple(name.split(".")): limit for name, limit in found.items()}
        return RatePlan(
            services={name[0]: limit for name, limit in split.items() if len(name) == 1},
            verbs={
                (name[0], _VERBS[name[1]]): limit for name, limit in split.items() if len(name) > 1
            },
        )

    def without(self, name: str) -> "CloudProfile":
        """The same cloud, were it stock in this one respect.

        Raises:
            KeyError: it has no such quirk.
        """
        rest = tuple(quirk for quirk in self.quirks if quirk.name != name)
        if len(rest) == len(self.quirks):
            raise KeyError(name)
        return attrs.evolve(self, quirks=rest)


def _faults(quirk: Quirk, provider: type | None, configuration: type | None) -> list[str]:
    found = [
        f"quirk {quirk.name}: {text} is missing"
        for text in ("does", "evidence", "era", "check")
        if not getattr(quirk, text)
    ]
    kind, _, name = quirk.name.partition(".")
    if quirk.name in _SETTINGS:
        if quirk.value == _SETTINGS[quirk.name].default:
            found.append(f"quirk {quirk.name}: {quirk.value!r} is the stock value")
        return found
    if kind not in ("entry", "default", "rate", "hook") or not name:
        known = ", ".join(_SETTINGS)
        found.append(
            f"quirk {quirk.name}: there is no such quirk; there is {known}, and entry.KEY, "
            "default.KEY, rate.SERVICE.VERB, hook.METHOD"
        )
    elif not quirk.section:
        found.append(f"quirk {quirk.name}: section is missing")
    if kind == "rate":
        verb = name.partition(".")[2]
        if verb and verb not in _VERBS:
            found.append(
                f"quirk {quirk.name}: there is no class of calls {verb}: {', '.join(_VERBS)}"
            )
        if not isinstance(quirk.value, Limit):
            found.append(f"quirk {quirk.name}: its value must be a Limit, not {quirk.value!r}")
    if kind == "hook" and provider is not None:
        found += _hook_faults(quirk, provider, name)
    if kind == "default" and configuration is not None:
        keys = [field.name for field in attrs.fields(configuration)]
        if name.replace("-", "_") not in keys:
            found.append(f"quirk {quirk.name}: {configuration.__name__} has no key {name}")
    return found


def _hook_faults(quirk: Quirk, provider: type, method: str) -> list[str]:
    """What is wrong with a hook: the provider must have a method of its own over another's."""
    if not callable(getattr(provider, method, None)):
        return [f"quirk {quirk.name}: {provider.__name__} has no method {method}"]
    classes = [cls for cls in provider.__mro__ if not getattr(cls, "_is_protocol", False)]
    if sum(method in vars(cls) for cls in classes) < 2:
        return [
            f"quirk {quirk.name}: {provider.__name__} does not override {method}: it is the stock "
            "provider's"
        ]
    return []
