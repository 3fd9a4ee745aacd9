"""What goes wrong on the daemon's own host: its clock, its disk, its store, its credentials."""

import enum
from collections.abc import Callable, Collection, Iterator, Mapping
from random import Random
from typing import Final

import attrs
import trio

from trellis.sim.catalogue import Struck
from trellis.sim.cloud.cloud import SimCloud
from trellis.sim.demand import between
from trellis.store.simulated import BUSY_AT_MOST_S, SimulatedDisk

_COUNT = between(0, 1000)
_DAY_S: Final = 86_400.0
JUMPS_S: Final = (-_DAY_S, -600.0, -60.0, -5.0, 5.0, 60.0, 600.0, _DAY_S)
"""By how much a clock jumps where the story does not say it."""
DISK_S: Final = (5.0, 25.0)
"""So long trouble with the disk lasts where the story does not say it."""
SLOW_SYNC_S: Final = 3.0


class HostFault(enum.Enum):
    """The kinds of trouble, by their names in the catalogue."""

    CLOCK_JUMP = "clock-jump"
    CLOCK_SET_WHILE_DOWN = "clock-set-while-down"
    DISK_FULL = "disk-full"
    DISK_READ_ONLY = "disk-read-only"
    DISK_SLOW = "disk-slow"
    STORE_BUSY = "store-busy"
    STORE_SET_BACK = "store-set-back"
    STORE_MOVED = "store-moved"
    """Set back by somebody who brought only the store's file, not what lies beside it."""
    PASSWORD_ROTATED = "password-rotated"


_REFUSALS: Final = {
    HostFault.DISK_FULL: "no room left on its disk",
    HostFault.DISK_READ_ONLY: "it cannot be written",
}
_ON_DISK: Final = frozenset({*_REFUSALS, HostFault.DISK_SLOW, HostFault.STORE_BUSY})
_OFFLINE: Final = frozenset(
    {HostFault.CLOCK_SET_WHILE_DOWN, HostFault.STORE_SET_BACK, HostFault.STORE_MOVED}
)


@attrs.frozen(kw_only=True)
class HostTrouble:
    """One trouble of a script.

    Attributes:
        fault: what happens.
        at: when, in seconds of the story. A store that is set back was copied then.
        lasts_s: how long the disk is in trouble, how long the daemon is not told the new
            password, how long after its copy a store is set back; 0 draws it.
        by_s: by how much the clock is set; 0 draws it.
        cloud: whose password it is; "" draws it.
    """

    fault: HostFault
    at: float = attrs.field(validator=between(0.0, 365 * _DAY_S))
    lasts_s: float = attrs.field(default=0.0, validator=between(0.0, _DAY_S))
    by_s: float = attrs.field(default=0.0, validator=between(-365 * _DAY_S, 365 * _DAY_S))
    cloud: str = ""


@attrs.frozen(kw_only=True)
class HostFaults:
    """How often what happens, at moments drawn from the time until the faults end; and a script.

    Attributes:
        clock_jump: the wall clock is set while the daemon runs.
        clock_set_while_down: the daemon is killed, and the clock set before it is back.
        clock_drift: seconds that the wall clock gains in each second.
        disk_full: for some seconds nothing can be written, which ends the daemon.
        disk_read_only: likewise, as the file system has been remounted.
        disk_slow: for some seconds each sync takes three.
        store_busy: for some seconds another program holds the store.
        password_rotated: a cloud's password is changed, its tokens end, and the daemon's file
            says so only later.
        script: what happens besides, at its time.
    """

    clock_jump: int = attrs.field(default=0, validator=_COUNT)
    clock_set_while_down: int = attrs.field(default=0, validator=_COUNT)
    clock_drift: float = attrs.field(default=0.0, validator=between(-0.5, 0.5))
    disk_full: int = attrs.field(default=0, validator=_COUNT)
    disk_read_only: int = attrs.field(default=0, validator=_COUNT)
    disk_slow: int = attrs.field(default=0, validator=_COUNT)
    store_busy: int = attrs.field(default=0, validator=_COUNT)
    password_rotated: int = attrs.field(default=0, validator=_COUNT)
    script: tuple[HostTrouble, ...] = ()

    def drawn(self, chance: Random, until: float) -> list[HostTrouble]:
        """All that happens, in the order of time."""
        troubles, seed = list(self.script), chance.getrandbits(64)
        for fault in HostFault:
            # A chance of its own for each kind: what is left out changes no other's moments.
            of_this = Random(f"{seed}:{fault.value}")
            for _ in range(getattr(self, fault.value.replace("-", "_"), 0)):
                troubles.append(HostTrouble(fault=fault, at=of_this.uniform(0.0, until)))
        return sorted(troubles, key=lambda trouble: trouble.at)


