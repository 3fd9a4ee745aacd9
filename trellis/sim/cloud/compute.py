"""Nova: discovery, microversions, flavors, limits, keypairs; servers are in `server_api`."""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import attrs

from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.nova import asked_microversion, invalid, object_in, refuse
from trellis.sim.cloud.nova_images import NovaImageApi
from trellis.sim.cloud.routes import Call, Table, find, taken_apart
from trellis.sim.cloud.rows import BASE, HIGHEST, Microversion, links
from trellis.sim.cloud.server_api import ServerApi
from trellis.sim.cloud.server_state import Flavor
from trellis.sim.cloud.servers import Servers
from trellis.sim.cloud.site import Site
from trellis.sim.cloud.spec import UNLIMITED, Quota
from trellis.sim.cloud.wire import (
    RefusalError,
    Request,
    Response,
    answer,
    empty,
    nova_fault,
    page_not_found,
)


class Compute:
    """The compute service of a region."""

    def __init__(self, site: Site, servers: Servers, keypairs: dict[str, dict[str, Any]]) -> None:
        self._site = site
        self._servers = servers
        self._keypairs = keypairs
        self._flavors: dict[bool, Response] = {}
        self._table: Table = {
            **ServerApi(site, servers, self._keypairs).table(),
            **NovaImageApi(site, servers).table(),
            ("GET", "flavors"): self._list_flavors,
            ("GET", "flavors/detail"): self._list_flavors,
            ("GET", "flavors/*"): self._show_flavor,
            ("GET", "flavors/*/os-extra_specs"): self._extra_specs,
            ("GET", "limits"): self._limits,
            ("GET", "os-quota-sets/*"): self._quota,
            ("GET", "os-quota-sets/*/detail"): self._quota,
            ("GET", "os-availability-zone"): self._zones,
            ("GET", "extensions"): lambda _: answer(200, {"extensions": []}),
            ("GET", "os-services"): _admins_only("os-services:list"),
            ("POST", "flavors"): _admins_only("os-flavor-manage:create"),
            ("GET", "os-keypairs"): self._list_keypairs,
            ("POST", "os-keypairs"): self._create_keypair,
            ("GET", "os-keypairs/*"): self._show_keypair,
            ("DELETE", "os-keypairs/*"): self._delete_keypair,
        }

    def discover(self, segments: tuple[str, ...]) -> Response | None:
        """Answer the version documents, which need no token."""
        match segments:
            case () | ("",):
                old = _version("v2.0", "DEPRECATED", "", "", self._site.url("compute", "/v2/"))
                return answer(200, {"versions": [old, self._current()]})
            case ("v2.1",) | ("v2.1", ""):
                document = self._current()
                described = {"rel": "describedby", "type": "text/html"}
                document["links"].append({**described, "href": "http://docs.openstack.org/"})
                kind = "application/vnd.openstack.compute+json;version=2.1"
                document["media-types"] = [{"base": "application/json", "type": kind}]
                return answer(200, {"version": document})
        return None

    def without_token(self, refusal: Response) -> Response:
        """Nova's token check words it as Keystone does."""
        return refusal

    def handle(self, request: Request, segments: tuple[str, ...]) -> tuple[str, Response]:
        """Answer a call below ``/compute``, with a good token; returns its kind too."""
        if segments[:1] != ("v2.1",):
            return "?", page_not_found()
        kind, handler = find(self._table, request.method, segments[1:])
        if handler is None:
            return "?", page_not_found()
        version = BASE
        try:
            version = asked_microversion(request) or BASE
            if BASE <= version <= HIGHEST:
                response = handler(taken_apart(request, segments[1:]))
            else:
                response = _unsupported(version)
        except RefusalError as refusal:
            response = refusal.response
        headers = {**response.headers, **_version_headers(version)}
        return f"/{kind}", Response(response.status, response.body, headers)

    def _current(self) -> dict[str, Any]:
        highest = f"{HIGHEST[0]}.{HIGHEST[1]}"
        return _version("v2.1", "CURRENT", highest, "2.1", self._site.url("compute", "/v2.1/"))

    # ---------------------------------------------------------------------------- flavors

    def _list_flavors(self, call: Call) -> Response:
        detailed = call.segments[-1] == "detail"
        gone = self._site.faults.flavor_gone
        if gone:
            flavors = self._servers.flavors.values()
            left = [flavor for flavor in flavors if flavor.spec.name not in gone]
            if len(left) < len(flavors):
                self._site.strike("flavor-gone")
            return answer(200, {"flavors": [self._flavor(flavor, detailed) for flavor in left]})
        if detailed not in self._flavors:
            rows = [self._flavor(flavor, detailed) for flavor in self._servers.flavors.values()]
            self._flavors[detailed] = answer(200, {"flavors": rows})
        return self._flavors[detailed]

    def _show_flavor(self, call: Call) -> Response:
        return answer(200, {"flavor": self._flavor(self._known_flavor(call), True)})

    def _extra_specs(self, call: Call) -> Response:
        self._known_flavor(call)
        return answer(200, {"extra_specs": {}})

    def _known_flavor(self, call: Call) -> Flavor:
        flavor = self._servers.flavors.get(call.segments[1])
        if flavor is None or flavor.spec.name in self._site.faults.flavor_gone:
            raise refuse(404, f"Flavor {call.segments[1]} could not be found.")
        return flavor

    def _flavor(self, flavor: Flavor, detailed: bool) -> dict[str, Any]:
        row: dict[str, Any] = {"id": flavor.id, "name": flavor.spec.name}
        if detailed:
            row |= {
                "ram": flavor.spec.ram_mib,
                "disk": flavor.spec.disk_gib,
                "swap": "",
                "OS-FLV-EXT-DATA:ephemeral": 0,
                "OS-FLV-DISABLED:disabled": False,
                "vcpus": flavor.spec.cores,
                "os-flavor-access:is_public": True,
                "rxtx_factor": 1.0,
            }
        return {**row, "links": links(self._site, "flavors", flavor.id)}

    # ----------------------------------------------------------------------- limits, zones

    def _limits(self, _: Call) -> Response:
        quota, usage = self._told_quota(), self._servers.usage
        instances = usage.instances + self._site.faults.quota_stuck
        cores, ram_mib, behaviour = usage.cores, usage.ram_mib, self._site.spec.behaviour
        if self._site.spec.behaviour.says_all_used:
            instances, cores, ram_mib = quota.instances, quota.cores, quota.ram_mib
        absolute = {
            "maxTotalCores": quota.cores,
            "maxPersonality": 5,
            "maxPersonalitySize": 10240,
            "maxTotalInstances": quota.instances,
            "maxTotalKeypairs": quota.keypairs,
            "maxServerMeta": behaviour.metadata_most or 128,
            "maxImageMeta": 128,
            "maxTotalRAMSize": quota.ram_mib,
            "maxServerGroups": 10,
            "maxServerGroupMembers": 10,
            "maxTotalFloatingIps": -1,
            "maxSecurityGroups": -1,
            "maxSecurityGroupRules": -1,
            "totalRAMUsed": ram_mib // 1024 if behaviour.tells_ram_in_gib else ram_mib,
            "totalCoresUsed": cores,
            "totalInstancesUsed": instances,
            "totalFloatingIpsUsed": 0,
            "totalSecurityGroupsUsed": 0,
            "totalServerGroupsUsed": 0,
        }
        return answer(200, {"limits": {"rate": [], "absolute": absolute}})

    def _quota(self, call: Call) -> Response:
        quota, usage = self._told_quota(), self._servers.usage
        instances = usage.instances + self._site.faults.quota_stuck
        limits = {
            "cores": (quota.cores, usage.cores),
            "fixed_ips": (-1, 0),
            "floating_ips": (-1, 0),
            "injected_file_content_bytes": (10240, 0),
            "injected_file_path_bytes": (255, 0),
            "injected_files": (5, 0),
            "instances": (quota.instances, instances),
            "key_pairs": (quota.keypairs, 0),
            "metadata_items": (128, 0),
            "ram": (quota.ram_mib, usage.ram_mib),
            "security_group_rules": (-1, 0),
            "security_groups": (-1, 0),
            "server_group_members": (10, 0),
            "server_groups": (10, 0),
        }
        detailed = call.segments[-1] == "detail"
        rows = {
            name: {"limit": limit, "in_use": used, "reserved": 0} if detailed else limit
            for name, (limit, used) in limits.items()
        }
        return answer(200, {"quota_set": {"id": call.segments[1], **rows}})

    def _told_quota(self) -> Quota:
        """The quota as the cloud tells it, which is not always what it is.

        Raises:
            RefusalError: it does not tell it.
        """
        site = self._site
        faults, quota = site.faults, site.quota
        if faults.quota_missing:
            site.strike("quota-missing")
            raise RefusalError(page_not_found())
        if faults.quota_refused:
            site.strike("quota-refused")
            raise refuse(403, "Policy doesn't allow os_compute_api:limits to be performed.")
        if faults.quota_changed:
            site.strike("quota-changed")
        if faults.quota_stuck:
            site.strike("quota-stuck")
        if faults.quota_unlimited:
            site.strike("quota-unlimited")
            return attrs.evolve(quota, instances=UNLIMITED, cores=UNLIMITED, ram_mib=UNLIMITED)
        if faults.quota_too_high:
            site.strike("quota-too-high")
            return _times(quota, 2.0)
        if faults.quota_too_low:
            site.strike("quota-too-low")
            return _times(quota, 0.5)
        return quota

    def _zones(self, _: Call) -> Response:
        gone = self._site.faults.zone_gone
        if self._site.spec.behaviour.lacks_zones:
            raise RefusalError(page_not_found())
        zones = [zone for zone in self._site.spec.zones if zone not in gone]
        if len(zones) < len(self._site.spec.zones):
            self._site.strike("zone-gone")
        rows = [
            {"zoneName": zone, "zoneState": {"available": True}, "hosts": None} for zone in zones
        ]
        return answer(200, {"availabilityZoneInfo": rows})

    # --------------------------------------------------------------------------- keypairs

    def _list_keypairs(self, _: Call) -> Response:
        rows = []
        for keypair in self._keypairs.values():
            shown = {key: value for key, value in keypair.items() if key != "user_id"}
            rows.append({"keypair": shown})
        return answer(200, {"keypairs": rows})

    def _create_keypair(self, call: Call) -> Response:
        wanted = object_in(call, "keypair")
        name, public_key = wanted.get("name"), wanted.get("public_key")
        if not isinstance(name, str) or not name:
            raise invalid("keypair", wanted, "'name' is a required property")
        if not isinstance(public_key, str) or len(public_key.split()) < 2:
            raise refuse(400, "Keypair data is invalid: failed to generate fingerprint")
        if name in self._keypairs:
            raise refuse(409, f"Key pair '{name}' already exists.")
        site = self._site
        limit = site.quota.keypairs
        if limit != UNLIMITED and len(self._keypairs) >= limit:
            message = "Quota exceeded, too many key pairs."
            site.note(
                What.QUOTA_REFUSED, id="POST compute /os-keypairs", who=site.user, detail=message
            )
            raise refuse(403, message)
        digest = hashlib.md5(public_key.encode(), usedforsecurity=False).hexdigest()
        fingerprint = ":".join(digest[place : place + 2] for place in range(0, 32, 2))
        self._keypairs[name] = {
            "name": name,
            "public_key": public_key,
            "fingerprint": fingerprint,
            "user_id": site.user_id,
        }
        site.note(What.KEYPAIR_CREATED, id=name, name=name, who=site.user)
        return answer(200, {"keypair": self._keypairs[name]})

    def _show_keypair(self, call: Call) -> Response:
        return answer(200, {"keypair": self._keypairs[self._known_keypair(call)]})

    def _delete_keypair(self, call: Call) -> Response:
        name = self._known_keypair(call)
        del self._keypairs[name]
        self._site.note(What.KEYPAIR_DELETED, id=name, name=name, who=self._site.user)
        return empty(202)

    def _known_keypair(self, call: Call) -> str:
        name = call.segments[1]
        if name not in self._keypairs:
            raise refuse(404, f"Keypair {name} not found for user {self._site.user_id}")
        return name


