"""What the face answers operators with: explanations, providers, quota, leaks, plan, events."""

from typing import Annotated

from msgspec import Meta, Struct

from trellis.web.answers import DeclinedAnswer, EstimateBasis, EstimateS, Next, Time

Figure = Annotated[
    int | float | str | None,
    Meta(description='A number, "unlimited", or null where the cloud does not tell.'),
]


class EventAnswer(Struct, frozen=True, kw_only=True):
    """A fact: one step in the life of a node, request, lease or provider."""

    id: Annotated[str, Meta(description="In commit order; opaque. For Last-Event-ID.")]
    at: Annotated[Time, Meta(description="When it was recorded. UTC.")]
    type: Annotated[str, Meta(description="Kind and step: `node.ready`, `request.cancelled`, …")]
    subject: Annotated[str, Meta(description="Id or name of what it happened to.")]
    about: Annotated[tuple[str, ...], Meta(description="Ids of others that it concerns.")]
    why: Annotated[str, Meta(description="The reason in words.")]
    data: Annotated[dict[str, str], Meta(description="Further facts by name.")]


class ResetAnswer(Struct, frozen=True, kw_only=True):
    """A gap in the event stream."""

    why: Annotated[str, Meta(description="What made the gap.")]
    remedy: Annotated[str, Meta(description="What to do about it.")]


class ExplanationAnswer(Struct, frozen=True, kw_only=True):
    """Why a request or node is as it is."""

    subject: Annotated[str, Meta(description="Id of the request or node.")]
    state: Annotated[str, Meta(description="Its state.")]
    since: Annotated[Time, Meta(description="Since when it is in that state. UTC.")]
    words: Annotated[str, Meta(description="One or two sentences for a person.")]
    waits_for: Annotated[str, Meta(description='What would move it on; "" if nothing.')]
    estimate_s: EstimateS
    estimate_basis: EstimateBasis
    declined: Annotated[
        tuple[DeclinedAnswer, ...], Meta(description="Providers that could not serve it.")
    ]
    history: Annotated[tuple[EventAnswer, ...], Meta(description="Its events, oldest first.")]
    console: Annotated[
        str,
        Meta(description="End of the console of a node whose launch failed, if its label asks."),
    ] = ""


class SourceAnswer(Struct, frozen=True, kw_only=True):
    """One demand source, and what it has asked for."""

    name: Annotated[str, Meta(description="As configured; requests carry it.")]
    type: Annotated[str, Meta(description='Its kind; "" of one that is configured no longer.')]
    state: Annotated[
        str, Meta(description="starting, running, troubled, crashed, or dropped: not configured.")
    ]
    since: Annotated[
        Time | None, Meta(description="Since when it is in that state; null where dropped. UTC.")
    ]
    reason: Annotated[str, Meta(description='What stands in its way; "" if nothing does.')]
    requests: Annotated[dict[str, int], Meta(description="Its live requests by state.")]
    crashes: Annotated[int, Meta(description="How often it crashed since it was started.")]


class SourcePage(Struct, frozen=True):
    """All demand sources beside this interface."""

    items: Annotated[tuple[SourceAnswer, ...], Meta(description="As in the configuration.")]
    next: Next = None


class EndedAnswer(Struct, frozen=True, kw_only=True):
    """What became of a dropped source's requests."""

    requests: Annotated[int, Meta(description="How many were ended.")]


class LabelAnswer(Struct, frozen=True, kw_only=True):
    """One label, who offers it, and its nodes."""

    name: Annotated[str, Meta(description="What requestors ask by.")]
    min_ready: Annotated[int, Meta(description="How many idle nodes are kept ready.")]
    offered_by: Annotated[
        tuple[str, ...], Meta(description="provider/pool of each pool that can make it now.")
    ]
    missing: Annotated[
        dict[str, str], Meta(description="provider/pool of each that cannot, with the reason.")
    ]
    nodes: Annotated[dict[str, int], Meta(description="How many nodes of it by state.")]
    host_key_checking: Annotated[
        bool, Meta(description="Whether its nodes' SSH host keys are read; false is unsafe.")
    ]
    max_servers: Annotated[
        int | None, Meta(description="Most nodes of it at a time; null is no limit.")
    ]


class LabelPage(Struct, frozen=True):
    """All labels."""

    items: Annotated[tuple[LabelAnswer, ...], Meta(description="As in the configuration.")]
    next: Next = None


class Amounts(Struct, frozen=True, kw_only=True):
    """How much is used of each thing that clouds count."""

    instances: Annotated[int, Meta(description="Servers.")]
    cores: Annotated[int, Meta(description="Virtual CPUs.")]
    ram_mib: Annotated[int, Meta(description="Memory in MiB.")]
    floating_ips: Annotated[int, Meta(description="Floating IPs.")]
    ports: Annotated[int, Meta(description="Ports: one for each network of a server.")]
    volumes: Annotated[int, Meta(description="Volumes.")]
    volume_gib: Annotated[int, Meta(description="Space of volumes in GiB.")]


