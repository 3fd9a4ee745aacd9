"""What ``GET /api/v1/status`` answers with: all that a live view shows, in one piece."""

from typing import Annotated

from msgspec import Meta, Struct

from trellis.web.answers import DeclinedAnswer, Time
from trellis.web.image_answers import TrialAnswer
from trellis.web.operator_answers import Figure, PauseAnswer


class UseAnswer(Struct, frozen=True, kw_only=True):
    """How much of one thing that clouds count is used, and how much may be."""

    ours: Annotated[int, Meta(description="Reserved by us, in the whole project.")]
    others: Annotated[int, Meta(description="Used by others in the same project.")]
    limit: Annotated[Figure, Meta(description="What the project may use.")]
    own_limit: Annotated[
        int | float | None,
        Meta(description="What the provider's pools may use together; null where one sets none."),
    ]


class QuotaUseAnswer(Struct, frozen=True, kw_only=True):
    """The use of each thing that clouds count."""

    instances: Annotated[UseAnswer, Meta(description="Servers.")]
    cores: Annotated[UseAnswer, Meta(description="Virtual CPUs.")]
    ram_mib: Annotated[UseAnswer, Meta(description="Memory in MiB.")]
    floating_ips: Annotated[UseAnswer, Meta(description="Floating IPs.")]
    ports: Annotated[UseAnswer, Meta(description="Ports: one for each network of a server.")]
    volumes: Annotated[UseAnswer, Meta(description="Volumes.")]
    volume_gib: Annotated[UseAnswer, Meta(description="Space of volumes in GiB.")]


class MishapAnswer(Struct, frozen=True, kw_only=True):
    """The last launch that went wrong."""

    at: Annotated[Time, Meta(description="When. UTC.")]
    node_id: Annotated[str, Meta(description="The node it was.")]
    reason: Annotated[str, Meta(description="What went wrong.")]


class ProviderGlance(Struct, frozen=True, kw_only=True):
    """A provider, in brief."""

    name: Annotated[str, Meta(description="Its name in the configuration.")]
    type: Annotated[str, Meta(description="The provider type, which a plugin registered.")]
    cloud: Annotated[str, Meta(description="The cloud, as in clouds.yaml.")]
    region: Annotated[str, Meta(description="The region of that cloud.")]
    state: Annotated[str, Meta(description="starting, available or unavailable.")]
    reason: Annotated[str, Meta(description='Why it is not available; "" if it is.')]
    since: Annotated[Time, Meta(description="Since when it is in that state. UTC.")]
    pause: Annotated[PauseAnswer | None, Meta(description="Set while launches are stopped.")]
    sweep: Annotated[
        str, Meta(description="What happens to leaks: report, delete, or stopped with the alarm.")
    ]
    backoffs: Annotated[
        dict[str, str],
        Meta(description="What is left alone after failures, and until when: its breakers."),
    ]
    missing: Annotated[
        dict[str, str], Meta(description="pool/label of each it cannot make, with the reason.")
    ]
    nodes: Annotated[dict[str, int], Meta(description="How many nodes by state.")]
    quota: Annotated[QuotaUseAnswer, Meta(description="Its quota.")]
    quota_refusals: Annotated[
        int, Meta(description="Creates that the cloud refused for quota since the start.")
    ]
    api_calls: Annotated[
        int,
        Meta(description="Calls of its account since the start; providers may share an account."),
    ]
    leaks: Annotated[int, Meta(description="Things tagged ours that no record claims.")]
    last_error: Annotated[
        MishapAnswer | None,
        Meta(description="The last launch that failed or was aborted since the start."),
    ]


class LabelGlance(Struct, frozen=True, kw_only=True):
    """A label, in brief."""

    name: Annotated[str, Meta(description="What requestors ask by.")]
    min_ready: Annotated[int, Meta(description="How many idle nodes are kept ready.")]
    offered_by: Annotated[
        tuple[str, ...], Meta(description="provider/pool of each pool that can make it now.")
    ]
    nodes: Annotated[dict[str, int], Meta(description="How many nodes of it by state.")]
    host_key_checking: Annotated[
        bool, Meta(description="Whether its nodes' SSH host keys are read; false is unsafe.")
    ]


