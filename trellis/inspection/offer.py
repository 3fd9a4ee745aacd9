"""What a region offers: flavors, images, networks, zones; and whether its servers can be listed."""

from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, Final, TypeVar

import msgspec

from trellis.errors import CloudError
from trellis.inspection.findings import Finding, failure, listed, warning
from trellis.inspection.opening import Opened
from trellis.openstack.compute import Compute, FlavorRow
from trellis.openstack.image import ACTIVE, Image
from trellis.openstack.network import Network, NetworkRow
from trellis.openstack.nova_images import NovaImages
from trellis.providers.config import OpenStackProviderConfig
from trellis.providers.networks import read_networks
from trellis.providers.openstack import OpenStackProvider

T = TypeVar("T")

_GIB: Final = 1024


async def flavors(there: Opened) -> list[Finding]:
    """How many, how large, and which a label by ``min-ram`` passes over."""
    rows = [row for row in await _compute(there).flavors() if not row.disabled]
    patterns = there.quirks.passed_over_flavors
    passed = [x.name for x in rows if any(fnmatchcase(x.name, p) for p in patterns)]
    diskless = [row.name for row in rows if row.disk == 0]
    data = {
        "flavors": [
            {"name": x.name, "cores": x.vcpus, "ram_mib": x.ram, "disk_gib": x.disk} for x in rows
        ],
        "passed_over": passed,
    }
    if not rows:
        remedy = "A server needs one: is the project activated for compute in this region?"
        return [failure("flavors", "none", remedy, data=data)]
    by_size = sorted(rows, key=lambda row: (row.ram, row.vcpus, row.name))
    found = f"{len(rows)}, from {_size(by_size[0])} to {_size(by_size[-1])}"
    if passed:
        found += f"; passed over: {listed(passed)}"
    if diskless:
        text = f"{found}; without a disk: {listed(diskless)}"
        remedy = "Labels with a flavor that has no disk need boot-from-volume: true"
        return [warning("flavors", text, remedy, data=data)]
    return [Finding(what="flavors", found=found, data=data)]


class _Schema(msgspec.Struct, frozen=True):
    properties: dict[str, Any] = {}


class _Property(msgspec.Struct, frozen=True):
    value: list[str] = []


class _ImportInfo(msgspec.Struct, frozen=True, rename={"methods": "import-methods"}):
    methods: _Property = _Property()


async def images(there: Opened) -> list[Finding]:
    """Which can be booted, in which formats they are, and how more can be brought."""
    rows = await _image(there).images()
    active = [row for row in rows if row.status == ACTIVE]
    formats = Counter(row.disk_format or "unknown" for row in active)
    taken, imports = await _taken_formats(there), await _import_methods(there)
    data = {
        "active": len(active), "formats": dict(formats), "upload_formats": taken,
        "import_methods": imports,
    }  # fmt: skip
    found = f"{len(active)} active"
    if formats:
        found += f" ({', '.join(f'{n} {name}' for name, n in formats.most_common())})"
    if taken:
        found += f"; takes {listed(taken, 12)}"
    found += f"; imports by {listed(imports)}" if imports else "; no imports"
    wanted = str(there.cloud.settings.get("image_format") or "")
    if wanted and taken and wanted not in taken:
        remedy = f"image_format of {there.cloud.name} in clouds.yaml must be one that glance takes"
        return [warning("images", f"{found}; image_format is {wanted}", remedy, data=data)]
    if not active:
        remedy = "A label's cloud-image must be there: upload one, or is the region the right one?"
        return [warning("images", found, remedy, data=data)]
    return [Finding(what="images", found=found, data=data)]


async def _taken_formats(there: Opened) -> list[str]:
    """Disk formats that an upload may have, of glance's own schema; empty if it tells none."""
    schema = await _told(there, "/schemas/image", _Schema)
    row = schema.properties.get("disk_format") if schema is not None else None
    formats = row.get("enum") if isinstance(row, dict) else None
    return [str(name) for name in formats or () if name] if isinstance(formats, list) else []


async def _import_methods(there: Opened) -> list[str]:
    info = await _told(there, "/info/import", _ImportInfo)
    return [] if info is None else list(info.methods.value)


async def _told(there: Opened, path: str, kind: type[T]) -> T | None:
    """What glance says of itself; None where it does not, which is no trouble."""
    try:
        answer = await there.session.request("image", "GET", path, label=path)
        return answer.decode(kind)
    except CloudError:
        return None