class Host:
    """The daemon's host in a simulation.

    Args:
        faults: what goes wrong.
        until: when the faults end.
        true_time: UTC as it is.
        clouds: by name; known by the time that `run` is called.
        rotates: the names of those whose passwords may be changed: they stand in no file of
            another host.
        kill: ends the daemon, which is started again after a while.
        struck: counts what took effect.
        chance: of this part of the story.
    """

    def __init__(
        self,
        faults: HostFaults,
        *,
        until: float,
        true_time: Callable[[], float],
        clouds: Mapping[str, SimCloud],
        rotates: Collection[str],
        kill: Callable[[], None],
        struck: Struck,
        chance: Random,
    ) -> None:
        self._faults, self._until, self._true_time = faults, until, true_time
        self._clouds, self._rotates = clouds, rotates
        self._kill, self._struck, self._chance = kill, struck, chance
        self._set_by = 0.0
        self._known: dict[str, str] = {}
        self._disk: SimulatedDisk | None = None
        self._in_trouble: HostFault | None = None
        self._ends = False
        self._while_down: list[Callable[[], None]] = []
        self.told = trio.Event()
        """Set, and replaced, whenever the daemon's files have changed."""

    # ------------------------------------------------------------- what the daemon is given

    def wall(self) -> float:
        """The host's wall clock, in UTC seconds."""
        drift, now = self._faults.clock_drift, self._true_time() + self._set_by
        if not drift:
            return now
        if trio.current_time() > 1.0:
            self._struck["clock-drift"] = 1
        return now + drift * trio.current_time()

    def password(self, cloud: str) -> str:
        """A cloud's password as the daemon's files have it."""
        return self._known.get(cloud, self._clouds[cloud].spec.credentials.password)

    def before_start(self, disk: SimulatedDisk) -> None:
        """The daemon is about to be started on this disk."""
        if self._disk is None:
            self._disk = disk
            disk.troubled = self._on_disk
        waiting, self._while_down = self._while_down, []
        for act in waiting:
            act()

    @property
    def excuses_end(self) -> bool:
        """Whether a daemon that ends now ends rightly, as it cannot write.

        One whose disk is slow, or busy for a while, has to wait.
        """
        return self._in_trouble is not None and self._ends

    # ------------------------------------------------------------------------------ the story

    async def run(self) -> None:
        """Have everything happen in its time."""
        async with trio.open_nursery() as nursery:
            for trouble in self._faults.drawn(self._chance, self._until):
                nursery.start_soon(self._one, trouble, Random(self._chance.getrandbits(64)))

    async def _one(self, trouble: HostTrouble, chance: Random) -> None:
        await trio.sleep_until(trouble.at)
        fault = trouble.fault
        if fault is HostFault.CLOCK_JUMP:
            self._set_clock(trouble, chance)
        elif fault in _ON_DISK:
            await self._trouble_disk(trouble, chance)
        elif fault in _OFFLINE:
            await self._while_it_is_down(trouble, chance)
        else:
            await self._rotate(trouble, chance)

    def _set_clock(self, trouble: HostTrouble, chance: Random) -> None:
        # It is set, not moved on: a second time, it is set by that much from the true time.
        self._set_by = trouble.by_s or chance.choice(JUMPS_S)
        self._struck[trouble.fault.value] += 1

    async def _trouble_disk(self, trouble: HostTrouble, chance: Random) -> None:
        lasts_s = trouble.lasts_s or chance.uniform(*DISK_S)
        while self._in_trouble is not None or self._disk is None:  # noqa: ASYNC110
            await trio.sleep(1.0)
        self._in_trouble = trouble.fault
        too_long = trouble.fault is HostFault.STORE_BUSY and lasts_s > BUSY_AT_MOST_S
        self._ends = too_long or trouble.fault in _REFUSALS
        disk = self._disk
        if trouble.fault is HostFault.STORE_BUSY:
            disk.busy_until = trio.current_time() + lasts_s
        elif trouble.fault is HostFault.DISK_SLOW:
            disk.slow_s = SLOW_SYNC_S
        else:
            disk.refuses = _REFUSALS[trouble.fault]
        await trio.sleep(lasts_s)
        disk.refuses, disk.slow_s = "", 0.0
        if trouble.fault is HostFault.STORE_BUSY:
            await trio.sleep(1.0)  # whoever waited for it is told only now
        self._in_trouble = None

    def _on_disk(self, _how: str) -> None:
        if self._in_trouble is not None:
            self._struck[self._in_trouble.value] += 1

    async def _while_it_is_down(self, trouble: HostTrouble, chance: Random) -> None:
        if trouble.fault is HostFault.CLOCK_SET_WHILE_DOWN:
            self._while_down.append(lambda: self._set_clock(trouble, chance))
        else:
            while self._disk is None:  # noqa: ASYNC110
                await trio.sleep(1.0)
            disk, copy = self._disk, self._disk.copied()
            beside = trouble.fault is HostFault.STORE_SET_BACK
            await trio.sleep(trouble.lasts_s or chance.uniform(20.0, 120.0))

            def set_back() -> None:
                self._struck[trouble.fault.value] += copy.revision < disk.revision
                disk.set_back(copy, witness=beside)

            self._while_down.append(set_back)
        self._kill()

    async def _rotate(self, trouble: HostTrouble, chance: Random) -> None:
        if not trouble.cloud and not self._rotates:
            return
        name = trouble.cloud or chance.choice(sorted(self._rotates))
        new = f"rotated-{chance.getrandbits(32):08x}"
        self._known.setdefault(name, self.password(name))
        self._clouds[name].set_password(new)
        self._clouds[name].revoke_all()
        self._struck[trouble.fault.value] += 1
        await trio.sleep(trouble.lasts_s or chance.choice((0.0, 5.0, 60.0)))
        self._known[name] = new
        told, self.told = self.told, trio.Event()
        told.set()


def kinds() -> Iterator[str]:
    """The names of all kinds of trouble."""
    yield from (fault.value for fault in HostFault)
    yield "clock-drift"
