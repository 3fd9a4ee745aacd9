"""Record the plugins' own exchanges from the real OpenStack of `tests/realcloud`.

    .venv/bin/python -m tests.real.record_clouds [TYPE...]

It must be up (`tests/realcloud/up`). Each plugin is recorded in a throwaway project with the
networks of its cloud (`tests.real.topologies`), by the stories of `trellis plugin record`, into
`cassettes/TYPE`. The login is the real cloud's own, as there is none of theirs; so are the
services. Look at what was recorded before you commit it: `git diff cassettes`.
"""

import argparse
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

import trio

from tests.real.project import CLOUD, Project, throwaway_project
from tests.real.record_cassettes import ROOT, STATE, versions
from tests.real.topologies import LABEL, TOPOLOGIES, Topology
from trellis.http import lane_transports
from trellis.inspection.opening import read_cloud
from trellis.plugin_host import load_plugins
from trellis.testing.cloud_stories import STORIES
from trellis.testing.recording import Place, record

INTO = ROOT / "cassettes"


def place_of(topology: Topology, project: Project) -> Place:
    """The plugin of a topology, at the throwaway project."""
    types = load_plugins(environment={}).providers
    registration = types.get(topology.kind)
    assert registration is not None, f"no plugin offers {topology.kind}; install plugins/"
    environ = {"OS_CLIENT_CONFIG_FILE": str(project.clouds_yaml)}
    cloud = read_cloud(CLOUD, None, types, topology.kind, environ)
    pool = {"networks": [topology.network]} if topology.network else {}
    return Place(registration=registration, registry=types, cloud=cloud, label=LABEL, pool=pool)


async def record_all(topology: Topology, project: Project, into: Path) -> None:
    """Record all stories of a topology."""
    place = place_of(topology, project)
    for name in topology.stories:
        done = await record(
            STORIES[name],
            place,
            into / topology.kind,
            lane_transports(),
            described=f"{versions()}; {topology.described}",
            again=f".venv/bin/python -m tests.real.record_clouds {topology.kind}",
            hide_hosts=True,
            wall=time.time,
        )
        print(f"recorded {done.path} ({done.calls} calls)", file=sys.stderr)


def main() -> None:
    """Record the named types, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("type", nargs="*", metavar="TYPE", help=", ".join(TOPOLOGIES))
    wanted = parser.parse_args().type or list(TOPOLOGIES)
    if unknown := [name for name in wanted if name not in TOPOLOGIES]:
        parser.error(f"no type {unknown[0]}; there are: {', '.join(TOPOLOGIES)}")
    os.environ.setdefault("OS_CLIENT_CONFIG_FILE", str(STATE / "clouds.yaml"))
    warnings.filterwarnings("ignore", module="openstack")
    for name in wanted:
        topology = TOPOLOGIES[name]
        with (
            tempfile.TemporaryDirectory() as folder,
            throwaway_project(Path(folder)) as project,
            topology.lays(project),
        ):
            trio.run(record_all, topology, project, INTO)


if __name__ == "__main__":
    main()
