"""Readiness: a machine that has booted answers by SSH and shows its host keys."""

from typing import Final

import attrs
import trio

from trellis.control.ssh_scan import NotReachableError, scan
from trellis.model.node import Node
from trellis.world import World

SCAN_EVERY_S: Final = 0.5
SCAN_AT_MOST_S: Final = 5.0
SCAN_FROM_SHARE: Final = 0.5
"""Share of the time that guests of this label usually take to answer, after which to look often."""
LEARN_SHARE: Final = 0.1
"""Weight of the latest boot in what is usual; a few boots are needed to be believed."""


@attrs.define(eq=False, kw_only=True)
class Readiness:
    """Looks whether nodes of one provider answer, as often as their labels make it worth while."""

    world: World
    _answers_in_s: dict[str, float] = attrs.field(factory=dict, init=False)

    async def host_keys(self, node: Node, within_s: float) -> tuple[str, ...]:
        """The host keys of a node once it shows them.

        Raises:
            NotReachableError: it has not shown them in so many seconds.
        """
        assert node.addresses is not None
        began, last = trio.current_time(), "no answer yet"
        usual_s = self._answers_in_s.get(node.label, 0.0)
        with trio.move_on_after(within_s):
            while True:
                try:
                    with trio.fail_after(SCAN_AT_MOST_S):
                        keys = await scan(
                            self.world.connect,
                            node.addresses.interface_ip,
                            node.login.connection_port,
                            entropy=self.world.random.randbytes,
                        )
                except (NotReachableError, trio.TooSlowError) as error:
                    last = str(error) or "no answer"
                else:
                    took_s = trio.current_time() - began
                    self._answers_in_s[node.label] = usual_s + (took_s - usual_s) * LEARN_SHARE
                    return keys
                # It has been looked at once, as it may have been up for long; before a part of
                # the usual time nothing is to be expected any more.
                left_s = SCAN_FROM_SHARE * usual_s - (trio.current_time() - began)
                await trio.sleep(max(SCAN_EVERY_S, left_s))
        raise NotReachableError(last)
