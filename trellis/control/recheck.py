"""Whether a node that has long been ready still is what it was (rule 8)."""

import trio

from trellis.control.ssh_scan import NotReachableError, scan
from trellis.model.node import Node
from trellis.world import World

CHECK_AT_MOST_S = 10.0


async def changed_since(node: Node, world: World) -> str:
    """Why a node is not what became ready; "" if it is. Takes ten seconds at most."""
    assert node.addresses is not None
    try:
        with trio.fail_after(CHECK_AT_MOST_S):
            keys = await scan(
                world.connect,
                node.addresses.interface_ip,
                node.login.connection_port,
                entropy=world.random.randbytes,
            )
    except (NotReachableError, trio.TooSlowError) as error:
        return f"ready, but it does not answer any more: {error or 'no answer in time'}"
    if set(keys) != set(node.host_keys):
        return "ready, but it shows other host keys than when it became so"
    return ""
