"""What all services of one region of a simulated cloud share."""

from collections.abc import Callable
from random import Random
from typing import Final

import attrs

from trellis.sim.cloud.ledger import Fact, Ledger, What
from trellis.sim.cloud.spec import UNLIMITED, CloudSpec, Faults, Quota
from trellis.sim.cloud.timeline import Timeline

STRANGER: Final = "stranger"
"""Owner of what somebody else keeps in the project."""


def uuid_of(random: Random) -> str:
    """A version 4 UUID out of this source."""
    digits = f"{random.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


@attrs.define(eq=False, kw_only=True)
class Site:
    """One region: its spec, its time, its chance and where it writes down what happens.

    Attributes:
        number: of the region, for its addresses.
        root: URL of the cloud, without a slash at the end.
        ids: chance that makes ids, addresses and keys.
        lives: chance that decides how servers fare.
        asked_at: when the call that is being carried out reached the cloud; None is no call.
        console: what the machine behind a server, given by its id, has written to its console;
            None is no such machines.
    """

    spec: CloudSpec
    region: str
    number: int
    timeline: Timeline
    ledger: Ledger
    root: str
    ids: Random
    lives: Random
    project_id: str
    user_id: str
    asked_at: float | None = None
    console: Callable[[str], str] | None = None

    @property
    def user(self) -> str:
        """Name of the account's user."""
        return self.spec.credentials.username

    @property
    def now(self) -> float:
        """The time of what is being carried out."""
        return self.timeline.now

    @property
    def faults(self) -> Faults:
        """The faults that hold now."""
        return self.spec.faults_at(self.timeline.age)

    @property
    def quota(self) -> Quota:
        """The quota that holds now."""
        quota, taken = self.spec.quota, self.faults.quota_changed
        if taken <= 0.0:
            return quota
        return Quota(
            **{
                name: most if most == UNLIMITED else int(most * (1.0 - taken))
                for name, most in attrs.asdict(quota).items()
            }
        )

    def new_id(self) -> str:
        """A fresh UUID."""
        return uuid_of(self.ids)

    def chance(self, probability: float) -> bool:
        """Whether something of this probability befalls a server."""
        return probability > 0.0 and self.lives.random() < probability

    def befalls(self, fault: str, probability: float) -> bool:
        """Whether a fault of this probability strikes now; if so, it is counted."""
        if not self.chance(probability):
            return False
        self.strike(fault)
        return True

    def strike(self, fault: str) -> None:
        """Count that a fault took effect, by its name in the catalogue."""
        self.ledger.struck[fault] += 1

    def url(self, service: str, path: str) -> str:
        """URL of a thing of a service here."""
        return f"{self.root}/{self.region}/{service}{path}"

    def note(
        self,
        what: What,
        *,
        id: str = "",
        name: str = "",
        who: str = "",
        metadata: dict[str, str] | None = None,
        detail: str = "",
        ssh_at: float | None = None,
    ) -> None:
        """Write a fact into the ledger."""
        fact = Fact(
            at=self.timeline.now,
            what=what,
            region=self.region,
            id=id,
            name=name,
            who=who,
            metadata=tuple(sorted(metadata.items())) if metadata else (),
            detail=detail,
            asked_at=self.asked_at,
            ssh_at=ssh_at,
        )
        self.ledger.facts.append(fact)
