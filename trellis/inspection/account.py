"""What an account is: its entry, its login, its catalog, the versions spoken, its limits."""

import math
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import attrs
import msgspec
import trio

from trellis.errors import CloudError, MisconfiguredError
from trellis.http.message import Call
from trellis.inspection.findings import Finding, failure, listed, warning
from trellis.inspection.opening import Opened
from trellis.inspection.remedies import failed
from trellis.live.text import duration
from trellis.model.quota import RESOURCE_NAMES, UNLIMITED, QuotaReading
from trellis.openstack import catalog as catalogs
from trellis.openstack.clouds import CloudConfig
from trellis.openstack.volume import BlockStorage

_SHORT_LIFE_S: Final = 600.0
_NEEDED: Final = ("compute", "image")
_USEFUL: Final = (("network", "floating IPs, and networks by name"),
                  ("block-storage", "boot-from-volume"))  # fmt: skip
_UNITS: Final = {
    "instances": "servers", "cores": "cores", "ram_mib": "MiB of memory",
    "floating_ips": "floating IPs", "ports": "ports", "volumes": "volumes",
    "volume_gib": "GiB of volumes",
}  # fmt: skip


def entry(cloud: CloudConfig, *, asked: str | None) -> Finding:
    """What ``clouds.yaml`` and the type's profile come to; asks nobody."""
    regions = cloud.regions
    data = {
        "cloud": cloud.name, "region": cloud.region_name, "regions": list(regions),
        "auth_type": cloud.auth_type, "auth_url": cloud.auth.get("auth_url", ""),
        "interface": cloud.interface, "overrides": dict(cloud.overrides),
    }  # fmt: skip
    where = f", region {cloud.region_name}" if cloud.region_name else ""
    found = f"{cloud.name}{where}, {cloud.auth.get('auth_url', '')}"
    if not cloud.verify:
        remedy = "Name the authority's file as cacert instead of verify: false"
        return warning("entry", f"{found}; certificates are not checked", remedy, data=data)
    if asked is None and len(regions) > 1:
        others = [name for name in regions if name != cloud.region_name]
        found += f" (there is also {listed(others)}: --region)"
    return Finding(what="entry", found=found, data=data)


async def auth(there: Opened) -> list[Finding]:
    """Log in."""
    access = await there.account.token()
    cloud = there.cloud
    life = access.good_until - trio.current_time()
    user = cloud.auth.get("username") or cloud.auth.get("user_id") or access.user_id
    name = cloud.auth.get("project_name") or cloud.auth.get("tenant_name")
    project = f"{name} ({access.project_id})" if name else access.project_id
    data = {
        "auth_type": cloud.auth_type, "user": user, "user_id": access.user_id,
        "project": name or "", "project_id": access.project_id, "token_life_s": round(life),
    }  # fmt: skip
    found = f"{cloud.auth_type}: {user} in project {project}; a token lives {duration(round(life))}"
    if life < _SHORT_LIFE_S:
        remedy = "Each renewal is a login, which clouds limit; ask for tokens that live an hour"
        return [warning("auth", found, remedy, data=data)]
    return [Finding(what="auth", found=found, data=data)]


async def catalog(there: Opened) -> list[Finding]:
    """Which services there are in the region, and which are wanted and lacking."""
    access = await there.account.token()
    regions = catalogs.regions(access.catalog)
    types = sorted({row.service_type for row in access.catalog})
    data = {"regions": list(regions), "services": types}
    shown = f"{listed(types)}; regions {listed(regions) or '(none named)'}"
    findings = [Finding(what="catalog", found=shown, data=data)]
    for service in _NEEDED:
        findings.append(await _service(there, service, lacking_is_failure=True))
    for service, use in _USEFUL:
        if service == "network" and there.quirks.lacks_neutron:
            found = "not asked for: the profile says that it cannot be used (lacks_neutron)"
            findings.append(Finding(what="catalog", subject=service, found=found))
            continue
        one = await _service(there, service, lacking_is_failure=False)
        if one.remedy:
            quirk = "; a cloud without neutron has the quirk lacks_neutron"
            less = f"Needed for {use}{quirk if service == 'network' else ''}. "
            one = attrs.evolve(one, remedy=less + one.remedy)
        findings.append(one)
    return findings


async def _service(there: Opened, service: str, *, lacking_is_failure: bool) -> Finding:
    try:
        url = await there.session.endpoint(service)
    except MisconfiguredError as error:
        lacking = failed("catalog", error, there.cloud, subject=service)
        if lacking_is_failure:
            return lacking
        return warning("catalog", lacking.found, lacking.remedy, subject=service)
    return Finding(what="catalog", subject=service, found=url, data={"url": url})


class _Version(msgspec.Struct, frozen=True):
    id: str = ""
    version: str = ""
    min_version: str = ""