class LimitsAnswer(Struct, frozen=True, kw_only=True):
    """The most that may be used of each thing that clouds count."""

    instances: Figure
    cores: Figure
    ram_mib: Figure
    floating_ips: Figure
    ports: Figure
    volumes: Figure
    volume_gib: Figure


class QuotaAnswer(Struct, frozen=True, kw_only=True):
    """The quota of one project in one region, as Trellis reckons with it."""

    provider: Annotated[str, Meta(description="One of the providers that draw on it.")]
    providers: Annotated[tuple[str, ...], Meta(description="All that draw on it.")]
    project_id: Annotated[str, Meta(description='The project; "" before the first login.')]
    region: Annotated[str, Meta(description="The region.")]
    limits: Annotated[LimitsAnswer, Meta(description="What the cloud says may be used.")]
    ours: Annotated[
        Amounts, Meta(description="Reserved: everything of ours that is not proved gone.")
    ]
    reserved: Annotated[
        Amounts, Meta(description="The part of ours of which no create has been sent yet.")
    ]
    others: Annotated[Amounts, Meta(description="What others use in the same project.")]
    ceilings: Annotated[
        dict[str, int],
        Meta(description="By resource, the use at which the cloud refused though it told more."),
    ]
    read_at: Annotated[Time | None, Meta(description="When the cloud last told. UTC.")]
    refusals: Annotated[
        int, Meta(description="Creates that the cloud refused for quota since the start.")
    ]


class BudgetAnswer(Struct, frozen=True, kw_only=True):
    """The launches of the last minute."""

    limit: Annotated[int, Meta(description="The most, over all providers: launch-budget.")]
    used: Annotated[int, Meta(description="How many there were, also before a restart.")]


class QuotaPage(Struct, frozen=True):
    """The quota of all projects, and the launch budget."""

    items: Annotated[tuple[QuotaAnswer, ...], Meta(description="One a project and region.")]
    launches: Annotated[BudgetAnswer, Meta(description="The launch budget.")]
    next: Next = None


class TenantAnswer(Struct, frozen=True, kw_only=True):
    """One tenant: what it holds, and what it may."""

    name: Annotated[str, Meta(description='Its name; "" stands for requests without one.')]
    limits: Annotated[LimitsAnswer, Meta(description="What it may hold; null is no limit.")]
    held: Annotated[Amounts, Meta(description="What it holds now.")]
    waiting: Annotated[int, Meta(description="Its requests that wait to be placed.")]
    share: Annotated[
        float | None, Meta(description="Its weight among tenants that wait; null if not set.")
    ]


class TenantPage(Struct, frozen=True):
    """All tenants."""

    items: Annotated[
        tuple[TenantAnswer, ...],
        Meta(description="Those of the configuration, then others that hold something or wait."),
    ]
    next: Next = None


class PauseAnswer(Struct, frozen=True, kw_only=True):
    """Who stopped launches, why and until when."""

    by: Annotated[str, Meta(description="Who did.")]
    reason: Annotated[str, Meta(description="Why.")]
    since: Annotated[Time, Meta(description="Since when. UTC.")]
    until: Annotated[Time | None, Meta(description="Until when. UTC; null is until resumed.")]
    drain: Annotated[bool, Meta(description="Whether idle nodes are deleted too.")]


class PoolAnswer(Struct, frozen=True, kw_only=True):
    """One pool of a provider."""

    name: Annotated[str, Meta(description="Its name in the configuration.")]
    labels: Annotated[tuple[str, ...], Meta(description="The labels it is to offer.")]
    limits: Annotated[LimitsAnswer, Meta(description="The pool's own limits.")]
    used: Annotated[Amounts, Meta(description="What its nodes hold.")]
    missing: Annotated[dict[str, str], Meta(description="By label, what the cloud lacks for it.")]


class QuirkAnswer(Struct, frozen=True, kw_only=True):
    """One way in which a provider's cloud is not stock, and how that is known."""

    name: Annotated[str, Meta(description="Its name, as in the reference of quirks.")]
    value: Annotated[str, Meta(description='The value it has here; "" is an overridden method.')]
    does: Annotated[str, Meta(description="What this cloud does.")]
    stock: Annotated[str, Meta(description="What a stock cloud does instead.")]
    evidence: Annotated[str, Meta(description="Who says so.")]
    era: Annotated[str, Meta(description="From when to when.")]
    check: Annotated[str, Meta(description="How to see it again.")]
    sure: Annotated[str, Meta(description="documented, run, inferred or unverified.")]


