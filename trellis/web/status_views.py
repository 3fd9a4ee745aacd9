"""From what the board says to the one answer that live views are fed with."""

import math
from collections import Counter
from typing import Final

from trellis import __version__
from trellis.control.board import Board
from trellis.model.node import NodeState
from trellis.model.overview import Mishap, Overview, SlowNode, Spread, WaitingRequest
from trellis.model.quota import RESOURCE_NAMES, Limit
from trellis.model.request import RequestState
from trellis.model.status import LabelStatus, PoolStatus, ProviderStatus, QuotaStatus, SourceStatus
from trellis.web.image_glances import image_glance
from trellis.web.operator_views import pause_answer
from trellis.web.status_answers import (
    FiguresAnswer,
    LabelGlance,
    MishapAnswer,
    NodesGlance,
    ProviderGlance,
    QuotaUseAnswer,
    RequestsGlance,
    SlowNodeAnswer,
    SourceGlance,
    SpreadAnswer,
    StatusAnswer,
    UseAnswer,
    WaitingAnswer,
)
from trellis.web.views import declined_answer, moment

_WAITING: Final = (RequestState.REQUESTED, RequestState.PENDING)
_AT_REST: Final = (NodeState.READY.value, NodeState.IN_USE.value)


def status_answer(board: Board, most: int) -> StatusAnswer:
    """The state of everything now, with at most *most* of each long list."""
    seen = board.overview(most)
    ready, detail = board.ready()
    leaks = Counter(leak.provider for leak in board.leaks())
    counts = {state: count for state, count in board.request_counts().items() if count}
    total = sum(seen.nodes.values())
    return StatusAnswer(
        deployment=seen.deployment,
        version=__version__,
        now=moment(seen.at),
        started_at=moment(seen.started_at),
        ready=ready,
        ready_detail=detail,
        notices=seen.notices,
        last_event=str(seen.last_event),
        providers=tuple(
            _provider(provider, leaks[provider.name], seen.mishaps.get(provider.name))
            for provider in board.providers()
        ),
        labels=tuple(_label(label) for label in board.labels()),
        demand_sources=tuple(_source(source) for source in board.demand_sources()),
        requests=RequestsGlance(
            waiting=sum(counts.get(state, 0) for state in _WAITING),
            by_state={state.value: count for state, count in counts.items()},
            oldest=tuple(_waiting(waiting) for waiting in seen.waiting),
        ),
        nodes=NodesGlance(
            total=total,
            by_state=dict(seen.nodes),
            moving=total - sum(seen.nodes.get(state, 0) for state in _AT_REST),
            notable=tuple(_slow(slow) for slow in seen.slow),
        ),
        figures=_figures(seen),
        images=tuple(image_glance(image) for image in board.images.all()),
    )


def _provider(provider: ProviderStatus, leaks: int, mishap: Mishap | None) -> ProviderGlance:
    return ProviderGlance(
        name=provider.name,
        type=provider.type,
        cloud=provider.cloud,
        region=provider.region,
        state=provider.health.value,
        reason=provider.reason,
        since=moment(provider.since),
        pause=pause_answer(provider.pause),
        sweep=provider.sweep,
        backoffs=dict(provider.backoffs),
        missing={
            f"{pool.name}/{label}": reason
            for pool in provider.pools
            for label, reason in pool.missing.items()
        },
        nodes=dict(provider.nodes),
        quota=_quota(provider.quota, provider.pools),
        quota_refusals=provider.quota.refusals,
        api_calls=sum(provider.api_calls.values()),
        leaks=leaks,
        last_error=None
        if mishap is None
        else MishapAnswer(at=moment(mishap.at), node_id=mishap.node_id, reason=mishap.reason),
    )


def _quota(quota: QuotaStatus, pools: tuple[PoolStatus, ...]) -> QuotaUseAnswer:
    uses = {}
    for name in RESOURCE_NAMES:
        limit = getattr(quota.limits, name)
        uses[name] = UseAnswer(
            ours=getattr(quota.ours, name),
            others=getattr(quota.others, name),
            # JSON has no infinity.
            limit="unlimited" if limit == math.inf else limit,
            own_limit=_own_limit(pools, name),
        )
    return QuotaUseAnswer(**uses)


def _own_limit(pools: tuple[PoolStatus, ...], name: str) -> int | float | None:
    limits: list[Limit] = [getattr(pool.limits, name) for pool in pools]
    bounds = [limit for limit in limits if limit is not None and limit != math.inf]
    return sum(bounds) if limits and len(bounds) == len(limits) else None


def _label(label: LabelStatus) -> LabelGlance:
    return LabelGlance(
        name=label.name,
        min_ready=label.min_ready,
        offered_by=label.offered_by,
        nodes=dict(label.nodes),
        host_key_checking=label.host_key_checking,
    )


def _source(source: SourceStatus) -> SourceGlance:
    return SourceGlance(
        name=source.name,
        state=source.state.value,
        reason=source.reason,
        requests=dict(source.requests),
    )


def _waiting(waiting: WaitingRequest) -> WaitingAnswer:
    request = waiting.request
    return WaitingAnswer(
        id=request.id,
        state=request.state.value,
        labels=request.ask.labels,
        requestor=request.ask.requestor,
        tenant=request.ask.tenant,
        priority=request.ask.priority,
        created_at=moment(request.created_at),
        placed_at=request.placement.provider if request.placement else None,
        words=waiting.words,
        waits_for=waiting.waits_for,
        declined=tuple(declined_answer(declined) for declined in waiting.declined),
        ahead=waiting.ahead,
        estimate_s=waiting.estimate_s,
    )


def _slow(slow: SlowNode) -> SlowNodeAnswer:
    node = slow.node
    return SlowNodeAnswer(
        id=node.id,
        label=node.label,
        state=node.state.value,
        state_at=moment(node.state_at),
        provider=node.provider,
        words=slow.words,
        allocated_to=node.allocated_to,
        lost=node.lost,
    )


def _figures(seen: Overview) -> FiguresAnswer:
    launches = sum(seen.launches.values())
    return FiguresAnswer(
        api_calls=seen.api_calls,
        launches=dict(seen.launches),
        api_calls_per_node=round(seen.api_calls / launches, 3) if launches else None,
        wait_s=_spread(seen.wait_s),
        boot_s=_spread(seen.boot_s),
    )


def _spread(spread: Spread) -> SpreadAnswer:
    return SpreadAnswer(count=spread.count, p50=_rounded(spread.p50), p95=_rounded(spread.p95))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
