"""The service catalog: which URL a service's calls go to. Pure functions.

The choice is made by type, name, region and interface together: type alone gives Rackspace's
first-generation product, which answers with what looks valid.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import attrs

from trellis.errors import MisconfiguredError

_ALIASES: Final = (
    # Preferred first. Types as in the OpenStack service-types authority.
    ("block-storage", "volumev3", "block-store", "volumev2", "volume"),
    ("object-store", "object-storage"),
    ("load-balancer", "network-load-balancer"),
    ("shared-file-system", "sharev2", "share"),
)

_VERSIONS: Final = {"compute": "v2.1", "image": "v2", "network": "v2.0"}
"""What the calls of a service are written for; added where the catalog's URL has no version."""

_VERSION = re.compile(r"v\d+(\.\d+)?")
_HEADER_NAMES: Final = {"block-storage": "volume", "volumev3": "volume", "volumev2": "volume"}


@attrs.frozen(kw_only=True)
class Endpoint:
    """One row of the catalog.

    Attributes:
        region: "" where the catalog names none.
        url: as the catalog has it.
    """

    service_type: str
    service_name: str
    interface: str
    region: str
    url: str


Catalog: TypeAlias = tuple[Endpoint, ...]


def read_catalog(services: Iterable[Mapping[str, Any]]) -> Catalog:
    """Flatten keystoneauth1's normalised catalog, of v2 or v3.

    Rows without a URL, or with what is none, are left out: one service that nobody needs must
    not make the others unusable.
    """
    return tuple(
        Endpoint(
            service_type=str(service["type"]),
            service_name=str(service.get("name") or ""),
            interface=str(row.get("interface") or "").removesuffix("URL"),
            region=str(row.get("region_name") or row.get("region_id") or row.get("region") or ""),
            url=row["url"],
        )
        for service in services
        for row in service.get("endpoints") or ()
        if _is_url(row.get("url"))
    )


def endpoint(
    catalog: Catalog,
    service: str,
    *,
    region: str = "",
    interface: str = "public",
    overrides: Mapping[str, str] | None = None,
    project_id: str = "",
    user_id: str = "",
    cloud: str = "",
    missing_region: str = "",
) -> str:
    """Choose the URL below which a service's calls are made, without a slash at its end.

    Args:
        service: its type; the older names of a type (``volumev3``) mean the same.
        region: name in the catalog, compared exactly; "" where there is one only.
        interface: ``public``, ``internal`` or ``admin``; several, best first, with commas.
        overrides: settings of the cloud for this service: ``<service>_endpoint_override``,
            ``_service_type``, ``_service_name``, ``_interface``, ``_region_name``, and
            ``_api_version`` of block storage, which is served where an older is listed, with the
            service's name or an alias in front, hyphens as underscores.
        project_id, user_id: fill ``%(project_id)s`` and the like in an override.
        cloud: for messages.
        missing_region: what a customer does about a region that the catalog lacks, as a sentence.

    Raises:
        MisconfiguredError: there is no such service, region or interface; the message lists
            what there is.
    """
    settings = _settings(service, overrides or {})
    if override := settings.get("endpoint_override"):
        url = _filled(override, project_id, user_id)
        if not _is_url(url):
            raise MisconfiguredError(
                f"{service.replace('-', '_')}_endpoint_override in clouds.yaml is no URL",
                cloud=cloud,
            )
        return _versioned(service, url)
    region = settings.get("region_name", region)
    interfaces = settings.get("interface", interface).split(",")

    rows = _of_service(catalog, service, settings, cloud)
    rows = _of_region(rows, service, region, cloud, missing_region)
    for wanted in interfaces:
        for row in rows:
            if row.interface == wanted.strip().removesuffix("URL"):
                return _versioned(service, row.url, settings.get("api_version", ""))
    there = ", ".join(dict.fromkeys(row.interface for row in rows))
    raise MisconfiguredError(
        f"the {service} service has no {' or '.join(interfaces)} endpoint"
        f"{f' in region {region}' if region else ''}; there is: {there}. "
        "Set interface of this cloud in clouds.yaml",
        cloud=cloud,
    )


def regions(catalog: Catalog, service: str = "compute") -> tuple[str, ...]:
    """The regions in which a service is offered, in the catalog's order."""
    types = _types(service)
    return tuple(
        dict.fromkeys(row.region for row in catalog if row.service_type in types and row.region)
    )


def header_name(service: str) -> str:
    """The name of a service in the header ``OpenStack-API-Version``; Cinder's is ``volume``."""
    return _HEADER_NAMES.get(service, service)


