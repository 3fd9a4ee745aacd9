"""Steps of deletion, each safe to repeat for ever, and what proves that a thing is gone."""

from trellis.errors import NotFoundError
from trellis.openstack.compute import Compute
from trellis.openstack.network import Network
from trellis.providers.rows import state_of
from trellis.spi.provider import Gone, InstanceState


async def delete_server(compute: Compute, server_id: str) -> Gone:
    """Tell nova to delete a server, or see that it is gone.

    A 404 to the delete may come from a front or a stale cell: a GET has to agree.
    """
    try:
        await compute.delete_server(server_id)
    except NotFoundError:
        pass
    else:
        return Gone.AGAIN
    try:
        row = await compute.server(server_id)
    except NotFoundError:
        return Gone.DONE
    return Gone.DONE if state_of(row) is InstanceState.GONE else Gone.AGAIN


async def delete_port(network: Network, port_id: str) -> Gone:
    """Tell neutron to delete a port, or see that it is gone."""
    try:
        await network.delete_port(port_id)
    except NotFoundError:
        return Gone.DONE
    return Gone.AGAIN
