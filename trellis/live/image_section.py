"""The images in the live view: a line for what is built here, and one for each provider."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.text import Text

from trellis.live.lines import Column, Section, table
from trellis.live.text import STATE_STYLES, one_line

Row = Mapping[str, Any]
_WRONG = frozenset({"missing", "withdrawn", "failed"})
_AT_REST = frozenset({"built", "serving"})


def image_section(images: list[Row], width: int, since: Callable[[str | None], str]) -> Section:
    """The section; empty where no image is built here.

    Args:
        images: as the status has them.
        since: how long ago a moment was.
    """
    rows = [row for image in images for row in (_here(image), *_there(image))]
    # What is wrong must be seen, and what moves, however many are well.
    rows.sort(key=lambda row: (row["state"] not in _WRONG, row["state"] in _AT_REST))
    columns = [
        Column(title="IMAGE", most=22 if width >= 110 else 14),
        Column(title="WHERE", most=22 if width >= 110 else 12),
        Column(title="BUILD", right=True),
        Column(title="AGE", right=True),
        Column(title="STATE"),
        Column(title="WHAT COMES", most=width),
    ]
    head, lines = table(
        columns,
        [
            [
                row["image"],
                row["where"],
                str(row["build"] or ""),
                since(row["built_at"]),
                Text(one_line(row["state"]), STATE_STYLES.get(row["state"], "")),
                row["words"],
            ]
            for row in rows
        ],
        width,
    )
    return Section(head=head, rows=[[line] for line in lines])


def _here(image: Row) -> dict[str, Any]:
    state = "built" if image["build"] is not None else "none"
    if image["fault"]:
        state = "failed"
    if image["paused_by"] is not None:
        state = "paused"
    words = image["words"]
    if image["building"] is not None:
        state = "building"
        words = f"{image['building']}: {_percent(image['building_share'])}{image['building_words']}"
    return {
        "image": image["name"], "where": "here", "build": image["build"], "state": state,
        "built_at": image["built_at"], "words": words,
    }  # fmt: skip


def _there(image: Row) -> Iterator[dict[str, Any]]:
    for place in image["places"]:
        coming = place["coming"]
        state = "serving" if place["pinned_by"] is None else "pinned"
        if place["missing"]:
            state = "missing"
        elif any(one["state"] == "withdrawn" for one in coming):
            state = "withdrawn"
        told = [f"{one['build']}: {_said(one, state)}" for one in coming]
        if not any(one["state"] == "uploading" for one in coming):
            told.append(place["words"])
        yield {
            "image": image["name"], "where": place["provider"], "build": place["build"],
            "built_at": place["built_at"], "state": state, "words": "; ".join(filter(None, told)),
        }  # fmt: skip


def _said(coming: Row, state: str) -> str:
    words = str(coming["words"])
    bad = coming["state"] == "withdrawn" and state != "withdrawn"
    return f"withdrawn: {words}" if bad else words


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %, "