def _settings(service: str, overrides: Mapping[str, str]) -> dict[str, str]:
    """The overrides of one service, by what they set; the service's own name wins."""
    names = [name.replace("-", "_") for name in (service, *_types(service))]
    what = (
        *("endpoint_override", "service_type", "service_name", "interface", "region_name"),
        "api_version",
    )
    return {
        setting: overrides[f"{name}_{setting}"]
        for setting in what
        for name in reversed(names)
        if overrides.get(f"{name}_{setting}")
    }


def _of_service(
    catalog: Catalog, service: str, settings: Mapping[str, str], cloud: str
) -> list[Endpoint]:
    types = _types(settings.get("service_type", service))
    name = settings.get("service_name", "")
    for kind in types:
        if rows := [row for row in catalog if row.service_type == kind]:
            break
    else:
        there = ", ".join(sorted(dict.fromkeys(row.service_type for row in catalog)))
        raise MisconfiguredError(
            f"the catalog has no service of type {types[0]}; it has: {there or 'nothing'}. "
            "Is the project the right one, and the service activated for it? Otherwise set "
            f"{service.replace('-', '_')}_endpoint_override of this cloud in clouds.yaml",
            cloud=cloud,
        )
    if not name:
        return rows
    # Not every catalog gives names; where one does, it must fit.
    named = [row for row in rows if row.service_name in (name, "")]
    if not named:
        names = ", ".join(dict.fromkeys(row.service_name for row in rows))
        raise MisconfiguredError(
            f"no {service} service is called {name}; there is: {names}. "
            f"Correct {service.replace('-', '_')}_service_name of this cloud in clouds.yaml",
            cloud=cloud,
        )
    return named


def _of_region(
    rows: list[Endpoint], service: str, region: str, cloud: str, missing: str
) -> list[Endpoint]:
    there = list(dict.fromkeys(row.region for row in rows))
    if not region:
        if len(there) > 1:
            raise MisconfiguredError(
                f"the {service} service is in several regions: {_listed(there)}. "
                "Set region-name of the provider, or region_name of this cloud in clouds.yaml",
                cloud=cloud,
            )
        return rows
    chosen = [row for row in rows if row.region == region]
    if not chosen:
        raise MisconfiguredError(
            f"the {service} service is not in region {region}; it is in: {_listed(there)}. "
            f"Capital letters matter{_other_case(region, there)}. "
            f"{missing or 'Some clouds show a region only once it is activated'}",
            cloud=cloud,
        )
    return chosen


def _other_case(name: str, known: Iterable[str]) -> str:
    meant = [other for other in known if other.lower() == name.lower()]
    return f" (is {' or '.join(meant)} meant?)" if meant else ""


def _is_url(found: object) -> bool:
    try:
        return isinstance(found, str) and bool(urlsplit(found).path or urlsplit(found).netloc)
    except ValueError:
        return False


def _types(service: str) -> tuple[str, ...]:
    for names in _ALIASES:
        if service in names:
            return names
    return (service,)


def _versioned(service: str, url: str, newer: str = "") -> str:
    """The URL with the version that our calls are written for.

    A version in it stays, except for images: old clouds list v1 and serve v2 beside it.

    Args:
        newer: major version that the cloud serves at the same host, if it lists an older one.
    """
    url = url.rstrip("/")
    wanted = _VERSIONS.get(service)
    if wanted is None and not newer:
        return url
    parts = urlsplit(url)
    segments = parts.path.split("/")
    places = [place for place, segment in enumerate(segments) if _VERSION.fullmatch(segment)]
    if newer.isdecimal() and places and int(newer) > float(segments[places[0]][1:]):
        segments[places[0]] = f"v{newer}"
    elif wanted is None:
        return url
    elif not places:
        segments.append(wanted)
    elif service == "image" and not segments[places[0]].startswith("v2"):
        segments = [*segments[: places[0]], wanted]
    return urlunsplit(parts._replace(path="/".join(segments)))


def _filled(override: str, project_id: str, user_id: str) -> str:
    """Put the ids into an override, in both spellings that keystone's catalogs know."""
    for name, value in (
        ("project_id", project_id),
        ("tenant_id", project_id),
        ("user_id", user_id),
    ):
        override = override.replace(f"%({name})s", value).replace(f"$({name})s", value)
    return override


def _listed(names: list[str]) -> str:
    return ", ".join(name or "(no region)" for name in names) or "none"
