"""What tests of the command `trellis simulate` share: one provider on one cloud, and its runner."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from trellis.cli.main import main

CONFIGURATION = """\
configuration:
  deployment: sim
  labels: [{name: small}]
  providers:
    - name: one
      type: openstack
      cloud: one
      sweep: report
      pools:
        - name: main
          networks: [public]
          labels: [{name: small, cloud-image: tiny, flavor-name: ci-1c-1g}]
"""
"""The end of a scenario whose cloud is called ``one``."""


def runner(
    story: str, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Write a story down; gives what runs ``trellis simulate`` with arguments in its folder."""
    (folder / name).write_text(story)
    monkeypatch.chdir(folder)
    return lambda *arguments: CliRunner().invoke(main, ["simulate", *arguments])
