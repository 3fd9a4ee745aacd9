"""What a server, a flavor and an image are in a simulated cloud."""

from collections.abc import Mapping
from typing import Any

import attrs

from trellis.sim.cloud.spec import FlavorSpec, ImageSpec
from trellis.sim.cloud.spooled import Spooled
from trellis.sim.cloud.volume import Volume


@attrs.frozen(kw_only=True)
class Flavor:
    """A flavor under its id."""

    id: str
    spec: FlavorSpec


@attrs.define(eq=False, kw_only=True)
class Image:
    """An image under its id.

    Attributes:
        spec: its name, its status and its least disk; another one whenever they change.
        who: who made it; "" is one that the cloud offers.
        properties: those that Glance does not know itself.
        stored: what its file was; None where there is none yet, and for those the cloud offers.
        staged: what was staged of it and not imported yet.
        taken: a body for it is on its way.
        corrupted: what is stored is not what was sent.
        ended: when it was deleted.
        refuses_until: until then it cannot be deleted.
    """

    id: str
    spec: ImageSpec
    created: float
    host_key: bytes
    who: str = ""
    updated: float | None = None
    disk_format: str | None = "raw"
    container_format: str | None = "bare"
    visibility: str = "shared"
    min_ram: int = 0
    protected: bool = False
    hidden: bool = False
    tags: list[str] = attrs.field(factory=list)
    properties: dict[str, str] = attrs.field(factory=dict)
    size: int | None = None
    virtual_size: int | None = None
    stored: Spooled | None = None
    staged: Spooled | None = None
    taken: bool = False
    corrupted: bool = False
    ended: float | None = None
    refuses_until: float | None = None

    @property
    def name(self) -> str:
        """Its name; "" where it has none."""
        return self.spec.name

    @property
    def status(self) -> str:
        """Glance's."""
        return self.spec.status

    @property
    def is_offered(self) -> bool:
        """Whether it is one that the cloud offers."""
        return not self.who


@attrs.define(eq=False, kw_only=True)
class Revision:
    """How a server looks from one moment on.

    Attributes:
        rendered: the row of a detailed list at microversion 2.1, once somebody asked for it.
    """

    at: float
    updated: float
    status: str = "BUILD"
    vm_state: str = "building"
    task_state: str | None = "scheduling"
    power_state: int = 0
    addresses: dict[str, list[dict[str, Any]]] = attrs.field(factory=dict)
    volumes: tuple[str, ...] = ()
    fault: Mapping[str, Any] | None = None
    rendered: bytes | None = None


@attrs.define(eq=False, kw_only=True)
class Server:
    """A server.

    Attributes:
        number: rises with every create; lists are ordered by it, newest first.
        volume_gib: it boots from a volume of this size; None boots from the flavor's own disk.
        volume: that volume, once it is there.
        delete_at: when it was asked for to be deleted.
        second_cell: it is in the one of the two cells that may be down.
        hidden_until: until then every call says that there is no such server.
        refuses_until: until then it refuses to be deleted.
        stuck: a delete of it has come to no end once.
        rowless: once it is gone, no list shows that it was deleted.
        access_ipv4: the address that the vendor says to reach it at.
        silent: its image is such that its guest never answers.
        epoch: rises whenever its future changes, so that what was on the agenda lapses.
        ssh_at: when its guest answers; None is never, or not known yet.
        history: past looks, kept as far as lists may lag.
        stamps: when it changed, each with the UTC second that its row was stamped with.
    """

    id: str
    number: int
    name: str
    flavor: Flavor
    image: Image | None
    metadata: dict[str, str]
    zone: str
    key_name: str | None
    config_drive: bool
    description: str | None
    who: str
    created: float
    host_key: bytes
    host_id: str
    admin_password: str
    now: Revision
    placed: bool = False
    addressed: bool = True
    launched: float | None = None
    ended: float | None = None
    ssh_at: float | None = None
    delete_failed: bool = False
    returned: bool = False
    volume_gib: int | None = None
    volume: Volume | None = None
    delete_at: float | None = None
    second_cell: bool = False
    hidden_until: float | None = None
    refuses_until: float | None = None
    rowless: bool = False
    access_ipv4: str = ""
    stuck: bool = False
    silent: bool = False
    epoch: int = 0
    history: list[Revision] = attrs.field(factory=list)
    stamps: list[tuple[float, int]] = attrs.field(factory=list)

    def stamped(self, at: float) -> int:
        """The second its row bore at that time; -1 where it had none yet."""
        for since, second in reversed(self.stamps):
            if since <= at:
                return second
        return -1

    @property
    def gone(self) -> bool:
        """Whether it is deleted for good."""
        return self.ended is not None


@attrs.define
class Usage:
    """What the project uses."""

    instances: int = 0
    cores: int = 0
    ram_mib: int = 0
    ours: int = 0
