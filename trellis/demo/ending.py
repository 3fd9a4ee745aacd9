"""The end of the demo: everybody gives back what he has, and the daemon deletes it all."""

from typing import Any, Final

import trio

from trellis.demo.stage import Stage
from trellis.http.local import LocalClient

_SETTLES_WITHIN_S: Final = 60.0
_EVERY_S: Final = 0.25


async def drain(face: LocalClient) -> None:
    """Stop all launches, and have idle nodes deleted."""
    for provider in (await face.get("/providers"))["items"]:
        await face.post(
            f"/providers/{provider['name']}/drain", {"by": "demo", "reason": "the demo ends"}
        )


async def settle(face: LocalClient, stage: Stage) -> list[str]:
    """Wait until the daemon has no node, no image, no waiting request and knows of no leak.

    Returns:
        what there still is after a minute, as a problem; empty if nothing.
    """
    left = ""
    with trio.move_on_after(_SETTLES_WITHIN_S):
        while left := left_over(await face.get("/status"), await face.get("/images")):
            stage.phase = f"ending: {left} left"
            await trio.sleep(_EVERY_S)
    return [f"The daemon still had {left} after {_SETTLES_WITHIN_S:.0f} s."] if left else []


def left_over(status: Any, images: Any) -> str:
    """What the daemon still has, in words."""
    counts = {
        "images": sum(map(_is_there, images["items"])),
        "nodes": status["nodes"]["total"],
        "waiting requests": status["requests"]["waiting"],
        "leaks": sum(provider["leaks"] for provider in status["providers"]),
    }
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def _is_there(image: Any) -> bool:
    return bool(image["builds"]) or any(place["uploads"] for place in image["places"])


async def recorded_nodes(face: LocalClient) -> set[str]:
    """The ids of all nodes that the daemon has a record or a tombstone of."""
    found: set[str] = set()
    for gone in ("false", "true"):
        after: str | None = None
        while True:
            given = {} if after is None else {"after": after}
            page = await face.get("/nodes", gone=gone, limit=1000, **given)
            found |= {node["id"] for node in page["items"]}
            after = page["next"]
            if after is None:
                break
    return found
