"""Recorded arrivals, from a file: CSV with a header, or one JSON object a line."""

import csv
import datetime
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from trellis.config.structure import near
from trellis.errors import ConfigError
from trellis.sim.demand import Arrival

MOST_BYTES: Final = 256 * 1024 * 1024
MOST_FAULTS: Final = 100
_TOO_LARGE: Final = 2**63
ARRIVAL_KEYS: Final = tuple(field.name.replace("_", "-") for field in attrs.fields(Arrival))
_NUMBERS: Final[dict[str, type]] = {"use-s": float, "priority": int}


@attrs.frozen
class _Row:
    """One record, with the place of each of its cells; columns count from 1."""

    line: int
    cells: Mapping[str, Any]
    columns: Mapping[str, int]


@attrs.frozen
class _FaultyCellError(Exception):
    key: str
    message: str


def load_arrivals(path: Path, labels: Sequence[str] | None = None) -> tuple[Arrival, ...]:
    """Read recorded arrivals.

    The times are seconds, or moments as ISO 8601 writes them; these count from the earliest.

    Args:
        path: the file: JSON lines if its name ends in ``.jsonl`` or ``.ndjson``, else CSV.
        labels: the labels there are; None takes any.

    Raises:
        ConfigError: with the place of everything that is wrong, up to 100.
    """
    rows, faults = _rows(path)
    found: list[tuple[float | datetime.datetime, Arrival, _Row]] = []
    for row in rows:
        try:
            found.append((*_arrival(row, labels), row))
        except _FaultyCellError as fault:
            faults.append(_place(path, row, fault))
        if len(faults) >= MOST_FAULTS:
            raise ConfigError(faults)
    moments = [at for at, _, _ in found if isinstance(at, datetime.datetime)]
    if moments and len(moments) < len(found):
        odd = next(row for at, _, row in found if not isinstance(at, datetime.datetime))
        message = "is a number of seconds, where other rows have moments: write all alike"
        faults.append(_place(path, odd, _FaultyCellError("time", message)))
    if not found and not faults:
        faults.append(f"{path}:1:1: no arrivals in it: one row for each request")
    if faults:
        raise ConfigError(faults)
    if not moments:
        return tuple(arrival for _, arrival, _ in found)
    first = min(moments)
    return tuple(
        attrs.evolve(arrival, time=(at - first).total_seconds())
        for at, arrival, _ in found
        if isinstance(at, datetime.datetime)
    )


def _rows(path: Path) -> tuple[list[_Row], list[str]]:
    try:
        size = path.stat().st_size
        if not path.is_file() or size > MOST_BYTES:
            why = f"has more than {MOST_BYTES >> 20} MiB" if path.is_file() else "is no file"
            raise ConfigError([f"{path}: {why}: name a file of recorded arrivals"])
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8"]) from None
    faults: list[str] = []
    read = _json_rows if path.suffix in (".jsonl", ".ndjson") else _csv_rows
    return list(read(text, path, faults)), faults


def _csv_rows(text: str, path: Path, faults: list[str]) -> Iterator[_Row]:
    lines = text.splitlines()
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        faults += _header_faults(header, path)
        if faults:
            return
        for cells in reader:
            number = reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) > len(header):
                faults.append(f"{path}:{number}:1: {len(cells)} cells under {len(header)} names")
                continue
            columns = _columns(lines[number - 1], cells, header)
            named = zip(header, cells, strict=False)
            yield _Row(number, {name: x.strip() for name, x in named if x.strip()}, columns)
    except csv.Error as error:
        faults.append(f"{path}:{reader.line_num}:1: not CSV: {error}")


def _header_faults(header: list[str], path: Path) -> list[str]:
    faults = []
    for place, name in enumerate(header):
        column = sum(len(x) + 1 for x in header[:place]) + 1
        if name not in ARRIVAL_KEYS:
            known = f"; the names are {', '.join(ARRIVAL_KEYS)}"
            faults.append(
                f"{path}:1:{column}: unknown column {name[:60]!r}{near(name, ARRIVAL_KEYS)}"
            )
            faults[-1] += known if not near(name, ARRIVAL_KEYS) else ""
        elif name in header[:place]:
            faults.append(f"{path}:1:{column}: the column {name!r} is there twice")
    for needed in ("time", "labels"):
        if needed not in header:
            faults.append(f"{path}:1:1: the column {needed!r} is missing")
    return faults