class ProviderAnswer(Struct, frozen=True, kw_only=True):
    """One provider: whether it can be used and why, its pools, and the counts that matter."""

    name: Annotated[str, Meta(description="Its name in the configuration.")]
    type: Annotated[str, Meta(description="The provider type, which a plugin registered.")]
    cloud: Annotated[str, Meta(description="The cloud, as in clouds.yaml.")]
    region: Annotated[str, Meta(description="The region of that cloud.")]
    health: Annotated[str, Meta(description="starting, available or unavailable.")]
    reason: Annotated[str, Meta(description='Why it is not available; "" if it is.')]
    since: Annotated[Time, Meta(description="Since when. UTC.")]
    pause: Annotated[PauseAnswer | None, Meta(description="Set while launches are stopped.")]
    pools: Annotated[tuple[PoolAnswer, ...], Meta(description="Its pools.")]
    nodes: Annotated[dict[str, int], Meta(description="How many nodes by state.")]
    quota: Annotated[QuotaAnswer, Meta(description="Its quota.")]
    backoffs: Annotated[
        dict[str, str],
        Meta(description="What is left alone after failures, and until when: its breakers."),
    ]
    sweep: Annotated[
        str, Meta(description="What happens to leaks: report, delete, or stopped with the alarm.")
    ]
    api_calls: Annotated[
        dict[str, int], Meta(description="Calls to the cloud since the start, by kind.")
    ]
    quirks: Annotated[
        tuple[QuirkAnswer, ...], Meta(description="In what its cloud is not stock.")
    ] = ()
    priority: Annotated[int, Meta(description="Providers with lower numbers are used first.")] = 100
    weight: Annotated[
        float | None, Meta(description="Its share of the nodes; null goes by its room.")
    ] = None
    lately: Annotated[
        dict[str, str], Meta(description="How its launches have ended lately, by label.")
    ] = {}


class ProviderPage(Struct, frozen=True):
    """All providers."""

    items: Annotated[tuple[ProviderAnswer, ...], Meta(description="As in the configuration.")]
    next: Next = None


class BreakerAnswer(Struct, frozen=True, kw_only=True):
    """Something that is left alone after failures in a row, until a probe works."""

    id: Annotated[str, Meta(description="For resetting it.")]
    provider: Annotated[str, Meta(description='Where; "" is at all providers.')]
    scope: Annotated[
        str, Meta(description="account, region, everywhere, image, label or capacity.")
    ]
    subject: Annotated[str, Meta(description="What it is about, in words.")]
    state: Annotated[
        str, Meta(description="open: nothing is launched; half-open: one launch is, as the probe.")
    ]
    since: Annotated[Time, Meta(description="When it opened first. UTC.")]
    failures: Annotated[int, Meta(description="Failures in a row.")]
    reason: Annotated[str, Meta(description="The last of them.")]
    next_probe_s: Annotated[
        float | None,
        Meta(description="Seconds until a probe may go; null while one is under way."),
    ]
    probe: Annotated[str | None, Meta(description="The node that is the probe.")]
    words: Annotated[str, Meta(description="All of it in one sentence.")]


class BreakerPage(Struct, frozen=True):
    """All breakers that are not closed."""

    items: Annotated[tuple[BreakerAnswer, ...], Meta(description="Those of each provider.")]
    next: Next = None


class LeakAnswer(Struct, frozen=True, kw_only=True):
    """A thing in a cloud that is tagged ours and that no record claims."""

    id: Annotated[str, Meta(description="For deleting or adopting it.")]
    provider: Annotated[str, Meta(description="Where it is.")]
    kind: Annotated[str, Meta(description="server, floating-ip, port, volume or keypair.")]
    external_id: Annotated[str, Meta(description="The cloud's id of it.")]
    node_id: Annotated[str | None, Meta(description="The node its tag names.")]
    first_seen: Annotated[Time, Meta(description="When it was first seen unclaimed. UTC.")]
    sightings: Annotated[int, Meta(description="In how many lists it has been seen.")]
    note: Annotated[str, Meta(description="What is done about it, or waited for.")]


class LeakPage(Struct, frozen=True):
    """All leaks that are known."""

    items: Annotated[tuple[LeakAnswer, ...], Meta(description="Oldest first.")]
    next: Next = None


class StepAnswer(Struct, frozen=True, kw_only=True):
    """One thing the scheduler would do now, or leave."""

    action: Annotated[str, Meta(description="What: launch, assign, delete, wait, …")]
    subject: Annotated[str, Meta(description="To what: a request, a node or a label.")]
    reason: Annotated[str, Meta(description="Why.")]


class PlanPage(Struct, frozen=True):
    """What the scheduler would do now."""

    items: Annotated[tuple[StepAnswer, ...], Meta(description="In the order it would.")]
    next: Next = None


class HealthAnswer(Struct, frozen=True, kw_only=True):
    """Whether the daemon lives, or is ready."""

    status: Annotated[str, Meta(description='"ok".')]
    detail: Annotated[str, Meta(description="More, in words.")] = ""
