"""What a simulated cloud is like: its offer, its limits, its pace and its troubles."""

import enum
import math
from random import Random
from typing import Final

import attrs

UNLIMITED: Final = -1
"""How OpenStack writes a limit that is none."""

_Z95: Final = 1.6448536269514722
"""The standard normal's 95th percentile."""


@attrs.frozen
class Lognormal:
    """A duration in seconds, given by its median and 95th percentile; equal ones mean fixed."""

    median: float
    p95: float

    def draw(self, random: Random) -> float:
        """One duration. Takes one normal variate whatever the parameters are."""
        variate = random.gauss(0.0, 1.0)
        if self.median <= 0.0:
            return 0.0
        return self.median * math.exp(math.log(self.p95 / self.median) / _Z95 * variate)


def fixed(seconds: float) -> Lognormal:
    """A duration that is always the same."""
    return Lognormal(seconds, seconds)


@attrs.frozen(kw_only=True)
class Latency:
    """How long the cloud takes to answer a call, by verb."""

    get: Lognormal = Lognormal(0.05, 0.15)
    post: Lognormal = Lognormal(0.1, 0.3)
    put: Lognormal = Lognormal(0.1, 0.3)
    delete: Lognormal = Lognormal(0.05, 0.15)

    @classmethod
    def of(cls, duration: Lognormal) -> "Latency":
        """The same for every verb."""
        return cls(get=duration, post=duration, put=duration, delete=duration)

    def for_verb(self, verb: str) -> Lognormal:
        """The one for an HTTP method."""
        match verb:
            case "POST":
                return self.post
            case "DELETE":
                return self.delete
            case "PUT" | "PATCH":
                return self.put
            case _:
                return self.get


@attrs.frozen(kw_only=True)
class Quota:
    """What the project may have, in each region; -1 is unlimited."""

    instances: int = 100
    cores: int = 400
    ram_mib: int = 819_200
    floating_ips: int = 50
    ports: int = 500
    keypairs: int = 100


@attrs.frozen(kw_only=True)
class FlavorSpec:
    """A flavor; one that is not placeable ends in *No valid host*."""

    name: str
    cores: int
    ram_mib: int
    disk_gib: int = 10
    placeable: bool = True


@attrs.frozen(kw_only=True)
class ImageSpec:
    """An image that the cloud has.

    Attributes:
        status: Glance's; only ``active`` ones boot.
        baked_host_key: every server booted from it has the same SSH host key.
    """

    name: str
    status: str = "active"
    min_disk_gib: int = 0
    baked_host_key: bool = False


@attrs.frozen(kw_only=True)
class NetworkSpec:
    """A network.

    Attributes:
        external: floating IPs come from it, and its addresses are reached from everywhere.
        attachable: servers can be put on it.
        reachable: its addresses are reached from outside though it is not external.
        cidr: its IPv4 range; None takes one of its own from the cloud's ``number``.
        ipv6: servers get an IPv6 address beside.
    """

    name: str
    external: bool = False
    attachable: bool = True
    reachable: bool = False
    cidr: str | None = None
    ipv6: bool = False


def direct_networks() -> tuple[NetworkSpec, ...]:
    """One external network, on which servers are put directly."""
    return (NetworkSpec(name="public", external=True),)


def floating_networks() -> tuple[NetworkSpec, ...]:
    """A private network behind a router, and an external one for floating IPs."""
    return (
        NetworkSpec(name="ci-net"),
        NetworkSpec(name="public", external=True, attachable=False),
    )


@attrs.frozen(kw_only=True)
class RateLimit:
    """So many calls in so many seconds, as a bucket that fills steadily.

    Attributes:
        status: 429 as gateways answer, or 413 as old Nova and Rackspace did.
        retry_after: whether the answer says how long to wait (whole seconds).
        service: only calls of this service; None is all but identity.
        method: only calls of this method.
        path: only calls whose path ends so, as ``/servers``.
    """

    calls: float
    per_s: float = 1.0
    status: int = 429
    retry_after: bool = True
    service: str | None = None
    method: str | None = None
    path: str | None = None


@attrs.frozen(kw_only=True)
class Faults:
    """What goes wrong, as probabilities (0 to 1) for each call or server, and durations in seconds.

    Attributes:
        lose_answer: a call that changes something is carried out and its answer lost.
        lose_request: such a call is lost and not carried out.
        appear_late: a create whose answer was lost is carried out only after a time drawn
            evenly from ``appear_late_s``.
        server_error: a call is answered 500, 502 or 503; one that changes something was carried
            out half of the time.
        boot_error: a server ends in ERROR instead of ACTIVE (image or aborted build).
        no_valid_host: a server ends in ERROR at once for want of a host.
        stuck_build: a server stays in BUILD until it is deleted.
        no_ssh: a server becomes ACTIVE and its guest never answers.
        late_address: an ACTIVE server shows no address for ``late_address_s``; its ``updated``
            does not move when it does, as in Nova.
        stuck_delete: a delete lasts ``stuck_delete_s``.
        delete_error: a delete ends in ERROR; the next one works.
        list_lag_s: lists show the past: new servers not yet, deleted ones still.
    """

    lose_answer: float = 0.0
    lose_request: float = 0.0
    appear_late: float = 0.0
    appear_late_s: tuple[float, float] = (30.0, 300.0)
    server_error: float = 0.0
    boot_error: float = 0.0
    no_valid_host: float = 0.0
    stuck_build: float = 0.0
    no_ssh: float = 0.0
    late_address: float = 0.0
    late_address_s: float = 20.0
    stuck_delete: float = 0.0
    stuck_delete_s: float = 1800.0
    delete_error: float = 0.0
    list_lag_s: float = 0.0


