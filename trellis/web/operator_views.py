"""From what the board says to what the face shows operators."""

import math

import attrs

from trellis.model.breaker import BreakerStatus
from trellis.model.provider import Pause
from trellis.model.quota import RESOURCE_NAMES, Limits, Resources
from trellis.model.records import Event
from trellis.model.status import (
    Explanation,
    LabelStatus,
    Leak,
    PlannedStep,
    PoolStatus,
    ProviderStatus,
    QuotaStatus,
    SourceStatus,
    TenantStatus,
)
from trellis.web.operator_answers import (
    Amounts,
    BreakerAnswer,
    EventAnswer,
    ExplanationAnswer,
    LabelAnswer,
    LeakAnswer,
    LimitsAnswer,
    PauseAnswer,
    PoolAnswer,
    ProviderAnswer,
    QuirkAnswer,
    QuotaAnswer,
    SourceAnswer,
    StepAnswer,
    TenantAnswer,
)
from trellis.web.views import declined_answer, maybe_moment, moment, seconds


def event_answer(event: Event) -> EventAnswer:
    """An event; its id is text, since clients are not to count with it."""
    return EventAnswer(
        id=str(event.id),
        at=moment(event.at),
        type=event.type,
        subject=event.subject,
        about=event.about,
        why=event.why,
        data=dict(event.data),
    )


def explanation_answer(explanation: Explanation) -> ExplanationAnswer:
    """The answer to *why*."""
    return ExplanationAnswer(
        subject=explanation.subject,
        state=explanation.state,
        since=moment(explanation.since),
        words=explanation.words,
        waits_for=explanation.waits_for,
        estimate_s=seconds(explanation.estimate_s),
        estimate_basis=explanation.estimate_basis,
        declined=tuple(declined_answer(declined) for declined in explanation.declined),
        history=tuple(event_answer(event) for event in explanation.history),
        console=explanation.console,
    )


def source_answer(source: SourceStatus) -> SourceAnswer:
    """A demand source and how it fares."""
    return SourceAnswer(
        name=source.name,
        type=source.type,
        state=source.state.value,
        since=maybe_moment(source.since),
        reason=source.reason,
        requests=dict(source.requests),
        crashes=source.crashes,
    )


def label_answer(label: LabelStatus) -> LabelAnswer:
    """A label and who offers it."""
    return LabelAnswer(
        name=label.name,
        min_ready=label.min_ready,
        offered_by=label.offered_by,
        missing=dict(label.missing),
        nodes=dict(label.nodes),
        host_key_checking=label.host_key_checking,
        max_servers=label.max_servers,
    )


def provider_answer(provider: ProviderStatus) -> ProviderAnswer:
    """A provider and its pools."""
    return ProviderAnswer(
        name=provider.name,
        type=provider.type,
        cloud=provider.cloud,
        region=provider.region,
        health=provider.health.value,
        reason=provider.reason,
        since=moment(provider.since),
        pause=pause_answer(provider.pause),
        pools=tuple(_pool_answer(pool) for pool in provider.pools),
        nodes=dict(provider.nodes),
        quota=quota_answer(provider.quota),
        backoffs=dict(provider.backoffs),
        sweep=provider.sweep,
        api_calls=dict(provider.api_calls),
        quirks=tuple(QuirkAnswer(**attrs.asdict(quirk)) for quirk in provider.quirks),
        priority=provider.priority,
        weight=provider.weight,
        lately=dict(provider.lately),
    )


def pause_answer(pause: Pause | None) -> PauseAnswer | None:
    """Who stopped launches; None if nobody did."""
    if pause is None:
        return None
    return PauseAnswer(
        by=pause.by,
        reason=pause.reason,
        since=moment(pause.since),
        until=maybe_moment(pause.until),
        drain=pause.drain,
    )


def quota_answer(quota: QuotaStatus) -> QuotaAnswer:
    """A project's quota."""
    return QuotaAnswer(
        provider=quota.provider,
        providers=quota.providers or (quota.provider,),
        project_id=quota.project_id,
        region=quota.region,
        reserved=_amounts(quota.reserved),
        ceilings=dict(quota.ceilings),
        limits=_limits_answer(quota.limits),
        ours=_amounts(quota.ours),
        others=_amounts(quota.others),
        read_at=maybe_moment(quota.read_at),
        refusals=quota.refusals,
    )


def tenant_answer(tenant: TenantStatus) -> TenantAnswer:
    """A tenant and what it holds."""
    return TenantAnswer(
        name=tenant.name,
        limits=_limits_answer(tenant.limits),
        held=_amounts(tenant.held),
        waiting=tenant.waiting,
        share=tenant.share,
    )


def breaker_answer(breaker: BreakerStatus) -> BreakerAnswer:
    """A breaker that is not closed."""
    return BreakerAnswer(
        id=breaker.id,
        provider=breaker.provider,
        scope=breaker.scope.value,
        subject=breaker.subject,
        state=breaker.state.value,
        since=moment(breaker.since),
        failures=breaker.failures,
        reason=breaker.reason,
        next_probe_s=seconds(breaker.next_probe_s),
        probe=breaker.probe,
        words=breaker.words,
    )


def leak_answer(leak: Leak) -> LeakAnswer:
    """A leak and what is done about it."""
    return LeakAnswer(
        id=leak.id,
        provider=leak.provider,
        kind=leak.kind,
        external_id=leak.external_id,
        node_id=leak.node_id,
        first_seen=moment(leak.first_seen),
        sightings=leak.sightings,
        note=leak.note,
    )


def step_answer(step: PlannedStep) -> StepAnswer:
    """One step of the plan."""
    return StepAnswer(action=step.action, subject=step.subject, reason=step.reason)


def _pool_answer(pool: PoolStatus) -> PoolAnswer:
    return PoolAnswer(
        name=pool.name,
        labels=pool.labels,
        limits=_limits_answer(pool.limits),
        used=_amounts(pool.used),
        missing=dict(pool.missing),
    )


def _limits_answer(limits: Limits) -> LimitsAnswer:
    shown: dict[str, int | float | str | None] = {}
    for name in RESOURCE_NAMES:
        limit = getattr(limits, name)
        # JSON has no infinity.
        shown[name] = "unlimited" if limit == math.inf else limit
    return LimitsAnswer(**shown)


def _amounts(resources: Resources) -> Amounts:
    return Amounts(**attrs.asdict(resources))
