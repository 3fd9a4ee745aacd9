"""Images as nova shows them: its old calls, which it passed on to glance."""

from typing import Any

from trellis.sim.cloud.nova import refuse
from trellis.sim.cloud.routes import Call, Table
from trellis.sim.cloud.rows import links
from trellis.sim.cloud.server_state import Image
from trellis.sim.cloud.servers import Servers
from trellis.sim.cloud.site import Site
from trellis.sim.cloud.wire import Response, answer


class NovaImageApi:
    """The handlers; `table` lists them."""

    def __init__(self, site: Site, servers: Servers) -> None:
        self._site = site
        self._servers = servers

    def table(self) -> Table:
        """Method and pattern to handler."""
        return {("GET", "images/detail"): self._list, ("GET", "images/*"): self._show}

    def _list(self, call: Call) -> Response:
        name, marker = call.asked("name"), call.asked("marker")
        images = [i for i in self._servers.images.values() if name in (None, i.spec.name)]
        after = [n for n, image in enumerate(images, 1) if image.id == marker]
        images = images[after[0] :] if after else images
        most = self._site.spec.behaviour.image_page or len(images)
        shown: dict[str, Any] = {"images": [self._image(image) for image in images[:most]]}
        if len(images) > most:
            path = f"/v2.1/images/detail?marker={images[most - 1].id}"
            # Behind a front that ends TLS, old services knew only of http.
            link = self._site.url("compute", path).replace("https://", "http://")
            shown["images_links"] = [{"rel": "next", "href": link}]
        return answer(200, shown)

    def _show(self, call: Call) -> Response:
        image = self._servers.images.get(call.segments[1])
        if image is None:
            raise refuse(404, "Image not found.")
        return answer(200, {"image": self._image(image)})

    def _image(self, image: Image) -> dict[str, Any]:
        stamp = self._site.timeline.stamp(image.created)
        there = image.spec.status == "active"
        return {
            "id": image.id,
            "name": image.spec.name,
            "status": "ACTIVE" if there else "SAVING",
            "progress": 100 if there else 50,
            "created": stamp,
            "updated": stamp,
            "minDisk": image.spec.min_disk_gib,
            "minRam": image.min_ram,
            "metadata": dict(image.properties),
            "links": links(self._site, "images", image.id),
        }
