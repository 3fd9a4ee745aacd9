"""Record the cassettes of `cassettes/openstack` from the real OpenStack of `tests/realcloud`.

    .venv/bin/python -m tests.real.record_cassettes [STORY...]

It must be up (`tests/realcloud/up`). Everything happens in a project made for it and removed
after it. Look at what was recorded before you commit it: `git diff cassettes`.
"""

import argparse
import datetime
import os
import re
import sys
import tempfile
import warnings
from pathlib import Path
from urllib.parse import urlsplit

import attrs
import trio

from tests.real import stories
from tests.real.project import APPCRED, CLOUD, FLAVOR, IMAGE, NETWORK, Project, throwaway_project
from trellis.http import TransportSettings, lane_transports
from trellis.openstack.clouds import CloudConfig, read_clouds
from trellis.testing.cassette import Provenance, Recording, open_cassette

ROOT = Path(__file__).parents[2]
REALCLOUD = ROOT / "tests" / "realcloud"
TO = ROOT / "cassettes" / "openstack"
STATE = Path(os.environ.get("REALCLOUD_STATE", "/var/tmp/realcloud"))


class RealBeside:
    """What happens beside a story, done to the project by openstacksdk."""

    def __init__(self, project: Project) -> None:
        self._project = project

    async def set_cores(self, cores: int) -> None:
        """Change the project's quota of cores."""
        await trio.to_thread.run_sync(lambda: self._project.set_quota(cores=cores))

    async def revoke(self, token: str) -> None:
        """Make keystone refuse a token."""
        await trio.to_thread.run_sync(self._project.revoke, token)

    async def make_servers(self, count: int) -> None:
        """Make servers *paged-0* and so on, and wait until they are ACTIVE."""
        await trio.to_thread.run_sync(self._make, count)

    def _make(self, count: int) -> None:
        own = self._project.own
        made = [
            own.compute.create_server(
                name=f"paged-{number}",
                image_id=own.image.find_image(IMAGE, ignore_missing=False).id,
                flavor_id=own.compute.find_flavor(FLAVOR, ignore_missing=False).id,
                networks=[{"uuid": own.network.find_network(NETWORK, ignore_missing=False).id}],
            )
            for number in range(count)
        ]
        for server in made:
            own.compute.wait_for_server(server, wait=180, interval=0.3)


def stand_ins(project: Project) -> dict[str, str]:
    """What a cassette shows in the place of this machine and this project."""
    access = project.own.session.auth.get_access(project.own.session)
    origins = {}
    for service in access.service_catalog.catalog:
        for endpoint in service["endpoints"]:
            parts = urlsplit(endpoint["url"])
            origins[f"{parts.scheme}://{parts.netloc}"] = f"https://{service['type']}.cloud.example"
    return {
        **origins,
        project.name: stories.NAME,
        project.credential_id: stories.CREDENTIAL_ID,
    }


def config_for(story: stories.Story, project: Project) -> CloudConfig:
    """The story's configuration with this project's credentials."""
    clouds = read_clouds({"OS_CLIENT_CONFIG_FILE": str(project.clouds_yaml)})
    real = clouds.get(CLOUD if story.config.auth_type == "password" else APPCRED)
    wrong = "wrong" in story.config.auth.get("password", "")
    return attrs.evolve(real, auth={**real.auth, "password": "wrong"}) if wrong else real


def versions() -> str:
    """The cloud and its services, by the lock file it was installed from."""
    lock = (REALCLOUD / "requirements.lock").read_text(encoding="utf-8")
    found = dict(re.findall(r"^(keystone|nova|neutron|glance)==(\S+)", lock, re.MULTILINE))
    listed = ", ".join(f"{name} {version}" for name, version in sorted(found.items()))
    return f"OpenStack 2026.2, all real but the hypervisor (tests/realcloud): {listed}"


async def record(story: stories.Story, project: Project) -> None:
    """Run one story on the real cloud and write its cassette."""
    recording = Recording(
        inner=lane_transports()(TransportSettings(cloud=CLOUD)),
        provenance=Provenance(
            story=story.about,
            source="recorded",
            cloud=versions(),
            date=datetime.datetime.now(datetime.UTC).date().isoformat(),
            again=f".venv/bin/python -m tests.real.record_cassettes {story.name}",
        ),
        stand_ins=stand_ins(project),
        secrets=project.secrets,
    )
    config = config_for(story, project)
    with open_cassette(TO / story.path, recording=recording) as transport:
        async with transport, stories.scene(config, transport, RealBeside(project)) as scene:
            with trio.fail_after(300):
                await story.tell(scene)


def main() -> None:
    """Record the named stories, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("story", nargs="*", metavar="STORY", help=", ".join(stories.STORIES))
    wanted = parser.parse_args().story or list(stories.STORIES)
    if unknown := [name for name in wanted if name not in stories.STORIES]:
        parser.error(f"no story {unknown[0]}; there are: {', '.join(stories.STORIES)}")
    os.environ.setdefault("OS_CLIENT_CONFIG_FILE", str(STATE / "clouds.yaml"))
    warnings.filterwarnings("ignore", module="openstack")
    with tempfile.TemporaryDirectory() as folder, throwaway_project(Path(folder)) as project:
        for name in wanted:
            trio.run(record, stories.STORIES[name], project)
            project.wait_empty()
            print(f"recorded {stories.STORIES[name].path}", file=sys.stderr)


if __name__ == "__main__":
    main()
