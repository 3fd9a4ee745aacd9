"""``GET /v2/images``: filters, order and pages, as a real Glance has them."""

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlencode

from trellis.sim.cloud.image_checks import VISIBILITIES, refuse
from trellis.sim.cloud.image_rows import row
from trellis.sim.cloud.images import Images
from trellis.sim.cloud.routes import Call
from trellis.sim.cloud.site import Site
from trellis.sim.cloud.wire import Response, answer

LIMIT: Final = 25
"""Rows on a page where the caller does not say (Glance's ``limit_param_default``)."""
_MOST: Final = 1000
_SORT_KEYS: Final = (
    "name", "status", "container_format", "disk_format", "size", "id", "created_at", "updated_at",
)  # fmt: skip
_PAGING: Final = ("limit", "marker", "sort_key", "sort_dir", "sort", "member_status", "tag")
_LISTABLE: Final = ("name", "id", "status", "container_format", "disk_format")


class ImageLists:
    """Answers lists of images."""

    def __init__(self, site: Site, images: Images) -> None:
        self._site = site
        self._images = images

    def list(self, call: Call) -> Response:
        """One page of those that fit the filters."""
        limit = _limit(call)
        rows = [row(self._site, image) for image in self._images.listed()]
        shown = [one for one in _sorted(call, rows) if _fits(call, one)]
        marker = call.asked("marker")
        if marker is not None:
            places = [place for place, one in enumerate(shown) if one["id"] == marker]
            if not places:
                raise refuse(400, f"Invalid marker. Image {marker} could not be found.")
            shown = shown[places[0] + 1 :]
        shown = shown[:limit]
        query = {name: values for name, values in call.query.items() if name != "marker"}
        first = f"?{call.request.query}" if call.request.query and marker is None else ""
        if marker is not None and query:
            first = f"?{urlencode(query, doseq=True)}"
        document: dict[str, Any] = {
            "images": shown,
            "first": f"/v2/images{first}",
            "schema": "/v2/schemas/images",
        }
        if shown and len(shown) == limit:
            after = urlencode({**query, "marker": [shown[-1]["id"]]}, doseq=True)
            document["next"] = f"/v2/images?{after}"
        return answer(200, document)


def _limit(call: Call) -> int:
    asked = call.asked("limit")
    if asked is None:
        return LIMIT
    try:
        limit = int(asked)
    except ValueError:
        raise refuse(400, "limit param must be an integer") from None
    if limit < 0:
        raise refuse(400, "limit param must be positive")
    return min(limit, _MOST)


def _sorted(call: Call, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Newest first, unless it is asked for otherwise."""
    keys = list(call.query.get("sort_key", ()))
    directions = list(call.query.get("sort_dir", ()))
    if "sort" in call.query:
        pairs = [part.partition(":") for part in call.query["sort"][-1].split(",")]
        keys = [key.strip() for key, _, _ in pairs]
        directions = [direction.strip() or "desc" for _, _, direction in pairs]
    for key in keys:
        if key not in _SORT_KEYS:
            among = f"It must be one of the following: {', '.join(_SORT_KEYS)}."
            raise refuse(400, f"Invalid sort key: {key}. {among}")
    for direction in directions:
        if direction not in ("asc", "desc"):
            raise refuse(400, f"Invalid sort direction: {direction}")
    keys, directions = keys or ["created_at"], directions or ["desc"]
    if len(directions) == 1:
        directions *= len(keys)
    if len(directions) != len(keys):
        raise refuse(400, "Number of sort dirs does not match the number of sort keys")
    for key, direction in reversed([*zip(keys, directions, strict=True)]):
        rows = sorted(rows, key=_by(key), reverse=direction == "desc")
    return rows


def _by(key: str) -> Callable[[dict[str, Any]], tuple[bool, Any]]:
    return lambda one: (one[key] is not None, one[key])


def _fits(call: Call, shown: dict[str, Any]) -> bool:
    hidden = (call.asked("os_hidden") or "false").lower()
    if hidden not in ("true", "false"):
        message = f"Invalid value '{hidden}' for 'os_hidden' filter."
        raise refuse(400, f"{message} Valid values are 'true' or 'false'.")
    if shown["os_hidden"] != (hidden == "true"):
        return False
    visibility = call.asked("visibility")
    if visibility is not None and visibility not in (*VISIBILITIES, "all"):
        raise refuse(400, f"Invalid visibility value: {visibility}")
    if visibility not in (None, "all") and shown["visibility"] != visibility:
        return False
    if not set(call.query.get("tag", ())) <= set(shown["tags"]):
        return False
    return all(
        _is(shown, name, values[-1])
        for name, values in call.query.items()
        if name not in _PAGING and name not in ("os_hidden", "visibility")
    )


def _is(shown: dict[str, Any], name: str, wanted: str) -> bool:
    """Whether a field, or a property, has the value that a filter asks for."""
    if name.endswith(("_min", "_max")) and name[:-4] in ("size", "min_ram", "min_disk"):
        if not wanted.isdecimal():
            raise refuse(400, "Unable to filter on a range with a non-numeric value.")
        value = shown[name[:-4]] or 0
        return bool(value >= int(wanted) if name.endswith("_min") else value <= int(wanted))
    value = shown.get(name)
    if name in _LISTABLE and wanted.startswith("in:"):
        return value in [part.strip('"') for part in wanted.removeprefix("in:").split(",")]
    if name in _LISTABLE:
        wanted = wanted.removeprefix("eq:")
    if isinstance(value, bool):
        return wanted == str(value).lower()
    return value is not None and str(value) == wanted
