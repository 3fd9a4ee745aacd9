"""Images in words and numbers, as tables and progress bars show them."""

from typing import Any, Final

from trellis.cli.tables import age, moment
from trellis.live.images import about_build, newer, size
from trellis.live.text import duration

_DIGITS: Final = 10


def build_id(image: str, text: str) -> str:
    """The id of a build from what was typed: 7 is debian-12-0000000007."""
    return _padded(image, text) if text.isascii() and text.isdecimal() else text


def upload_id(image: str, text: str) -> str | None:
    """The id of an upload from what was typed: 7.12 is debian-12-0000000007.12; else None."""
    build, dot, attempt = text.removeprefix(f"{image}-").rpartition(".")
    if dot and build.isdecimal() and attempt.isdecimal() and text.isascii():
        return f"{_padded(image, build)}.{attempt}"
    return None


def _padded(image: str, number: str) -> str:
    return f"{image}-{number.zfill(_DIGITS)}"


def short(image: str, build: str | None) -> str:
    """A build's number, which its image's name says the rest of."""
    return "" if build is None else build.removeprefix(f"{image}-").lstrip("0")


def listed(images: list[Any]) -> list[dict[str, Any]]:
    """The rows of the list: for each image one of its builds, and one for each provider."""
    return [row for image in images for row in (_here(image), *_there(image))]


def _here(image: Any) -> dict[str, Any]:
    ready = next((one for one in image["builds"] if one["state"] == "ready"), None)
    under_way = next((one for one in image["builds"] if one["state"] == "building"), None)
    state = "paused" if image["pause"] is not None else "built" if ready else "none"
    if image["failures"]:
        state = "failed"
    coming = image["words"]
    if under_way:
        coming = f"{short(image['name'], under_way['id'])}: {about_build(under_way)}"
    return {
        "image": image["name"] if image["configured"] else f"{image['name']} (goes)",
        "where": "here",
        "build": short(image["name"], ready and ready["id"]),
        "age": age(ready and ready["ready_at"]),
        "state": "building" if under_way else state,
        "next": coming,
    }


def _there(image: Any) -> list[dict[str, Any]]:
    return [
        {
            "image": "",
            "where": place["provider"],
            "build": short(image["name"], place["build_id"]),
            "age": age(place["built_at"]),
            "state": place_state(place),
            "next": _what_comes(image["name"], place),
        }
        for place in image["places"]
    ]


def _what_comes(name: str, place: Any) -> str:
    coming = newer(name, place)
    under_way = any(one["state"] == "uploading" for one in place["uploads"])
    # That it is missing as it is being uploaded is said by how far it is.
    return "; ".join(filter(None, (coming, "" if under_way else place["words"])))


def place_state(place: Any) -> str:
    """How an image stands at a provider, in a word."""
    if place["missing"]:
        return "missing"
    if place["pin"] is not None:
        return "pinned"
    return "paused" if place["pause"] is not None else "serving"


def image_fields(image: Any) -> dict[str, object]:
    """What is shown of an image above its tables."""
    pause = image["pause"]
    return {
        "image": image["name"],
        "configured": "" if image["configured"] else "no longer: what there is of it goes",
        "builder": image["type"],
        "state": image["words"],
        "rebuilt": moment_to_come(image["rebuild_at"]),
        "paused": pause and f"by {pause['by']}: {pause['reason']}",
        "wanted": image["wanted"] and f"by {image['wanted_by']}: {image['wanted']}",
        "failures": image["failures"] or "",
        "last fault": image["fault"],
    }


def build_fields(build: Any) -> dict[str, object]:
    """What is shown of one build."""
    return {
        "build": build["id"],
        "state": build["state"],
        "why": build["why"],
        "by": build["by"],
        "began": moment(build["created_at"]),
        "ready": moment(build["ready_at"]),
        "took": duration(build["elapsed_s"]),
        "phase": build["phase"] if build["state"] == "building" else "",
        "fault": build["fault"],
        "files": [
            f"{one['path'] or one['format'] + ' (deleted here)'}, {size(one['bytes'])}, "
            f"sha256 {one['sha256']}"
            for one in build["artifacts"]
        ],
    }


def moment_to_come(at: str | None) -> str:
    """An ISO time to the minute."""
    return "" if at is None else f"after {at[:16]}Z"
