"""Days on HP's twin on which much goes wrong: nothing is lost, and nothing is left over."""

import pytest
import yaml

from trellis.sim.scenario_file import load_scenario
from trellis.sim.simulate import simulate

TROUBLE = {
    "boot-error": 0.05, "lose-answer": 0.03, "lose-request": 0.02, "no-ssh": 0.02,
    "stuck-delete": 0.02, "stuck-delete-s": 300, "delete-error": 0.02, "late-address": 0.05,
    "floating-ip-delete-missing": 0.1, "list-lag-s": 2,
}  # fmt: skip
IMAGE = "Ubuntu Server 14.04 LTS (amd64)"
STORY = {
    "clouds": [
        {
            "twin": "hpcloud",
            "regions": ["region-a.geo-1"],
            "boot": {"median": 20, "p95": 45},
            "guest": {"median": 3, "p95": 8},
            "strangers": {
                "servers-at-start": 2, "floating-ips-at-start": 2, "every-s": 40, "stay-s": 60,
                "same-name": 0.5, "other-deployment": 0.5,
            },
            "fault-windows": [{"start": 0, "end": 240, "faults": TROUBLE}],
        }
    ],
    "configuration": {
        "deployment": "rough",
        "labels": [{"name": "small", "min-ready": 1}],
        "providers": [
            {
                "name": "hp", "type": "hpcloud", "cloud": "hpcloud", "sweep": "delete",
                "region-name": "region-a.geo-1", "launch-retries": 10,
                "pools": [
                    {
                        "name": "main",
                        "networks": ["ci-net-1", "ci-net-2", "ci-net-3"],
                        "labels": [
                            {
                                "name": "small", "cloud-image": IMAGE,
                                "flavor-name": "standard.xsmall",
                            }
                        ],
                    }
                ],
            }
        ],
    },
    "demand": {
        "requests": 60, "every-s": 3, "labels": ["small"], "sizes": [1.0],
        "use": {"median": 40, "p95": 120},
    },
    "kills": 4,
    "faults-end": 240,
}  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_left_of_a_rough_day(seed, tmp_path):
    """Floating IPs carry no mark, some deletes of them lie, and the daemon is killed."""
    file = tmp_path / "rough.yaml"
    file.write_text(yaml.safe_dump(STORY))

    outcome = simulate(load_scenario(file), seed)

    assert [violation.story for violation in outcome.violations] == []
    assert outcome.struck["floating-ip-delete-missing"] > 0
    assert sum(outcome.kill_points.values()) >= STORY["kills"]
