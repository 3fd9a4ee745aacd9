"""Simulated clouds whose servers boot what was uploaded, and a daemon that builds it."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.ssh.place import Place

FORMATS = {"north": "qcow2", "south": "raw"}
"""What each provider is sent."""
_CLOUD = """
  - name: {name}
    networks: [{{name: public, external: true}}]
    boot: {{median: 0.3, p95: 0.3}}
    delete: {{median: 0.3, p95: 0.3}}"""
_PROVIDER = """
    - name: {name}
      type: openstack
      cloud: {name}
      image-format: {format}
      sweep: delete
      boot-timeout: {boot_s}
      launch-timeout: {launch_s}
      pools:
        - name: main
          labels: [{{name: {name}, image: mini, flavor-name: ci-1c-1g, key-name: mine}}]"""


def scenario(boot_s: int, *, places: Sequence[str] = tuple(FORMATS), **image: Any) -> str:
    """Clouds, and one image with these keys that all of them want.

    Args:
        boot_s: longest time that a node may take to answer.
        places: the clouds, of those in `FORMATS`.
        image: its keys, with underscores.
    """
    keys = "".join(f"\n      {name.replace('_', '-')}: {value}" for name, value in image.items())
    clouds = "".join(_CLOUD.format(name=name) for name in places)
    labels = "".join(f"\n    - name: {name}" for name in places)
    providers = "".join(
        _PROVIDER.format(
            name=name, format=FORMATS[name], boot_s=boot_s, launch_s=boot_s + 60
        )
        for name in places
    )  # fmt: skip
    return f"""
clouds:{clouds}
configuration:
  deployment: image-test
  images:
    - name: mini{keys}
  labels:{labels}
  providers:{providers}
"""


class Chain(Place):
    """Clouds with machines, and a daemon that has an image for them.

    Args:
        folder: of all its files.
        prefix: begins the names of its namespaces.
        boot_s: see `scenario`.
        places: see `scenario`.
        image: see `scenario`.
    """

    def __init__(
        self, folder: Path, prefix: str, *, boot_s: int, places: Sequence[str] = tuple(FORMATS),
        **image: Any,
    ) -> None:  # fmt: skip
        text = scenario(boot_s, places=places, **image)
        super().__init__(folder, prefix, scenario=text, nodes="vm")
        self._places = set(places)

    @property
    def images(self) -> Path:
        """Where the daemon keeps the files of its builds."""
        return self.clouds.folder / "images"

    def image(self) -> dict[str, Any]:
        """What the daemon shows of its image."""
        found: dict[str, Any] = self.api("GET", "/images/mini")
        return found

    def served(self, build: str) -> dict[str, dict[str, Any]]:
        """The uploads of a build that serve launches, by provider."""
        return {
            place["provider"]: upload
            for place in self.image()["places"]
            for upload in place["uploads"]
            if upload["build_id"] == build and upload["state"] == "ready" and upload["serving"]
        }

    def wait_served(self, build: str) -> dict[str, dict[str, Any]]:
        """Wait until a build serves at every provider."""

        def everywhere() -> dict[str, dict[str, Any]] | None:
            found = self.served(build)
            return found if found.keys() == self._places else None

        return self.wait_for(f"{build} serves everywhere", everywhere)

    def console(self, node: dict[str, Any]) -> str:
        """What a node's machine has written, as its Nova shows it."""
        compute, headers = self.service(node["provider"], "compute")
        url = f"{compute}/servers/{node['external_id']}/action"
        answer = self.http("POST", url, headers=headers, json={"os-getConsoleOutput": {}})
        assert answer.status_code == 200, answer.text
        output: str = answer.json()["output"]
        return output

    def keys_on_console(self, node: dict[str, Any]) -> set[str]:
        """The host keys that a node's machine says it has; without their comments."""
        shown = self.console(node).partition("-----BEGIN SSH HOST KEY KEYS-----")[2]
        lines = shown.partition("-----END SSH HOST KEY KEYS-----")[0].splitlines()
        return {" ".join(line.split()[:2]) for line in lines if line.strip()}

    def kept(self) -> list[str]:
        """The checksums of the image files that the clouds have."""
        files = (self.clouds.folder / "uploaded").iterdir()
        return sorted(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
