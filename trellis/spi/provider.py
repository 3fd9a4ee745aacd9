"""The provider protocol: what the core asks of one region of one cloud.

Each method makes one remote change or asks one question. The core owns order, deadlines and
records; the provider owns what this cloud calls things. Every method may raise any `CloudError`
and nothing else; every method may be cancelled at any await and then leaves nothing behind but
what its one call may have made, which `find` finds again by its tag.
"""

import enum
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Final, Protocol

import attrs

from trellis.errors import CloudError
from trellis.model.names import NODE_ID_DIGITS, NodeId
from trellis.model.node import Addresses, Home, Login, Resource, ResourceKind, Shape
from trellis.model.quota import QuotaReading

if TYPE_CHECKING:
    from trellis.spi.image import ImageStore

SPI_VERSION: Final = 1


class Capability(enum.Enum):
    """What a provider can do beyond launching and deleting servers."""

    FLOATING_IPS = "floating-ips"
    CHANGES_SINCE = "changes-since"
    """Its server list takes `since` and shows deleted servers as rows."""


class InstanceState(enum.Enum):
    """The state of a machine in a cloud, as far as the core cares."""

    BUILDING = "building"
    ACTIVE = "active"
    STOPPED = "stopped"
    ERROR = "error"
    DELETING = "deleting"
    GONE = "gone"
    """Proved gone: a DELETED row, or 404 on a GET in the project it was made in."""
    UNKNOWN = "unknown"
    """The cloud cannot say: no information, never a verdict."""


@attrs.frozen(kw_only=True)
class Tag:
    """What marks a thing in a cloud as ours: whose it is and for which node it was made.

    Attributes:
        origin: tells apart the nodes of one id that two stores of a deployment have launched, or
            one store before and after it was set back; "" on things of earlier releases.
    """

    deployment: str
    node_id: NodeId
    origin: str = ""

    @property
    def number(self) -> int | None:
        """The running number of its node; None where no node can have that id.

        Anybody who may change a thing in the cloud may write any text into its tag.
        """
        text = self.node_id
        return (
            int(text) if len(text) == NODE_ID_DIGITS and text.isascii() and text.isdigit() else None
        )


@attrs.frozen(kw_only=True)
class Instance:
    """The provider-neutral view of one machine in a cloud.

    Attributes:
        fault: for ERROR, why, as the error a create would have raised; None while unknown.
        addresses: None while the cloud shows none that can be used.
        needs_public: it has addresses, and its configuration wants a public one it lacks.
        tag: None for machines that are not tagged as Trellis's.
        updated: the cloud's own time stamp, opaque.
        volumes: ids of the volumes attached to it, where the answer shows them.
    """

    external_id: str
    name: str
    state: InstanceState
    fault: CloudError | None = None
    addresses: Addresses | None = None
    needs_public: bool = False
    az: str | None = None
    tag: Tag | None = None
    updated: str = ""
    created_at: float | None = None
    volumes: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Listing:
    """One answer to `list`: rows, and the newest time stamp to ask from next time.

    Attributes:
        home: project, region and endpoint it was read in.
        full: True for an unfiltered list, the only kind the sweep may use.
    """

    instances: tuple[Instance, ...]
    newest: str | None
    home: Home
    full: bool


@attrs.frozen(kw_only=True)
class PublicAddress:
    """A floating IP and the address it is."""

    external_id: str
    address: str


@attrs.frozen(kw_only=True)
class Leftover:
    """A thing other than a server that carries our tag, or may be of a server of ours.

    Attributes:
        tag: None for what cannot carry one: ports and volumes that the cloud made by itself.
        server_id: the server it belongs to, where it says so.
        description: for a person: its address, its size and state.
    """

    kind: ResourceKind
    external_id: str
    tag: Tag | None
    server_id: str | None = None
    description: str = ""


@attrs.frozen(kw_only=True)
class Offer:
    """A label of a pool, resolved against the cloud: what it is made of, and in which zones.

    Attributes:
        zones: availability zones to choose from; empty means: name none.
        image: the image that is built here and whose upload the core chooses for each launch;
            the shape has none then. None where the shape names an image of the cloud.
    """

    pool: str
    label: str
    shape: Shape
    image: str | None = None
    zones: tuple[str, ...] = ()
    login: Login = attrs.field(factory=Login)


