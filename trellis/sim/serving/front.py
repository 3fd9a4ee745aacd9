"""The one application behind the port: clouds by their names, and the control face."""

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import attrs

from trellis.sim.cloud import Request, SimCloud
from trellis.sim.cloud.carriage import carry
from trellis.sim.cloud.wire import answer, html
from trellis.sim.serving.control import Control
from trellis.sim.serving.http import Answer
from trellis.sim.serving.incoming import intakes

CONTROL: str = "_sim"
"""The first part of the control face's paths; no cloud may have this name."""


def root_of(url: str, name: str) -> str:
    """The root URL of a cloud on a server at *url*."""
    return f"{url}/{quote(name, safe='')}"


class Front:
    """Leads each call to the cloud that its path names.

    Args:
        clouds: by name.
        keep_images: folder in which uploaded files are kept; None keeps none.
    """

    def __init__(self, clouds: Mapping[str, SimCloud], *, keep_images: Path | None = None) -> None:
        self._clouds = clouds
        self._intake = intakes(keep_images)
        self._control = Control(clouds)

    async def __call__(self, request: Request) -> Answer:
        """Answer a call, as its cloud's troubles have it."""
        _, name, *rest = [*request.path.split("/", 2), ""][:3]
        if name == CONTROL:
            if not _is_local(request):
                return answer(403, {"error": "the control face is for programs on this machine"})
            return self._control.answer(request, rest[0])
        cloud = self._clouds.get(name) or self._clouds.get(unquote(name))
        if cloud is None:
            return html(404, "Not Found")
        call = attrs.evolve(request, path="/" + rest[0])
        return await carry(cloud, call, intake=self._intake)


def _is_local(request: Request) -> bool:
    """Whether no web page is behind it: browsers say where a page is from, and by what name."""
    host = urlsplit("//" + request.headers.get("host", "")).hostname or ""
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    return local and "origin" not in request.headers
