"""Durations as people write them."""

import re
from typing import Final

from trellis.spi.config import Seconds

_UNITS: Final = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)([wdhms])")
_WHOLE: Final = re.compile(rf"(?:{_PART.pattern})+\Z")
_LOOSE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]+)\.?\Z")
_EXAMPLES: Final = "write a number of seconds, or for example 90s, 30m, 8h, 7d or 1h30m"
_YEARS_100: Final = 100 * 365 * 86400


def read_duration(value: object) -> Seconds:
    """Read a duration: a number of seconds, or numbers with units w, d, h, m and s.

    Raises:
        ValueError: it is none, negative or beyond a hundred years; says what to write.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"no duration; {_EXAMPLES}")
    if isinstance(value, str):
        text = value.strip()
        if _WHOLE.match(text):
            number = sum(float(n) * _UNITS[unit] for n, unit in _PART.findall(text))
        else:
            raise ValueError(f"{_shown(text)} is no duration; {_advice(text)}")
    else:
        number = value
    if not number >= 0:  # NaN, too
        raise ValueError(f"a duration cannot be {_shown(str(value))}; {_EXAMPLES}")
    if number > _YEARS_100:
        raise ValueError("a duration cannot be longer than a hundred years")
    return Seconds(float(number))


def write_duration(seconds: float) -> str | float:
    """Write a duration as `read_duration` reads it back to the same value."""
    if seconds != int(seconds) or seconds == 0:
        return seconds if seconds else 0
    rest, parts = int(seconds), []
    for unit, size in _UNITS.items():
        if unit == "w":
            continue
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")


def _advice(text: str) -> str:
    loose = _LOOSE.match(text)
    if loose:
        number, unit = loose[1], loose[2].lower()
        if unit in ("ms", "msec", "millis", "milliseconds"):
            return f"write {float(number) / 1000:g}"
        if unit.startswith(("mo", "y")):
            return "months and years are not exact: write days, as 30d"
        if unit[0] in _UNITS:
            return f"write {number}{unit[0]}"
    return _EXAMPLES
