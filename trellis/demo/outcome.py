"""What came of a demo: verdicts, figures, and what else went wrong."""

import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Final

import attrs

from trellis.demo.judge import Verdict
from trellis.demo.transcript import Transcript
from trellis.demo.truth import CloudTruth
from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.site import STRANGER

FIRST_NODE_WITHIN_S: Final = 10.0


@attrs.frozen
class Spread:
    """How a time in seconds was spread; None where nothing was measured."""

    p50: float | None
    p95: float | None

    @classmethod
    def of(cls, samples: Sequence[float]) -> "Spread":
        """Half of them, and nineteen of twenty, took no longer."""
        if len(samples) < 2:
            only = samples[0] if samples else None
            return cls(only, only)
        cuts = statistics.quantiles(samples, n=20, method="inclusive")
        return cls(cuts[9], cuts[18])


@attrs.frozen(kw_only=True)
class Figures:
    """What was counted and measured, by the clouds and by the requestors.

    Attributes:
        first_node_s: from the start of the process to the first ready node.
        nodes: servers made for us.
        requests: how many ended how.
        wait_s: from asking until a requestor has his nodes.
        boot_s: from the create's arrival until a server's sshd answers: the clouds' own time.
        calls: API calls to all clouds.
    """

    first_node_s: float | None
    nodes: int
    requests: dict[str, int]
    wait_s: Spread
    boot_s: Spread
    calls: int

    @property
    def calls_per_node(self) -> float | None:
        """API calls for each node made."""
        return self.calls / self.nodes if self.nodes else None


@attrs.frozen(kw_only=True)
class Outcome:
    """All of it.

    Attributes:
        problems: what went wrong beside promises, each with what to look at.
    """

    verdicts: tuple[Verdict, ...]
    figures: Figures
    problems: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Whether every promise was held, and nothing else went wrong."""
        return not self.problems and all(verdict.held for verdict in self.verdicts)


def figures_of(
    truths: Sequence[CloudTruth], transcripts: Sequence[Transcript], first_node_s: float | None
) -> Figures:
    """Count and measure."""
    arrived, boots, nodes = dict[str, float](), list[float](), 0
    for truth in truths:
        for fact in truth.ledger.of(What.SERVER_CREATED, What.SERVER_ACTIVE):
            if fact.who == STRANGER:
                continue
            if fact.what is What.SERVER_CREATED:
                nodes += 1
                arrived[fact.id] = fact.at if fact.asked_at is None else fact.asked_at
            elif fact.ssh_at is not None and fact.id in arrived:
                boots.append(fact.ssh_at - arrived[fact.id])
    waits = [x.fulfilled_at - x.filed_at for x in transcripts if x.fulfilled_at is not None]
    return Figures(
        first_node_s=first_node_s,
        nodes=nodes,
        requests=dict(Counter(x.ended or "never ended" for x in transcripts)),
        wait_s=Spread.of(waits),
        boot_s=Spread.of(boots),
        calls=sum(truth.ledger.total_calls for truth in truths),
    )
