"""Days on Rackspace's twins on which much goes wrong: nothing is lost, nothing is left over."""

from typing import Any

import attrs
import pytest
import yaml

from trellis.sim.scenario_file import load_scenario
from trellis.sim.simulate import simulate

TROUBLE = {
    "boot-error": 0.05, "lose-answer": 0.03, "lose-request": 0.02, "no-ssh": 0.02,
    "stuck-delete": 0.02, "stuck-delete-s": 300, "delete-error": 0.02, "late-address": 0.05,
}  # fmt: skip
LABELS: dict[str, dict[str, Any]] = {
    "rackspace": {"cloud-image": "Debian 12 (PVHVM)", "flavor-name": "2 GB Performance"},
    "rackspaceflex": {"cloud-image": "Debian-12", "flavor-name": "gp.5.4.8"},
}
REGIONS = {"rackspace": "DFW", "rackspaceflex": "DFW3"}


def story(kind: str) -> dict[str, Any]:
    """A day on one of them: strangers in the project, four minutes of trouble, four kills."""
    pool = {"name": "main", "labels": [{"name": "small", **LABELS[kind]}]}
    provider = {
        "name": "rax", "type": kind, "cloud": kind, "sweep": "delete",
        "region-name": REGIONS[kind], "launch-retries": 10, "pools": [pool],
    }  # fmt: skip
    cloud = {
        "twin": kind,
        "boot": {"median": 20, "p95": 45},
        "guest": {"median": 3, "p95": 8},
        "strangers": {
            "servers-at-start": 2, "every-s": 40, "stay-s": 60, "same-name": 0.5,
            "other-deployment": 0.5,
        },
        "fault-windows": [{"start": 0, "end": 240, "faults": TROUBLE}],
    }  # fmt: skip
    return {
        "clouds": [cloud],
        "configuration": {
            "deployment": "rough",
            "labels": [{"name": "small", "min-ready": 1}],
            "providers": [provider],
        },
        "demand": {
            "requests": 60, "every-s": 3, "labels": ["small"], "sizes": [1.0],
            "use": {"median": 40, "p95": 120},
        },
        "kills": 4,
        "faults-end": 240,
    }  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    ("kind", "ways"),
    [
        ("rackspace", {}),
        (
            "rackspace",
            {"rackconnect": "DEPLOYED", "rackconnect_s": 30.0, "managed": "Complete",
             "managed_s": 20.0},
        ),
        ("rackspaceflex", {}),
    ],
    ids=["classic", "RackConnect", "Flex"],
)  # fmt: skip
def test_nothing_is_left_of_a_rough_day(kind, ways, seed, tmp_path):
    """Addresses change under way, deleted servers stay in lists, and the daemon is killed."""
    file = tmp_path / "rough.yaml"
    file.write_text(yaml.safe_dump(story(kind)))
    scenario = load_scenario(file)
    (cloud,) = scenario.clouds
    cloud = attrs.evolve(cloud, behaviour=attrs.evolve(cloud.behaviour, **ways))

    outcome = simulate(attrs.evolve(scenario, clouds=(cloud,)), seed)

    assert [str(violation) for violation in outcome.violations] == []
    assert sum(outcome.kill_points.values()) >= 4
    assert outcome.lives >= 60
