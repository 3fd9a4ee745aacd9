"""The live view: the answer of ``GET /api/v1/status`` as a screen of text."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.text import Text

from trellis.live.image_section import image_section
from trellis.live.lines import Column, Section, fitted, shared_out, table
from trellis.live.text import STATE_STYLES, duration, one_line, soon, summed

Status = Mapping[str, Any]
"""The answer of ``GET /api/v1/status``, as read from its JSON."""

_STATES: Final = (
    ("building", "BUILD"), ("ready", "READY"), ("in-use", "USE"), ("used", "USED"),
    ("hold", "HOLD"), ("failed", "FAIL"), ("aborted", "ABORT"), ("deleting", "DEL"),
)  # fmt: skip
_WIDE: Final = 110
_BAR: Final = "▇"
_SHORT_ID: Final = 8


def render(
    status: Status | None,
    width: int,
    height: int,
    *,
    title: str = "",
    notice: str = "",
    footer: str = "",
) -> RenderableType:
    """Draw a screen of at most these many columns and lines.

    Args:
        status: None if nothing has been read yet.
        title: stands in the first line, after the name; an address, for one.
        notice: something that is wrong with the view itself: no daemon answers, for one.
        footer: stands in the last line: what keys do, for one.
    """
    return Group(*screen(status, width, height, title=title, notice=notice, footer=footer))


def screen(
    status: Status | None,
    width: int,
    height: int,
    *,
    title: str = "",
    notice: str = "",
    footer: str = "",
) -> list[Text]:
    """The lines that `render` draws."""
    top = [fitted(line, width) for line in _head(status, width, title, notice)]
    bottom = [fitted(Text(footer, style="dim"), width)] if footer else []
    top = top[: max(0, height - len(bottom))]
    if status is None:
        return [*top, *bottom]
    left = height - len(top) - len(bottom)
    images = _images(status, width)
    drawn = (
        (_providers(status, width, left), 8),
        (_waiting(status, width), 6),
        *(((images, 4),) if images.wanted else ()),
        (_slowest(status, width), 4),
        (_labels(status, width), 4),
    )
    # The most important first; a blank line stands above each.
    shares = shared_out([section.wanted + 1 for section, _ in drawn], [n for _, n in drawn], left)
    sections = [section for section, _ in drawn]
    lines = list(top)
    for section, share in zip(sections, shares, strict=True):
        if shown := section.lines(share - 1):
            lines += [Text(""), *(fitted(line, width) for line in shown)]
    blank = [Text("")] * (height - len(lines) - len(bottom)) if bottom else []
    return [*lines, *blank, *bottom]


# ------------------------------------------------------------------------------ the head


def _head(status: Status | None, width: int, title: str, notice: str) -> list[Text]:
    first = Text.assemble(("Trellis", "bold"))
    if status is not None:
        ready = ("ready", "green") if status["ready"] else ("NOT READY", "bold red")
        up = duration(_moment(status["now"]) - _moment(status["started_at"]))
        first.append(f" {status['version']}  {one_line(status['deployment'])}  ")
        first.append(*ready).append(f"  up {up}  {status['now'][11:19]}Z")
    if title:
        first.append(f"  {one_line(title)}")
    lines = [first]
    if notice:
        lines.append(Text(one_line(notice), style="bold red"))
    if status is None:
        return lines
    if not status["ready"]:
        lines.append(Text(one_line(status["ready_detail"]), style="red"))
    lines += [Text(one_line(words), style="red") for words in status["notices"]]
    return [*lines, Text(""), *_nodes(status, width), _requests(status), _figures(status, width)]


def _nodes(status: Status, width: int) -> list[Text]:
    by_state = status["nodes"]["by_state"]
    line = Text.assemble(("nodes     ", "bold"), (f"{status['nodes']['total']:>4}  ", ""))
    for state, _ in _STATES:
        if by_state.get(state):
            line.append(f"{by_state[state]} {state}", style=STATE_STYLES[state]).append("  ")
    return [line, _bar(by_state, width)]


def _bar(by_state: Mapping[str, int], width: int) -> Text:
    """The nodes of each state as a part of the width."""
    total = sum(by_state.get(state, 0) for state, _ in _STATES)
    bar, done, seen = Text(), 0, 0
    for state, _ in _STATES:
        seen += by_state.get(state, 0)
        # Rounded where parts end, so that they fill the width together.
        end = round(width * seen / total) if total else 0
        bar.append(_BAR * (end - done), style=STATE_STYLES[state])
        done = end
    return bar if total else Text("·" * width, style="dim")


def _requests(status: Status) -> Text:
    requests = status["requests"]
    line = Text.assemble(("requests  ", "bold"), f"{requests['waiting']:>4}  ")
    line.append("wait", style="yellow" if requests["waiting"] else "")
    words = {"requested": "for a place", "pending": "for their nodes", "fulfilled": "served"}
    told = [
        f"{requests['by_state'][state]} {word}"
        for state, word in words.items()
        if requests["by_state"].get(state)
    ]
    return line.append(f"  ({', '.join(told)})" if told else "")


def _figures(status: Status, width: int) -> Text:
    figures = status["figures"]
    line = Text.assemble(("waits     ", "bold"))
    line.append(_spread(figures["wait_s"]) or "nothing served yet")
    if spread := _spread(figures["boot_s"]):
        line.append("   launches ", style="bold").append(spread)
    line.append("   API calls ", style="bold")
    each = figures["api_calls_per_node"]
    line.append(f"{each:.1f} a node" if each is not None else f"{figures['api_calls']}")
    if width >= _WIDE and each is not None:
        line.append(f", {figures['api_calls']} in all")
    return line


def _spread(spread: Mapping[str, Any]) -> str:
    if not spread["count"]:
        return ""
    return f"p50 {_seconds(spread['p50'])} p95 {_seconds(spread['p95'])}"


def _seconds(length: float) -> str:
    return f"{length:.1f}s" if length < 10 else duration(length)


# -------------------------------------------------------------------------- the sections


def _providers(status: Status, width: int, lines: int) -> Section:
    noted = [(provider, _notes(provider)) for provider in status["providers"]]
    if 2 + sum(1 + len(notes) for _, notes in noted) > lines // 2:
        noted = [(provider, notes[:1]) for provider, notes in noted]
    if 2 + sum(1 + len(notes) for _, notes in noted) > lines // 2:
        # What is wrong must be seen, however many are well.
        noted.sort(key=lambda one: one[0]["state"] == "available" and not one[1])
    # States that no provider has a node in would only take room, but for the usual ones.
    states = [
        (state, short)
        for state, short in _STATES
        if state in ("building", "ready", "in-use", "deleting")
        or any(provider["nodes"].get(state) for provider, _ in noted)
    ]
    columns = [
        Column(title="PROVIDER", most=22 if width >= _WIDE else 14),
        Column(title="STATE", most=11),
        *(Column(title=short, right=True) for _, short in states),
        Column(title="SERVERS", most=width),
    ]
    rows = []
    for provider, _ in noted:
        state = _state(provider)
        counts = [_count(provider["nodes"].get(name, 0), name) for name, _ in states]
        used = _used(provider["quota"]["instances"], 20 if width >= _WIDE else 8)
        rows.append([provider["name"], _state_cell(state), *counts, used])
    head, drawn = table(columns, rows, width)
    return Section(
        head=head,
        rows=[
            [line, *(fitted(Text(f"  {note}", style), width) for note, style in notes)]
            for line, (_, notes) in zip(drawn, noted, strict=True)
        ],
        empty="No provider is configured.",
    )


def _state(provider: Mapping[str, Any]) -> str:
    """Its health; of one that is healthy, whether a person stopped its launches."""
    if provider["state"] == "available" and provider["pause"] is not None:
        return "draining" if provider["pause"]["drain"] else "paused"
    return str(provider["state"])


def _state_cell(state: str) -> Text:
    return Text(one_line(state), STATE_STYLES.get(state, ""))


def _count(number: int, state: str) -> Text:
    return Text(str(number), STATE_STYLES[state]) if number else Text("·", "dim")


def _used(use: Mapping[str, Any], width: int) -> Text:
    """Our servers against the most that we may have: the cloud's limit or the pools' own."""
    limits = [
        limit
        for limit in (_less(use["limit"], use["others"]), use["own_limit"])
        if isinstance(limit, int | float)
    ]
    most = max(0, int(min(limits))) if limits else None
    if most is None:
        return Text(f"{use['ours']}")
    full = min(width, round(width * use["ours"] / most)) if most else width
    text = Text().append(_BAR * full, style="cyan").append("·" * (width - full), style="dim")
    return text.append(f" {use['ours']}/{most}")


def _less(limit: object, others: int) -> object:
    return limit - others if isinstance(limit, int | float) else limit


def _notes(provider: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is to be said of a provider beside its figures, each with its style."""
    notes = []
    if provider["reason"]:
        notes.append((one_line(provider["reason"]), "red"))
    if (pause := provider["pause"]) is not None:
        why = f": {pause['reason']}" if pause["reason"] else ""
        notes.append((one_line(f"{_paused(pause)} by {pause['by']}{why}"), "magenta"))
    if provider["sweep"].startswith("stopped"):
        notes.append((one_line(f"sweep {provider['sweep']}"), "red"))
    if provider["leaks"]:
        noun = "leak" if provider["leaks"] == 1 else "leaks"
        notes.append((f"{provider['leaks']} {noun}: `trellis leak list` says more", "red"))
    for what, why in list(provider["backoffs"].items())[:1]:
        more = len(provider["backoffs"]) - 1
        further = f" (and {more} more)" if more else ""
        notes.append((one_line(f"{what}: {why}{further}"), "yellow"))
    return notes


