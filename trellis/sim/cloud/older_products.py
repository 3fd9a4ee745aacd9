"""A catalog with a vendor's older products beside the one that is meant.

As Rackspace's: three services of type compute, of which one is OpenStack as customers know it;
the first generation has no region (the project's survey of clouds, part 1 §1.5).
"""

from typing import Any, Final

_NAMES: Final = {
    "compute": "cloudServersOpenStack",
    "network": "cloudNetworks",
    "image": "cloudImages",
    "volume": "cloudBlockStorage",
    "object-store": "cloudFiles",
}


def with_older_products(
    catalog: list[dict[str, Any]], root: str, tenant: str
) -> list[dict[str, Any]]:
    """The catalog in v3's shape with the other products in it.

    Args:
        root: URL of the cloud; nothing answers at the URLs of the older products.
        tenant: the project's id, which stands in paths.
    """
    shown: list[dict[str, Any]] = []
    for service in catalog:
        if service["type"] == "compute":
            shown += _older(service, root, tenant)
        endpoints = [
            row | {"url": _first_version(service["type"], row["url"])}
            for row in service["endpoints"]
        ]
        name = _NAMES.get(service["type"], service["name"])
        shown.append(service | {"name": name, "endpoints": endpoints})
    return shown


def _older(compute: dict[str, Any], root: str, tenant: str) -> list[dict[str, Any]]:
    first = compute["endpoints"][0] | {"url": f"{root}/servers/v1.0/{tenant}"}
    first |= {"region": "", "region_id": ""}
    preprod = [
        row | {"url": f"{root}/{row['region']}/compute-preprod/v2/{tenant}"}
        for row in compute["endpoints"]
    ]
    return [
        compute | {"name": "cloudServers", "endpoints": [first]},
        compute | {"name": "cloudServersPreprod", "endpoints": preprod},
    ]


def _first_version(service: str, url: str) -> str:
    """Block storage is shown with version 1 only, at which nothing answers here."""
    return url.replace("/volume/v3/", "/volume/v1/") if service == "volume" else url
