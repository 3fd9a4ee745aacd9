"""The life of a node, straight from top to bottom: launched, and in the end deleted.

Each line of a launch is re-entrant: it returns at once if the record says it is done, else it
looks, acts and commits. A start and a resumption after a crash call the same function.
Cancellation makes no cloud call: what was recorded stays and the next process goes on from it.
"""

import contextlib
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from typing import TypeVar

import attrs
import structlog
import trio

from trellis.control.amend import amend, head
from trellis.control.breakers import Breakers, Cause
from trellis.control.fleet import DYING
from trellis.control.health import PROJECT_CHANGED, ProviderHealth
from trellis.control.homes import foreign
from trellis.control.last_words import read_console, wants_console
from trellis.control.late_fault import with_fault
from trellis.control.launch_waits import LaunchWaits
from trellis.control.life_records import (
    LifeRecords,
    MovedOnError,
    next_to_delete,
)
from trellis.control.quota import Quota
from trellis.control.readiness import Readiness
from trellis.control.ssh_scan import NotReachableError
from trellis.control.watcher import Watcher, is_gone
from trellis.errors import (
    AnswerLostError,
    AuthError,
    CloudBrokenError,
    CloudError,
    MisconfiguredError,
    NoCapacityError,
    NotFoundError,
    QuotaExceededError,
    RejectedError,
    RetryLaterError,
    StaleOfferError,
    TrellisError,
    UnreachableError,
)
from trellis.model.asked import notes_of
from trellis.model.breaker import Stage
from trellis.model.names import NodeId
from trellis.model.node import Home, Node, NodeState, Resource, ResourceKind
from trellis.model.request import NodeRequest
from trellis.spi.config import ProviderConfig
from trellis.spi.provider import (
    Gone,
    Instance,
    InstanceState,
    LaunchIntent,
    Provider,
    PublicAddress,
    Tag,
)
from trellis.store.store import Store
from trellis.world import World

log = structlog.get_logger()
T = TypeVar("T")

FIND_EVERY_S = 20.0
LOOK_AT_LEAST_S = 10.0
DELETE_AGAIN_S = 10.0
"""So long a deletion that the cloud has accepted is waited for before it is asked for again."""


class _BootError(TrellisError):
    """The machine came up wrong, or not at all."""


