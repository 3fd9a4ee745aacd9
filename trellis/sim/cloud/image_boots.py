"""How servers fare for the image that callers made them from: a bad one shows only then."""

from fnmatch import fnmatchcase
from typing import Final

from trellis.sim.cloud.disk_files import manner_of, qcow2_version
from trellis.sim.cloud.server_state import Image, Server
from trellis.sim.cloud.site import STRANGER, Site

_NO_AGENT: Final = "xenapi_use_agent"


class ImageBoots:
    """Decides it when a server is made; nothing is drawn for images that the cloud offers."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def longer_s(self, server: Server) -> float:
        """So much longer it boots, as its image is imported first."""
        image, seconds = server.image, self._site.spec.behaviour.qcow2_import_s
        return seconds if image is not None and image.disk_format == "qcow2" else 0.0

    def refusal(self, server: Server) -> str:
        """The fault in which this build will end for its image; "" for none.

        One that will never answer is told so.
        """
        image = server.image
        if image is None or image.is_offered or image.who == STRANGER:
            return ""
        behaviour = self._site.spec.behaviour
        begin = f"Build of instance {server.id} aborted: "
        if behaviour.boots_formats and image.disk_format not in behaviour.boots_formats:
            return (
                f"{begin}Image {image.id} is unacceptable: {image.disk_format} does not boot here"
            )
        if behaviour.waits_for_agent and image.properties.get(_NO_AGENT) != "False":
            return f"{begin}Timed out waiting for the agent of the guest"
        old_only = behaviour.boots_old_qcow2 and (qcow2_version(image.stored) or 0) > 2
        server.silent = image.corrupted or old_only
        if self._is_bad(image):
            if self._ends_in_error(image):
                return f"{begin}Image {image.id} is unacceptable: Image has no operating system"
            server.silent = True
        return ""

    def _is_bad(self, image: Image) -> bool:
        """Whether a server of this image is a bad one: as its file says, or by the fault."""
        manner = manner_of(image.stored)
        if manner is not None and self._site.chance(manner.failure):
            self._site.strike("bad-image")
            return True
        faults = self._site.faults
        fits = not faults.bad_images or any(is_meant(image, one) for one in faults.bad_images)
        return fits and self._site.befalls("bad-image", faults.bad_image)

    def _ends_in_error(self, image: Image) -> bool:
        manner = manner_of(image.stored)
        share = self._site.faults.bad_image_error
        return self._site.chance(max(share, manner.error) if manner is not None else share)


def is_meant(image: Image, pattern: str) -> bool:
    """Whether a pattern of a name, or of a property as ``key=pattern``, fits an image."""
    key, equals, value = pattern.partition("=")
    if not equals:
        return fnmatchcase(image.name, pattern)
    return fnmatchcase(image.properties.get(key, ""), value) and key in image.properties
