"""What Prometheus reads at ``/metrics``: the board's values in its text format."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import trio
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from trellis import __version__
from trellis.control.board import Board, Measure
from trellis.model.breaker import BreakerStatus
from trellis.model.quota import RESOURCE_NAMES
from trellis.model.status import Health, Leak, ProviderStatus, SourceState, SourceStatus
from trellis.web import image_metrics

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def render(board: Board) -> bytes:
    """All metrics, in Prometheus's text format 0.0.4."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(board))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class _Collected(Collector):
    def __init__(self, board: Board) -> None:
        self._board = board

    def collect(self) -> Iterator[Metric]:
        board, providers = self._board, self._board.providers()
        yield _gauge("trellis_info", "The release that runs.", [({"version": __version__}, 1)])
        yield _gauge("trellis_ready", "Whether requests can be served.", [({}, board.ready()[0])])
        yield _gauge(
            "trellis_requests",
            "Requests by state.",
            [({"state": state.value}, n) for state, n in board.request_counts().items()],
        )
        yield _gauge(
            "trellis_overdue",
            "Requests not served and nodes that do not move on, for longer than alarm-age.",
            [({"kind": kind}, n) for kind, n in board.overdue().items()],
        )
        tasks = trio.lowlevel.current_statistics().tasks_living
        yield _gauge(
            "trellis_tasks", "Tasks that live: a number that only grows is a bug.", [({}, tasks)]
        )
        yield from _labels(board)
        yield from _providers(providers)
        yield _counter(
            "trellis_api_calls",
            "Calls to the cloud, by kind.",
            [
                ({"cloud": cloud, "call": call}, n)
                for cloud, calls in board.api_calls().items()
                for call, n in calls.items()
            ],
        )
        yield from _quota(providers)
        yield _leaks(board.leaks())
        yield _breakers(board.breakers())
        yield from _sources(board.demand_sources())
        for name, text, rows in image_metrics.gauges(board.images.all()):
            yield _gauge(name, text, rows)
        yield from (_measure(measure) for measure in board.measures())


def _labels(board: Board) -> Iterator[Metric]:
    labels = board.labels()
    yield _gauge(
        "trellis_label_nodes",
        "Nodes by label and state.",
        [
            ({"label": label.name, "state": state}, n)
            for label in labels
            for state, n in label.nodes.items()
        ],
    )
    yield _gauge(
        "trellis_label_min_ready",
        "Idle nodes to be kept ready.",
        [({"label": label.name}, label.min_ready) for label in labels],
    )
    yield _gauge(
        "trellis_label_pools",
        "Pools that can make the label now; 0 is worth an alarm.",
        [({"label": label.name}, len(label.offered_by)) for label in labels],
    )


def _providers(providers: tuple[ProviderStatus, ...]) -> Iterator[Metric]:
    yield _gauge(
        "trellis_nodes",
        "Nodes by provider and state.",
        [
            ({"provider": provider.name, "state": state}, n)
            for provider in providers
            for state, n in provider.nodes.items()
        ],
    )
    yield _gauge(
        "trellis_provider_available",
        "Whether the provider can be used.",
        [({"provider": p.name}, p.health is Health.AVAILABLE) for p in providers],
    )
    yield _gauge(
        "trellis_provider_paused",
        "Whether launches are stopped by a person's word.",
        [({"provider": p.name}, p.pause is not None) for p in providers],
    )
    yield _gauge(
        "trellis_provider_sweep_stopped",
        "Whether the sweep stopped with an alarm and waits for a person.",
        [({"provider": p.name}, p.sweep.startswith("stopped")) for p in providers],
    )


def _quota(providers: tuple[ProviderStatus, ...]) -> Iterator[Metric]:
    yield _gauge(
        "trellis_quota_limit",
        "What the project may use; left out where unlimited or unknown.",
        [
            ({"provider": p.name, "resource": name}, limit)
            for p in providers
            for name in RESOURCE_NAMES
            if (limit := getattr(p.quota.limits, name)) is not None and limit != math.inf
        ],
    )
    yield _gauge(
        "trellis_quota_used",
        "What is used of it, by us (reserved) and by others.",
        [
            ({"provider": p.name, "resource": name, "by": by}, getattr(used, name))
            for p in providers
            for by, used in (("ours", p.quota.ours), ("others", p.quota.others))
            for name in RESOURCE_NAMES
        ],
    )
    yield _counter(
        "trellis_quota_refusals",
        "Creates that the cloud refused for quota.",
        [({"provider": p.name}, p.quota.refusals) for p in providers],
    )


def _breakers(breakers: tuple[BreakerStatus, ...]) -> Metric:
    counts: dict[tuple[str, str], int] = {}
    for one in breakers:
        key = one.provider, one.scope.value
        counts[key] = counts.get(key, 0) + 1
    return _gauge(
        "trellis_breakers",
        "Breakers that are not closed: what is left alone after failures in a row.",
        [({"provider": provider, "scope": scope}, n) for (provider, scope), n in counts.items()],
    )


def _sources(sources: tuple[SourceStatus, ...]) -> Iterator[Metric]:
    yield _gauge(
        "trellis_demand_source_running",
        "Whether the demand source runs and nothing stands in its way; 0 is worth an alarm.",
        [({"source": one.name}, one.state is SourceState.RUNNING) for one in sources],
    )
    yield _gauge(
        "trellis_demand_source_requests",
        "Live requests of the demand source by state.",
        [
            ({"source": one.name, "state": state}, n)
            for one in sources
            for state, n in one.requests.items()
        ],
    )
    yield _counter(
        "trellis_demand_source_crashes",
        "How often the demand source crashed since it was started.",
        [({"source": one.name}, one.crashes) for one in sources],
    )


def _leaks(leaks: tuple[Leak, ...]) -> Metric:
    counts: dict[tuple[str, str], int] = {}
    for leak in leaks:
        counts[leak.provider, leak.kind] = counts.get((leak.provider, leak.kind), 0) + 1
    return _gauge(
        "trellis_leaks",
        "Things tagged ours that no record claims.",
        [({"provider": provider, "kind": kind}, n) for (provider, kind), n in counts.items()],
    )


def _gauge(name: str, text: str, rows: Iterable[tuple[Mapping[str, str], float]]) -> Metric:
    family = GaugeMetricFamily(name, text)
    for labels, value in rows:
        family.add_sample(name, dict(labels), float(value))
    return family


def _counter(name: str, text: str, rows: Iterable[tuple[Mapping[str, str], float]]) -> Metric:
    family = CounterMetricFamily(name, text)
    for labels, value in rows:
        family.add_sample(f"{name}_total", dict(labels), float(value))
    return family


def _measure(measure: Measure) -> Metric:
    family = Metric(measure.name, measure.help, measure.kind)
    for sample in measure.samples:
        suffix = "_total" if measure.kind == "counter" else sample.suffix
        family.add_sample(f"{measure.name}{suffix}", _sorted(sample.labels), sample.value)
    return family


def _sorted(labels: Mapping[str, str]) -> dict[str, Any]:
    return {name: labels[name] for name in sorted(labels)}
