"""A v2.0 catalog as HP's cloud had it: names, fields and services of its own.

After the scoped answer in hphelion/documentation, identity.api.md (2014), as the project's survey
of clouds quotes it.
"""

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

_NAMES: Final = {
    "compute": ("Compute", "2"),
    "image": ("Image Management", "1.0"),
    "network": ("Networking", "2.0"),
    "volume": ("Block Storage", "1"),
    "identity": ("Identity", "2.0"),
}
_OWN: Final = (("DNS", "hpext:dns"), ("CDN", "hpext:cdn"))
"""Services of HP's own, which are in no region."""
_PORTS: Final = {"https": 443, "http": 80}


def hp_catalog(services: Iterable[dict[str, Any]], root: str) -> list[dict[str, Any]]:
    """The same services, and HP's own, as HP showed them.

    Args:
        services: of a v2.0 catalog.
        root: URL of the cloud.
    """
    shown = []
    for service in services:
        name, version = _NAMES.get(service["type"], (service["name"], ""))
        endpoints = [
            {
                "region": row["region"],
                "tenantId": row["tenantId"],
                "publicURL": _url(service["type"], row),
                "publicURL2": "",
                "versionId": version,
            }
            for row in service["endpoints"]
        ]
        shown.append({"name": name, "type": service["type"], "endpoints": endpoints})
    for name, kind in _OWN:
        path = kind.removeprefix("hpext:")
        endpoint = {"publicURL": f"{root}/{path}/v1/", "publicURL2": "", "versionId": "1"}
        shown.append({"name": name, "type": kind, "endpoints": [endpoint]})
    return shown


def _url(kind: str, row: dict[str, Any]) -> str:
    url = str(row["publicURL"])
    if kind == "compute":
        return f"{url.removesuffix('/v2.1')}/v2/{row['tenantId']}"
    return _with_version_1(url) if kind == "image" else url


def _with_version_1(url: str) -> str:
    """The URL of an image service with its port, and a path that leads nowhere."""
    parts = urlsplit(url)
    port = "" if parts.port else f":{_PORTS[parts.scheme]}"
    return urlunsplit(parts._replace(netloc=parts.netloc + port, path=parts.path + "/v1.0"))
