"""The operator's side: everything that is shown, and the few things a person may do.

Implements `trellis.control.board.Board` on the records and the running providers.
"""

import difflib
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import TypeVar

import attrs

from trellis.control.amend import amend
from trellis.control.ask_index import AskIndex
from trellis.control.board import Measure, Page, Reset
from trellis.control.breakers import Everywhere
from trellis.control.demand_sources import DemandSources
from trellis.control.estimates import Estimates
from trellis.control.finding import find_requests
from trellis.control.fleet import Fleet
from trellis.control.images.board import ImageBoard
from trellis.control.limits_status import quota_status, tenant_statuses
from trellis.control.measures import Measures
from trellis.control.overdue import Overseer
from trellis.control.overview import counted, slowest, waiting_longest
from trellis.control.policy import InForce, LabelPolicy
from trellis.control.provider import RunningProvider
from trellis.control.provider_view import NOT_CONFIGURED, own_limits
from trellis.control.scheduling import Scheduling
from trellis.errors import RefusedError, UnknownIdError
from trellis.model.asked import job_of, pipeline_of, tenant_of
from trellis.model.breaker import BreakerStatus
from trellis.model.names import NodeId
from trellis.model.node import Node, NodeState
from trellis.model.overview import Overview
from trellis.model.provider import Pause, ProviderRecord, StoreMeta
from trellis.model.quota import Resources
from trellis.model.records import Change, Event
from trellis.model.request import NodeRequest, RequestState
from trellis.model.status import (
    BudgetStatus,
    Health,
    LabelStatus,
    Leak,
    Outlook,
    PlannedStep,
    PoolStatus,
    ProviderStatus,
    QuotaStatus,
    SourceStatus,
    TenantStatus,
)
from trellis.store.store import Store
from trellis.store.watch import RESET
from trellis.world import World

R = TypeVar("R", Node, NodeRequest)
_MARK = re.compile(r"[0-9a-f.-]{1,60}\Z")