def _paused(pause: Mapping[str, Any]) -> str:
    return "draining" if pause["drain"] else "paused"


def _waiting(status: Status, width: int) -> Section:
    requests, now = status["requests"], _moment(status["now"])
    columns = [
        Column(title="WAITING", most=_SHORT_ID),
        Column(title="AGE", right=True),
        Column(title="LABELS", most=30 if width >= _WIDE else 16),
        # Where there is little room, the words have to say it.
        *([Column(title="AT")] if width >= _WIDE else []),
        Column(title="ETA", right=True),
        Column(title="WHY", most=width),
    ]
    rows = [
        [
            request["id"][:_SHORT_ID],
            duration(now - _moment(request["created_at"])),
            summed(request["labels"]),
            *([request["placed_at"] or ""] if width >= _WIDE else []),
            "?" if request["estimate_s"] is None else soon(request["estimate_s"]),
            request["words"],
        ]
        for request in requests["oldest"]
    ]
    head, lines = table(columns, rows, width)
    return Section(
        head=head if rows else Text("WAITING", style="bold"),
        rows=[[line] for line in lines],
        hidden=max(0, requests["waiting"] - len(rows)),
        empty="No request waits.",
    )


def _images(status: Status, width: int) -> Section:
    now = _moment(status["now"])

    def since(at: str | None) -> str:
        return "" if at is None else duration(now - _moment(at))

    # A daemon of an earlier release does not tell of them.
    return image_section(status.get("images", []), width, since)


