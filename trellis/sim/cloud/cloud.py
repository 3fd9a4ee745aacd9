"""The whole simulated cloud: one application that answers requests, and what is true in it."""

import errno
import ipaddress
from collections.abc import Awaitable, Callable, Iterable
from functools import lru_cache
from random import Random
from typing import Any, Final

import attrs
import trio

from trellis.sim.cloud.addresses import cidrs_of
from trellis.sim.cloud.compute import Compute
from trellis.sim.cloud.elsewhere import in_another_project
from trellis.sim.cloud.faults import FaultDice, Verdict
from trellis.sim.cloud.identity import MOVED_COMPUTE, Identity
from trellis.sim.cloud.image_api import ImageApi
from trellis.sim.cloud.images import Fetch
from trellis.sim.cloud.ledger import Ledger, What
from trellis.sim.cloud.network_api import NetworkApi
from trellis.sim.cloud.object_store import ObjectStore
from trellis.sim.cloud.rate_limits import Bucket
from trellis.sim.cloud.region import Api, Keypairs, Region, TakesFiles
from trellis.sim.cloud.server_state import Server
from trellis.sim.cloud.servers import Servers
from trellis.sim.cloud.site import Site
from trellis.sim.cloud.spec import CloudSpec, Outage, OutageKind
from trellis.sim.cloud.spooled import spooled_of
from trellis.sim.cloud.ssh import SshStream
from trellis.sim.cloud.strangers import Stranger
from trellis.sim.cloud.swift_account import OBJECT_STORE
from trellis.sim.cloud.swift_api import SwiftApi
from trellis.sim.cloud.timeline import Timeline
from trellis.sim.cloud.truth import (
    ImageView,
    LooseView,
    Machine,
    ServerView,
    all_floating_ips,
    all_images,
    all_keypairs,
    all_machines,
    all_objects,
    all_ports,
    all_servers,
    all_volumes,
)
from trellis.sim.cloud.uploads import Ticket
from trellis.sim.cloud.volume_api import VolumeApi
from trellis.sim.cloud.wire import RefusalError, Request, Response, html

_SSH: Final = 22
_YEARS_S: Final = 1e9
_EDGE_S: Final = 1e-3
"""A window's end is looked at when it is surely over."""

_LEFT: Final = "(moved)"
_COMPUTE: Final = {"compute": ("compute", _LEFT), MOVED_COMPUTE: (_LEFT, "compute")}
"""What a part of a path stands for, as compute is at its own place or at another one."""


