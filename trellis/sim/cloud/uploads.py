"""A call with a body that comes piece by piece: what a service says when it begins."""

import attrs

from trellis.sim.cloud.routes import Call
from trellis.sim.cloud.site import Site
from trellis.sim.cloud.spooled import Spooled, spooled_of


@attrs.frozen(kw_only=True)
class Ticket:
    """Lets the body of a call come in.

    Attributes:
        spools: its checksums and its file are wanted; else it is an ordinary body.
        breaks_at: so many bytes of it are taken, then the connection breaks; None takes all.
        hangs_at: so many bytes of it are taken, and then nothing happens any more.
        about: id of what was made for it.
    """

    spools: bool = True
    breaks_at: int | None = None
    hangs_at: int | None = None
    about: str = ""


def ticket(site: Site, size: int | None) -> Ticket:
    """How this upload fares: drawn when it begins."""
    faults = site.faults
    for name, probability in (
        ("upload-dropped", faults.upload_dropped),
        ("upload-hangs", faults.upload_hangs),
    ):
        if site.befalls(name, probability):
            at = int(site.lives.uniform(*faults.upload_dropped_at) * (size or 0))
            dropped = name == "upload-dropped"
            return Ticket(breaks_at=at if dropped else None, hangs_at=None if dropped else at)
    return Ticket()


def announced_size(call: Call) -> int | None:
    """How long the body is to be, as the caller says."""
    incoming = call.request.incoming
    if incoming is not None:
        return incoming.size
    return len(call.request.body) if call.request.body else None


def body_of(call: Call, site: Site) -> Spooled:
    """The body, however it came."""
    spooled = call.request.spooled
    if spooled is not None:
        return spooled
    return spooled_of([call.request.body], hashed=site.spec.hashes_images)
