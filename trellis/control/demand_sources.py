"""The demand sources: each runs on its own beside the REST face, and is told of when it does not.

A source that crashes is started again, waiting longer each time; the others go on. One that is
configured no longer has ended, but what it asked for has not: its leases have no end of their
own, so they stay until it is configured again, or a person ends them (`DemandSources.end`).
"""

from collections.abc import Callable, Iterable, Mapping
from random import Random

import attrs
import structlog
import trio

from trellis.control.ask_index import AskIndex
from trellis.control.supervise import supervise
from trellis.errors import AlreadyDoneError, PluginError, RefusedError, UnknownIdError
from trellis.model.status import SourceState, SourceStatus
from trellis.spi.config import DemandSourceConfig
from trellis.spi.demand import DemandPort
from trellis.spi.registry import DemandContext, DemandSourceRegistry
from trellis.zookeeper.session import OpenSession

log = structlog.get_logger()


@attrs.frozen(kw_only=True)
class SourceGround:
    """What all sources are made with.

    Attributes:
        registry: the types there are; None runs none here.
        wall: UTC seconds since the epoch.
    """

    registry: DemandSourceRegistry | None
    deployment: str
    wall: Callable[[], float]
    random: Random
    zookeeper: OpenSession


@attrs.define(eq=False)
class _Running:
    """One configured source, and how it fares."""

    config: DemandSourceConfig
    state: SourceState
    since: float
    reason: str = ""
    crashes: int = 0
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    ended: trio.Event = attrs.field(factory=trio.Event)


