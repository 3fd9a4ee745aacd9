"""What a simulated cloud is like: its offer, its limits, its pace and its troubles."""

import enum
import ipaddress
import math
import re
from random import Random
from typing import Final

import attrs

from trellis.sim.cloud.behaviour import STOCK
from trellis.sim.cloud.behaviour import Behaviour as Behaviour
from trellis.sim.cloud.bounds import at_least as _at_least
from trellis.sim.cloud.fault_spec import Faults as Faults
from trellis.sim.cloud.fault_spec import FaultWindow as FaultWindow
from trellis.sim.cloud.fault_spec import Outage as Outage
from trellis.sim.cloud.fault_spec import OutageKind as OutageKind
from trellis.sim.cloud.fault_spec import Strangers as Strangers

UNLIMITED: Final = -1
"""How OpenStack writes a limit that is none."""

_REGION: Final = re.compile(r"[A-Za-z0-9._~-]+\Z")

_Z95: Final = 1.6448536269514722
"""The standard normal's 95th percentile."""


def _name(_instance: object, _field: object, value: str) -> None:
    if not value.strip() or not value.isascii() or "/" in value:
        raise ValueError("must be a name of ASCII letters, without '/'")


def _regions(_instance: object, _field: object, value: tuple[str, ...]) -> None:
    for name in value:
        if not _REGION.match(name) or name == "identity":
            raise ValueError(
                f"{name!r} is no name of a region: letters, digits and ._~- are, for it stands "
                "in URLs, and 'identity' is taken"
            )
    if len(set(value)) < len(value):
        raise ValueError("names of regions must differ")


def _many(_instance: object, _field: object, value: int) -> None:
    if value < UNLIMITED:
        raise ValueError(f"must be at least 0, or -1 for no limit, not {value}")


def _ranges(_instance: object, _field: object, value: tuple[str, ...]) -> None:
    for text in value:
        try:
            ipaddress.IPv4Network(text)
        except ValueError as error:
            raise ValueError(f"must be IPv4 ranges, as 10.1.0.0/16: {error}") from None


@attrs.frozen
class Lognormal:
    """A duration in seconds, given by its median and 95th percentile; equal ones mean fixed.

    Attributes:
        median: half of them are shorter.
        p95: one in twenty is longer.
    """

    median: float = attrs.field(validator=_at_least(0.0))
    p95: float

    def __attrs_post_init__(self) -> None:
        """Refuse what no distribution has."""
        if self.median > 0.0 and not self.median <= self.p95 < math.inf:
            raise ValueError(f"p95 must be at least the median, {self.median:g}, not {self.p95:g}")

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
    """How long the cloud takes to answer a call, by verb.

    Attributes:
        get: of GET and HEAD.
        post: of POST.
        put: of PUT and PATCH.
        delete: of DELETE.
    """

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
    """What the project may have, in each region; -1 is unlimited.

    Attributes:
        instances: servers.
        cores: cores of them together.
        ram_mib: memory of them together, in MiB.
        floating_ips: floating IPs.
        ports: ports, those of servers too.
        keypairs: keypairs.
        volumes: volumes.
        gigabytes: size of them together, in GiB.
        images: images that the account made.
        image_mib: size of their files together, in MiB.
    """

    instances: int = attrs.field(default=100, validator=_many)
    cores: int = attrs.field(default=400, validator=_many)
    ram_mib: int = attrs.field(default=819_200, validator=_many)
    floating_ips: int = attrs.field(default=50, validator=_many)
    ports: int = attrs.field(default=500, validator=_many)
    keypairs: int = attrs.field(default=100, validator=_many)
    volumes: int = attrs.field(default=100, validator=_many)
    gigabytes: int = attrs.field(default=10_000, validator=_many)
    images: int = attrs.field(default=UNLIMITED, validator=_many)
    image_mib: int = attrs.field(default=UNLIMITED, validator=_many)


@attrs.frozen(kw_only=True)
class FlavorSpec:
    """A flavor of servers.

    Attributes:
        name: its name.
        cores: cores of a server.
        ram_mib: memory of a server, in MiB.
        disk_gib: disk of a server, in GiB; 0 boots from volumes only.
        placeable: servers of one that is not end in *No valid host*.
    """

    name: str
    cores: int = attrs.field(validator=_at_least(1))
    ram_mib: int = attrs.field(validator=_at_least(1))
    disk_gib: int = attrs.field(default=10, validator=_at_least(0))
    placeable: bool = True


