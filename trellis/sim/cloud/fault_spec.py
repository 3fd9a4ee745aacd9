"""When a simulated cloud goes wrong, and how much: faults, outages, and somebody else in it."""

import enum

import attrs

from trellis.sim.cloud.bounds import at_least, chance, span
from trellis.sim.cloud.image_troubles import ImageTroubles


@attrs.frozen(kw_only=True)
class Faults(ImageTroubles):
    """What goes wrong, as probabilities (0 to 1) for each call or server, and durations in seconds.

    What else may go wrong inside the cloud is in `CloudTroubles`, with calls in `RoadTroubles`, and
    with images in `ImageTroubles`.

    Attributes:
        lose_answer: a call that changes something is carried out and its answer lost.
        lose_request: such a call is lost and not carried out.
        appear_late: a create whose answer was lost is carried out only after a time drawn
            evenly from ``appear_late_s``.
        server_error: a call is answered 500, 502 or 503; one that changes something was carried
            out half of the time.
        cut_answer: a call is carried out and the connection breaks in the middle of its answer.
        html_answer: a call is answered 200 with a page in HTML, as by a captive portal; one that
            changes something was carried out half of the time.
        boot_error: a server ends in ERROR instead of ACTIVE (image or aborted build).
        no_valid_host: a server ends in ERROR at once for want of a host.
        stuck_build: a server stays in BUILD until it is deleted.
        no_ssh: a server becomes ACTIVE and its guest never answers.
        late_address: an ACTIVE server shows no address for ``late_address_s``; its ``updated``
            does not move when it does, as in Nova.
        stuck_delete: a delete lasts ``stuck_delete_s``.
        delete_error: a delete ends in ERROR; the next one works.
        leak_volume: a volume that nova made stays, ``available``, when its server is gone; only
            one that its server has shown for a while, so that a caller can know of it.
        stuck_volume: a delete of such a volume ends in ``error_deleting``, which refuses deletes
            until, ``stuck_volume_s`` later, an operator of the cloud resets it to ``available``.
        come_back: a server that is gone is there again ``come_back_s`` later, as ACTIVE, without
            ports and without a guest; once.
        list_lag_s: lists show the past: new servers not yet, deleted ones still.
    """

    lose_answer: float = attrs.field(default=0.0, validator=chance)
    lose_request: float = attrs.field(default=0.0, validator=chance)
    appear_late: float = attrs.field(default=0.0, validator=chance)
    appear_late_s: tuple[float, ...] = attrs.field(default=(30.0, 300.0), validator=span)
    server_error: float = attrs.field(default=0.0, validator=chance)
    cut_answer: float = attrs.field(default=0.0, validator=chance)
    html_answer: float = attrs.field(default=0.0, validator=chance)
    boot_error: float = attrs.field(default=0.0, validator=chance)
    no_valid_host: float = attrs.field(default=0.0, validator=chance)
    stuck_build: float = attrs.field(default=0.0, validator=chance)
    no_ssh: float = attrs.field(default=0.0, validator=chance)
    late_address: float = attrs.field(default=0.0, validator=chance)
    late_address_s: float = attrs.field(default=20.0, validator=at_least(0.0))
    stuck_delete: float = attrs.field(default=0.0, validator=chance)
    stuck_delete_s: float = attrs.field(default=1800.0, validator=at_least(0.0))
    delete_error: float = attrs.field(default=0.0, validator=chance)
    leak_volume: float = attrs.field(default=0.0, validator=chance)
    stuck_volume: float = attrs.field(default=0.0, validator=chance)
    stuck_volume_s: float = attrs.field(default=600.0, validator=at_least(0.0))
    come_back: float = attrs.field(default=0.0, validator=chance)
    come_back_s: float = attrs.field(default=60.0, validator=at_least(0.0))
    list_lag_s: float = attrs.field(default=0.0, validator=at_least(0.0))


@attrs.frozen(kw_only=True)
class FaultWindow:
    """Other faults for a while.

    Attributes:
        start: when they begin, in seconds of the cloud's age.
        end: when they end.
        faults: what goes wrong meanwhile, instead of what goes wrong else.
    """

    start: float = attrs.field(validator=at_least(0.0))
    end: float = attrs.field(validator=at_least(0.0))
    faults: Faults


class OutageKind(enum.Enum):
    """How a cloud that is down shows it."""

    REFUSE = "refuse"
    """Connections are refused."""
    HANG = "hang"
    """Connections are taken and nothing is ever answered."""
    GATEWAY = "gateway"
    """A proxy answers 502 in HTML."""
    BURST = "error-burst"
    """Nine calls of ten are answered 500, 502 or 503; half of those that change something were
    carried out."""
    SLOW = "slow-answers"
    """Every answer takes ``slow_s`` longer."""
    LOCKED = "account-locked"
    """Logins with the right credentials are refused; tokens stay good."""
    MOVED = "endpoint-moved"
    """Compute is at another URL, which the catalog of new tokens names, and not at its own."""
    PROJECT = "project-changed"
    """Tokens end, and new ones belong to another project, where nothing of the account's is."""


@attrs.frozen(kw_only=True)
class Outage:
    """The cloud is down for a while.

    Attributes:
        start: when it begins, in seconds of the cloud's age.
        end: when it is over.
        kind: how the cloud shows it.
        services: only these (identity, compute, network, image); empty is all.
        slow_s: seconds that `OutageKind.SLOW` adds to each answer.
    """

    start: float = attrs.field(validator=at_least(0.0))
    end: float = attrs.field(validator=at_least(0.0))
    kind: OutageKind
    services: tuple[str, ...] = ()
    slow_s: float = attrs.field(default=20.0, validator=at_least(0.0))

    def holds(self, age: float, service: str = "") -> bool:
        """Whether it lasts at this age of the cloud, for this service."""
        here = not service or not self.services or service in self.services
        return here and self.start <= age < self.end


@attrs.frozen(kw_only=True)
class Strangers:
    """Somebody else works in the same project.

    Attributes:
        servers_at_start: servers of his that are there already and stay.
        floating_ips_at_start: floating IPs of his that belong to no server.
        volumes_at_start: volumes of his that look as if nova had made them, and belong to none.
        images_at_start: images of his.
        every_s: mean time between servers that he creates; 0 is never.
        stay_s: mean time such a server stays.
        flavor: name of his flavor; None is the first.
        same_name: chance that such a server takes the name of one of the account's.
        other_deployment: chance that it carries the tag of another deployment, with the id of a
            node that is here too.
        never_issued: chance that it carries the deployment of one of the account's servers, and a
            node id far above all.
    """

    servers_at_start: int = attrs.field(default=0, validator=at_least(0))
    floating_ips_at_start: int = attrs.field(default=0, validator=at_least(0))
    volumes_at_start: int = attrs.field(default=0, validator=at_least(0))
    images_at_start: int = attrs.field(default=0, validator=at_least(0))
    every_s: float = attrs.field(default=0.0, validator=at_least(0.0))
    stay_s: float = attrs.field(default=600.0, validator=at_least(0.001))
    flavor: str | None = None
    same_name: float = attrs.field(default=0.0, validator=chance)
    other_deployment: float = attrs.field(default=0.0, validator=chance)
    never_issued: float = attrs.field(default=0.0, validator=chance)