class _VersionAnswer(msgspec.Struct, frozen=True):
    version: _Version


async def versions(there: Opened) -> list[Finding]:
    """Which versions nova speaks, and whether the one that is asked for is among them."""
    wanted = there.quirks.compute_microversion
    data: dict[str, Any] = {"compute_asked_for": wanted or ""}
    spoken = await _compute_version(there)
    if spoken is None:
        remedy = "Nothing, unless the profile asks for a microversion; what it answers counts"
        found = "nova does not tell its versions"
        return [warning("versions", found, remedy, data=data) if wanted
                else Finding(what="versions", found=found, data=data)]  # fmt: skip
    data |= {"compute_most": spoken.version, "compute_least": spoken.min_version}
    if not spoken.version:
        found = f"nova {spoken.id}, without microversions"
    else:
        found = f"nova {spoken.min_version} to {spoken.version}"
    found += f"; asked for: {wanted or 'none, which is 2.1'}"
    if wanted and not _reaches(wanted, spoken):
        remedy = f"Every call fails with 406: the quirk compute_microversion must be in {found}"
        return [failure("versions", found, remedy, data=data)]
    return [Finding(what="versions", found=found, data=data)]


async def _compute_version(there: Opened) -> _Version | None:
    """Nova's own document, which needs no token and which some front ends hide."""
    url = await there.session.endpoint("compute")
    call = Call(
        service="compute", method="GET", url=_version_url(url), path_label="/",
        headers={"Accept": "application/json"},
    )  # fmt: skip
    try:
        answer = await there.session.road.send(call)
        return answer.decode(_VersionAnswer).version if answer.status < 300 else None
    except CloudError:
        return None


def _version_url(url: str) -> str:
    """The URL up to its version: some endpoints go on with the project's id."""
    parts = urlsplit(url)
    segments = parts.path.rstrip("/").split("/")
    ends = [n for n, text in enumerate(segments) if text[:1] == "v" and text[1:2].isdigit()]
    kept = segments[: ends[0] + 1] if ends else segments
    return urlunsplit(parts._replace(path="/".join(kept) + "/"))


def _reaches(wanted: str, spoken: _Version) -> bool:
    def number(text: str) -> tuple[int, ...]:
        return tuple(int(part) for part in text.split(".") if part.isdigit())

    return number(spoken.min_version) <= number(wanted) <= number(spoken.version)


async def limits(there: Opened) -> list[Finding]:
    """The quota, and what everybody in the project uses of it, as the planner will see it."""
    reading: QuotaReading = await there.asked("limits", there.provider.limits)
    reading = await _with_volumes(there, reading)
    data = {
        name: {"limit": _plain(getattr(reading.limits, name)), "used": getattr(reading.used, name)}
        for name in RESOURCE_NAMES
    }
    found = ", ".join(
        f"{getattr(reading.used, name)} of {_words(getattr(reading.limits, name))} {_UNITS[name]}"
        for name in RESOURCE_NAMES
        if getattr(reading.limits, name) is not None
    )
    unknown = [_UNITS[name] for name in RESOURCE_NAMES if getattr(reading.limits, name) is None]
    if unknown:
        found += f"{'; ' if found else ''}not told: {', '.join(unknown)}"
    counted = "instances", "cores", "ram_mib"
    full = [
        _UNITS[name]
        for name in counted
        if (most := getattr(reading.limits, name)) is not None
        and getattr(reading.used, name) >= most
    ]
    if full:
        remedy = "Nothing can be launched before something is deleted or the quota is raised"
        text = f"{found}; used up: {', '.join(full)}"
        return [warning("limits", text, remedy, data=data)]
    if reading.limits.instances is None:
        remedy = "Set max-servers of the pools: the cloud's refusals are the only other limit"
        return [warning("limits", found, remedy, data=data)]
    return [Finding(what="limits", found=found, data=data)]


async def _with_volumes(there: Opened, reading: QuotaReading) -> QuotaReading:
    """Volumes too: a provider asks for them only where a label boots from one."""
    if reading.limits.volumes is not None:
        return reading
    try:
        told = await BlockStorage(there.session).limits()
    except CloudError:
        return reading
    most = {"volumes": told.max_total_volumes, "volume_gib": told.max_total_volume_gigabytes}
    found = {name: UNLIMITED if n is not None and n < 0 else n for name, n in most.items()}
    used = {"volumes": told.total_volumes_used, "volume_gib": told.total_gigabytes_used}
    return attrs.evolve(
        reading,
        limits=attrs.evolve(reading.limits, **found),
        used=attrs.evolve(reading.used, **used),
    )


def _words(limit: float | None) -> str:
    return "unlimited" if limit == UNLIMITED else str(limit)


def _plain(limit: float | None) -> float | str | None:
    return "unlimited" if limit is not None and math.isinf(limit) else limit