@attrs.frozen(kw_only=True)
class ImageSpec:
    """An image that the cloud has.

    Attributes:
        name: its name.
        status: Glance's; only ``active`` ones boot.
        min_disk_gib: the least disk that it boots from, in GiB.
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
        name: its name.
        external: floating IPs come from it, and its addresses are reached from everywhere.
        attachable: servers can be put on it.
        reachable: its addresses are reached from outside though it is not external.
        id: where it is the same in every region; None draws one.
        cidr: its IPv4 range; None takes one of its own from the cloud's ``number``.
        ipv6: servers get an IPv6 address beside.
    """

    name: str
    external: bool = False
    attachable: bool = True
    reachable: bool = False
    id: str | None = None
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


class RetryAfter(enum.Enum):
    """What a refusal for the rate says of how long to wait."""

    SECONDS = "seconds"
    DATE = "date"
    """A date of HTTP, as RFC 9110 allows."""
    ZERO = "zero"
    NEGATIVE = "negative"
    YEARS = "years"
    """Ten, in seconds."""
    WORDS = "words"
    PAST = "past"
    """A date that is over."""
    FUTURE = "future"
    """A date in ten years."""
    ABSURD = "absurd-retry-after"
    """One of those that make no sense, another each time."""


@attrs.frozen(kw_only=True)
class RateLimit:
    """So many calls in so many seconds, as a bucket that fills steadily.

    Attributes:
        calls: so many calls.
        per_s: in so many seconds, on the average.
        status: 429 as gateways answer, or 413 as old Nova and Rackspace did.
        retry_after: whether the answer says how long to wait.
        says: in which words it says so.
        service: only calls of this service; None is all but identity.
        method: only calls of this method.
        path: only calls whose path ends so, as ``/servers``.
        tells_at: key in the body under which stands, as an ISO time, when to come again, and no
            header; "" says it by *says*.
    """

    calls: float = attrs.field(validator=_at_least(1.0))
    per_s: float = attrs.field(default=1.0, validator=_at_least(0.001))
    status: int = attrs.field(default=429, validator=attrs.validators.in_((413, 429)))
    retry_after: bool = True
    says: RetryAfter = RetryAfter.SECONDS
    service: str | None = None
    method: str | None = None
    path: str | None = None
    tells_at: str = ""


class IdentityVersions(enum.Enum):
    """Which versions of Keystone's API a cloud has."""

    V2 = "v2"
    V3 = "v3"
    BOTH = "both"


@attrs.frozen(kw_only=True)
class Credentials:
    """Who may log in, and to which project. The secrets guard nothing real.

    Attributes:
        username: the user.
        password: his password.
        user_domain: his domain.
        project: the project he works in.
        project_domain: its domain.
        application_credential_id: of an application credential of his, by its id.
        application_credential_name: the same, by its name.
        application_credential_secret: its secret.
        api_key: Rackspace's, for ``RAX-KSKEY:apiKeyCredentials`` of v2.0.
        access_key, secret_key: HP's, for ``apiAccessKeyCredentials`` of v2.0.
    """

    username: str = "ci"
    password: str = attrs.field(default="sim-password", repr=False)
    user_domain: str = "Default"
    project: str = "ci"
    project_domain: str = "Default"
    application_credential_id: str = "9eded6a033fb43419bdc38a8b92130a5"
    application_credential_name: str = "trellis"
    application_credential_secret: str = attrs.field(default="sim-secret", repr=False)
    api_key: str = attrs.field(default="sim-api-key", repr=False)
    access_key: str = "SIMACCESSKEY"
    secret_key: str = attrs.field(default="sim-secret-key", repr=False)


