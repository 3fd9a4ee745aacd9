"""Leases: keep the nodes of a request, or give them back."""

from typing import Final

from litestar import delete, post
from litestar.di import NamedDependency
from litestar.params import RawBody

from trellis.model.names import LeaseId
from trellis.web.answers import RenewedAnswer
from trellis.web.bodies import NoBody
from trellis.web.desk import Desk
from trellis.web.reading import read_optional
from trellis.web.routes.params import LeasePath
from trellis.web.views import renewed_answer


@post("/leases/{lease_id:str}/renew", status_code=200)
async def renew_lease(
    lease_id: LeasePath, desk: NamedDependency[Desk], body: RawBody
) -> RenewedAnswer:
    """Move the end of a lease its time to live from now, up to its greatest age."""
    read_optional(NoBody, body)
    return renewed_answer(await desk.port.renew(LeaseId(lease_id)))


@delete("/leases/{lease_id:str}", status_code=204)
async def release_lease(lease_id: LeasePath, desk: NamedDependency[Desk]) -> None:
    """Give the nodes back: they are used, and will be deleted. Fine on a lease that has ended."""
    await desk.port.release(LeaseId(lease_id))


HANDLERS: Final = (renew_lease, release_lease)
