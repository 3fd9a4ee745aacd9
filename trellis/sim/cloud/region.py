"""One region of a simulated cloud: its services and what is in them."""

from collections.abc import Mapping
from typing import Any, Protocol

import attrs

from trellis.sim.cloud.object_store import ObjectStore
from trellis.sim.cloud.servers import Servers
from trellis.sim.cloud.site import Site
from trellis.sim.cloud.uploads import Ticket
from trellis.sim.cloud.wire import Request, Response

Keypairs = dict[str, dict[str, Any]]


class Api(Protocol):
    """One service of one region."""

    def discover(self, segments: tuple[str, ...]) -> Response | None:
        """Answer the version documents, which need no token; None for all other paths."""
        ...

    def without_token(self, refusal: Response) -> Response:
        """How this service words the *refusal* of a call without a good token."""
        ...

    def handle(self, request: Request, segments: tuple[str, ...]) -> tuple[str, Response]:
        """Answer a call with a good token; returns its kind for the ledger too."""
        ...


class TakesFiles(Protocol):
    """A service to which bodies come that are too large for memory."""

    def announce(self, request: Request, segments: tuple[str, ...]) -> Ticket:
        """A call with a body to come begins.

        Raises:
            RefusalError: it is refused before its body is read.
        """
        ...

    def broke_off(self, request: Request, segments: tuple[str, ...]) -> None:
        """The body of a call that was let in came to no end."""
        ...

    def elsewhere(self, request: Request, segments: tuple[str, ...]) -> Response | None:
        """How it answers in another project; None where that makes no difference."""
        ...


@attrs.frozen(kw_only=True)
class Region:
    """The services of one region.

    Attributes:
        takers: those of the services to which files come.
        objects: the file store; None is a region without.
    """

    site: Site
    servers: Servers
    keypairs: Keypairs
    apis: Mapping[str, Api]
    takers: Mapping[str, TakesFiles]
    objects: ObjectStore | None = None