@attrs.frozen(kw_only=True)
class FaultWindow:
    """Other faults from *start* until *end*, in seconds of the cloud's age."""

    start: float
    end: float
    faults: Faults


class OutageKind(enum.Enum):
    """How a cloud that is down shows it."""

    REFUSE = "refuse"
    """Connections are refused."""
    HANG = "hang"
    """Connections are taken and nothing is ever answered."""
    GATEWAY = "gateway"
    """A proxy answers 502 in HTML."""


@attrs.frozen(kw_only=True)
class Outage:
    """The cloud is down from *start* until *end*, in seconds of its age.

    Attributes:
        services: only these (identity, compute, network, image); empty is all.
    """

    start: float
    end: float
    kind: OutageKind
    services: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Strangers:
    """Somebody else works in the same project.

    Attributes:
        servers_at_start: servers of his that are there already and stay.
        floating_ips_at_start: floating IPs of his that belong to no server.
        every_s: mean time between servers that he creates; 0 is never.
        stay_s: mean time such a server stays.
        flavor: name of his flavor; None is the first.
    """

    servers_at_start: int = 0
    floating_ips_at_start: int = 0
    every_s: float = 0.0
    stay_s: float = 600.0
    flavor: str | None = None


@attrs.frozen(kw_only=True)
class Credentials:
    """Who may log in, and to which project. The secrets guard nothing real."""

    username: str = "ci"
    password: str = attrs.field(default="sim-password", repr=False)
    user_domain: str = "Default"
    project: str = "ci"
    project_domain: str = "Default"
    application_credential_id: str = "9eded6a033fb43419bdc38a8b92130a5"
    application_credential_name: str = "trellis"
    application_credential_secret: str = attrs.field(default="sim-secret", repr=False)


@attrs.frozen(kw_only=True)
class CloudSpec:
    """A whole simulated cloud.

    Attributes:
        number: 0 to 15; clouds of one simulation with different numbers have different addresses.
        regions: at most four; each has flavors, images, networks, servers and quota of its own.
        capacity: servers that a region's hypervisors hold, everybody's; None is endless.
        boot: from the create until ACTIVE.
        delete: from the delete until gone.
        guest: from ACTIVE until the guest's sshd answers.
        page: the most rows of a server list.
        keep_deleted_s: how long ``changes-since`` still shows a deleted server.
    """

    name: str
    number: int = attrs.field(default=0, validator=attrs.validators.in_(range(16)))
    regions: tuple[str, ...] = attrs.field(
        default=("RegionOne",), validator=[attrs.validators.min_len(1), attrs.validators.max_len(4)]
    )
    credentials: Credentials = Credentials()
    quota: Quota = Quota()
    flavors: tuple[FlavorSpec, ...] = (
        FlavorSpec(name="ci-1c-1g", cores=1, ram_mib=1024),
        FlavorSpec(name="ci-2c-4g", cores=2, ram_mib=4096, disk_gib=40),
    )
    images: tuple[ImageSpec, ...] = (ImageSpec(name="tiny"),)
    networks: tuple[NetworkSpec, ...] = attrs.field(factory=direct_networks)
    zones: tuple[str, ...] = ("nova",)
    capacity: int | None = None
    boot: Lognormal = Lognormal(20.0, 45.0)
    delete: Lognormal = Lognormal(2.0, 5.0)
    guest: Lognormal = Lognormal(3.0, 6.0)
    latency: Latency = Latency()
    rate_limits: tuple[RateLimit, ...] = ()
    faults: Faults = Faults()
    fault_windows: tuple[FaultWindow, ...] = ()
    outages: tuple[Outage, ...] = ()
    strangers: Strangers = Strangers()
    token_lifetime_s: float = 3600.0
    page: int = 1000
    keep_deleted_s: float = 3600.0

    def faults_at(self, age: float) -> Faults:
        """The faults that hold at this age of the cloud; the first window that fits wins."""
        for window in self.fault_windows:
            if window.start <= age < window.end:
                return window.faults
        return self.faults

    @property
    def longest_lag_s(self) -> float:
        """The longest list lag there ever is."""
        return max(f.list_lag_s for f in (self.faults, *(w.faults for w in self.fault_windows)))
