"""The files of a site that moves: its clouds', Nodepool's and Trellis's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from trellis.zookeeper.session import Servers

CLOUDS: Final = ("alpha", "beta")
_DIRECT: Final = ("alpha",)

SCENARIO: Final = {
    "clouds": [
        {
            "name": name,
            "flavors": [{"name": "small", "cores": 1, "ram-mib": 1024}],
            "images": [{"name": "tiny"}],
            "boot": {"median": 0.5, "p95": 0.5},
            "guest": {"median": 0, "p95": 0},
            "delete": {"median": 0.2, "p95": 0.2},
        }
        | (
            {}
            if name in _DIRECT
            else {
                "networks": [
                    {"name": "ci-net"},
                    {"name": "public", "external": True, "attachable": False},
                ]
            }
        )
        for name in CLOUDS
    ]
}

LEFT_S: Final = 2.0
"""``take-over-after``: nobody wants to wait a minute for it here."""

Offers = Mapping[str, tuple[str, ...]]
"""By provider, the labels of its pool."""


def replace(file: Path, document: object) -> None:
    """Write a file anew, whole: whoever reads it meanwhile has the old one or the new one."""
    new = file.with_suffix(".new")
    new.write_text(yaml.safe_dump(document, sort_keys=False))
    new.replace(file)


def nodepool_document(
    offers: Offers,
    servers: Servers,
    *,
    ssh_port: int,
    max_servers: int,
) -> dict[str, Any]:
    """A launcher's nodepool.yaml."""
    host, _, port = servers.hosts[0].rpartition(":")
    tls = servers.tls
    assert tls is not None
    labels = dict.fromkeys(label for pool in offers.values() for label in pool)
    return {
        "labels": [{"name": name} for name in labels],
        "zookeeper-servers": [{"host": host, "port": int(port), "chroot": servers.chroot}],
        "zookeeper-tls": {"cert": str(tls.cert), "key": str(tls.key), "ca": str(tls.ca)},
        "zookeeper-timeout": 5.0,
        "providers": [
            {
                "name": name,
                "driver": "openstack",
                "cloud": name,
                "rate": 0.01,
                "boot-timeout": 60,
                "clean-floating-ips": False,
                "port-cleanup-interval": 0,
                "cloud-images": [{"name": "tiny", "username": "zuul", "connection-port": ssh_port}],
                "pools": [
                    {
                        "name": "main",
                        "max-servers": max_servers,
                        "auto-floating-ip": name not in _DIRECT,
                        "labels": [
                            {"name": label, "cloud-image": "tiny", "flavor-name": "small"}
                            for label in pool
                        ],
                    }
                ],
            }
            for name, pool in offers.items()
        ],
    }


def trellis_document(
    converted: Mapping[str, Any], offers: Offers, *, port: int, max_servers: int
) -> dict[str, Any]:
    """A daemon's trellis.yaml: what *offers* leaves of a converted one."""
    providers = []
    for provider in converted["providers"]:
        if provider["name"] in offers:
            (pool,) = provider["pools"]
            labels = [x for x in pool["labels"] if x["name"] in offers[provider["name"]]]
            small = pool | {"labels": labels, "max-servers": max_servers}
            providers.append(provider | {"pools": [small]})
    (source,) = converted["demand-sources"]
    return {
        "deployment": converted["deployment"],
        "store": "sqlite:trellis.db",
        "web": {"listen": f"127.0.0.1:{port}"},
        "labels": [
            {"name": name}
            for name in dict.fromkeys(label for pool in offers.values() for label in pool)
        ],
        "providers": providers,
        "demand-sources": [dict(source) | {"take-over-after": f"{LEFT_S:g}s"}],
    }
