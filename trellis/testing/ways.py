"""The way to the cloud of a trial or a stage: to a twin in the same process, or to a live one."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any, Final

import attrs
import trio
import yaml

from trellis.http import TransportFactory
from trellis.openstack.clouds import CloudConfig, read_clouds
from trellis.openstack.profile import CloudProfile
from trellis.sim.cloud import CloudSpec, IdentityVersions, SimCloud, SimTransport
from trellis.spi.registry import ProviderRegistry

EPOCH: Final = 1_767_225_600.0
"""When simulated clouds begin: 2026-01-01."""

Connect = Callable[[str, int], Awaitable[trio.abc.Stream]]


@attrs.frozen(kw_only=True)
class Way:
    """How to come to the cloud of a trial.

    Attributes:
        kind: the provider type.
        types: where it is registered.
        read: gives the configuration of its cloud.
        transports: the wires to it.
        connect: opens a stream to a server.
        wall: UTC seconds.
        region: None for the only one, or the first of the entry.
        twin: the simulated cloud; None for a live one.
    """

    kind: str
    types: ProviderRegistry
    read: Callable[..., CloudConfig]
    transports: TransportFactory
    connect: Connect
    wall: Callable[[], float]
    region: str | None = None
    twin: SimCloud | None = None


def twin_label(spec: CloudSpec) -> dict[str, Any]:
    """A label that a twin can make servers of: its first image, its first flavor that is usable."""
    image = next(image.name for image in spec.images if image.status == "active")
    flavors = [flavor for flavor in spec.flavors if flavor.placeable]
    with_disk = [flavor for flavor in flavors if flavor.disk_gib]
    label: dict[str, Any] = {"cloud-image": image, "flavor-name": (with_disk or flavors)[0].name}
    return label if with_disk else {**label, "boot-from-volume": True, "volume-size": 10}


def twin_entry(cloud: SimCloud, profile: CloudProfile | None) -> dict[str, Any]:
    """The entry of clouds.yaml with which a customer of a twin logs in.

    By application credential where the cloud's profile says so, else by name and password; any
    other way of logging in is for the plugin's own test to write.
    """
    who, spec = cloud.spec.credentials, cloud.spec
    known = {} if profile is None else profile.entry
    auth: dict[str, str] = {"auth_url": cloud.auth_url}
    if "applicationcredential" in str(known.get("auth_type", "")):
        auth["application_credential_id"] = who.application_credential_id
        auth["application_credential_secret"] = who.application_credential_secret
    else:
        auth |= {"username": who.username, "password": who.password, "project_name": who.project}
        if spec.identity is not IdentityVersions.V2:
            auth["user_domain_name"] = who.user_domain
            auth["project_domain_name"] = who.project_domain
    entry: dict[str, Any] = {"auth": auth, "region_name": spec.regions[0]}
    return entry if profile is None else {"profile": profile.name, **entry}


def twin_way(
    kind: str,
    types: ProviderRegistry,
    cloud: SimCloud,
    entry: Mapping[str, Any],
    folder: Path,
) -> Way:
    """The way to a twin, by a clouds.yaml in *folder* with this entry."""
    file = folder / "clouds.yaml"
    file.write_text(yaml.safe_dump({"clouds": {cloud.spec.name: dict(entry)}}), encoding="utf-8")
    return Way(
        kind=kind,
        types=types,
        read=reader(types, {"OS_CLIENT_CONFIG_FILE": str(file)}),
        transports=lambda _settings: SimTransport(cloud),
        connect=cloud.connect,
        wall=_virtual_wall,
        region=cloud.spec.regions[0],
        twin=cloud,
    )


def reader(
    types: ProviderRegistry, environ: Mapping[str, str] | None = None
) -> Callable[..., CloudConfig]:
    """What reads clouds.yaml as the daemon does, with the profiles of the plugins."""
    profiles = {name: found.entry for name, found in types.profiles().items()}

    def read(name: str, region: str | None, *, profile: str | None = None) -> CloudConfig:
        return read_clouds(environ, profiles=profiles).get(name, region, profile=profile)

    return read


def a_twin(spec: CloudSpec, **changes: Any) -> SimCloud:
    """A simulated cloud whose time is that of the test."""
    return SimCloud(attrs.evolve(spec, **changes), wall=_virtual_wall, random=Random(1))


def _virtual_wall() -> float:
    return EPOCH + trio.current_time()
