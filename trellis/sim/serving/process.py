"""The whole of `trellis cloud`: clouds, machines, files and the port, for as long as it runs."""

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Network
from pathlib import Path
from random import Random
from shlex import quote
from typing import Final

import attrs
import trio

from trellis.config.addresses import ListenAddress
from trellis.errors import ConfigError
from trellis.plugin_host import load_plugins
from trellis.sim.cloud import CloudSpec, SimCloud
from trellis.sim.scenario_file import ServedScenario, load_clouds
from trellis.sim.serving.downloads import Downloads
from trellis.sim.serving.files import claimed, clouds_document, configuration_document
from trellis.sim.serving.front import CONTROL, Front, root_of
from trellis.sim.serving.http import listener, serve_http
from trellis.sim.serving.machines import Machines
from trellis.spi.registry import ProviderRegistry

BUILTIN: Final = Path(__file__).with_name("builtin.yaml")
_LEAST_RANGE: Final = 24


@attrs.frozen(kw_only=True)
class Served:
    """What is there once everything listens.

    Attributes:
        url: of the server; the cloud NAME has the root ``URL/NAME``.
        control: URL of the control face.
        clouds: their names.
        clouds_yaml, configuration: the files that were written.
        ssh_port: where nodes answer.
        run_within: words to put before a command that is to reach all this.
        next_command: starts the daemon with them, in any folder.
    """

    url: str
    control: str
    clouds: tuple[str, ...]
    clouds_yaml: Path
    configuration: Path
    ssh_port: int
    run_within: tuple[str, ...]
    next_command: str


def builtin_clouds() -> ServedScenario:
    """Three clouds of different kinds."""
    return load_clouds(BUILTIN)


async def serve_clouds(  # noqa: ASYNC114 - no context manager of ours starts it
    scenario: ServedScenario,
    *,
    machines: Machines,
    folder: Path,
    listen: ListenAddress,
    seed: int = 1,
    task_status: trio.TaskStatus[Served] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled. The files stay; nothing else does.

    Ids and host keys differ from run to run; how servers fare, project and user ids follow
    from the seed, so that a daemon knows the project again that it has worked in.

    Args:
        scenario: the clouds.
        machines: what stands behind their servers.
        folder: where the files go.
        listen: loopback address; port 0 takes a free one.
        seed: of what befalls calls and servers.
        task_status: started once everything listens and the files are there.

    Raises:
        ConfigError: something cannot be had; says what to do.
    """
    for spec in scenario.clouds:
        if spec.name == CONTROL:
            raise ConfigError([f"{scenario.name}: no cloud can be called {CONTROL!r}; rename it"])
    machines.prepare()
    # Stock clouds need no type looked up, and plugins take some tenths of a second to import.
    twins = any(spec.twin is not None for spec in scenario.clouds)
    types = load_plugins().providers if twins else ProviderRegistry()
    chance, ids = Random(seed), Random()
    with (
        claimed(folder) as ours,
        (bound := listener(listen)).socket,
        _uploads(folder if machines.boots_images else None) as uploaded,
    ):
        host, port = bound.socket.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        clouds = [
            SimCloud(
                spec, wall=time.time, random=Random(chance.getrandbits(64)),
                root=root_of(url, spec.name), ids=ids,
            )
            for spec in placed(scenario.clouds, machines.subnet)
        ]  # fmt: skip
        async with trio.open_nursery() as nursery:
            ssh_port = await nursery.start(machines.run, clouds)
            specs = [cloud.spec for cloud in clouds]
            configuration = configuration_document(
                specs,
                scenario.configuration,
                types,
                ssh_port=ssh_port,
                reachable=machines.reachable,
            )
            ours.write(ours.clouds_yaml, clouds_document(clouds, types))
            ours.write(ours.configuration, configuration)
            served = {cloud.spec.name: cloud for cloud in clouds}
            front = Front(served, keep_images=uploaded)
            nursery.start_soon(serve_http, bound, front)
            downloads = Downloads(nursery, keep_images=uploaded)
            for cloud in clouds:
                cloud.fetch_by(downloads.of(cloud.spec))
            within = [*machines.run_within, "env"] if machines.run_within else []
            variable = f"OS_CLIENT_CONFIG_FILE={quote(str(ours.clouds_yaml))}"
            serve = f"trellis serve -c {quote(str(ours.configuration))}"
            task_status.started(
                Served(
                    url=url,
                    control=f"{url}/{CONTROL}",
                    clouds=tuple(spec.name for spec in specs),
                    clouds_yaml=ours.clouds_yaml,
                    configuration=ours.configuration,
                    ssh_port=ssh_port,
                    run_within=machines.run_within,
                    next_command=" ".join([*within, variable, serve]),
                )
            )


@contextmanager
def _uploads(folder: Path | None) -> Iterator[Path | None]:
    """Have an empty place for uploaded files in a folder, and nothing of it afterwards.

    What a killed run left in it goes: no server of the new one is made from that.
    """
    if folder is None:
        yield None
        return
    place = folder.absolute() / "uploaded"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    try:
        yield place
    finally:
        shutil.rmtree(place)


def placed(specs: Sequence[CloudSpec], subnet: IPv4Network) -> list[CloudSpec]:
    """Give every region of every cloud an equal part of *subnet* for what is reached from outside.

    Ranges that a spec chose itself for such networks give way: machines are found by address.

    Raises:
        ConfigError: there are more regions than it can be parted for.
    """
    count = sum(len(spec.regions) for spec in specs)
    deeper = max(0, count - 1).bit_length()
    if subnet.prefixlen + deeper > _LEAST_RANGE:
        raise ConfigError(
            [f"{count} regions are too many for the addresses of {subnet}: use fewer"]
        )
    parts = map(str, subnet.subnets(prefixlen_diff=deeper))
    found = []
    for spec in specs:
        networks = tuple(
            attrs.evolve(network, cidr=None) if network.external or network.reachable else network
            for network in spec.networks
        )
        outside = tuple(next(parts) for _ in spec.regions)
        found.append(attrs.evolve(spec, networks=networks, outside=outside))
    return found
