"""What the Zuul systems of a story do, and what befalls the ZooKeeper between them and Trellis."""

import attrs

from trellis.sim.demand import DemandSpec, between

_SHARE = between(0.0, 1.0)
_COUNT = between(0, 1000)
_SECONDS = between(0.0, 86_400.0)


@attrs.frozen(kw_only=True)
class ZooKeeperFaults:
    """What goes wrong with ZooKeeper until the faults end.

    Attributes:
        call_lost: share of Trellis's calls at which its connection breaks before they arrive.
        answer_lost: share at which it breaks after they were carried out.
        session_lost: how many times Trellis's session ends under its hands.
        cut_off: how many times Trellis is cut off for up to a minute.
        server_paused: how many times the server does nothing, for up to `pause_s`.
        pause_s: the longest pause.
        server_restarted: how many times the server is stopped and started again.
    """

    call_lost: float = attrs.field(default=0.0, validator=_SHARE)
    answer_lost: float = attrs.field(default=0.0, validator=_SHARE)
    session_lost: int = attrs.field(default=0, validator=_COUNT)
    cut_off: int = attrs.field(default=0, validator=_COUNT)
    server_paused: int = attrs.field(default=0, validator=_COUNT)
    pause_s: float = attrs.field(default=20.0, validator=_SECONDS)
    server_restarted: int = attrs.field(default=0, validator=_COUNT)


@attrs.frozen(kw_only=True)
class ZuulSpec:
    """Zuul systems on one ZooKeeper tree, which Trellis serves by the demand source ``zuul``.

    Attributes:
        demand: the jobs, one request each. ``cancel`` is a job that is dequeued; ``expire`` and
            ``provider`` mean nothing here.
        systems: how many Zuul systems share the tree.
        executors: of each system.
        other_launcher: another launcher, as Nodepool has them, works on the tree as well: it
            declines, it serves labels of its own, and some that Trellis has too.
        revise_every_s: mean time between two revisions of relative priorities in a system.
        cancel_at_write: chance that a job is dequeued just as Trellis takes its request over, or
            has just fulfilled it, with an executor under way.
        alternatives: chance that a job first asks for a label that nobody has.
        children: chance that a job has a child, which wants the same provider.
        slow: chance that an executor takes up to 25 s before it locks a node.
        unstarted: chance that an executor gives nodes back without having used them.
        hold: chance that nodes are held after the job.
        executor_deaths: how many executors die, with all their jobs.
        zookeeper: what goes wrong with ZooKeeper.
    """

    demand: DemandSpec
    systems: int = attrs.field(default=2, validator=between(1, 16))
    executors: int = attrs.field(default=2, validator=between(1, 64))
    other_launcher: bool = True
    revise_every_s: float = attrs.field(default=15.0, validator=between(0.1, 86_400.0))
    cancel_at_write: float = attrs.field(default=0.0, validator=_SHARE)
    alternatives: float = attrs.field(default=0.0, validator=_SHARE)
    children: float = attrs.field(default=0.0, validator=_SHARE)
    slow: float = attrs.field(default=0.0, validator=_SHARE)
    unstarted: float = attrs.field(default=0.0, validator=_SHARE)
    hold: float = attrs.field(default=0.0, validator=_SHARE)
    executor_deaths: int = attrs.field(default=0, validator=_COUNT)
    zookeeper: ZooKeeperFaults = attrs.field(factory=ZooKeeperFaults)