class WaitingAnswer(Struct, frozen=True, kw_only=True):
    """A request that is not fulfilled yet, and why."""

    id: Annotated[str, Meta(description="128 random bits in hexadecimal.")]
    state: Annotated[str, Meta(description="requested, or pending once it has its place.")]
    labels: Annotated[tuple[str, ...], Meta(description="The label of each node wanted.")]
    requestor: Annotated[str, Meta(description="Who asked.")]
    tenant: Annotated[str | None, Meta(description="For whom the requestor asked.")]
    priority: Annotated[int, Meta(description="Lower is served first.")]
    created_at: Annotated[Time, Meta(description="When it was filed. UTC.")]
    placed_at: Annotated[
        str | None, Meta(description="The provider its nodes are made at, once that is decided.")
    ]
    words: Annotated[str, Meta(description="Why it waits, for a person.")]
    waits_for: Annotated[str, Meta(description="What would move it on.")]
    declined: Annotated[
        tuple[DeclinedAnswer, ...], Meta(description="Providers that cannot serve it now, and why.")
    ]
    ahead: Annotated[int, Meta(description="How many like it are served before it.")]
    estimate_s: Annotated[
        float | None,
        Meta(description="Seconds until it is likely to be fulfilled; null if nobody can tell."),
    ]


class RequestsGlance(Struct, frozen=True, kw_only=True):
    """The requests, in brief."""

    waiting: Annotated[int, Meta(description="How many are not fulfilled yet.")]
    by_state: Annotated[dict[str, int], Meta(description="How many by state.")]
    oldest: Annotated[
        tuple[WaitingAnswer, ...],
        Meta(description="Those of them that wait longest, oldest first, up to `most`."),
    ]


class SlowNodeAnswer(Struct, frozen=True, kw_only=True):
    """A node on its way to somewhere, or kept."""

    id: Annotated[str, Meta(description="Ten digits, never used twice.")]
    label: Annotated[str, Meta(description="The label it was launched for.")]
    state: Annotated[str, Meta(description="Its state.")]
    state_at: Annotated[Time, Meta(description="Since when it is in that state. UTC.")]
    provider: Annotated[str, Meta(description="The provider it is at.")]
    words: Annotated[str, Meta(description="What it waits for, and why.")]
    allocated_to: Annotated[
        str | None, Meta(description="The request it is launched or reserved for, or serves.")
    ]
    lost: Annotated[bool, Meta(description="It died under its lease.")]


class NodesGlance(Struct, frozen=True, kw_only=True):
    """The nodes, in brief."""

    total: Annotated[int, Meta(description="How many there are.")]
    by_state: Annotated[dict[str, int], Meta(description="How many by state.")]
    moving: Annotated[
        int,
        Meta(description="How many are in a state they should leave: neither ready nor in use."),
    ]
    notable: Annotated[
        tuple[SlowNodeAnswer, ...],
        Meta(
            description="Those of them that have been so for longest, and lost ones, up to `most`; "
            "a fifth at most are held."
        ),
    ]


class SpreadAnswer(Struct, frozen=True, kw_only=True):
    """How a time was spread over its last samples, a thousand at most."""

    count: Annotated[int, Meta(description="How many samples there are.")]
    p50: Annotated[float | None, Meta(description="Half took no longer. Seconds.")]
    p95: Annotated[float | None, Meta(description="Of twenty, nineteen took no longer. Seconds.")]


class ComingGlance(Struct, frozen=True, kw_only=True):
    """An upload that does not serve, or not all launches: sent, on trial, or withdrawn."""

    build: Annotated[int, Meta(description="Number of its build.")]
    state: Annotated[str, Meta(description="uploading, canary or withdrawn.")]
    words: Annotated[str, Meta(description="How far it is, how it fares, or what is wrong.")]
    share: Annotated[
        float | None, Meta(description="How much is sent, from 0 to 1; null while nothing is.")
    ] = None
    trial: Annotated[TrialAnswer | None, Meta(description="How a canary fares.")] = None