async def networks(there: Opened) -> list[Finding]:
    """What servers can be put on, what is public, and what floating IPs would come from."""
    quirks = there.quirks
    if quirks.lacks_neutron:
        found = "networks are named by id in the configuration (lacks_neutron)"
        return [Finding(what="networks", found=found)]
    config = there.config
    facts = await read_networks(
        _network(there),
        floating_wanted=not quirks.gives_public_addresses,
        configured=config.floating_network if isinstance(config, OpenStackProviderConfig) else None,
    )
    project = (await there.session.home()).project_id
    attachable = [row for row in facts.networks if _attachable(row, project)]
    public = [
        row.name
        for row in attachable
        if (row.external or row.name in quirks.public_networks)
        and row.name not in quirks.private_networks
    ]
    routed = await _has_router(there) if facts.floating is not None else False
    data = {
        "networks": [
            {
                "name": row.name, "id": row.id, "external": row.external, "shared": row.shared,
                "attachable": row in attachable, "public": row.name in public,
            }
            for row in facts.networks
        ],
        "floating_ips_from": _name_of(facts.floating, facts.networks),
        "router_to_outside": routed,
    }  # fmt: skip
    said = [f"{row.name or row.id} ({_kind(row, attachable, public)})" for row in facts.networks]
    found = listed(said) or "none"
    if not attachable:
        remedy = (
            "Make a network with a subnet and a router, or ask for one: a server has nowhere to go"
        )
        return [failure("networks", found, remedy, data=data)]
    if public:
        chosen = [
            name for name in quirks.default_networks if name in [row.name for row in attachable]
        ]
        settled = quirks.gives_public_addresses or (bool(chosen) and set(chosen) <= set(public))
        if settled or len(public) == len(attachable):
            if chosen:
                found += f"; pools that name none are on {listed(chosen)}"
                return [Finding(what="networks", found=found, data=data)]
            return [Finding(what="networks", found=_some(found, attachable), data=data)]
        remedy = (
            f"Name {listed(public)} under networks of the pool for public addresses; the quirk "
            "default_networks does so for every pool"
        )
        return [warning("networks", found, remedy, data=data)]
    if quirks.gives_public_addresses:
        remedy = (
            "The profile says that servers have public addresses, and no network here looks so: "
            "name the network under public_networks, or reach nodes from inside"
        )
        return [warning("networks", found, remedy, data=data)]
    if facts.doubt:
        remedy = "Name the one that is meant as floating-network of the provider"
        return [warning("networks", f"{found}; {facts.doubt}", remedy, data=data)]
    if facts.floating is None or not routed:
        lack = "no router leads outside" if facts.floating else "there is no external network"
        remedy = (
            "Nodes can be reached from inside only. Make a router with a gateway on the external "
            "network, or run Trellis inside"
        )
        return [warning("networks", f"{found}; {lack}", remedy, data=data)]
    found = f"{found}; floating IPs from {data['floating_ips_from']}"
    return [Finding(what="networks", found=_some(found, attachable), data=data)]


def _some(found: str, attachable: Sequence[NetworkRow]) -> str:
    if len(attachable) < 2:
        return found
    return f"{found}; a pool must name one under networks, as nova takes none of several"


def _attachable(row: NetworkRow, project: str) -> bool:
    """Whether a plain user may have a port there: neutron lets him on his own and on shared ones.

    An external one that is not shared takes only routers and floating IPs.
    """
    return row.shared or row.project_id == project


def _kind(row: NetworkRow, attachable: Sequence[NetworkRow], public: Sequence[str]) -> str:
    if row not in attachable:
        return "external, for floating IPs" if row.external else "not ours"
    return "public" if row.name in public else "private"


def _name_of(id_: str | None, rows: Sequence[NetworkRow]) -> str:
    return next((row.name or row.id for row in rows if row.id == id_), "")


async def _has_router(there: Opened) -> bool:
    routers = await _network(there).routers()
    return any(router.external_gateway_info is not None for router in routers)


async def zones(there: Opened) -> list[Finding]:
    """Which zones nova shows, and which are chosen from."""
    quirks = there.quirks
    if quirks.hides_zones:
        return [Finding(what="zones", found="none is named (hides_zones)")]
    try:
        rows = await _compute(there).zones()
    except CloudError as error:
        remedy = "Name them under availability-zones of the pool, or give the quirk hides_zones"
        return [warning("zones", f"they are not shown: {error.message}", remedy)]
    there_are = [row.name for row in rows if row.state.available]
    down = [row.name for row in rows if not row.state.available]
    used = [name for name in there_are if not quirks.zones or name in quirks.zones]
    data = {"available": there_are, "not_available": down, "chosen_from": used}
    found = listed(there_are) or "none"
    if quirks.zones:
        found += f"; chosen from: {listed(used) or 'none'}"
    if down:
        found += f"; not available: {listed(down)}"
    if not used:
        remedy = "Creates that name a zone will fail: correct the quirk zones, or ask the cloud"
        return [warning("zones", found, remedy, data=data)]
    return [Finding(what="zones", found=found, data=data)]


async def servers(there: Opened) -> list[Finding]:
    """Whether the plugin reads what stands in the project; it may be anybody's."""
    listing = await there.asked("list", lambda: there.provider.list(None))
    states = Counter(one.state.value for one in listing.instances)
    ours = sum(one.tag is not None for one in listing.instances)
    found = f"{len(listing.instances)} in the project"
    if states:
        found += f" ({', '.join(f'{n} {name}' for name, n in states.most_common())})"
    found += f", {ours} with a tag of Trellis" if listing.instances else ""
    data = {"servers": len(listing.instances), "states": dict(states), "tagged": ours}
    return [Finding(what="servers", found=found, data=data)]


def _compute(there: Opened) -> Compute:
    provider = there.provider
    if isinstance(provider, OpenStackProvider):
        return provider.compute
    return Compute(there.session, there.quirks.compute_microversion)


def _image(there: Opened) -> Image | NovaImages:
    provider = there.provider
    if isinstance(provider, OpenStackProvider):
        return provider.image
    return Image(there.session)


def _network(there: Opened) -> Network:
    provider = there.provider
    return provider.network if isinstance(provider, OpenStackProvider) else Network(there.session)


def _size(row: FlavorRow) -> str:
    memory = f"{row.ram // _GIB} GiB" if row.ram % _GIB == 0 else f"{row.ram} MiB"
    cores = "1 core" if row.vcpus == 1 else f"{row.vcpus} cores"
    return f"{row.name} ({cores}, {memory})"
