"""Nova's side of a region: servers and how they fare, as a state machine over time."""

import re
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

import attrs

from trellis.sim.cloud.aftercare import Aftercare
from trellis.sim.cloud.change_log import ChangeLog, look_at
from trellis.sim.cloud.guests import hostname, is_silent
from trellis.sim.cloud.image_boots import ImageBoots
from trellis.sim.cloud.images import Images
from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.mishaps import Mishaps
from trellis.sim.cloud.network import Net, Network, NoAddressLeftError
from trellis.sim.cloud.server_state import Flavor, Image, Revision, Server, Usage
from trellis.sim.cloud.site import STRANGER, Site
from trellis.sim.cloud.spec import UNLIMITED, FlavorSpec
from trellis.sim.cloud.volume import Volumes

_SCHEDULING_S: Final = 0.5
_NO_HOST_S: Final = 1.5
_ADDRESS_S: Final = 0.5
_ATTACHED_AFTER: Final = 0.4
"""Share of the boot after which a volume to boot from is made and attached."""
_WHOLE_NAME: Final = re.compile(r"\^((?:[\w-]|\\\W)*)\$")
"""A pattern that matches one name only, as `re.escape` makes them."""


class Servers:
    """All servers of a region, with an index of what changed when."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.network = Network(site, self._addresses_changed)
        self.volumes = Volumes(site)
        self._mishaps = Mishaps(site, self)
        self._aftercare = Aftercare(site, self)
        self._boots = ImageBoots(site)
        self.flavors: dict[str, Flavor] = {}
        for flavor in site.spec.flavors:
            id = site.new_id()
            if (site.region, flavor.name) in site.spec.behaviour.missing_flavors:
                continue
            if site.region in site.spec.behaviour.diskless_regions:
                flavor = attrs.evolve(flavor, disk_gib=0)
            self.flavors[id] = Flavor(id=id, spec=flavor)
        self.glance = Images(site)
        self.images = self.glance.all
        self.live: dict[str, Server] = {}
        self.by_name: dict[str, dict[str, Server]] = {}
        self.usage = Usage()
        self._hosted = 0
        self._count = 0
        self._gone: deque[Server] = deque()
        self._log = ChangeLog()
        self._keeps_history = site.spec.longest_lag_s > 0.0

    # -------------------------------------------------------------------------- queries

    def short_of(self, flavor: FlavorSpec) -> list[tuple[str, int, int, int]]:
        """What the quota lacks for one more: (resource, requested, used, limit) in Nova's order."""
        quota, usage = self._site.quota, self.usage
        instances = usage.instances + self._site.faults.quota_stuck
        asks = (
            ("cores", flavor.cores, usage.cores, quota.cores),
            ("instances", 1, instances, quota.instances),
            ("ram", flavor.ram_mib, usage.ram_mib, quota.ram_mib),
        )
        return [ask for ask in asks if ask[3] != UNLIMITED and ask[1] + ask[2] > ask[3]]

    def visible(self, lag_s: float) -> Iterator[tuple[Server, Revision]]:
        """What a full list shows, newest first."""
        if lag_s <= 0.0:
            for server in reversed(self.live.values()):
                yield server, server.now
            if self._site.spec.behaviour.lists_deleted:
                horizon = self._site.now - self._site.spec.keep_deleted_s
                for server in reversed(self._gone):
                    if (server.ended or 0.0) >= horizon:
                        yield server, server.now
            return
        horizon = self._site.now - lag_s
        candidates = list(self.live.values())
        for server in reversed(self._gone):
            if server.ended is None or server.ended <= horizon:
                break
            candidates.append(server)
        candidates.sort(key=lambda server: -server.number)
        for server in candidates:
            look = look_at(server, horizon)
            if look is not None and look.status != "DELETED":
                yield server, look

    def changed_since(self, second: int, lag_s: float) -> list[tuple[Server, Revision]]:
        """What changed at or after this UTC second, deleted ones included, newest first.

        Its cost is in proportion to what changed, not to what there is.
        """
        return self._log.since(second, now=self._site.now, lag_s=lag_s)

    def named(self, pattern: str) -> Callable[[Server], bool] | list[Server]:
        """Those whose name matches: a list if the pattern is a whole name, else a test.

        Raises:
            re.error: the pattern is none.
        """
        literal = _WHOLE_NAME.fullmatch(pattern)
        if literal is not None:
            name = literal[1].replace("\\", "")
            return list(reversed(self.by_name.get(name, {}).values()))
        matcher = re.compile(pattern)
        return lambda server: matcher.search(server.name) is not None

    # -------------------------------------------------------------------------- actions

    def create(
        self,
        *,
        name: str,
        flavor: Flavor,
        image: Image | None,
        nets: list[Net],
        metadata: dict[str, str],
        who: str,
        zone: str = "",
        key_name: str | None = None,
        config_drive: bool = False,
        description: str | None = None,
        volume_gib: int | None = None,
    ) -> Server:
        """Accept a server; what becomes of it is drawn now and shows with time."""
        site = self._site
        self._count += 1
        baked = image is not None and image.spec.baked_host_key
        server = Server(
            id=site.new_id(),
            number=self._count,
            name=name,
            flavor=flavor,
            image=image,
            metadata=metadata,
            zone=zone,
            key_name=key_name,
            config_drive=config_drive,
            description=description,
            volume_gib=volume_gib,
            who=who,
            created=site.now,
            host_key=image.host_key if baked and image else site.ids.randbytes(32),
            host_id=f"{site.ids.getrandbits(224):056x}",
            admin_password=f"sim{site.ids.getrandbits(48):012x}",
            now=Revision(at=site.now, updated=site.now),
        )
        self.live[server.id] = server
        self.by_name.setdefault(name, {})[server.id] = server
        self._use(server, 1)
        self._log.add(server, at=site.now, second=site.timeline.seconds(server.now.updated))
        self._log_kept(server)
        site.note(
            What.SERVER_CREATED,
            id=server.id,
            name=name,
            who=who,
            metadata=server.metadata,
            detail=flavor.spec.name,
        )
        self._draw_fate(server, nets)
        return server

    def delete(self, server: Server, by: str) -> None:
        """Take a delete: the server is gone some time later. Nothing new while one is under way."""
        site = self._site
        if server.gone or server.now.task_state == "deleting":
            return
        if server.who == STRANGER and by != STRANGER:
            site.note(What.STRANGER_HARMED, id=server.id, who=by, detail="server deleted")
        faults = site.faults
        unplaced = server.now.task_state == "scheduling"
        seconds = site.spec.delete.draw(site.lives)
        if site.befalls("stuck-delete", faults.stuck_delete):
            seconds = faults.stuck_delete_s
        fails = site.chance(faults.delete_error) and not server.delete_failed
        if fails:
            site.strike("delete-error")
        self._revise(server, task_state="deleting")
        site.note(
            What.SERVER_DELETING,
            id=server.id,
            name=server.name,
            who=server.who,
            metadata=server.metadata,
        )
        server.delete_at = site.now
        server.epoch += 1
        if unplaced and site.befalls("deleted-row-never", faults.deleted_row_never):
            server.rowless = True
            self._deleted(server, server.epoch)
            return
        if not server.stuck and site.befalls("endless-delete", faults.endless_delete):
            server.stuck = True
            site.timeline.after(faults.endless_delete_s, self._reset, server, server.epoch)
            return
        after = self._delete_failed if fails else self._deleted
        site.timeline.after(seconds, after, server, server.epoch)

    def rename(self, server: Server, name: str) -> None:
        """Give a server another name."""
        self.by_name[server.name].pop(server.id)
        server.name = name
        self.by_name.setdefault(name, {})[server.id] = server
        self._revise(server)

    def set_metadata(self, server: Server, metadata: dict[str, str]) -> None:
        """Replace a server's metadata."""
        server.metadata = metadata
        self._revise(server)

    def power(self, server: Server, *, on: bool) -> None:
        """Start or stop a server."""
        if on:
            self._revise(server, status="ACTIVE", vm_state="active", power_state=1)
            server.ssh_at = self._site.now + self._site.spec.guest.draw(self._site.lives)
        else:
            self._revise(server, status="SHUTOFF", vm_state="stopped", power_state=4)
            server.ssh_at = None

    def fail(self, server: Server, message: str, code: int = 500) -> None:
        """Put a server into ERROR."""
        site = self._site
        server.epoch += 1
        server.ssh_at = None
        fault = {"code": code, "created": site.timeline.stamp(site.now), "message": message}
        late = site.befalls("late-fault", site.faults.late_fault)
        shown = None if late else fault
        self._revise(server, status="ERROR", vm_state="error", task_state=None, fault=shown)
        if late:
            after = site.timeline.after
            after(site.faults.late_fault_s, self._fault_shows, server, server.epoch, fault)
        site.note(What.SERVER_ERROR, id=server.id, name=server.name, who=server.who, detail=message)

    def remove(self, server: Server) -> None:
        """Let a server vanish at once, as if an operator had deleted it."""
        server.delete_at = self._site.now
        server.epoch += 1
        self._deleted(server, server.epoch)

    def rebuild(self, server: Server) -> None:
        """Begin to make a server's disk anew: its guest is another one afterwards."""
        site = self._site
        server.ssh_at = None
        server.host_key = site.ids.randbytes(32)
        self._revise(server, status="REBUILD", task_state="rebuilding")
        site.timeline.after(site.spec.boot.draw(site.lives), self._rebuilt, server, server.epoch)

    def _rebuilt(self, server: Server, epoch: int) -> None:
        if epoch == server.epoch:
            server.ssh_at = self._site.now + self._site.spec.guest.draw(self._site.lives)
            self._revise(server, status="ACTIVE", task_state=None)

    def _reset(self, server: Server, epoch: int) -> None:
        """An operator of the cloud has seen that it is deleted for ever."""
        if epoch == server.epoch:
            server.delete_at = None
            self._revise(server, status="ERROR", vm_state="error", task_state=None)

    def _fault_shows(self, server: Server, epoch: int, fault: dict[str, Any]) -> None:
        """Nova keeps faults apart from servers: ``updated`` does not move."""
        if epoch == server.epoch:
            self._revise(server, bump=False, fault=fault)

    # ---------------------------------------------------------------------- how they fare

    def _draw_fate(self, server: Server, nets: list[Net]) -> None:
        site, after = self._site, self._site.timeline.after
        faults, spec = site.faults, site.spec
        boot = spec.boot.draw(site.lives) + self._boots.longer_s(server)
        server.second_cell = server.number % 2 == 0 and not (
            faults.down_cell_skipped or faults.down_cell_unknown
        )
        full = spec.capacity is not None and self._hosted >= spec.capacity
        full = full or self._without_power(server) or self._zone_is_full(server)
        if (
            full
            or not server.flavor.spec.placeable
            or site.befalls("no-valid-host", faults.no_valid_host)
        ):
            message = "No valid host was found. "
            after(min(boot, _NO_HOST_S), self._build_failed, server, server.epoch, message)
            return
        server.placed = True
        self._hosted += 1
        try:
            for net in nets:
                self.network.create_port(
                    net, who=server.who, device_id=server.id, device_owner="compute:nova"
                )
        except NoAddressLeftError as none_left:
            message = (
                f"Build of instance {server.id} aborted: Failed to allocate the network(s) with "
                f"error No fixed IP addresses available for network: {none_left}, not rescheduling."
            )
            after(min(boot, _NO_HOST_S), self._build_failed, server, server.epoch, message)
            return
        after(min(boot, _SCHEDULING_S), self._spawning, server, server.epoch)
        if server.volume_gib is not None:
            shows = max(min(boot, _SCHEDULING_S), boot * _ATTACHED_AFTER)
            after(shows, self._volume_shows, server, server.epoch)
        if site.befalls("stuck-build", faults.stuck_build):
            return
        refused = self._boots.refusal(server) or self._mishaps.refusal(server)
        if refused:
            after(boot, self._build_failed, server, server.epoch, refused)
            return
        if site.befalls("boot-error", faults.boot_error):
            message = (
                f"Build of instance {server.id} aborted: Image "
                f"{server.image.id if server.image else ''} is unacceptable: asked to by chance"
                if site.lives.random() < 0.5
                else "Exceeded maximum number of retries. Exhausted all hosts available for "
                f"retrying build failures for instance {server.id}."
            )
            after(boot, self._build_failed, server, server.epoch, message)
            return
        after(boot, self._active, server, server.epoch)

    def _spawning(self, server: Server, epoch: int) -> None:
        if epoch == server.epoch:
            site = self._site
            zone_named = bool(server.zone)
            if not zone_named:
                dead = site.faults.zone_dead
                zones = [zone for zone in site.spec.zones if zone not in dead]
                server.zone = site.lives.choice(zones) if zones else ""
                server.zone = site.spec.behaviour.unnamed_zone or server.zone
            if server.volume_gib is None:
                self._revise(server, task_state="spawning")
            elif site.spec.behaviour.volumes_in_zones and not zone_named:
                message = "Invalid input received: Availability zone 'nova' is invalid."
                message = f"Build of instance {server.id} aborted: {message}"
                self._build_failed(server, server.epoch, message)
            else:
                self._make_volume(server, server.volume_gib)

    def _make_volume(self, server: Server, size_gib: int) -> None:
        site = self._site
        short = self.volumes.short_of(size_gib)
        if short:
            message = f"Build of instance {server.id} aborted: {short}"
            site.note(
                What.QUOTA_REFUSED, id="POST compute /servers", who=server.who, detail=message
            )
            self._build_failed(server, server.epoch, message)
            return
        image = server.image
        server.volume = self.volumes.create(
            size_gib,
            who=server.who,
            server_id=server.id,
            image_id=image.id if image else None,
            image_name=image.spec.name if image else "",
            zone=server.zone if site.spec.behaviour.volumes_in_zones else "nova",
        )
        self._revise(server, task_state="block_device_mapping")

    def _volume_shows(self, server: Server, epoch: int) -> None:
        """Nova shows a volume only once it is made and attached."""
        if epoch == server.epoch and server.volume is not None:
            self.volumes.attach(server.volume)
            self._revise(server, task_state="spawning")

    def _active(self, server: Server, epoch: int) -> None:
        if epoch != server.epoch:
            return
        site = self._site
        faults = site.faults
        server.launched = site.now
        guest = site.spec.guest.draw(site.lives)
        silent = self._is_silent(server) or site.befalls("no-ssh", faults.no_ssh)
        server.ssh_at = None if silent else site.now + guest
        never = site.befalls("no-address", faults.no_address)
        server.addressed = not (never or site.befalls("late-address", faults.late_address))
        for port in self.network.ports_of.get(server.id, ()):
            port.status = "ACTIVE"
        if not server.addressed and not never:
            site.timeline.after(faults.late_address_s, self._address_shows, server)
        self._aftercare.begin(server)
        self._revise(server, status="ACTIVE", vm_state="active", task_state=None, power_state=1)
        site.note(
            What.SERVER_ACTIVE,
            id=server.id,
            name=server.name,
            who=server.who,
            metadata=server.metadata,
            ssh_at=server.ssh_at,
        )
        self._mishaps.begin(server)

    def _is_silent(self, server: Server) -> bool:
        silent = is_silent(self._site.spec.behaviour, server)
        return silent or server.silent or self.network.carries_too_many(server.id)

    def hostname(self, server: Server) -> str:
        """The name that the guest believes to have."""
        return hostname(self._site.spec.behaviour, server)

    def _address_shows(self, server: Server) -> None:
        server.addressed = True
        self._addresses_changed(server.id)

    def _build_failed(self, server: Server, epoch: int, message: str) -> None:
        if epoch == server.epoch:
            self._release(server)
            server.zone = ""
            self.fail(server, message)

    def _delete_failed(self, server: Server, epoch: int) -> None:
        if epoch == server.epoch:
            server.delete_failed = True
            self.fail(server, "Failed to power off instance: asked to by chance", 400)

    def _deleted(self, server: Server, epoch: int) -> None:
        if epoch != server.epoch or server.gone:
            return
        site = self._site
        faults = site.faults
        if not server.rowless and server.who != STRANGER:
            server.rowless = site.befalls("deleted-row-archived", faults.deleted_row_archived)
        server.ended = site.now
        server.ssh_at = None
        self._release(server)
        self._use(server, -1)
        del self.live[server.id]
        names = self.by_name[server.name]
        names.pop(server.id)
        if not names:
            del self.by_name[server.name]
        self._revise(server, status="DELETED", vm_state="deleted", task_state=None, power_state=0)
        self._gone.append(server)
        site.note(
            What.SERVER_DELETED,
            id=server.id,
            name=server.name,
            who=server.who,
            metadata=server.metadata,
        )
        if not server.returned and server.who != STRANGER and site.chance(faults.come_back):
            site.timeline.after(faults.come_back_s, self._come_back, server)
        self._purge()

    def _come_back(self, server: Server) -> None:
        """A ghost: a deleted server is there again, ACTIVE, without ports or a guest."""
        self._site.strike("come-back")
        server.returned = True
        server.ended = None
        if server in self._gone:
            self._gone.remove(server)
        self.live[server.id] = server
        self.by_name.setdefault(server.name, {})[server.id] = server
        self._use(server, 1)
        self._revise(server, status="ACTIVE", vm_state="active", task_state=None, power_state=1)
        self._site.note(
            What.SERVER_RETURNED,
            id=server.id,
            name=server.name,
            who=server.who,
            metadata=server.metadata,
        )

    def _release(self, server: Server) -> None:
        asked = server.now.task_state == "deleting"
        for port in list(self.network.ports_of.get(server.id, ())):
            # Only of a server whose delete was asked for: its caller knows its id.
            if asked and self._site.befalls("leak-port", self._site.faults.leak_port):
                self.network.leave_port(port)
            else:
                self.network.delete_port(port)
        if server.volume is not None:
            self.volumes.let_go(server.volume, asked_at=server.delete_at)
            server.volume = None
        if server.placed:
            server.placed = False
            self._hosted -= 1

    def _use(self, server: Server, sign: int) -> None:
        usage, flavor = self.usage, server.flavor.spec
        usage.instances += sign
        usage.cores += sign * flavor.cores
        usage.ram_mib += sign * flavor.ram_mib
        if server.who != STRANGER:
            usage.ours += sign
            self._site.ledger.saw_instances(self._site.region, usage.ours)

    # ------------------------------------------------------------------ looks and changes

    def _addresses_changed(self, device_id: str) -> None:
        """Nova's address cache has a time stamp of its own: ``updated`` does not move."""
        server = self.live.get(device_id)
        if server is not None:
            self._revise(server, bump=False)

    def addresses_changed(self, server: Server) -> None:
        """Show a server's addresses as they are now."""
        self._addresses_changed(server.id)

    def _zone_is_full(self, server: Server) -> bool:
        """Whether the zone holds all it can that the server is in, or lands in by itself."""
        behaviour = self._site.spec.behaviour
        if behaviour.zone_capacity is None:
            return False
        zone = server.zone or behaviour.unnamed_zone
        lands_in = behaviour.unnamed_zone
        there = sum(one.placed and (one.zone or lands_in) == zone for one in self.live.values())
        return there >= behaviour.zone_capacity

    def _without_power(self, server: Server) -> bool:
        """Whether nothing can be placed where it is to be, for want of power."""
        dead = self._site.faults.zone_dead
        if not dead:
            return False
        zones = (server.zone,) if server.zone else self._site.spec.zones
        if not all(zone in dead for zone in zones):
            return False
        self._site.strike("zone-dead")
        return True

    def _revise(self, server: Server, *, bump: bool = True, **changes: Any) -> None:
        now, old, volume = self._site.now, server.now, server.volume
        updated, back_s = now, self._site.faults.updated_back_s
        if bump and self._site.befalls("updated-back", self._site.faults.updated_back):
            updated = max(server.created, now - back_s)
        shows = server.launched is not None and server.addressed and not server.gone
        look = Revision(
            at=now,
            updated=updated if bump else old.updated,
            status=changes.get("status", old.status),
            vm_state=changes.get("vm_state", old.vm_state),
            task_state=changes.get("task_state", old.task_state),
            power_state=changes.get("power_state", old.power_state),
            addresses=self.network.addresses_of(server.id) if shows else {},
            volumes=(volume.id,) if volume is not None and volume.attached is not None else (),
            fault=changes.get("fault", old.fault),
        )
        server.now = look
        self._log_kept(server)
        if bump:
            second = self._site.timeline.seconds(look.updated)
            self._log.add(server, at=now, second=second)

    def keep_history(self) -> None:
        """Remember how servers look from now on, for lists that will lag."""
        if not self._keeps_history:
            self._keeps_history = True
            for server in self.live.values():
                server.history.append(server.now)

    def _log_kept(self, server: Server) -> None:
        if not self._keeps_history:
            return
        horizon = self._site.now - self._site.spec.longest_lag_s
        history = server.history
        while len(history) > 1 and history[1].at <= horizon:
            del history[0]
        history.append(server.now)

    def _purge(self) -> None:
        """Forget those long deleted, a good many at a time."""
        horizon = self._site.now - self._site.spec.keep_deleted_s
        while self._gone and (self._gone[0].ended or 0.0) < horizon:
            self._gone.popleft()
        self._log.purge(horizon)