@attrs.frozen(kw_only=True)
class Inventory:
    """What the configured labels come to in this cloud.

    Attributes:
        offers: by pool and label.
        missing: by pool and label, what the cloud lacks, in words with near matches.
    """

    offers: Mapping[tuple[str, str], Offer]
    missing: Mapping[tuple[str, str], str]
    home: Home


@attrs.frozen(kw_only=True)
class LaunchIntent:
    """All that a create needs to know; made from records alone.

    Attributes:
        name: the server's name, and its first host name.
        metadata: goes beside the tag, as far as there is room: for whom the server is made, under
            keys that begin with ``trellis_``. Values have at most 255 bytes.
    """

    tag: Tag
    name: str
    pool: str
    label: str
    shape: Shape
    az: str | None
    metadata: Mapping[str, str] = attrs.field(factory=dict)


class Gone(enum.Enum):
    """The answer of `delete_step`."""

    DONE = "done"
    """Proved gone."""
    AGAIN = "again"
    """The cloud has been told; look again later."""


class Provider(Protocol):
    """One region of one account, in the core's words.

    Attributes:
        images: where it keeps images; None where none can be uploaded.
    """

    capabilities: frozenset[Capability]
    images: "ImageStore | None"

    def open(self) -> AbstractAsyncContextManager[None]:
        """Hold what the provider needs while it runs (its account's login is not its own)."""
        ...

    async def inventory(self) -> Inventory:
        """Resolve every configured label: flavor, image, networks, zones.

        Raises:
            AuthError, MisconfiguredError: the whole provider cannot be used.
        """
        ...

    async def limits(self) -> QuotaReading:
        """Read the quota and what everybody in the project uses of it.

        ``read_at`` is left 0.0: the core stamps it.
        """
        ...

    async def create_turn(self) -> None:
        """Wait until the cloud's rate limit allows one more create, and take that turn.

        The core takes a turn, records the intent durably and only then calls `create`.
        """
        ...

    async def create(self, intent: LaunchIntent) -> str:
        """Send the one call that makes a server, without a second try, and return its id.

        Raises:
            UnreachableError: certainly not made.
            AnswerLostError, CloudBrokenError: it may have been made; look with `find`.
            QuotaExceededError, NoCapacityError, RejectedError, RetryLaterError: not made.
            StaleOfferError: not made; it names what the cloud no longer has.
        """
        ...

    async def find(self, tag: Tag, name: str) -> Instance | None:
        """Look for the server of this tag among those of its name, with one list call."""
        ...

    async def get(self, external_id: str) -> Instance:
        """Look at one server. GONE stands for the cloud's 404."""
        ...

    async def find_foreign(self, name: str, metadata: Mapping[str, str]) -> tuple[str, ...]:
        """The ids of the servers of this name and metadata that bear no tag of a Trellis.

        They are another launcher's, from which the cloud is taken over.
        """
        ...

    async def public_of(self, external_id: str) -> tuple[PublicAddress, ...]:
        """The floating IPs that lead to a server and bear no tag of a Trellis, whoever made them.

        An address that is the server's own is none.
        """
        ...

    async def list(self, since: str | None) -> Listing:
        """List servers: all of them, or those changed since a time stamp of an earlier listing.

        Rule 3 of the design: *since* is moved back by 5 s here; pages are followed to the end.
        """
        ...

    async def attach_public(self, tag: Tag, external_id: str) -> PublicAddress:
        """Give the server a public address by one call.

        Looks first whether one of this tag exists, so it may be repeated.
        """
        ...

    async def find_leftovers(self) -> tuple[Leftover, ...]:
        """List what may be left of servers of ours: floating IPs, keypairs, ports, volumes."""
        ...

    async def delete_step(self, resource: Resource, tag: Tag) -> Gone:
        """Tell the cloud to delete one thing, or see that it is gone; may be repeated for ever."""
        ...

    async def console_log(self, external_id: str, lines: int) -> str:
        """The end of a server's console, or "" where the cloud offers none."""
        ...

    async def home(self) -> Home:
        """Project, region and endpoint of the present token (rule 2 of the design)."""
        ...
