"""What a job of Zuul's saw: what the oracle reads."""

from random import Random

import attrs

from trellis.model.names import NodeId
from trellis.sim.demand import Wanted
from trellis.sim.transcript import HandedOut, Transcript
from trellis.sim.zuul.documents import Document


@attrs.define(eq=False)
class Job:
    """One job with all that happened to it.

    Attributes:
        system: of which Zuul.
        chance: all that is drawn for it: what another job draws changes nothing here.
        told: as any requestor's; its nodes are those that an executor locked.
        requests: ids of the requests that it filed, in order.
        contenders: of the locks that its executor held, by node.
        elsewhere: another launcher served it.
        excused: why it may have failed; "" if nothing excuses that.
        held: its nodes are held, or were.
    """

    system: str
    wanted: Wanted
    chance: Random
    told: Transcript
    requests: list[str] = attrs.field(factory=list)
    contenders: dict[str, str] = attrs.field(factory=dict)
    elsewhere: bool = False
    excused: str = ""
    held: bool = False

    def locked(self, node_id: str, document: Document, contender: str) -> None:
        """An executor has the lock of a node: from now on the server may be used."""
        self.contenders[node_id] = contender
        labels = document.get("type") or [""]
        self.told.nodes += (
            HandedOut(
                node_id=NodeId(f"znode {node_id}"),
                external_id=str(document.get("external_id") or ""),
                provider=str(document.get("provider") or ""),
                az=document.get("az"),
                label=labels[0] if isinstance(labels, list) else str(labels),
                host_keys=tuple(document.get("host_keys") or ()),
            ),
        )
