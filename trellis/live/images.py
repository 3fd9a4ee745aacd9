"""Images in words, the same in tables, in the live view and beside progress bars."""

from collections.abc import Mapping
from typing import Any, Final

from trellis.live.text import duration, soon

Row = Mapping[str, Any]
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_NEARLY: Final = 0.99


def size(number: float) -> str:
    """An amount of bytes: ``512 B``, ``3.2 MiB``, ``40 GiB``."""
    for unit in _UNITS[:-1]:
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 10 else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} {_UNITS[-1]}"


def number_of(image: str, build: str) -> str:
    """A build's number, which its image's name says the rest of."""
    return build.removeprefix(f"{image}-").partition(".")[0].lstrip("0")


def build_share(build: Row) -> float | None:
    """How much of a build is done, by how long the last one took; None if nobody can tell."""
    if not build["usual_s"]:
        return None
    # One that takes longer than the last is not done for that.
    return float(min(_NEARLY, build["elapsed_s"] / build["usual_s"]))


def upload_share(upload: Row) -> float | None:
    """How much of an upload is sent; None while nothing is."""
    if upload["sent"] is None or not upload["bytes"]:
        return None
    return float(min(1.0, upload["sent"] / upload["bytes"]))


def about_build(build: Row) -> str:
    """How far a build is: ``install.d, about 6m left``; after its usual time how long it takes."""
    left = (build["usual_s"] or 0) - build["elapsed_s"]
    told = f"about {soon(left)} left" if left > 0 else f"{duration(build['elapsed_s'])} so far"
    return f"{build['phase'] or 'begins'}, {told}"


def about_upload(upload: Row) -> str:
    """How far an upload is: ``uploading 25 %, 64 MiB/s, 24s left``."""
    if upload["state"] != "uploading":
        return str(upload["words"])
    share = upload_share(upload)
    if share is None:
        return str(upload["words"] or "uploading")
    parts = [
        f"uploading {100 * share:.0f} %",
        f"{size(upload['rate'])}/s" if upload["rate"] else "",
        f"{soon(upload['left_s'])} left" if upload["left_s"] else "",
    ]
    return ", ".join(filter(None, parts))


def about_trial(upload: Row) -> str:
    """How a canary fares: ``canary, 2 of 5 ready, 1 failed``."""
    trial = upload["trial"]
    if trial is None:
        return "canary, no launch yet"
    failed = f", {trial['failed']} failed" if trial["failed"] else ""
    return f"canary, {trial['ready']} of {trial['needed']} ready{failed}"


def newer(image: str, place: Row) -> str:
    """What comes after what serves at a provider; "" if nothing does."""
    told = []
    for upload in place["uploads"]:
        if upload["serving"]:
            break
        number = number_of(image, upload["build_id"])
        if upload["state"] == "uploading":
            told.append(f"{number}: {about_upload(upload)}")
        elif upload["state"] == "ready" and upload["standing"] == "withdrawn":
            told.append(f"{number}: withdrawn: {upload['standing_why']}")
        elif upload["state"] == "ready" and upload["standing"] == "canary":
            told.append(f"{number}: {about_trial(upload)}")
    return "; ".join(told)