class SimCloud:
    """A simulated OpenStack cloud.

    `handle` is pure of I/O and of waiting: the same application serves in process, behind
    `SimTransport`, and over loopback HTTP. It begins to live at the first call made to it, and
    whatever reads its truth reads the clock: with Trio's clock, within the run.

    Args:
        spec: what it is like.
        clock: monotonic seconds.
        wall: UTC seconds, read once at its beginning; None begins in 2026-01-01.
        random: its own source of chance; two clouds never share one. None is seeded with 0.
        root: its URL, without a slash at the end; None is ``http://NAME.sim``.
        ids: source of the ids, addresses and keys of what callers make. A cloud that is started
            again with the same seed must not give a new server an old one's id: give it a
            source of its own. None takes them from *random*, so that runs repeat.
    """

    def __init__(
        self,
        spec: CloudSpec,
        *,
        clock: Callable[[], float] = trio.current_time,
        wall: Callable[[], float] | None = None,
        random: Random | None = None,
        root: str | None = None,
        ids: Random | None = None,
    ) -> None:
        chance = Random(0) if random is None else random
        self.spec = spec
        self.root = f"http://{spec.name}.sim" if root is None else root.rstrip("/")
        self._timeline = Timeline(clock, wall)
        self._ledger = Ledger()
        self._calls = 0
        self._can_move = _can_move(spec)
        self._ids = ids
        self._identity = Identity(spec, self._timeline, self._ledger, self.root, _branch(chance))
        self._dice = FaultDice(spec, self._timeline, _branch(chance))
        self._buckets = [Bucket(limit) for limit in spec.rate_limits]
        self._ahead_s = 0.0
        self._timeline.after(0.0, self._plan_clock)
        self._regions = {
            name: self._make_region(name, number, chance)
            for number, name in enumerate(spec.regions)
        }

    def _make_region(self, name: str, number: int, chance: Random) -> Region:
        site = Site(
            spec=self.spec,
            region=name,
            number=number,
            timeline=self._timeline,
            ledger=self._ledger,
            root=self.root,
            ids=_branch(chance) if self._ids is None else _branch(self._ids),
            lives=_branch(chance),
            project_id=self._identity.project_id,
            user_id=self._identity.user_id,
        )
        servers = Servers(site)
        self._timeline.after(0.0, Stranger(site, servers, _branch(chance)).begin)
        keypairs: Keypairs = {}
        objects = ObjectStore(site) if self.spec.object_storage else None
        images = ImageApi(site, servers, objects)
        apis: dict[str, Api] = {
            "compute": Compute(site, servers, keypairs),
            "network": NetworkApi(site, servers.network),
            "image": images,
        }
        takers: dict[str, TakesFiles] = {"image": images}
        if self.spec.block_storage:
            apis["volume"] = VolumeApi(site, servers.volumes)
        if objects is not None:
            apis[OBJECT_STORE] = takers[OBJECT_STORE] = SwiftApi(site, objects)
        return Region(
            site=site, servers=servers, keypairs=keypairs, apis=apis, takers=takers, objects=objects
        )

    # ---------------------------------------------------------------------------- serving

    @property
    def auth_url(self) -> str:
        """What ``clouds.yaml`` names as ``auth_url``."""
        return self._identity.auth_url

    @property
    def project_id(self) -> str:
        """Id of the account's project."""
        return self._identity.project_id

    @property
    def user_id(self) -> str:
        """Id of the account's user."""
        return self._identity.user_id

    def judge(self, request: Request) -> Verdict:
        """Decide how a call fares on its way; to be asked once for each, at its beginning."""
        self._timeline.settle()
        service, segments, _ = self._taken(request.path)
        place = 2 if service == "volume" else 1  # cinder's paths name the project first
        resource = segments[place] if len(segments) > place else ""
        resource = "objects" if service == OBJECT_STORE else resource
        verdict = self._dice.judge(request, service, resource)
        for fault in verdict.faults:
            self._ledger.struck[fault] += 1
        if verdict.revokes:
            self._identity.revoke_all()
        return verdict

    def refusal(self, request: Request) -> Response:
        """A 401 to a call, whatever it brings."""
        service, _, region = self._taken(request.path)
        refused = self._identity.refusal()
        apis = region.apis if region is not None else {}
        return apis[service].without_token(refused) if service in apis else refused

    def note_lost(self, request: Request, verdict: Verdict) -> None:
        """Write down that a call's answer, or the call itself, was lost."""
        site = self._some_site(request.path)
        what = What.ANSWER_LOST if verdict.acts else What.REQUEST_LOST
        site.note(what, id=f"{request.method} {request.path}", who=site.user)

    def announce(self, request: Request) -> Response | Ticket:
        """A call begins whose body is still to come: let it in, or refuse it before that.

        What is let in is handled, as ``admitted``, when its body has come, or `broke_off`.
        """
        self._timeline.settle()
        service, segments, region = self._taken(request.path)
        refused = self._gate(request, service, segments, region)
        if refused is not None:
            return self._finished(service, self._count(request, service, *refused))
        taker = region.takers.get(service) if region is not None else None
        if taker is None:
            return Ticket(spools=False)
        try:
            return taker.announce(request, segments)
        except RefusalError as refusal:
            response = self._count(request, service, "(announced)", refusal.response)
            return self._finished(service, response)

    def broke_off(self, request: Request) -> None:
        """The body of a call that was let in came to no end."""
        self._timeline.settle()
        service, segments, region = self._taken(request.path)
        taker = region.takers.get(service) if region is not None else None
        if taker is not None:
            taker.broke_off(request, segments)

    def handle(self, request: Request) -> Response:
        """Answer a call now."""
        self._timeline.settle()
        service, segments, region = self._taken(request.path)
        refused = self._gate(request, service, segments, region)
        if refused is None:
            response = self._act(request, service, segments, region)
        else:
            response = self._count(request, service, *refused)
        return self._finished(service, response)

    def _finished(self, service: str, response: Response) -> Response:
        """An answer under its own id."""
        self._calls += 1
        id = f"req-{self._calls:08x}-0000-4000-a000-{self._identity.project_id[:12]}"
        headers = {**response.headers, "x-openstack-request-id": id}
        if service == "compute":
            headers["x-compute-request-id"] = id
        return Response(response.status, response.body, headers, response.file)

    def handle_after(self, request: Request, seconds: float) -> None:
        """Accept a call now and carry it out so much later; nobody hears the answer."""
        self._timeline.settle()
        service, segments, region = self._taken(request.path)
        refused = self._gate(request, service, segments, region)
        if refused is None:
            self._timeline.after(seconds, self._act, request, service, segments, region)
        else:
            self._count(request, service, *refused)

    def _taken(self, path: str) -> tuple[str, tuple[str, ...], Region | None]:
        first, second, segments = _split(path)
        if first == "identity":
            return first, (second, *segments) if second is not None else (), None
        region = self._regions.get(first) if second is not None else None
        service = second if region is not None and second is not None else "?"
        if self._can_move and service in _COMPUTE:
            service = _COMPUTE[service][self.spec.is_out(OutageKind.MOVED, self._timeline.age)]
        if service == "compute" and segments[:2] == ("v2", self._identity.project_id):
            segments = ("v2.1", *segments[2:])
        return service, segments, region

    def _gate(
        self, request: Request, service: str, segments: tuple[str, ...], region: Region | None
    ) -> tuple[str, Response] | None:
        """What stands before the services: rate limits, paths, tokens. None lets a call in."""
        if request.admitted:
            return None
        for bucket in self._buckets:
            if bucket.concerns(request, service):
                now = self._timeline.now
                refusal = bucket.take(now, self._timeline.utc(now))
                if refusal is not None:
                    self._ledger.struck.update(bucket.faults)
                    site = self._some_site(request.path)
                    site.note(What.RATE_LIMITED, id=f"{request.method} {service}", who=site.user)
                    return "(rate limited)", refusal
        if service == "identity":
            return None
        dead = service == "network" and self.spec.behaviour.neutron_is_dead
        if region is None or dead or service not in region.apis:
            if service == _LEFT:
                self._ledger.struck[OutageKind.MOVED.value] += 1
            return "?", html(404, "Not Found")
        api = region.apis[service]
        versions = api.discover(segments)
        if versions is not None:
            return "/", versions
        token = self._identity.good(request.headers.get("x-auth-token"))
        if token is None:
            return "(no token)", api.without_token(self._identity.refusal())
        if token.elsewhere:
            answered = in_another_project(request, service, segments)
            if service in region.takers:
                answered = region.takers[service].elsewhere(request, segments)
            return None if answered is None else ("(another project)", answered)
        return None

    def _act(
        self, request: Request, service: str, segments: tuple[str, ...], region: Region | None
    ) -> Response:
        if region is None:
            kind, response = self._identity.handle(request, segments)
            return self._count(request, service, kind, response)
        site = region.site
        site.asked_at = self._timeline.now if request.arrived is None else request.arrived
        try:
            kind, response = region.apis[service].handle(request, segments)
        finally:
            site.asked_at = None
        return self._count(request, service, kind, response)

    def _count(self, request: Request, service: str, kind: str, response: Response) -> Response:
        call = f"{request.method} {service} {kind}"
        self._ledger.counted(call, response.status, self._timeline.now)
        return response

    def _some_site(self, path: str) -> Site:
        region = self._taken(path)[2]
        return (region or next(iter(self._regions.values()))).site

    # -------------------------------------------------------------------------- the truth

    @property
    def now(self) -> float:
        """The time of the cloud's clock, in whose seconds facts are told."""
        return self._timeline.settle()

    @property
    def utc(self) -> float:
        """The cloud's idea of UTC now, in seconds."""
        return self._timeline.utc(self._timeline.settle())

    @property
    def ledger(self) -> Ledger:
        """What happened so far, up to this moment."""
        self._timeline.settle()
        return self._ledger

    def servers(self) -> tuple[ServerView, ...]:
        """Every server that exists now, everybody's, oldest first."""
        return all_servers(self._regions, self._timeline.settle())

    def floating_ips(self) -> tuple[LooseView, ...]:
        """Every floating IP that exists now."""
        self._timeline.settle()
        return all_floating_ips(self._regions)

    def ports(self) -> tuple[LooseView, ...]:
        """Every port that exists now."""
        self._timeline.settle()
        return all_ports(self._regions)

    def volumes(self) -> tuple[LooseView, ...]:
        """Every volume that exists now; attached ones have a server."""
        self._timeline.settle()
        return all_volumes(self._regions)

    def keypairs(self) -> tuple[LooseView, ...]:
        """Every keypair that exists now."""
        return all_keypairs(self._regions, self.spec.credentials.username)

    def images(self) -> tuple[ImageView, ...]:
        """Every image that exists now, those that the cloud offers too."""
        self._timeline.settle()
        return all_images(self._regions)

    def objects(self) -> tuple[LooseView, ...]:
        """Every object of the file store that exists now."""
        self._timeline.settle()
        return all_objects(self._regions)

    def machines(self) -> tuple[Machine, ...]:
        """Every server that is up and reached from outside, in the order of creation."""
        self._timeline.settle()
        return all_machines(self._regions)

    def show_consoles(self, console: Callable[[str], str]) -> None:
        """Have Nova show what the machines that stand behind servers write, by the server's id."""
        for region in self._regions.values():
            region.site.console = console

    def host_key(self, server_id: str) -> bytes:
        """The 32 bytes of a server's SSH host key."""
        return self._known(server_id)[1].host_key

    # ----------------------------------------------------------------------- interventions

    def change(self, **changes: Any) -> None:
        """Go on from now with another spec: other faults, outages, quota, limits, durations.

        What was drawn already stays: servers that boot do so at their time. Names, regions and
        what they offer do not change. New *faults* end the windows of others, and new
        *rate_limits* begin with full buckets.
        """
        self._timeline.settle()
        if "faults" in changes:
            changes.setdefault("fault_windows", ())
        self.spec = spec = attrs.evolve(self.spec, **changes)
        self._can_move = _can_move(spec)
        self._dice.spec = spec
        self._identity.spec = spec
        if "rate_limits" in changes:
            self._buckets = [Bucket(limit) for limit in spec.rate_limits]
        for region in self._regions.values():
            region.site.spec = spec
            if spec.longest_lag_s > 0.0:
                region.servers.keep_history()
        self._plan_clock()

    def _plan_clock(self) -> None:
        """Set the clock as the faults of now say, and have it looked at when they change."""
        ahead_s, age = self.spec.faults_at(self._timeline.age).clock_skew_s, self._timeline.age
        if ahead_s != self._ahead_s:
            self._ahead_s = ahead_s
            self._timeline.step(ahead_s)
            self._ledger.struck["clock-skew-s"] += 1
        windows = self.spec.fault_windows
        if all(window.faults.clock_skew_s == self.spec.faults.clock_skew_s for window in windows):
            return
        edges = [edge for window in windows for edge in (window.start, window.end)]
        later = min((edge for edge in edges if edge > age), default=None)
        if later is not None:
            self._timeline.after(later - age + _EDGE_S, self._plan_clock)

    def set_outage(self, kind: OutageKind | None) -> None:
        """Be down from now on, until told otherwise; None ends every outage there is or will be."""
        self._timeline.settle()
        age = self._timeline.age
        lasting = (Outage(start=age, end=age + _YEARS_S, kind=kind),) if kind else ()
        self.change(outages=lasting)

    def revoke_all(self) -> None:
        """Make every token given out so far worthless."""
        self._timeline.settle()
        self._identity.revoke_all()

    def set_password(self, password: str) -> None:
        """Change the account's password; tokens stay good."""
        self._identity.set_password(password)

    def fail_server(self, server_id: str, message: str = "asked to by a test") -> None:
        """Put a server into ERROR."""
        region, server = self._known(server_id)
        region.servers.fail(server, message)

    def stop_server(self, server_id: str) -> None:
        """Let a server fall into SHUTOFF."""
        region, server = self._known(server_id)
        region.servers.power(server, on=False)

    def remove_server(self, server_id: str) -> None:
        """Let a server vanish at once, as if an operator of the cloud had deleted it."""
        region, server = self._known(server_id)
        region.servers.remove(server)

    def rename_server(self, server_id: str, name: str) -> None:
        """Give a server another name, as a person with the account's credentials does."""
        region, server = self._known(server_id)
        region.servers.rename(server, name)

    def rebuild_server(self, server_id: str) -> None:
        """Make a server's disk anew, as a person does: its host key is another afterwards."""
        region, server = self._known(server_id)
        region.servers.rebuild(server)

    def remove_image(self, image_id: str) -> None:
        """Let an image vanish at once, as if a person had deleted it."""
        self._timeline.settle()
        for region in self._regions.values():
            image = region.servers.images.get(image_id)
            if image is not None:
                region.servers.glance.remove(image)
                return
        raise LookupError(f"{self.spec.name} has no image {image_id}")

    def put_on_web(self, uri: str, data: bytes) -> None:
        """Let this be what is found at a URL, for imports by download."""
        for region in self._regions.values():
            region.servers.glance.web[uri] = spooled_of([data])

    def fetch_by(self, fetch: Fetch | None) -> None:
        """Have imports by download look on the real web."""
        for region in self._regions.values():
            region.servers.glance.fetch = fetch

    def delete_port(self, port_id: str) -> None:
        """Delete a port, as a person does; its server shows its addresses no longer."""
        self._timeline.settle()
        for region in self._regions.values():
            network = region.servers.network
            port = network.ports.get(port_id)
            if port is not None:
                network.delete_port(port)
                server = region.servers.live.get(port.device_id)
                if server is not None:
                    region.servers.addresses_changed(server)
                return
        raise LookupError(f"{self.spec.name} has no port {port_id}")

    def delete_floating_ip(self, floating_ip_id: str) -> None:
        """Delete a floating IP, as a person does."""
        self._timeline.settle()
        for region in self._regions.values():
            found = region.servers.network.floating_ips.get(floating_ip_id)
            if found is not None:
                region.servers.network.delete_floating_ip(found, found.who)
                return
        raise LookupError(f"{self.spec.name} has no floating IP {floating_ip_id}")

    def _known(self, server_id: str) -> tuple[Region, Server]:
        self._timeline.settle()
        for region in self._regions.values():
            if server_id in region.servers.live:
                return region, region.servers.live[server_id]
        raise LookupError(f"{self.spec.name} has no server {server_id}")

    # ------------------------------------------------------------------------------- nodes

    def has_address(self, host: str) -> bool:
        """Whether a server of this cloud is reached from outside at this address."""
        self._timeline.settle()
        return any(host in region.servers.network.device_at for region in self._regions.values())

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        """Connect to the sshd of a server.

        Raises:
            ConnectionRefusedError: the guest has not booted, or nothing listens at the port.
            OSError: no server is reached at this address.
        """
        await trio.lowlevel.checkpoint()
        now = self._timeline.settle()
        for region in self._regions.values():
            device = region.servers.network.device_at.get(host)
            server = region.servers.live.get(device) if device is not None else None
            if server is None:
                continue
            if server.zone in region.site.faults.zone_dead:
                region.site.strike("zone-dead")
                raise OSError(errno.EHOSTUNREACH, f"no way to {host}")
            if port != _SSH or server.ssh_at is None or server.ssh_at > now:
                raise ConnectionRefusedError(errno.ECONNREFUSED, f"{host}:{port} refuses")
            return SshStream(server.host_key, self._liveness(server))
        raise OSError(errno.EHOSTUNREACH, f"no server at {host}")

    def _liveness(self, server: Server) -> Callable[[], bool]:
        def alive() -> bool:
            self._timeline.settle()
            return server.ssh_at is not None

        return alive

    def outside_ranges(self) -> list[ipaddress.IPv4Network]:
        """The address ranges in which servers of this cloud are reached from outside."""
        return [
            ipaddress.IPv4Network(cidr)
            for number, _ in enumerate(self.spec.regions)
            for network, cidr in zip(self.spec.networks, cidrs_of(self.spec, number), strict=True)
            if network.external or network.reachable
        ]


