"""What came of a simulation, in figures: waits, use of the clouds, cost, calls, refusals.

Read from the clouds' ledgers and the requestors' transcripts only, as the oracle does.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

import attrs

from trellis.sim.cloud.ledger import Fact, Ledger, What
from trellis.sim.cloud.site import STRANGER
from trellis.sim.cloud.spec import UNLIMITED, CloudSpec
from trellis.sim.prices import Prices
from trellis.sim.report_series import Series, Span, step_for
from trellis.sim.transcript import Transcript

PERCENTILES: Final = (50, 90, 95, 99)
JUDGED: Final = ("P1", "P2", "P3", "P6", "P9", "P10", "progress", "bug")
"""What every simulation is judged by; a violation of another promise is told too."""


class KnownCloud(Protocol):
    """What a report reads of a cloud."""

    spec: CloudSpec

    @property
    def ledger(self) -> Ledger:
        """What happened in it."""
        ...


@attrs.frozen(kw_only=True)
class Asked:
    """One request: what it was, and how long it waited.

    Attributes:
        wait_s: until it was fulfilled; None if it never was.
        ended: fulfilled, cancelled, failed, or "" for one that was never served.
    """

    filed_at: float
    wait_s: float | None
    labels: tuple[str, ...]
    priority: int
    stream: str
    tenant: str | None
    ended: str


@attrs.frozen(kw_only=True)
class Waits:
    """How long requests waited, in seconds; of those that were fulfilled."""

    count: int
    p50_s: float
    p90_s: float
    p95_s: float
    p99_s: float
    max_s: float


@attrs.frozen(kw_only=True)
class CloudUse:
    """What was made of one cloud, all its regions together.

    Attributes:
        quota: most servers of the project, or of the hypervisors if these hold fewer; None is
            endless.
        made: servers created for Trellis.
        gone: of these, how many are gone again.
        errors: of these, how many ended in ERROR.
        handed_out: of these, how many a requestor got.
        peak: the most of them at one time.
        flavor_s: by flavor, for how long servers of it were there, in seconds.
        calls: API calls by kind.
        quota_refusals: creates refused for quota.
        rate_refusals: calls refused for their rate.
        cost: in the currency of the prices; None without prices.
        unpriced: flavors that were used and have no price; they are not in the cost.
        series: how many servers there were over time.
    """

    cloud: str
    quota: int | None
    made: int
    gone: int
    errors: int
    handed_out: int
    peak: int
    flavor_s: Mapping[str, float]
    calls: Mapping[str, int]
    quota_refusals: int
    rate_refusals: int
    cost: float | None
    unpriced: tuple[str, ...]
    series: Series

    @property
    def server_s(self) -> float:
        """For how long servers were there, all together."""
        return sum(self.flavor_s.values())

    @property
    def total_calls(self) -> int:
        """All API calls."""
        return sum(self.calls.values())


@attrs.frozen(kw_only=True)
class Report:
    """What came of one seed, or of several together.

    Attributes:
        seeds: those it tells of.
        span_s: from the beginning until the last server was gone; the sum over all seeds.
        broken: violations by promise; one that was held has 0.
        currency: of the cost; "" without prices.
    """

    scenario: str
    seeds: tuple[int, ...]
    span_s: float
    broken: Mapping[str, int]
    asked: tuple[Asked, ...]
    clouds: tuple[CloudUse, ...]
    currency: str = ""

    def waits(self, which: Iterable[Asked] | None = None) -> Waits:
        """How long these requests waited; None is all of them."""
        chosen = self.asked if which is None else which
        ordered = sorted(x.wait_s for x in chosen if x.wait_s is not None)
        p50, p90, p95, p99 = (percentile(ordered, share / 100) for share in PERCENTILES)
        most = ordered[-1] if ordered else 0.0
        return Waits(count=len(ordered), p50_s=p50, p90_s=p90, p95_s=p95, p99_s=p99, max_s=most)

    def waits_by(self, kind: str) -> dict[str, Waits]:
        """The waits by label, priority, stream or tenant; a mixed set counts for each label."""
        groups: dict[str, list[Asked]] = {}
        for one in self.asked:
            for name in _names(one, kind):
                groups.setdefault(name, []).append(one)
        return {name: self.waits(groups[name]) for name in sorted(groups, key=_naturally)}

    def ended(self, how: str) -> int:
        """How many requests ended so."""
        return sum(one.ended == how for one in self.asked)

    @property
    def lives(self) -> int:
        """Servers that were made and are gone again."""
        return sum(cloud.gone for cloud in self.clouds)

    @property
    def cost(self) -> float | None:
        """What all clouds cost together; None without prices."""
        costs = [cloud.cost for cloud in self.clouds if cloud.cost is not None]
        return sum(costs) if costs else None

    def used(self, cloud: CloudUse) -> float:
        """Servers in a cloud on the average of the whole time."""
        return cloud.server_s / self.span_s if self.span_s else 0.0


def make_report(
    *,
    scenario: str,
    seed: int,
    clouds: Mapping[str, KnownCloud],
    transcripts: Sequence[Transcript],
    broken: Iterable[str],
    prices: Prices | None = None,
) -> Report:
    """Tell what came of one seed.

    Args:
        broken: the promise of each violation.
        prices: what servers cost, if it is known.
    """
    promises = dict.fromkeys(JUDGED, 0)
    for promise in broken:
        promises[promise] = promises.get(promise, 0) + 1
    span = max((_ends(cloud) for cloud in clouds.values()), default=0.0)
    leases = {
        node.external_id: (transcript.fulfilled_at, transcript.kept_until)
        for transcript in transcripts
        for node in transcript.nodes
        if transcript.fulfilled_at is not None
    }
    return Report(
        scenario=scenario,
        seeds=(seed,),
        span_s=span,
        broken=promises,
        asked=tuple(_asked(transcript) for transcript in transcripts),
        clouds=tuple(_use(name, clouds[name], leases, span, prices) for name in sorted(clouds)),
        currency=prices.currency if prices else "",
    )


def merged(reports: Sequence[Report]) -> Report:
    """Several seeds of one scenario as one: sums, and peaks; the series are the first one's."""
    first = reports[0]
    broken: dict[str, int] = {}
    for report in reports:
        for promise, count in report.broken.items():
            broken[promise] = broken.get(promise, 0) + count
    return attrs.evolve(
        first,
        seeds=tuple(seed for report in reports for seed in report.seeds),
        span_s=sum(report.span_s for report in reports),
        broken=broken,
        asked=tuple(one for report in reports for one in report.asked),
        clouds=tuple(
            _merged_use([report.clouds[place] for report in reports])
            for place in range(len(first.clouds))
        ),
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which such a share of them lies; 0 of none."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def _merged_use(uses: Sequence[CloudUse]) -> CloudUse:
    flavor_s, calls = dict[str, float](), dict[str, int]()
    for use in uses:
        for flavor, seconds in use.flavor_s.items():
            flavor_s[flavor] = flavor_s.get(flavor, 0.0) + seconds
        for kind, count in use.calls.items():
            calls[kind] = calls.get(kind, 0) + count
    costs = [use.cost for use in uses if use.cost is not None]
    return attrs.evolve(
        uses[0],
        made=sum(use.made for use in uses),
        gone=sum(use.gone for use in uses),
        errors=sum(use.errors for use in uses),
        handed_out=sum(use.handed_out for use in uses),
        peak=max(use.peak for use in uses),
        flavor_s=flavor_s,
        calls=calls,
        quota_refusals=sum(use.quota_refusals for use in uses),
        rate_refusals=sum(use.rate_refusals for use in uses),
        cost=sum(costs) if costs else None,
        unpriced=tuple(sorted({flavor for use in uses for flavor in use.unpriced})),
    )


def _asked(transcript: Transcript) -> Asked:
    at = transcript.fulfilled_at
    return Asked(
        filed_at=transcript.filed_at,
        wait_s=None if at is None else at - transcript.filed_at,
        labels=transcript.labels,
        priority=transcript.priority,
        stream=transcript.stream,
        tenant=transcript.tenant,
        ended=transcript.ended,
    )


def _names(one: Asked, kind: str) -> tuple[str, ...]:
    match kind:
        case "label":
            return tuple(dict.fromkeys(one.labels))
        case "priority":
            return (str(one.priority),)
        case "stream":
            return (one.stream,)
        case _:
            return (one.tenant or "",)


def _naturally(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdigit() else (0, name)


def _ends(cloud: KnownCloud) -> float:
    """When the last server of ours was made or gone."""
    facts = cloud.ledger.of(What.SERVER_CREATED, What.SERVER_DELETED)
    return max((fact.at for fact in facts if fact.who != STRANGER), default=0.0)


Leases = Mapping[str, tuple[float | None, float | None]]


def _use(
    name: str, cloud: KnownCloud, leases: Leases, span: float, prices: Prices | None
) -> CloudUse:
    ledger = cloud.ledger
    spans = _spans(ledger, leases, span)
    ours = [one for one in spans if not one.stranger]
    flavor_s, unpriced, cost = dict[str, float](), set[str](), 0.0
    for one in ours:
        flavor_s[one.flavor] = flavor_s.get(one.flavor, 0.0) + one.lasted
        price = prices.of(name, one.flavor, one.lasted) if prices else None
        if price is None:
            unpriced.add(one.flavor)
        else:
            cost += price
    return CloudUse(
        cloud=name,
        quota=_room(cloud.spec),
        made=len(ours),
        gone=sum(one.gone for one in ours),
        errors=len({fact.id for fact in ledger.of(What.SERVER_ERROR) if fact.who != STRANGER}),
        handed_out=sum(one.leased_at is not None for one in ours),
        peak=_peak(ours),
        flavor_s=dict(sorted(flavor_s.items())),
        calls=dict(sorted(ledger.calls.items())),
        quota_refusals=len(ledger.of(What.QUOTA_REFUSED)),
        rate_refusals=len(ledger.of(What.RATE_LIMITED)),
        cost=cost if prices else None,
        unpriced=tuple(sorted(unpriced)) if prices else (),
        series=Series.of(spans, ledger.calls_by_minute, span, step_for(span)),
    )


def _room(spec: CloudSpec) -> int | None:
    """How many servers the cloud can hold for the project."""
    bounds = [spec.quota.instances] if spec.quota.instances != UNLIMITED else []
    if spec.capacity is not None:
        bounds.append(spec.capacity)
    return min(bounds) * len(spec.regions) if bounds else None


def _spans(ledger: Ledger, leases: Leases, end: float) -> list[Span]:
    """The life of each server."""
    active, deleting, deleted = dict[str, Fact](), dict[str, float](), dict[str, float]()
    for fact in ledger.of(What.SERVER_ACTIVE, What.SERVER_DELETING, What.SERVER_DELETED):
        if fact.what is What.SERVER_ACTIVE:
            active.setdefault(fact.id, fact)
        elif fact.what is What.SERVER_DELETING:
            deleting.setdefault(fact.id, fact.at)
        else:
            deleted[fact.id] = fact.at
    spans = []
    for fact in ledger.of(What.SERVER_CREATED):
        until = deleted.get(fact.id, max(end, fact.at))
        going = min(deleting.get(fact.id, until), until)
        up = active.get(fact.id)
        answers = up.ssh_at if up is not None and up.ssh_at is not None else None
        leased_at, kept = leases.get(fact.id, (None, None))
        if leased_at is not None:
            answers = min(leased_at, leased_at if answers is None else answers)
        spans.append(
            Span(
                stranger=fact.who == STRANGER,
                flavor=fact.detail,
                made_at=fact.at,
                up_at=min(going, answers if answers is not None else going),
                leased_at=leased_at,
                free_at=None if leased_at is None else _free_at(leased_at, kept, going),
                going_at=going,
                gone_at=until,
                gone=fact.id in deleted,
            )
        )
    return spans


def _free_at(leased_at: float, kept: float | None, going: float) -> float:
    """When a node was given back: of a requestor that died, when its delete was called."""
    return going if kept is None or kept == leased_at else min(kept, going)


def _peak(spans: Sequence[Span]) -> int:
    """The most at one time; one that goes makes room for one that comes at the same moment."""
    steps = sorted([(one.made_at, 1) for one in spans] + [(one.gone_at, -1) for one in spans])
    peak = now = 0
    for _, step in steps:
        now += step
        peak = max(peak, now)
    return peak
