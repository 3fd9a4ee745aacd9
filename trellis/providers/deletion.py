"""Steps of deletion, each safe to repeat for ever, and what proves that a thing is gone."""

from typing import Final

from trellis.errors import NotFoundError
from trellis.openstack.compute import Compute
from trellis.openstack.network import Network
from trellis.openstack.volume import BlockStorage
from trellis.providers.rows import state_of
from trellis.spi.provider import Gone, InstanceState

_BUSY: Final = frozenset(
    {"creating", "downloading", "attaching", "reserved", "in-use", "detaching", "deleting"}
)
"""States of a volume in which cinder is at work on it, or nova still has it: it can only wait."""


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


async def delete_volume(storage: BlockStorage, volume_id: str) -> Gone:
    """See that a volume is gone, or tell cinder to delete it once nothing holds it any more.

    Nova deletes the volumes it made with their server, so it is looked for first. One in
    ``error_deleting`` is told again for ever: old cinders take it, newer ones refuse until an
    operator of the cloud has led it out of that state (cinder/volume/api.py, delete).
    """
    try:
        row = await storage.volume(volume_id)
        if row.status not in _BUSY:
            await storage.delete_volume(volume_id)
    except NotFoundError:
        return Gone.DONE
    return Gone.AGAIN