def _can_move(spec: CloudSpec) -> bool:
    """Whether compute is ever to be found at another place; looked up at every call."""
    return any(outage.kind is OutageKind.MOVED for outage in spec.outages)


@lru_cache(maxsize=4096)
def _split(path: str) -> tuple[str, str | None, tuple[str, ...]]:
    """The first and the second part of a path, and the others."""
    parts = path.split("/")
    first = parts[1] if len(parts) > 1 else ""
    return first, parts[2] if len(parts) > 2 else None, tuple(parts[3:])


def connector(clouds: Iterable[SimCloud]) -> Callable[[str, int], Awaitable[trio.abc.Stream]]:
    """One ``connect(host, port)`` for the servers of several clouds.

    Raises:
        ValueError: two clouds have the same addresses; give their specs different numbers.
    """
    those = tuple(clouds)
    for place, cloud in enumerate(those):
        for other in those[:place]:
            for mine in cloud.outside_ranges():
                if any(mine.overlaps(theirs) for theirs in other.outside_ranges()):
                    raise ValueError(
                        f"the clouds {other.spec.name} and {cloud.spec.name} both have {mine}: "
                        "give their specs different numbers"
                    )

    async def connect(host: str, port: int) -> trio.abc.Stream:
        for cloud in those:
            if cloud.has_address(host):
                return await cloud.connect(host, port)
        await trio.lowlevel.checkpoint()
        raise OSError(errno.EHOSTUNREACH, f"no server at {host}")

    return connect


def _branch(random: Random) -> Random:
    """A source of chance of its own, so that one use does not shift the draws of another."""
    return Random(random.getrandbits(64))
