"""A small site with a launcher and a builder, of which tests take what they need."""

from pathlib import Path
from typing import Any

from trellis.config import Configuration, parse
from trellis.nodepool import (
    Change,
    Converted,
    NodepoolFile,
    Site,
    convert,
    read_nodepool,
    read_secure,
    sites,
)
from trellis.plugin_host import PluginHost, built_in_plugins

HOST = PluginHost(built_in_plugins())

LAUNCHER = """\
zookeeper-servers: [{host: zk01.example.org, port: 2281}]
labels:
  - {name: jammy, min-ready: 2, max-ready-age: 3600}
providers:
  - name: rax-dfw
    region-name: DFW
    cloud: rax
    diskimages:
      - {name: ubuntu-jammy, config-drive: true}
    pools:
      - name: main
        max-servers: 140
        labels:
          - {name: jammy, min-ram: 8192, flavor-name: Performance, diskimage: ubuntu-jammy}
diskimages:
  - name: ubuntu-jammy
"""
BUILDER = """\
elements-dir: /etc/nodepool/elements
images-dir: /opt/dib
providers:
  - name: rax-dfw
    region-name: DFW
    cloud: rax
    rate: 0.01
    diskimages:
      - {name: ubuntu-jammy, meta: {os_type: linux}}
diskimages:
  - name: base
    abstract: true
    elements: [vm, simple-init]
    env-vars: {DIB_CHECKSUM: '1'}
  - name: ubuntu-jammy
    parent: base
    release: jammy
    elements: [ubuntu-minimal]
    env-vars: {DIB_JOURNAL_SIZE: '512'}
"""
ONE = """\
labels: [{name: jammy}]
providers:
  - name: p
    cloud: c
    diskimages: [{name: i}]
    PROVIDER: x
    pools:
      - name: main
        POOL: x
        labels:
          - name: jammy
            diskimage: i
            flavor-name: f
            LABEL: x
diskimages:
  - name: i
    elements: [vm]
    IMAGE: x
"""
"""One of each, with places for keys."""


def one(**keys: str) -> str:
    """`ONE` with lines in its places: PROVIDER, POOL, LABEL, IMAGE, TOP."""
    text = ONE
    for place in ("PROVIDER", "POOL", "LABEL", "IMAGE"):
        line = next(line for line in text.splitlines() if line.strip() == f"{place}: x")
        blank = line[: line.index(place)]
        wanted = keys.get(place.lower(), "").splitlines()
        text = text.replace(f"{line}\n", "".join(f"{blank}{one}\n" for one in wanted))
    return keys.get("top", "") + text


def site_of(*texts: str, secure: str = "", environment: dict[str, str] | None = None) -> Site:
    """The one site of files called 0.yaml, 1.yaml, …"""
    hidden = [read_secure(secure, {}, file="secure.yaml")] if secure else []
    (site,) = sites(read(*texts, environment=environment), hidden)
    return site


def read(*texts: str, environment: dict[str, str] | None = None) -> list[NodepoolFile]:
    return [
        read_nodepool(text, environment or {}, file=f"{i}.yaml") for i, text in enumerate(texts)
    ]


def loaded(converted: Converted) -> Configuration:
    """The result as the daemon would read it."""
    return parse(
        converted.text, HOST.providers, HOST.image_builders, file="t", folder=Path("/etc")
    ).configuration


def imported(*texts: str, secure: str = "", **options: Any) -> tuple[Configuration, Converted]:
    """Files, converted without a demand source, which is a plugin's."""
    converted = convert(site_of(*texts, secure=secure), demand=False, **options)
    return loaded(converted), converted


def told(converted: Converted, key: str) -> Change:
    """The one change that is told of a key."""
    (change,) = [change for change in converted.changes if change.key == key]
    return change
