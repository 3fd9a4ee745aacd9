"""Servers that another launcher made, taken over so that they are seen through to their end.

Nothing but a person's or a source's word makes such a server ours: it bears no mark of Trellis.
So it is looked at first, and taken only if it is the very one that was meant (design §5b, rule 1).
"""

from collections.abc import Sequence

import attrs

from trellis.control.lineage import mark_of
from trellis.errors import AlreadyDoneError, RefusedError
from trellis.model.names import LeaseId, RequestId, node_id
from trellis.model.node import Home, Login, Node, NodeState, Resource, ResourceKind, Shape
from trellis.model.provider import StoreMeta
from trellis.model.records import Change
from trellis.model.request import Ask, Lease, NodeRequest, Placement, RequestState
from trellis.spi.demand import ForeignServer
from trellis.spi.provider import Instance, InstanceState, PublicAddress
from trellis.store.store import Store


def check_found(server: ForeignServer, row: Instance) -> None:
    """See that what the cloud shows is the server that was meant.

    Raises:
        AlreadyDoneError: it is gone.
        RefusedError: it is another one, or bears the mark of a Trellis.
    """
    what = f"server {server.external_id} at {server.provider}"
    if row.state is InstanceState.GONE:
        raise AlreadyDoneError(f"{what} is gone", remedy="nothing is left to be taken over")
    if row.tag is not None:
        raise RefusedError(
            f"{what} was launched by a Trellis, of deployment {row.tag.deployment}",
            remedy="'trellis leak list' shows whether it is one of this deployment",
        )
    if row.name != server.name:
        raise RefusedError(
            f"{what} is called {row.name!r}, not {server.name!r}: it is left alone",
            remedy="see whose it is; the other launcher's record of it is wrong",
        )


def adopted(
    store: Store,
    ask: Ask,
    server: ForeignServer,
    *,
    public: Sequence[PublicAddress] = (),
    home: Home,
    cloud: str,
    now: float,
    request_id: RequestId,
    lease_id: LeaseId,
    ttl_s: int,
) -> list[Change]:
    """The changes that take a server over: a fulfilled request, its lease, its node in use.

    To be staged with no await between. The node is the last of them.

    Args:
        public: floating IPs that lead to it; they are the node's from now on.
    """
    meta = store.head(StoreMeta, "store")
    assert meta is not None  # opening the store wrote it
    node = Node(
        id=node_id(meta.next_node),
        label=server.label,
        state=NodeState.IN_USE,
        state_at=now,
        created_at=now,
        provider=server.provider,
        pool=server.pool,
        cloud=cloud,
        region=home.region,
        shape=Shape(
            flavor_id="",
            flavor_name="",
            image_id="",
            image_name="",
            resources=attrs.evolve(server.resources, floating_ips=len(public)),
        ),
        login=Login(host_key_checking=bool(server.host_keys)),
        az=server.az,
        hostname=server.name,
        home=home,
        resources=(
            Resource(kind=ResourceKind.SERVER, sent_at=now, external_id=server.external_id),
            *(
                Resource(kind=ResourceKind.FLOATING_IP, sent_at=now, external_id=one.external_id)
                for one in public
            ),
        ),
        allocated_to=request_id,
        slot=0,
        tenant=ask.tenant,
        lease_id=lease_id,
        addresses=server.addresses,
        host_keys=server.host_keys,
        origin=mark_of(store),
    )
    request = NodeRequest(
        id=request_id,
        ask=ask,
        state=RequestState.FULFILLED,
        state_at=now,
        created_at=now,
        placement=Placement(provider=server.provider, az=server.az, since=now),
        lease_id=lease_id,
        nodes=(node.id,),
    )
    lease = Lease(
        id=lease_id,
        request_id=request_id,
        requestor=ask.requestor,
        nodes=(node.id,),
        created_at=now,
        ttl_s=ttl_s,
        expires_at=None,
    )
    why = f"server {server.external_id} was taken over from another launcher"
    return [
        Change(meta, _with_one_more(meta)),
        Change(None, request, why=why),
        Change(None, lease),
        Change(None, node, why=why),
    ]


def _with_one_more(meta: StoreMeta) -> StoreMeta:
    return attrs.evolve(meta, next_node=meta.next_node + 1)
