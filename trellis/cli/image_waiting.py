"""Waiting for builds and uploads on the command line, and following logs."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NoReturn

import attrs
import click

from trellis.cli.progress import Bar, Bars
from trellis.cli.shape import complain, note
from trellis.http.face import FaceUnreachableError
from trellis.live.images import about_build, about_upload, build_share, number_of, upload_share
from trellis.live.text import duration, printable

if TYPE_CHECKING:
    from trellis.http.face import FaceClient

_EVERY_S: Final = 1.0
_LOST_S: Final = 120.0
"""How long a daemon that restarts is waited for."""


def wait_for_build(face: "FaceClient", name: str, build: str) -> Any:
    """Wait until a build has ended, telling on stderr how far it is.

    Ctrl-C ends the waiting and not the build. One that fails ends the command with 1.

    Returns:
        the build as the face shows it.
    """
    number = number_of(name, build)
    found: Any = None
    try:
        with Bars() as bars:
            for image in _images(face, name, bars):
                found = next((one for one in image["builds"] if one["id"] == build), None)
                if found is None:
                    bars.tell([Bar(name=name, words=image["words"] or "it waits for its turn")])
                elif found["state"] == "building":
                    bars.tell(
                        [
                            Bar(
                                name=name,
                                share=build_share(found),
                                words=about_build(found),
                                news=f"build {number}: {found['phase'] or 'begins'}",
                            )
                        ]
                    )
                else:
                    break
    except KeyboardInterrupt:
        _leave("The build goes on without you.", f"`trellis image log {name} -f` follows it.")
    if found["state"] == "failed":
        complain(
            f"Error: build {number} has failed: {found['fault'] or 'no reason is recorded'}",
            remedy=f"`trellis image log {name} {number}` shows all that was printed.",
        )
        raise SystemExit(1)
    note(f"build {number} took {duration(found['elapsed_s'])}")
    return found


def wait_for_uploads(face: "FaceClient", asked: Any, provider: str | None) -> Any:
    """Wait until the newest build, or one after it, is at a provider, or at all that use it.

    Those where uploads are paused are not waited for. Ctrl-C ends the waiting and not the
    uploads. One that fails ends the command with 1, after all have ended.

    Args:
        asked: the image as it was when the uploads were asked for, which ends any back-off.

    Returns:
        the image as the face shows it.
    """
    name = asked["name"]
    wanted = next((one["id"] for one in asked["builds"] if one["state"] == "ready"), None)
    failed_before = {place["provider"]: place["failures"] for place in asked["places"]}
    try:
        with Bars() as bars:
            for image in _images(face, name, bars):
                ends = [
                    _end(place, wanted, failed_before.get(place["provider"], 0))
                    for place in image["places"]
                    if provider in (None, place["provider"]) and _gets_any(place)
                ]
                bars.tell([one.bar for one in ends])
                if all(one.ended for one in ends):
                    break
    except KeyboardInterrupt:
        _leave("The uploads go on without you.", f"`trellis image show {name}` shows them.")
    failed = [one for one in ends if one.fault]
    for one in failed:
        complain(
            f"{one.bar.name}: the upload has failed: {one.fault}",
            remedy=f"It is tried again by itself; `trellis image show {name}` says when.",
        )
    if failed:
        raise SystemExit(1)
    return image


@attrs.frozen(kw_only=True)
class _End:
    """How far an upload to one provider is.

    Attributes:
        fault: why it has failed; "" if it has not.
    """

    bar: Bar
    ended: bool = False
    fault: str = ""


def _gets_any(place: Any) -> bool:
    """Whether something is uploaded there; what is left of a label's image is not."""
    return bool(place["labels"]) and place["pause"] is None


def _end(place: Any, build: str | None, failed_before: int) -> _End:
    name = place["provider"]
    for one in place["uploads"]:
        # Ids of builds are in the order of their age: of one that came since, none older is sent.
        enough = build is not None and one["build_id"] >= build
        if enough and one["state"] == "ready":
            return _End(bar=Bar(name=name, share=1.0, words="there", news="there"), ended=True)
        if enough and one["state"] == "uploading":
            words = about_upload(one)
            bar = Bar(name=name, share=upload_share(one), words=words, news="uploading")
            return _End(bar=bar)
    if place["failures"] > failed_before:
        fault = place["fault"] or "no reason is recorded"
        return _End(bar=Bar(name=name, words=fault, news="failed"), ended=True, fault=fault)
    return _End(bar=Bar(name=name, words=place["words"] or "it waits for its turn"))


def _images(face: "FaceClient", name: str, bars: Bars) -> Iterator[Any]:
    """An image as it is, again and again, over breaks of the connection."""
    lost_at = None
    while True:
        try:
            image = face.get("images", name)
            lost_at = None
        except FaceUnreachableError as broken:
            lost_at = lost_at or time.monotonic()
            if time.monotonic() - lost_at > _LOST_S:
                raise
            bars.tell([Bar(name=name, words=f"{broken}; trying again")])
        else:
            yield image
        time.sleep(_EVERY_S)


def follow_log(face: "FaceClient", name: str, build: str, lines: int | None) -> None:
    """Print a build's log as it comes, until the build has ended; one that fails ends with 1."""
    try:
        for event in face.stream("images", name, "builds", build, "log", follow=True, lines=lines):
            if event.type == "line":
                click.echo(printable(event.data["text"]))
            elif event.type == "end":
                if event.data["state"] == "failed":
                    complain(f"Error: the build has failed: {event.data['words']}")
                    raise SystemExit(1)
                return
    except KeyboardInterrupt:
        return
    note("The daemon ended the stream; the build may go on.")
    raise SystemExit(1)


def _leave(why: str, remedy: str) -> NoReturn:
    complain(why, remedy=remedy)
    raise SystemExit(1)