@attrs.frozen(kw_only=True)
class CloudSpec:
    """A whole simulated cloud.

    Attributes:
        name: its name; a provider's ``cloud`` is one.
        twin: the real cloud that it behaves as, as ``rackspace``: all that is not said here is as
            that cloud's twin has it, its name too. None is a stock cloud.
        number: 0 to 15; clouds of one simulation with different numbers have different addresses.
        regions: at most four; each has flavors, images, networks, servers and quota of its own.
        outside: one IPv4 range a region, in which networks reached from outside lie in equal
            parts; empty takes ranges by ``number``.
        credentials: who may log in.
        identity: versions of Keystone's API that there are.
        behaviour: in what else it is not stock, as the twin of a real cloud.
        quota: what the project may have.
        flavors: the flavors there are.
        images: the images there are.
        networks: the networks there are.
        zones: the availability zones of each region.
        capacity: servers that a region's hypervisors hold, everybody's; None is endless.
        block_storage: type of cinder's entry in the catalog; empty is a cloud without cinder.
        object_storage: there is a Swift.
        boot: from the create until ACTIVE.
        delete: from the delete until gone.
        volume_delete: the same of a volume.
        guest: from ACTIVE until the guest's sshd answers.
        image_import: from an import, or a task that imports, until the image is active.
        image_rate_mib_s: so much of an upload is taken in a second; 0 is as fast as it comes.
        hashes_images: Glance and Swift take checksums; else they show none.
        latency: from a call's arrival until its answer.
        rate_limits: how many calls are taken; any number of limits hold at once.
        faults: what goes wrong all the time.
        fault_windows: what goes wrong for a while; the first window that fits wins.
        outages: when the cloud is down.
        strangers: who else works in the project.
        token_lifetime_s: how long a token is good.
        page: the most rows of a server list.
        keep_deleted_s: how long ``changes-since`` still shows a deleted server.
    """

    name: str = attrs.field(validator=_name)
    twin: str | None = None
    number: int = attrs.field(default=0, validator=attrs.validators.in_(range(16)))
    regions: tuple[str, ...] = attrs.field(
        default=("RegionOne",),
        validator=[attrs.validators.min_len(1), attrs.validators.max_len(4), _regions],
    )
    outside: tuple[str, ...] = attrs.field(default=(), validator=_ranges)
    credentials: Credentials = Credentials()
    identity: IdentityVersions = IdentityVersions.V3
    behaviour: Behaviour = STOCK
    quota: Quota = Quota()
    flavors: tuple[FlavorSpec, ...] = (
        FlavorSpec(name="ci-1c-1g", cores=1, ram_mib=1024),
        FlavorSpec(name="ci-2c-4g", cores=2, ram_mib=4096, disk_gib=40),
    )
    images: tuple[ImageSpec, ...] = (ImageSpec(name="tiny"),)
    networks: tuple[NetworkSpec, ...] = attrs.field(factory=direct_networks)
    zones: tuple[str, ...] = ("nova",)
    capacity: int | None = attrs.field(default=None, validator=_at_least(0))
    block_storage: str = "volumev3"
    object_storage: bool = False
    boot: Lognormal = Lognormal(20.0, 45.0)
    delete: Lognormal = Lognormal(2.0, 5.0)
    volume_delete: Lognormal = Lognormal(1.5, 4.0)
    guest: Lognormal = Lognormal(3.0, 6.0)
    image_import: Lognormal = Lognormal(20.0, 60.0)
    image_rate_mib_s: float = attrs.field(default=0.0, validator=_at_least(0.0))
    hashes_images: bool = True
    latency: Latency = Latency()
    rate_limits: tuple[RateLimit, ...] = ()
    faults: Faults = attrs.field(factory=Faults)
    fault_windows: tuple[FaultWindow, ...] = ()
    outages: tuple[Outage, ...] = ()
    strangers: Strangers = attrs.field(factory=Strangers)
    token_lifetime_s: float = attrs.field(default=3600.0, validator=_at_least(60.0))
    page: int = attrs.field(default=1000, validator=_at_least(1))
    keep_deleted_s: float = attrs.field(default=3600.0, validator=_at_least(0.0))

    def __attrs_post_init__(self) -> None:
        """Refuse what does not fit together."""
        if self.outside and len(self.outside) != len(self.regions):
            raise ValueError("outside must have one range for each of the regions, or none")

    def is_out(self, kind: OutageKind, age: float) -> bool:
        """Whether an outage of this kind holds at this age of the cloud."""
        return any(outage.kind is kind and outage.holds(age) for outage in self.outages)

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

    @property
    def longest_image_lag_s(self) -> float:
        """The same of lists of images."""
        every = (self.faults, *(w.faults for w in self.fault_windows))
        return max(f.image_list_lag_s for f in every)