class DemandSources:
    """All demand sources: started, kept running, ended.

    Args:
        configs: those configured now.
        index: tells what is live of each.
        notices: where what stands in a source's way is shown, by ``demand NAME``.
    """

    def __init__(
        self,
        configs: Iterable[DemandSourceConfig],
        *,
        ground: SourceGround,
        port: DemandPort,
        index: AskIndex,
        notices: dict[str, str],
    ) -> None:
        self._configs = {config.name: config for config in configs}
        self._ground, self._port, self._index, self._notices = ground, port, index, notices
        self._running: dict[str, _Running] = {}
        self._nursery: trio.Nursery | None = None
        self._changing = trio.Lock()

    async def run(self) -> None:
        """Run all sources until cancelled.

        Raises:
            StoreFailedError: nothing can be recorded any more (in a group).
        """
        async with trio.open_nursery() as self._nursery:
            for config in self._configs.values():
                self._start(config)
            self._tell_dropped()
            await trio.sleep_forever()

    async def take_up(self, configs: Iterable[DemandSourceConfig]) -> None:
        """Start what is new, end what is there no longer, and start anew what is configured anew.

        Returns when what had to end has ended: two of one name never run at a time.
        """
        async with self._changing:
            wanted = {config.name: config for config in configs}
            self._configs = wanted
            if self._nursery is None:
                return  # they are started with these when they are run
            stale = [one for name, one in self._running.items() if one.config != wanted.get(name)]
            for one in stale:
                one.scope.cancel()
            for one in stale:
                await one.ended.wait()
                del self._running[one.config.name]
                self._notices.pop(_notice(one.config.name), None)
                log.info("demand_source_ended", source=one.config.name)
            for name, config in wanted.items():
                if name not in self._running:
                    self._start(config)
            self._tell_dropped()

    async def end(self, name: str, by: str) -> int:
        """End all that a source which is configured no longer asked for, by a person's word.

        Those that wait are cancelled, the leases of the others are released.

        Returns:
            how many requests that were.

        Raises:
            UnknownIdError: there is no such source.
            RefusedError: it is configured: its requests are its own to end.
        """
        # Nor may it be configured again in the middle of this, or its own requests would end.
        async with self._changing:
            return await self._end(name, by)

    async def _end(self, name: str, by: str) -> int:
        if name in self._configs:
            raise RefusedError(
                f"demand source {name!r} is configured: its requests are its own to end",
                remedy="cancel single ones with 'trellis request cancel ID', or take the source "
                "out of the configuration first",
            )
        requests = self._port.asked_by(name)
        if not requests:
            raise UnknownIdError(
                f"there is no demand source {name!r}, nor anything that it has asked for",
                remedy=f"there are: {', '.join(s.name for s in self.statuses()) or 'none'}",
            )
        log.warning("demand_source_requests_ended", source=name, requests=len(requests), by=by)
        for request in requests:
            try:
                await self._port.cancel(request.id, why=f"demand source {name} was ended by {by}")
            except (AlreadyDoneError, UnknownIdError):
                continue  # it has ended by itself meanwhile
        self._tell_dropped()
        return len(requests)

    def statuses(self) -> tuple[SourceStatus, ...]:
        """Every source that is configured, in the order of the file, then those dropped."""
        asked = self._index.by_source()
        now = self._ground.wall()
        shown = []
        for name, config in self._configs.items():
            one = self._running.get(name) or _Running(config, SourceState.STARTING, now)
            shown.append(_status(one, asked.get(name, {})))
        shown += [
            SourceStatus(
                name=name,
                type="",
                state=SourceState.DROPPED,
                since=None,
                reason="it is configured no longer; what it asked for stays until it is again, or "
                f"until 'trellis demand end {name}'",
                requests=dict(counts),
            )
            for name, counts in sorted(asked.items())
            if name not in self._configs
        ]
        return tuple(shown)

    def troubles(self) -> tuple[str, ...]:
        """What stands in the way of sources now, each a sentence for people."""
        self.renew_notices()
        return tuple(words for key, words in self._notices.items() if key.startswith(_PREFIX))

    # ---------------------------------------------------------------------------- one source

    def _start(self, config: DemandSourceConfig) -> None:
        if self._ground.registry is None or self._nursery is None:
            return
        one = _Running(config, SourceState.RUNNING, self._ground.wall())
        self._running[config.name] = one
        self._nursery.start_soon(self._supervised, one, name=f"demand source {config.name}")
        log.info("demand_source_started", source=config.name, type=config.type)

    async def _supervised(self, one: _Running) -> None:
        def crashed(_name: str, crash: Exception) -> None:
            one.crashes += 1
            self._become(one, SourceState.CRASHED, _words(crash))

        async def run() -> None:
            await self._serve(one)

        try:
            with one.scope:
                await supervise(f"demand source {one.config.name}", run, on_crash=crashed)
        finally:
            one.ended.set()

    async def _serve(self, one: _Running) -> None:
        """Make the source and have it serve: what it is told of is the source's of this start."""
        config, ground = one.config, self._ground
        assert ground.registry is not None
        registration = ground.registry.get(config.type)
        if registration is None:
            raise PluginError(f"no plugin registers the demand source {config.type!r}")
        now_of = one.crashes

        def report(words: str) -> None:
            if one.crashes == now_of and not one.ended.is_set():
                self._become(one, SourceState.TROUBLED if words else SourceState.RUNNING, words)

        context = DemandContext(
            deployment=ground.deployment,
            wall=ground.wall,
            random=ground.random,
            zookeeper=ground.zookeeper,
            report=report,
        )
        source = registration.factory(config, context)
        self._become(one, SourceState.RUNNING, "")
        await source.run(self._port)
        raise RuntimeError("it ended by itself; a demand source serves until it is cancelled")

    def _become(self, one: _Running, state: SourceState, reason: str) -> None:
        changed = (state, reason) != (one.state, one.reason)
        if state is not one.state:
            one.since = self._ground.wall()
        one.state, one.reason = state, reason
        key = _notice(one.config.name)
        if state is SourceState.RUNNING:
            self._notices.pop(key, None)
        else:
            self._notices[key] = f"demand source {one.config.name} {_VERBS[state]}: {reason}"
        # A crash is in the log already, with its traceback.
        if changed and state is not SourceState.CRASHED:
            log.log(
                30 if reason else 20,
                "demand_source",
                source=one.config.name,
                state=state.value,
                reason=reason,
            )

    def _tell_dropped(self) -> None:
        """Say loudly which sources have live requests and are configured no longer."""
        self.renew_notices()
        for name, counts in sorted(self._index.by_source().items()):
            if name not in self._configs:
                log.error(
                    "demand_source_dropped",
                    source=name,
                    requests=dict(counts),
                    remedy=self._notices[_notice(name)],
                )

    def renew_notices(self) -> None:
        """Have the notices of sources that are configured no longer say what is live now."""
        asked = self._index.by_source()
        for name, counts in sorted(asked.items()):
            if name not in self._configs:
                self._notices[_notice(name)] = (
                    f"demand source {name} is configured no longer and {sum(counts.values())} "
                    "requests of it are live: configure it again, or end them with 'trellis demand "
                    f"end {name}'"
                )
        for key in [key for key in self._notices if key.startswith(_PREFIX)]:
            name = key.removeprefix(_PREFIX)
            if name not in self._configs and name not in asked:
                del self._notices[key]


_PREFIX = "demand "
_VERBS = {
    SourceState.STARTING: "is starting",
    SourceState.TROUBLED: "is in trouble",
    SourceState.CRASHED: "crashed and is started again",
}


def _notice(name: str) -> str:
    return f"{_PREFIX}{name}"


def _status(one: _Running, requests: Mapping[str, int]) -> SourceStatus:
    return SourceStatus(
        name=one.config.name,
        type=one.config.type,
        state=one.state,
        since=one.since,
        reason=one.reason,
        requests=dict(requests),
        crashes=one.crashes,
    )


def _words(crash: BaseException) -> str:
    """A crash on one line: the innermost causes of a group, each once."""
    if isinstance(crash, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(_words(inner) for inner in crash.exceptions))[:500]
    text = " ".join(str(crash).split())
    return f"{type(crash).__name__}: {text}"[:500] if text else type(crash).__name__