def _columns(line: str, cells: list[str], header: list[str]) -> dict[str, int]:
    """Where each cell begins; 1 where quotes make that hard to say."""
    if '"' in line or line.count(",") != len(cells) - 1:
        return dict.fromkeys(header, 1)
    found, at = {}, 1
    for name, cell in zip(header, cells, strict=False):
        found[name] = at + len(cell) - len(cell.lstrip())
        at += len(cell) + 1
    return found


def _json_rows(text: str, path: Path, faults: list[str]) -> Iterator[_Row]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            cells = json.loads(line)
        except json.JSONDecodeError as error:
            faults.append(f"{path}:{number}:{error.colno}: not JSON: {error.msg}")
            continue
        except RecursionError:
            faults.append(f"{path}:{number}:1: nested too deep")
            continue
        if not isinstance(cells, dict):
            faults.append(f'{path}:{number}:1: expected an object, as {{"time": 0, …}}')
            continue
        columns = {key: max(1, line.find(f'"{key}"') + 1) for key in cells}
        unknown = [key for key in cells if key not in ARRIVAL_KEYS]
        for key in unknown:
            shown = f"unknown key {key[:60]!r}{near(key, ARRIVAL_KEYS)}"
            faults.append(f"{path}:{number}:{columns[key]}: {shown}")
        if not unknown:
            yield _Row(number, {k: x for k, x in cells.items() if x is not None}, columns)


def _arrival(row: _Row, labels: Sequence[str] | None) -> tuple[float | datetime.datetime, Arrival]:
    cells = row.cells
    at = _time(cells.get("time"))
    wanted = _labels(cells.get("labels"))
    for label in wanted:
        if labels is not None and label not in labels:
            message = f"the configuration has no label {label[:60]!r}{near(label, labels)}"
            raise _FaultyCellError("labels", message)
    values: dict[str, Any] = {
        "time": at if isinstance(at, float) else 0.0,
        "labels": wanted,
    }
    for key in ("use-s", "priority", "tenant", "provider"):
        if key not in cells:
            continue
        value = cells[key]
        if key in _NUMBERS:
            value = _number(key, value)
        elif not isinstance(value, str):
            raise _FaultyCellError(key, f"expected text, got {json.dumps(value)[:60]}")
        values[key.replace("-", "_")] = value
    for key, value in values.items():
        field = getattr(attrs.fields(Arrival), key)
        if field.validator is not None:
            try:
                field.validator(None, field, value)
            except ValueError as error:
                raise _FaultyCellError(key.replace("_", "-"), str(error)) from None
    return at, Arrival(**values)


def _time(value: Any) -> float | datetime.datetime:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _TOO_LARGE:
        return float(value)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            pass
        try:
            moment = datetime.datetime.fromisoformat(value)
        except ValueError:
            pass
        else:
            return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
    shown = "nothing" if value is None else repr(value)[:60]
    message = f"expected seconds, or a moment as 2026-01-31T08:00:00Z, got {shown}"
    raise _FaultyCellError("time", message)


def _labels(value: Any) -> tuple[str, ...]:
    """Labels: a list of texts, or one text with blanks between."""
    texts = value.split() if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(x, str) for x in texts):
        raise _FaultyCellError("labels", "expected one label or more, with blanks between")
    return tuple(texts)


def _number(key: str, value: Any) -> float | int:
    whole = _NUMBERS[key] is int
    try:
        if isinstance(value, str):
            value = int(value) if whole else float(value)
    except ValueError:
        pass
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _TOO_LARGE:
        return value
    if isinstance(value, float) and not whole and math.isfinite(value):
        return value
    expected = "a whole number" if whole else "a number of seconds"
    raise _FaultyCellError(key, f"expected {expected}, got {str(value)[:60]!r}")


def _place(path: Path, row: _Row, fault: _FaultyCellError) -> str:
    return f"{path}:{row.line}:{row.columns.get(fault.key, 1)}: {fault.key}: {fault.message}"
