"""A server's row in the core's words."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from trellis.model.names import NodeId
from trellis.openstack.compute import ServerRow
from trellis.spi.provider import InstanceState, Tag

TAG_DEPLOYMENT: Final = "trellis_deployment"
TAG_NODE: Final = "trellis_node_id"
TAG_ORIGIN: Final = "trellis_origin"
TAG_PROVIDER: Final = "trellis_provider"
TAG_POOL: Final = "trellis_pool"
OUR_METADATA: Final = len((TAG_DEPLOYMENT, TAG_NODE, TAG_ORIGIN, TAG_PROVIDER, TAG_POOL))
"""So many items of a server's metadata are Trellis's."""
METADATA_MOST: Final = 128
"""So many items Nova takes for a server unless its project has another quota."""

_S = InstanceState
STATES: Final[Mapping[str, InstanceState]] = {
    "BUILD": _S.BUILDING,
    "ACTIVE": _S.ACTIVE,
    "ERROR": _S.ERROR,
    "DELETED": _S.GONE,
    "SOFT_DELETED": _S.DELETING,
    "SHUTOFF": _S.STOPPED,
    "STOPPED": _S.STOPPED,
    "PAUSED": _S.STOPPED,
    "SUSPENDED": _S.STOPPED,
    "SHELVED": _S.STOPPED,
    "SHELVED_OFFLOADED": _S.STOPPED,
    "RESCUE": _S.STOPPED,
}
"""Nova's server status (api-guide, *Server concepts*); one that is not here says nothing to us.

SOFT_DELETED still holds its quota and can be restored, so it is not gone.
"""

_GOING: Final = frozenset({"deleting", "soft-deleting"})


def state_of(row: ServerRow) -> InstanceState:
    """The state; while a delete is under way nova's status is still the old one."""
    state = STATES.get(row.status, _S.UNKNOWN)
    if row.task_state in _GOING and state is not _S.GONE:
        return _S.DELETING
    return state


def tag_of(row: ServerRow) -> Tag | None:
    """Whose it is and for which node; None for what carries no tag of Trellis."""
    deployment, node = row.metadata.get(TAG_DEPLOYMENT), row.metadata.get(TAG_NODE)
    if deployment is None or node is None:
        return None
    origin = row.metadata.get(TAG_ORIGIN, "")
    return Tag(deployment=deployment, node_id=NodeId(node), origin=origin)


def server_tag(tag: Tag) -> dict[str, str]:
    """The metadata that mark a server as ours."""
    origin = {TAG_ORIGIN: tag.origin} if tag.origin else {}
    return {TAG_DEPLOYMENT: tag.deployment, TAG_NODE: tag.node_id, **origin}


def floating_tag(tag: Tag) -> str:
    """The description of a floating IP of ours."""
    origin = f":{tag.origin}" if tag.origin else ""
    return f"trellis:{tag.deployment}:{tag.node_id}{origin}"


def tag_from_description(description: str | None) -> Tag | None:
    """What `floating_tag` wrote, read back; None for what it did not write."""
    parts = (description or "").split(":")
    if len(parts) not in (3, 4) or parts[0] != "trellis" or not all(parts):
        return None
    return Tag(deployment=parts[1], node_id=NodeId(parts[2]), origin="".join(parts[3:]))


def seconds_of(stamp: str | None) -> float | None:
    """A cloud's time stamp in UTC seconds; None for what is none."""
    if not stamp:
        return None
    try:
        parsed = datetime.fromisoformat(stamp)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


@lru_cache(maxsize=256)  # many lists in a row ask from the same moment on
def earlier(stamp: str, seconds: float) -> str:
    """A cloud's time stamp moved back; unchanged if it cannot be read or is as early as can be."""
    parsed = seconds_of(stamp)
    if parsed is None:
        return stamp
    try:
        moved = datetime.fromtimestamp(parsed, UTC) - timedelta(seconds=seconds)
    except (ValueError, OverflowError):
        return stamp
    return moved.strftime("%Y-%m-%dT%H:%M:%SZ")