@lru_cache(maxsize=64)
def _version_headers(version: Microversion) -> Mapping[str, str]:
    shown = f"{version[0]}.{version[1]}"
    return {
        "OpenStack-API-Version": f"compute {shown}",
        "X-OpenStack-Nova-API-Version": shown,
        "Vary": "OpenStack-API-Version, X-OpenStack-Nova-API-Version",
    }


def _times(quota: Quota, factor: float) -> Quota:
    """Another quota of servers; what is unlimited stays so."""

    def times(most: int) -> int:
        return most if most == UNLIMITED else int(most * factor)

    return attrs.evolve(
        quota,
        instances=times(quota.instances),
        cores=times(quota.cores),
        ram_mib=times(quota.ram_mib),
    )


def _unsupported(version: Microversion) -> Response:
    message = f"Version {version[0]}.{version[1]} is not supported by the API. "
    message += f"Minimum is 2.1 and maximum is {HIGHEST[0]}.{HIGHEST[1]}."
    return nova_fault(406, message)


def _admins_only(policy: str) -> Any:
    message = f"Policy doesn't allow os_compute_api:{policy} to be performed."

    def refused(_: Call) -> Response:
        return nova_fault(403, message)

    return refused


def _version(id: str, status: str, highest: str, lowest: str, href: str) -> dict[str, Any]:
    return {
        "id": id,
        "status": status,
        "version": highest,
        "min_version": lowest,
        "updated": "2013-07-23T11:33:21Z",
        "links": [{"rel": "self", "href": href}],
    }