class Operator:
    """See `trellis.control.board.Board` for what each method promises.

    Attributes:
        images: the same for images.
        notices: what is wrong with the daemon itself, by what it is about.
    """

    def __init__(
        self,
        *,
        store: Store,
        fleet: Fleet,
        world: World,
        scheduling: Scheduling,
        providers: Mapping[str, RunningProvider],
        in_force: InForce,
        measures: Measures,
        estimates: Estimates,
        everywhere: Everywhere,
        images: ImageBoard,
        notices: dict[str, str],
        overseer: Overseer,
        asks: AskIndex,
        demand: DemandSources,
    ) -> None:
        self._store, self._fleet, self._world = store, fleet, world
        self._scheduling, self._providers, self._in_force = scheduling, providers, in_force
        self._measures, self._estimates = measures, estimates
        self._everywhere, self.images = everywhere, images
        self._started_at = world.wall()
        self.notices, self._overseer = notices, overseer
        self._asks, self._demand = asks, demand

    # -------------------------------------------------------------------- nodes, requests

    async def nodes(
        self,
        *,
        gone: bool = False,
        state: NodeState | None = None,
        label: str | None = None,
        provider: str | None = None,
        limit: int = 200,
        after: str | None = None,
    ) -> Page[Node]:
        """See `Board.nodes`."""

        def wanted(node: Node) -> bool:
            return (
                state in (None, node.state)
                and label in (None, node.label)
                and provider in (None, node.provider)
            )

        if gone:
            return await self._gone(Node, wanted, limit, after)
        return _live(self._fleet.nodes.values(), wanted, limit, after, lambda node: node.id)

    async def node(self, node_id: NodeId) -> Node:
        """See `Board.node`."""
        node = self._fleet.nodes.get(node_id) or await self._store.history(Node, node_id)
        if node is None:
            raise UnknownIdError(
                f"there is no node {node_id}",
                remedy="'trellis node list' shows what there is, with --gone what there was",
            )
        return node

    async def delete_node(self, node_id: NodeId, by: str) -> Node:
        """See `Board.delete_node`."""
        node = await self.node(node_id)
        if self._store.head(Node, node_id) is None or node.state is NodeState.GONE:
            return node
        why = f"deleted by {by}"

        def change(node: Node) -> Node:
            if node.state is NodeState.DELETING:
                return node
            return node.became(NodeState.DELETING, self._world.wall(), fault=why)

        return await amend(self._store, Node, node_id, change, why=why)

    async def requests(
        self,
        *,
        gone: bool = False,
        state: RequestState | None = None,
        requestor: str | None = None,
        tenant: str | None = None,
        pipeline: str | None = None,
        job: str | None = None,
        limit: int = 200,
        after: str | None = None,
    ) -> Page[NodeRequest]:
        """See `Board.requests`."""

        def wanted(request: NodeRequest) -> bool:
            ask = request.ask
            return (
                state in (None, request.state)
                and requestor in (None, ask.requestor)
                and (tenant is None or tenant == tenant_of(ask))
                and (pipeline is None or pipeline == pipeline_of(ask))
                and (job is None or job == job_of(ask))
            )

        if gone:
            return await self._gone(NodeRequest, wanted, limit, after)
        return _live(self._fleet.requests.values(), wanted, limit, after, _age)

    async def _gone(
        self, cls: type[R], wanted: Callable[[R], bool], limit: int, after: str | None
    ) -> Page[R]:
        if after is not None and not after.isdigit():
            raise _strange(after)
        found: list[R] = []
        before = int(after) if after is not None else None
        while len(found) < limit:
            page = await self._store.history_page(cls, limit=limit, before=before)
            for archived in page:
                before = archived.position
                if wanted(archived.record):
                    found.append(archived.record)
                    if len(found) == limit:
                        break
            if len(page) < limit:
                return Page(items=tuple(found), next=str(before) if len(found) == limit else None)
        return Page(items=tuple(found), next=str(before))

    async def find_requests(self, word: str, most: int) -> tuple[NodeRequest, ...]:
        """See `Board.find_requests`."""
        return await find_requests(
            word, most, fleet=self._fleet, store=self._store, asks=self._asks
        )

    def overdue(self) -> Mapping[str, int]:
        """See `Board.overdue`."""
        return self._overseer.counts()

    def request_counts(self) -> Mapping[RequestState, int]:
        """See `Board.request_counts`."""
        return Counter(request.state for request in self._fleet.requests.values())

    def outlook(self, request: NodeRequest) -> Outlook:
        """See `Board.outlook`."""
        now = self._world.wall()
        return self._estimates.outlook(request, self._fleet, self._scheduling.waits, now)

    # --------------------------------------------------------------------------- labels

    def labels(self) -> tuple[LabelStatus, ...]:
        """See `Board.labels`."""
        return tuple(self._label(policy) for policy in self._in_force.policy.labels.values())

    def _label(self, policy: LabelPolicy) -> LabelStatus:
        offered, missing = [], {}
        # As configured: a pool that cannot make it now may do so in a moment.
        pools = self._in_force.policy.pools
        checked = policy.host_key_checking and not any(policy.name in x.unchecked for x in pools)
        for running in self._providers.values():
            for pool in running.config.pools:
                if all(label.name != policy.name for label in pool.labels):
                    continue
                where = f"{running.config.name}/{pool.name}"
                offer = running.offer(pool.name, policy.name)
                if offer is not None:
                    offered.append(where)
                    checked = checked and offer.login.host_key_checking
                else:
                    missing[where] = running.missing(pool.name, policy.name)
        return LabelStatus(
            name=policy.name,
            min_ready=policy.min_ready,
            offered_by=tuple(offered),
            missing=missing,
            nodes=_counts(self._fleet.label_states.get(policy.name, {})),
            host_key_checking=checked,
            max_servers=policy.max_servers,
        )

    # ------------------------------------------------------------------------ providers

    def providers(self) -> tuple[ProviderStatus, ...]:
        """See `Board.providers`."""
        return tuple(self._status(running) for running in self._providers.values())

    def provider(self, name: str) -> ProviderStatus:
        """See `Board.provider`."""
        return self._status(self._running(name))

    def _running(self, name: str) -> RunningProvider:
        running = self._providers.get(name)
        if running is None:
            near = difflib.get_close_matches(name, self._providers, 3)
            there = ", ".join(near or self._providers) or "none"
            raise UnknownIdError(f"there is no provider {name!r}", remedy=f"there are: {there}")
        return running

    def _status(self, running: RunningProvider) -> ProviderStatus:
        config = running.config
        return ProviderStatus(
            name=config.name,
            type=config.type,
            cloud=config.cloud,
            region=config.region_name or "",
            health=running.health.state,
            reason=running.health.reason or (NOT_CONFIGURED if running.dropped else ""),
            since=running.health.since,
            pause=running.pause(),
            pools=tuple(
                PoolStatus(
                    name=pool.name,
                    labels=tuple(label.name for label in pool.labels),
                    limits=own_limits(pool),
                    used=self._fleet.pool_used.get((config.name, pool.name), Resources()),
                    missing={
                        label.name: running.missing(pool.name, label.name)
                        for label in pool.labels
                        if running.offer(pool.name, label.name) is None
                    },
                )
                for pool in config.pools
            ),
            nodes=_counts(self._fleet.provider_states.get(config.name, {})),
            quota=self._quota(running),
            backoffs={
                status.subject: status.words.removeprefix(f"{status.subject}: ")
                for status in running.breakers.statuses(everywhere=True)
            },
            sweep=_sweep(running),
            api_calls=running.api_calls(),
            quirks=running.quirks(),
            priority=config.priority,
            weight=config.weight,
            lately=self._scheduling.tracks.words(config.name, self._world.wall()),
        )

    def api_calls(self) -> Mapping[str, Mapping[str, int]]:
        """See `Board.api_calls`."""
        by_account = {
            running.account: (running.config.cloud, running.api_calls())
            for running in self._providers.values()
            if running.account is not None
        }
        by_cloud: dict[str, Counter[str]] = {}
        for cloud, calls in by_account.values():
            by_cloud.setdefault(cloud, Counter()).update(calls)
        return by_cloud

    def quota(self) -> tuple[QuotaStatus, ...]:
        """See `Board.quota`."""
        first_of: dict[str, RunningProvider] = {}
        for running in self._providers.values():
            first_of.setdefault(running.quota.name, running)
        return tuple(self._quota(running) for running in first_of.values())

    def _quota(self, running: RunningProvider) -> QuotaStatus:
        quota, mine = running.quota, running.config.name
        sharing = [name for name, one in self._providers.items() if one.quota is quota]
        return quota_status(quota, [mine, *sharing], self._fleet)

    def tenants(self) -> tuple[TenantStatus, ...]:
        """See `Board.tenants`."""
        return tenant_statuses(self._in_force.policy.tenants, self._fleet)

    def budget(self) -> BudgetStatus:
        """See `Board.budget`."""
        limit = self._in_force.policy.launches_per_minute
        return BudgetStatus(limit=limit, used=self._scheduling.budget.used())

    async def pause(self, name: str, by: str, reason: str, for_s: float | None) -> ProviderStatus:
        """See `Board.pause`."""
        return await self._pause(name, by, reason, for_s, drain=False)

    async def drain(self, name: str, by: str, reason: str) -> ProviderStatus:
        """See `Board.drain`."""
        status = await self._pause(name, by, reason, None, drain=True)
        for node in list(self._fleet.by_provider.get(name, {}).values()):
            # Launches for nobody yet would only boot to be deleted.
            if node.idle or (node.state is NodeState.BUILDING and node.allocated_to is None):
                await self.delete_node(node.id, f"{by}, who drains {name}: {reason}")
        return status

    async def _pause(
        self, name: str, by: str, reason: str, for_s: float | None, *, drain: bool
    ) -> ProviderStatus:
        now = self._world.wall()
        until = now + for_s if for_s is not None else None
        pause = Pause(by=by, reason=reason, since=now, until=until, drain=drain)
        await self._set_pause(name, pause, f"by {by}: {reason}")
        return self.provider(name)

    async def resume(self, name: str) -> ProviderStatus:
        """See `Board.resume`."""
        await self._set_pause(name, None, "resumed")
        return self.provider(name)

    async def accept_move(
        self, name: str, endpoint: str, project_id: str | None, by: str
    ) -> ProviderStatus:
        """See `Board.accept_move`."""
        await self._running(name).accept_move(endpoint, project_id, by)
        return self.provider(name)

    async def _set_pause(self, name: str, pause: Pause | None, why: str) -> None:
        self._running(name)
        await self._decide(name, lambda record: attrs.evolve(record, pause=pause), why)
        self._scheduling.nudge()

    async def _decide(
        self, name: str, change: Callable[[ProviderRecord], ProviderRecord], why: str
    ) -> None:
        """Record a person's word about a provider, durably."""
        before = self._store.head(ProviderRecord, name)
        after = change(before or ProviderRecord(name=name))
        if after != before:
            await self._store.commit([Change(before, after, why=why)])

    # ------------------------------------------------------------------------- breakers

    def breakers(self) -> tuple[BreakerStatus, ...]:
        """See `Board.breakers`."""
        return (
            *self._everywhere.book.statuses(),
            *(one for running in self._providers.values() for one in running.breakers.statuses()),
        )

    async def reset_breaker(self, breaker_id: str, by: str, reason: str) -> None:
        """See `Board.reset_breaker`."""
        why = f"reset by {by}: {reason}" if reason else f"reset by {by}"
        found = self._everywhere.reset(breaker_id, why) or any(
            running.reset_breaker(breaker_id, why) for running in self._providers.values()
        )
        if not found:
            raise UnknownIdError(
                f"no breaker {breaker_id!r} is open",
                remedy="'trellis breaker list' shows those that are; it may have closed meanwhile",
            )
        await self._store.settled()

    # ---------------------------------------------------------------------------- leaks

    def leaks(self) -> tuple[Leak, ...]:
        """See `Board.leaks`."""
        return tuple(leak for running in self._providers.values() for leak in running.leaks())

    async def delete_leak(self, leak_id: str) -> Leak:
        """See `Board.delete_leak`."""
        name, leak = self._leak(leak_id)
        await self._decide(
            name,
            lambda r: attrs.evolve(r, condemned=_with(r.condemned, leak.external_id)),
            f"leak {leak.external_id} is to be deleted",
        )
        return self._leak(leak_id)[1]

    async def adopt_leak(self, leak_id: str) -> Leak:
        """See `Board.adopt_leak`."""
        name, leak = self._leak(leak_id)
        await self._decide(
            name,
            lambda r: attrs.evolve(r, adopted=_with(r.adopted, leak.external_id)),
            f"{leak.external_id} is ours, though its node id was never issued",
        )
        return self._leak(leak_id)[1]

    def _leak(self, leak_id: str) -> tuple[str, Leak]:
        for leak in self.leaks():
            if leak.id == leak_id:
                return leak.provider, leak
        raise UnknownIdError(
            f"there is no leak {leak_id}", remedy="'trellis leak list' shows what there is"
        )

    # ------------------------------------------------------------------ plan, events, state

    # -------------------------------------------------------------------- demand sources

    def demand_sources(self) -> tuple[SourceStatus, ...]:
        """See `Board.demand_sources`."""
        return self._demand.statuses()

    async def end_demand(self, name: str, by: str) -> int:
        """See `Board.end_demand`."""
        return await self._demand.end(name, by)

    def plan(self) -> tuple[PlannedStep, ...]:
        """See `Board.plan`."""
        return self._scheduling.would_do()

    def overview(self, most: int) -> Overview:
        """See `Board.overview`."""
        meta = self._store.head(StoreMeta, "store")
        assert meta is not None  # opening the store wrote it
        recent = self._measures.recent
        self._demand.renew_notices()
        return Overview(
            deployment=meta.deployment,
            at=self._world.wall(),
            started_at=self._started_at,
            last_event=self._store.last_event,
            waiting=waiting_longest(self._fleet, self._scheduling.waits, self.outlook, most),
            nodes=counted(self._fleet),
            slow=slowest(self._fleet, most),
            api_calls=sum(sum(calls.values()) for calls in self.api_calls().values()),
            launches=dict(recent.launches),
            mishaps=dict(recent.mishaps),
            wait_s=recent.wait_s(),
            boot_s=recent.boot_s(),
            notices=tuple(self.notices.values()),
        )

    def last_event(self) -> int:
        """See `Board.last_event`."""
        return self._store.last_event

    async def events(self, after: int) -> AsyncIterator[Event | Reset]:
        """See `Board.events`."""
        async for event in self._store.watch(after):
            if event.type == RESET:
                yield Reset(id=event.id, why=event.why)
            else:
                yield event

    def ready(self) -> tuple[bool, str]:
        """See `Board.ready`."""
        if not self._providers:
            return False, "no provider is configured"
        if any(r.health.state is Health.AVAILABLE for r in self._providers.values()):
            # A source that cannot listen is no reason to send the others' requests away.
            return True, "; ".join(self._demand.troubles())
        reasons = [f"{n}: {r.health.reason}" for n, r in self._providers.items()]
        return False, "; ".join(
            [f"no provider is available: {'; '.join(reasons)}", *self._demand.troubles()]
        )

    def measures(self) -> tuple[Measure, ...]:
        """See `Board.measures`."""
        return self._measures.read()


def _with(known: tuple[str, ...], one: str) -> tuple[str, ...]:
    return known if one in known else (*known, one)


def _sweep(running: RunningProvider) -> str:
    if alarm := running.sweep_alarm:
        return f"stopped: {alarm}"
    return running.config.sweep


def _live(
    records: Iterable[R],
    wanted: Callable[[R], bool],
    limit: int,
    after: str | None,
    mark: Callable[[R], str],
) -> Page[R]:
    """A stretch of the live records in the order of their marks, which are texts of one length."""
    if after is not None and not _MARK.match(after):
        raise _strange(after)
    found = sorted((mark(r), r.id, r) for r in records if wanted(r) and mark(r) > (after or ""))
    more = found[limit - 1][0] if len(found) > limit else None
    return Page(items=tuple(record for _, _, record in found[:limit]), next=more)


def _age(request: NodeRequest) -> str:
    return f"{request.created_at:017.6f}-{request.id}"


def _strange(after: str) -> RefusedError:
    return RefusedError(f"'after' is no mark of this list: {after!r}", remedy="leave it out")


def _counts(states: Mapping[str, int]) -> dict[str, int]:
    return {state: count for state, count in states.items() if count}
