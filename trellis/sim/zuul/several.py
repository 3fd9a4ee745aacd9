"""What only several daemons on one tree show: who was there, and who took over from whom."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from trellis.sim.zookeeper import Change
from trellis.sim.zuul.documents import POOLS, decoded, request_of
from trellis.sim.zuul.jobs import Job
from trellis.zookeeper.session import Happened


def excuse(
    jobs: Iterable[Job], history: Sequence[Change], offers: Mapping[str, Sequence[frozenset[str]]]
) -> None:
    """Note of jobs that failed rightly: nobody who could have served them was registered.

    That is the protocol: a request fails when all pools there are have declined it. A daemon that
    is away for longer than its session lasts has none.

    Args:
        offers: the labels of each pool of a daemon, by deployment.
    """
    there = _there_at_failures(history)
    for job in jobs:
        if job.told.ended != "failed" or not job.requests:
            continue
        registered = there.get(job.requests[-1])
        able = {
            deployment
            for deployment, pools in offers.items()
            if any(pool.issuperset(job.told.labels) for pool in pools)
        }
        if registered is not None and not able & registered:
            job.excused = f"of {sorted(able)} nobody was registered"
            job.told.ended = "cancelled"


def _there_at_failures(history: Sequence[Change]) -> dict[str, frozenset[str]]:
    """By request that failed, whose pools were registered then."""
    return {request: there for request, state, there, _ in _writes(history) if state == "failed"}


def answered_alone(history: Sequence[Change], trellis: Mapping[str, str]) -> int:
    """How many requests a daemon answered while another one had no pool registered.

    Args:
        trellis: whom the sessions of each deployment's daemon belong to.
    """
    return sum(
        state == "fulfilled" and who in trellis.values() and not there.issuperset(trellis)
        for _, state, there, who in _writes(history)
    )


def _writes(history: Sequence[Change]) -> Iterator[tuple[str, str, frozenset[str], str]]:
    """Each write of a request: which one, its state, whose pools were registered, who wrote."""
    hosts = dict[str, str]()
    for change in history:
        if change.path.startswith(f"{POOLS}/"):
            if change.happened is Happened.DELETED:
                hosts.pop(change.path, None)
            else:
                hosts[change.path] = str((decoded(change.data) or {}).get("hostname"))
            continue
        request = request_of(change.path)
        if request is not None and change.happened is Happened.WRITTEN:
            state = str((decoded(change.data) or {}).get("state"))
            yield request, state, frozenset(hosts.values()), change.who


def passed_over(history: Sequence[Change], trellis: Collection[str]) -> int:
    """How many requests one of the daemons served first, and another one of them answered."""
    served, found = defaultdict[str, set[str]](set), 0
    for request, state, _, who in _writes(history):
        if who in trellis and state == "pending":
            served[request].add(who)
        elif who in trellis and state == "fulfilled":
            found += bool(served[request] - {who})
    return found
