"""What an inspection says: one finding for each thing that was looked at."""

import enum
from collections.abc import Iterable, Mapping
from typing import Any

import attrs


class Verdict(enum.Enum):
    """What a finding comes to, best first."""

    OK = "ok"
    WARN = "warn"
    """It works, and may surprise: the remedy says when."""
    FAIL = "fail"
    """Nodes cannot be launched like this."""


@attrs.frozen(kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: which: ``auth``, ``catalog``, ``limits``, …
        subject: of which one, where there are several: a service, a type; else "".
        found: what there is, in words.
        verdict: whether that will do.
        remedy: what to do now; "" if nothing.
        data: the same for a program, whole where the words leave something out.
    """

    what: str
    subject: str = ""
    found: str
    verdict: Verdict = Verdict.OK
    remedy: str = ""
    data: Mapping[str, Any] = attrs.field(factory=dict)

    def as_plain(self) -> dict[str, Any]:
        """For JSON and YAML."""
        return {
            "what": self.what,
            "subject": self.subject,
            "verdict": self.verdict.value,
            "found": self.found,
            "remedy": self.remedy,
            "data": dict(self.data),
        }


def warning(what: str, found: str, remedy: str, **more: Any) -> Finding:
    """A finding that works, and may surprise."""
    return Finding(what=what, found=found, verdict=Verdict.WARN, remedy=remedy, **more)


def failure(what: str, found: str, remedy: str, **more: Any) -> Finding:
    """A finding with which no node can be launched."""
    return Finding(what=what, found=found, verdict=Verdict.FAIL, remedy=remedy, **more)


def worst(findings: Iterable[Finding]) -> Verdict:
    """What they come to together."""
    order = list(Verdict)
    return max((one.verdict for one in findings), key=order.index, default=Verdict.OK)


def listed(names: Iterable[str], most: int = 8) -> str:
    """Names with commas; of many the first ones, and how many more there are."""
    all_names = list(names)
    if len(all_names) <= most + 1:
        return ", ".join(all_names)
    return f"{', '.join(all_names[:most])} and {len(all_names) - most} more"