@attrs.define(eq=False, kw_only=True)
class Life:
    """Launches and deletes the nodes of one provider; everything it is given it only borrows.

    Attributes:
        attached: records the volumes that a server's row shows.
        twin_of: the other node a host key was seen on lately, if any (rule 11); told of each
            key once it is seen.
        breakers: told how far launches come and how they fail; it says who has to wait.
        read_anew: asks for the inventory to be read again soon.
        stale: told of a node whose label came down to what the cloud no longer has, and of why.
        foreign: why a project and endpoint are not those of our records; "" if they are.
        unwanted: why a node must not be created any more; "" while it may be. A launch that
            meets with it ends its work and leaves the node as it is.
        in_line: entered while a node waits for the turn of its create.
        waits: what its launches wait for, told of changes of its nodes.
    """

    config: ProviderConfig
    deployment: str
    provider: Provider
    store: Store
    world: World
    watcher: Watcher
    health: ProviderHealth
    quota: Quota
    attached: Callable[[Instance], None]
    twin_of: Callable[[str, NodeId], NodeId | None]
    breakers: Breakers
    read_anew: Callable[[], None]
    stale: Callable[[Node, str], None]
    foreign: Callable[[Home], str]
    unwanted: Callable[[Node], str] = lambda _: ""
    in_line: Callable[[NodeId], AbstractContextManager[None]] = lambda _: contextlib.nullcontext()
    waits: LaunchWaits = attrs.field(init=False)
    _records: LifeRecords = attrs.field(init=False)
    _readiness: Readiness = attrs.field(init=False)
    _creating: int = attrs.field(default=0, init=False)
    _last_create: trio.Event | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.waits = LaunchWaits(store=self.store, unwanted=self.unwanted)
        self._readiness = Readiness(world=self.world)
        self._records = LifeRecords(
            config=self.config,
            provider=self.provider,
            store=self.store,
            world=self.world,
            health=self.health,
            foreign=self.foreign,
        )

    # ------------------------------------------------------------------------- the launch

    async def launch(self, node_id: NodeId) -> None:
        """Bring a node from its intent to ready; ends it as failed or aborted if that cannot be.

        Returns also when somebody else has moved the node on meanwhile.
        """
        node = head(self.store, Node, node_id)
        try:
            with trio.fail_after(self._left_s(node)) as deadline:
                node = await self._ensure_created(node, deadline)
                node = await self._ensure_active(node)
                node = await self._ensure_public(node)
                node = await self._ensure_reachable(node)
                await self._ready(node)
        except MovedOnError:
            return
        except QuotaExceededError as error:
            if self._goes_by_quota(node):
                self.quota.refused(node, error.message)
            else:
                # The figures are not asked here, so a refusal is as good as no room.
                self.quota.refusals += 1
                self.breakers.failed(node, Cause.CAPACITY, error.message)
            await self._records.end(node_id, NodeState.ABORTED, str(error))
        except NoCapacityError as error:
            self.breakers.failed(node, Cause.CAPACITY, error.message)
            await self._records.end(node_id, NodeState.ABORTED, str(error))
        except StaleOfferError as error:
            self.stale(node, str(error))
            self.breakers.failed(node, Cause.REJECTED, error.message)
            await self._records.end(node_id, NodeState.ABORTED, str(error))
        except (UnreachableError, AuthError, MisconfiguredError) as error:
            # The provider is at fault, not the node: it closes, and the planner goes elsewhere.
            self.health.failed(error)
            await self._records.end(node_id, NodeState.ABORTED, str(error))
        except (CloudError, NotReachableError, _BootError) as error:
            if isinstance(error, RejectedError | NotFoundError):
                self.read_anew()  # an id of the inventory may be stale (quirks.md 1 §2.6)
            if isinstance(error, NotReachableError):
                self._late(node, str(error))
            elif not isinstance(error, AnswerLostError):  # its create has been put down already
                self.breakers.failed(node, _cause(error), str(error))
            await self._records.end(node_id, NodeState.FAILED, str(error))
        except trio.TooSlowError:
            late = f"not ready within launch-timeout, {self.config.launch_timeout:g} s"
            self._late(node, late)
            await self._records.end(node_id, NodeState.FAILED, late)

    def _late(self, node: Node, reason: str) -> None:
        """Put down that a launch took too long; but not if we were away for a part of it."""
        if node.created_at >= self.world.wall.began_at:
            self.breakers.failed(node, Cause.BOOT, reason)

    def _goes_by_quota(self, node: Node) -> bool:
        pool = self.config.pool(node.pool)
        return pool is None or not pool.ignore_provider_quota

    async def abort(self, node_id: NodeId, reason: str) -> None:
        """End a launch that could not even begin; its request can go elsewhere."""
        await self._records.end(node_id, NodeState.ABORTED, reason)

    async def fail(self, node_id: NodeId, reason: str) -> None:
        """End a launch that went wrong in a way nobody thought of; nothing but a launch."""
        await self._records.end(node_id, NodeState.FAILED, reason)

    def _left_s(self, node: Node) -> float:
        """Seconds to the deadline of the launch, which begins with the intent to create."""
        if node.launch_by is None or node.server is None:
            return math.inf  # the deadline of a create that was refused is left on record only
        # After a long absence of ours a node gets a look before it is judged.
        return max(LOOK_AT_LEAST_S, node.launch_by - self.world.wall())

    async def _ensure_created(self, node: Node, deadline: trio.CancelScope) -> Node:
        """The server is made, or found if it may have been made: its id is on record."""
        if node.server is None:
            node = await self._create(node, deadline)
        server = node.server
        if server is not None and server.in_doubt:
            node = await self._settle(node, server)
        return node

    async def _create(self, node: Node, deadline: trio.CancelScope) -> Node:
        """Send the one create of this node; it comes back in doubt if no answer came.

        Raises:
            MovedOnError: also when it is wanted no longer, and was not created.
            CloudError: it was certainly not created.
        """
        while True:
            with self.waits.interruptible(node.id):
                if self._goes_by_quota(node):
                    await self.quota.wait_open()
                await self.breakers.turn(node)
                if self.unwanted(node):
                    raise MovedOnError
                with self.in_line(node.id):
                    await self.provider.create_turn()
                if self._last_create is not None:
                    await trio.sleep_forever()  # what ends the work ends this too
                if self.unwanted(node):
                    raise MovedOnError
                if self.breakers.must_wait(node):
                    continue
                if self._goes_by_quota(node) and self.quota.closed_s:
                    continue  # refused meanwhile; a turn that is not used lapses
            with self._counted():
                try:
                    return await self._send_create(node, deadline)
                except RetryLaterError:
                    # Not carried out: the rate limit now asks for patience, which the next
                    # turn has, and which is no part of launch-timeout.
                    node = await self._records.not_made(node.id, ResourceKind.SERVER)
                    deadline.deadline = math.inf

    async def _send_create(self, node: Node, deadline: trio.CancelScope) -> Node:
        # Intent first (P3): from here on the server may exist, whatever happens to us.
        node = await self._records.intend(node.id, ResourceKind.SERVER)
        deadline.deadline = trio.current_time() + self._left_s(node)
        try:
            # It may lead elsewhere since the intent was made, which took a commit.
            if (home := await self.provider.home()) != node.home:
                raise MisconfiguredError(
                    f"{PROJECT_CHANGED}: the credentials lead to project {home.project_id} at "
                    f"{home.endpoint} since the launch began"
                )
            external_id = await self.provider.create(self._intent(node))
        except (AnswerLostError, CloudBrokenError) as error:
            self.health.failed(error)
            self.breakers.failed(node, Cause.CREATE, str(error))
            log.warning("create_in_doubt", node=node.id, error=str(error))
            return node
        except RetryLaterError:
            raise
        except CloudError:
            # Cancelled here, the record stays in doubt, which the next start settles.
            await self._records.not_made(node.id, ResourceKind.SERVER)  # noqa: ASYNC120
            raise
        self.breakers.passed(node, Stage.CREATED)
        return await self._records.made(node.id, ResourceKind.SERVER, external_id)

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        self._creating += 1
        try:
            yield
        finally:
            self._creating -= 1
            if self._last_create is not None and not self._creating:
                self._last_create.set()

    async def no_more_creates(self) -> None:
        """Send no create from now on, and return when the last one has been answered."""
        if self._last_create is None:
            self._last_create = trio.Event()
        if self._creating:
            await self._last_create.wait()

    async def _settle(self, node: Node, server: Resource) -> Node:
        """Find the server of a create without an answer; it may appear minutes late.

        Raises:
            AnswerLostError: it has not appeared within ``create-settle``.
        """
        with trio.move_on_after(max(LOOK_AT_LEAST_S, self._doubt_left_s(server))):
            while True:  # noqa: ASYNC913 - found none, it waits for the watcher
                try:
                    found = await self.provider.find(self._tag(node), node.hostname)
                except CloudError as error:
                    self.health.failed(error)
                    found = None
                if found is None:
                    with trio.move_on_after(FIND_EVERY_S), self.waits.interruptible(node.id):
                        found = await self.watcher.wait(node.id, None, self._its_own(node))
                if found is not None:
                    node = await self._records.made(node.id, ResourceKind.SERVER, found.external_id)
                    self.attached(found)
                    return node
        raise AnswerLostError("the create was not answered and no server of it appeared")

    async def _ensure_active(self, node: Node) -> Node:
        """The server is active and has an address, private or public."""
        if node.active_at is not None:
            return node
        external_id = node.external_id
        assert external_id is not None
        with self.waits.interruptible(node.id):
            row = await self.watcher.wait(node.id, external_id, _settled)
        if row.state is InstanceState.ERROR and row.fault is None:
            row = await with_fault(row, self.provider, self.health)
        self.attached(row)
        match row.state:
            case InstanceState.ACTIVE:
                pass
            case InstanceState.ERROR:
                raise row.fault or _BootError("the cloud put the server in ERROR, without a fault")
            case _:
                raise _BootError(f"the server came up as {row.state.value}")
        self.breakers.passed(node, Stage.ACTIVE)
        return await self._active(node, row)

    async def _active(self, node: Node, row: Instance) -> Node:
        now = self.world.wall()
        return await self._records.note(
            node.id,
            lambda n: attrs.evolve(
                n,
                active_at=now,
                boot_by=now + self.config.boot_timeout,
                az=n.az or row.az,
                addresses=row.addresses,
                wants_public=row.needs_public,
            ),
        )

    async def _ensure_public(self, node: Node) -> Node:
        """It has the public address its configuration wants; most clouds give it at once."""
        if not node.wants_public:
            return node
        external_id = node.external_id
        assert external_id is not None
        tried = node.resource(ResourceKind.FLOATING_IP) is not None
        if not tried:
            node = await self._records.intend(node.id, ResourceKind.FLOATING_IP)

        async def attach() -> PublicAddress:
            nonlocal tried
            try:
                return await self.provider.attach_public(self._tag(node), external_id)
            except (AnswerLostError, CloudBrokenError):
                tried = True
                raise

        try:
            given = await self._patiently(node.id, attach)
        except CloudError:
            # Refused, so nothing was made: what is not in doubt need not be waited for. Of an
            # earlier try, whose answer was lost, this says nothing.
            if not tried:
                await self._records.not_made(node.id, ResourceKind.FLOATING_IP)  # noqa: ASYNC120
            raise
        return await self._records.made(
            node.id, ResourceKind.FLOATING_IP, given.external_id, given.address
        )

    async def _patiently(self, node_id: NodeId, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat a call that may be repeated until the cloud answers it, or time is up."""
        pause_s = 1.0
        while True:
            try:
                return await call()
            except (AnswerLostError, CloudBrokenError, UnreachableError, RetryLaterError) as error:
                self.health.failed(error)
            with self.waits.interruptible(node_id):
                await trio.sleep(pause_s)
            pause_s = min(30.0, pause_s * 2)

    async def _ensure_reachable(self, node: Node) -> Node:
        """It answers by SSH and its host keys are on record."""
        if node.checked_at is not None or not node.login.host_key_checking:
            return node
        if node.login.connection_type != "ssh":
            return node
        assert node.addresses is not None
        assert node.boot_by is not None
        # After a long absence of ours it gets one look before it is judged.
        left_s = max(LOOK_AT_LEAST_S, node.boot_by - self.world.wall())
        try:
            with self.waits.interruptible(node.id):
                keys = await self._readiness.host_keys(node, left_s)
        except NotReachableError as error:
            raise NotReachableError(
                f"{node.addresses.interface_ip}:{node.login.connection_port} does not answer by "
                f"SSH within boot-timeout, {self.config.boot_timeout:g} s: {error}"
            ) from error
        for key in keys:
            twin = self.twin_of(key, node.id)
            if twin is not None:
                raise _BootError(
                    f"shows the same host key as node {twin}: a zombie on a recycled address, "
                    "or a key baked into the image"
                )
        now = self.world.wall()
        # Recorded together with the step to ready, which follows at once.
        return attrs.evolve(node, host_keys=keys, checked_at=now)

    async def _ready(self, node: Node) -> None:
        now = self.world.wall()
        await self._records.note(
            node.id,
            lambda n: n.became(
                NodeState.READY,
                now,
                ready_at=now,
                checked_at=node.checked_at,
                host_keys=node.host_keys,
            ),
        )
        log.info(
            "node_ready", node=node.id, label=node.label, took_s=round(now - node.created_at, 1)
        )
        self.breakers.passed(node, Stage.READY)
        self.quota.accepted()

    # ------------------------------------------------------------------------ the deletion

    async def delete(self, node_id: NodeId) -> None:
        """Take a node that is used, failed or unwanted from the cloud, until it is proved gone.

        Returns also when a person holds it before the deletion has begun.
        """
        node = head(self.store, Node, node_id)
        console = node.console
        if wants_console(node, self.config):
            console = await read_console(node, self.provider)
        try:
            node = await amend(self.store, Node, node_id, lambda n: self._to_deleting(n, console))
        except MovedOnError:
            return
        while (resource := next_to_delete(node)) is not None:
            node = await self._delete_resource(node, resource)
        if node.state is not NodeState.GONE:  # it never had anything
            await self._records.note_gone(node_id, lambda n: n)
        log.info("node_gone", node=node.id, label=node.label, why=node.fault or "used")

    def _to_deleting(self, node: Node, console: str | None) -> Node:
        if node.state is NodeState.DELETING:
            return node
        if node.state not in DYING:
            raise MovedOnError
        return node.became(NodeState.DELETING, self.world.wall(), console=console)

    async def _delete_resource(self, node: Node, resource: Resource) -> Node:
        """Delete one thing, asking for ever with growing pauses: its owner is the cloud (P4)."""
        pause_s = 1.0
        last = "the cloud says that it deletes it, and still shows it"
        while True:
            await self._records.tell_if_stuck(node.id, resource, last)
            try:
                name, cloud = self.config.name, self.config.cloud
                home = await self.provider.home()
                if reason := foreign([node], home, provider=name, cloud=cloud):
                    self.health.closed_for(reason, kind=PROJECT_CHANGED)
                    await trio.sleep(pause_s)
                elif resource.in_doubt and resource.kind is ResourceKind.SERVER:
                    found = await self._find_doubted(node, resource)
                    if found is None:
                        return await self._records.forget(node.id, resource)
                    return await self._records.forget(node.id, resource, found)
                elif await self._delete_step(node, resource) is Gone.DONE:
                    if not resource.in_doubt or self._had_its_time(resource):
                        return await self._records.forget(node.id, resource)
                    await trio.sleep(FIND_EVERY_S)  # what is not there may still come
                elif await self._seen_gone(node, resource, pause_s * DELETE_AGAIN_S):
                    return await self._records.forget(node.id, resource)
            except CloudError as error:
                self.health.failed(error)
                last = str(error)
                log.info("delete_again", node=node.id, kind=resource.kind.value, error=last)
                await trio.sleep(pause_s)
            pause_s = min(60.0, pause_s * 2)

    async def _delete_step(self, node: Node, resource: Resource) -> Gone:
        """Tell the cloud to delete one thing.

        A server whose volume no list has shown yet is looked at first: once it is gone, nobody
        could tell whose the volume was.
        """
        server_id = resource.external_id
        is_server = resource.kind is ResourceKind.SERVER and server_id is not None
        if is_server and _volume_unseen(head(self.store, Node, node.id)):
            self.attached(await self.provider.get(server_id or ""))
        return await self.provider.delete_step(resource, self._tag(node))

    async def _find_doubted(self, node: Node, resource: Resource) -> str | None:
        """The id of a server that may have been made; None once it had its time to appear.

        Raises:
            CloudError: it could not be looked for, or no longer where it may have been made.
        """
        while True:
            found = await self.provider.find(self._tag(node), node.hostname)
            if found is not None:
                return found.external_id
            # The credentials may have been changed since this began, minutes ago.
            home = await self.provider.home()
            if why := foreign([node], home, provider=self.config.name, cloud=self.config.cloud):
                raise MisconfiguredError(why)
            if self._had_its_time(resource):
                return None
            await trio.sleep(FIND_EVERY_S)

    def _had_its_time(self, resource: Resource) -> bool:
        return self._doubt_left_s(resource) < 0.0

    def _doubt_left_s(self, resource: Resource) -> float:
        """Seconds in which what may have been made can still appear.

        What an earlier process has sent gets all of them again: the clock may have been set
        since, and a server given up too early is one that appears and that nobody awaits.
        """
        sent_at = max(resource.sent_at, self.world.wall.began_at)
        return sent_at + self.config.create_settle - self.world.wall()

    async def _seen_gone(self, node: Node, resource: Resource, at_most_s: float) -> bool:
        """Wait for the list to show that a server is gone; other things are asked for again."""
        if resource.kind is not ResourceKind.SERVER:
            await trio.sleep(min(at_most_s, 10.0))
            return False
        with trio.move_on_after(at_most_s):
            await self.watcher.wait(node.id, resource.external_id, is_gone, kind="go")
            return True
        return False

    def _its_own(self, node: Node) -> Callable[[Instance], bool]:
        """Accept a server that is there and bears the very tag of a node."""
        return lambda row: _there(row) and row.tag == self._tag(node)

    def _tag(self, node: Node) -> Tag:
        return Tag(deployment=self.deployment, node_id=node.id, origin=node.origin)

    def _intent(self, node: Node) -> LaunchIntent:
        asks = self.store.get(NodeRequest, node.allocated_to or "")
        return LaunchIntent(
            tag=self._tag(node),
            name=node.hostname,
            pool=node.pool,
            label=node.label,
            shape=node.shape,
            az=node.az,
            metadata={} if asks is None else notes_of(asks),
        )


def _cause(error: CloudError | _BootError) -> Cause:
    wrong = isinstance(error, RejectedError | NotFoundError)
    return Cause.REJECTED if wrong else Cause.BOOT


def _volume_unseen(node: Node) -> bool:
    """Whether it boots from a volume that has not been recorded; once ready, it always has."""
    recorded = any(thing.kind is ResourceKind.VOLUME for thing in node.resources)
    return node.shape.resources.volumes > 0 and node.ready_at is None and not recorded


def _there(row: Instance) -> bool:
    return row.state is not InstanceState.GONE


def _settled(row: Instance) -> bool:
    """It is up and has an address, or it will never be."""
    if row.state is InstanceState.ACTIVE:
        return row.addresses is not None or row.needs_public
    return row.state in (InstanceState.ERROR, InstanceState.STOPPED, InstanceState.GONE)
