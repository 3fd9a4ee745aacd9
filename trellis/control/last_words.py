"""What a server whose launch failed has written to its console, where its label asks for that."""

from typing import Final

import structlog
import trio

from trellis.errors import CloudError
from trellis.model.node import Node, NodeState
from trellis.spi.config import ProviderConfig
from trellis.spi.provider import Provider

log = structlog.get_logger()

MOST_LINES: Final = 100
MOST_CHARACTERS: Final = 16_384
AT_MOST_S: Final = 30.0


def wants_console(node: Node, config: ProviderConfig) -> bool:
    """Whether the console of a node that is about to be deleted has to be read.

    That is of a launch that failed, and only where there is a server: one that found no room has
    nothing to say.
    """
    if node.state is not NodeState.FAILED or node.ready_at is not None or node.external_id is None:
        return False
    pool = config.pool(node.pool)
    label = pool.label(node.label) if pool is not None else None
    return label is not None and label.console_log


async def read_console(node: Node, provider: Provider) -> str:
    """The end of a node's console; "" where the cloud has none, or does not answer in time.

    One call, which is not repeated: the node is to be deleted, and that does not wait.
    """
    assert node.external_id is not None
    text, why = "", f"no answer within {AT_MOST_S:g} s"
    try:
        with trio.move_on_after(AT_MOST_S):
            text, why = shown(await provider.console_log(node.external_id, MOST_LINES)), ""
    except CloudError as error:
        why = str(error)
    if why:
        log.info("console_not_read", node=node.id, why=why)
    if text:
        log.warning("launch_console", node=node.id, label=node.label, console=text)
    return text


def shown(text: str) -> str:
    """The last lines of a console, of which only what can be printed is left."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").rstrip().split("\n")[-MOST_LINES:]
    clean = ("".join(x if x.isprintable() or x == "\t" else "�" for x in line) for line in lines)
    return "\n".join(clean)[-MOST_CHARACTERS:]