class ImagePlaceGlance(Struct, frozen=True, kw_only=True):
    """An image at one provider, in brief."""

    provider: Annotated[str, Meta(description="Where.")]
    missing: Annotated[bool, Meta(description="Nothing serves there: its labels cannot be made.")]
    words: Annotated[str, Meta(description="Why, or what it waits for.")]
    build: Annotated[int | None, Meta(description="Number of the build that serves there.")]
    built_at: Annotated[Time | None, Meta(description="When that build was ready. UTC.")]
    pinned_by: Annotated[str | None, Meta(description="Who holds it at that build.")]
    coming: Annotated[
        tuple[ComingGlance, ...], Meta(description="What is newer there, or on its way.")
    ]


class ImageGlance(Struct, frozen=True, kw_only=True):
    """An image, in brief."""

    name: Annotated[str, Meta(description="Its name in the configuration.")]
    words: Annotated[str, Meta(description="What it does or waits for.")]
    paused_by: Annotated[str | None, Meta(description="Who stopped its builds.")]
    fault: Annotated[str, Meta(description='Why the last build failed; "" if it did not.')]
    build: Annotated[int | None, Meta(description="Number of the newest build that is ready.")]
    built_at: Annotated[Time | None, Meta(description="When that was ready. UTC.")]
    building: Annotated[int | None, Meta(description="Number of the build that is under way.")]
    building_words: Annotated[str, Meta(description="How far that is.")]
    building_share: Annotated[
        float | None,
        Meta(description="How much of it is done, by how long the last one took; from 0 to 1."),
    ]
    places: Annotated[tuple[ImagePlaceGlance, ...], Meta(description="At each provider.")]


class FiguresAnswer(Struct, frozen=True, kw_only=True):
    """What was counted and measured since the start of the daemon."""

    api_calls: Annotated[int, Meta(description="Calls to all clouds.")]
    launches: Annotated[dict[str, int], Meta(description="Launches that ended, by how.")]
    api_calls_per_node: Annotated[
        float | None,
        Meta(description="Calls to all clouds for each launch; null before the first."),
    ]
    wait_s: Annotated[SpreadAnswer, Meta(description="From a request until it is fulfilled.")]
    boot_s: Annotated[SpreadAnswer, Meta(description="From the decision to launch until ready.")]


class SourceGlance(Struct, frozen=True, kw_only=True):
    """A demand source, in brief."""

    name: Annotated[str, Meta(description="As configured.")]
    state: Annotated[
        str, Meta(description="starting, running, troubled, crashed, or dropped: not configured.")
    ]
    reason: Annotated[str, Meta(description='What stands in its way; "" if nothing does.')]
    requests: Annotated[dict[str, int], Meta(description="Its live requests by state.")]


class StatusAnswer(Struct, frozen=True, kw_only=True):
    """The state of everything at one moment."""

    deployment: Annotated[str, Meta(description="Whose nodes these are.")]
    version: Annotated[str, Meta(description="The release of Trellis.")]
    now: Annotated[Time, Meta(description="The moment. UTC.")]
    started_at: Annotated[Time, Meta(description="When the daemon started. UTC.")]
    ready: Annotated[bool, Meta(description="Whether requests can be served.")]
    ready_detail: Annotated[str, Meta(description="What stands in the way.")]
    notices: Annotated[
        tuple[str, ...],
        Meta(description="What is wrong with the daemon itself: a file that it did not take up."),
    ]
    last_event: Annotated[
        str, Meta(description="The newest event in this; follow /events after it to miss nothing.")
    ]
    providers: Annotated[tuple[ProviderGlance, ...], Meta(description="As in the configuration.")]
    labels: Annotated[tuple[LabelGlance, ...], Meta(description="As in the configuration.")]
    requests: Annotated[RequestsGlance, Meta(description="The requests.")]
    nodes: Annotated[NodesGlance, Meta(description="The nodes.")]
    figures: Annotated[FiguresAnswer, Meta(description="Counts and times.")]
    images: Annotated[tuple[ImageGlance, ...], Meta(description="As in the configuration.")] = ()
    demand_sources: Annotated[
        tuple[SourceGlance, ...], Meta(description="As in the configuration, then those dropped.")
    ] = ()