def _slowest(status: Status, width: int) -> Section:
    now = _moment(status["now"])
    nodes = [
        [
            node["id"],
            _state_cell("lost" if node["lost"] else node["state"]),
            duration(now - _moment(node["state_at"])),
            node["label"],
            node["provider"],
            node["words"],
        ]
        for node in status["nodes"]["notable"]
    ]
    head, lines = table(
        [
            Column(title="SLOWEST"),
            Column(title="STATE"),
            Column(title="FOR", right=True),
            Column(title="LABEL", most=24 if width >= _WIDE else 12),
            Column(title="PROVIDER", most=22 if width >= _WIDE else 12),
            Column(title="WHAT IT WAITS FOR", most=width),
        ],
        nodes,
        width,
    )
    hidden = max(0, status["nodes"]["moving"] - len(nodes)) if nodes else 0
    return Section(head=head, rows=[[line] for line in lines], hidden=hidden)


def _labels(status: Status, width: int) -> Section:
    head, lines = table(
        [
            Column(title="LABEL", most=30),
            *(Column(title=short, right=True) for _, short in _STATES[:3]),
            Column(title="MIN-READY", right=True),
            Column(title="OFFERED BY", most=width),
        ],
        [
            [
                label["name"],
                *(_count(label["nodes"].get(state, 0), state) for state, _ in _STATES[:3]),
                str(label["min_ready"] or ""),
                ", ".join(label["offered_by"]) or Text("nobody now", "red"),
            ]
            for label in status["labels"]
        ],
        width,
    )
    return Section(head=head, rows=[[line] for line in lines])


def _moment(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()
