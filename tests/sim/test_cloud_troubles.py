"""The catalogue of a cloud's own faults: each can be asked for by its name, and has a source."""

import json

import attrs
import pytest

from trellis.errors import ConfigError
from trellis.sim.catalogue import CLOUD
from trellis.sim.cloud.spec import CloudSpec, Faults, Strangers
from trellis.sim.cloud.troubles import CloudTroubles
from trellis.sim.scenario_file import load_clouds

SETTINGS = {
    field.name.replace("_", "-")
    for kind in (Faults, Strangers, CloudSpec)
    for field in attrs.fields(kind)
}
ASKED_FOR = {
    "image-error": 0.25,
    "mishap-s": [1, 2],
    "down-cell-skipped": True,
    "clock-skew-s": -600,
    "quota-stuck": 3,
    "zone-dead": ["az1", "az2"],
}
DURATIONS = {"mishap-s", *(f"{x.name}-s" for x in CLOUD)} - {"list-lag-s", "clock-skew-s"}


@pytest.mark.parametrize("fault", CLOUD, ids=lambda fault: fault.name)
def test_fault_is_asked_for_by_its_name(fault):
    assert fault.name in SETTINGS
    assert fault.does.endswith(".")
    assert fault.source


def test_every_trouble_is_in_the_catalogue():
    """None is forgotten, and so none escapes a hunt's count."""
    asked_for = {field.name.replace("_", "-") for field in attrs.fields(CloudTroubles)} - DURATIONS
    assert asked_for - {fault.name for fault in CLOUD} == set()


def test_scenario_file_may_hold_each_of_them(tmp_path):
    """Words, numbers and lists of names as YAML has them; what is no fault is named."""
    text = f"""
clouds:
  - name: alpha
    faults: {json.dumps(ASKED_FOR)}
    strangers: {{every-s: 60, same-name: 0.5, other-deployment: 0.25, never-issued: 0.25}}
"""
    (tmp_path / "bad.yaml").write_text(text)
    (cloud,) = load_clouds(tmp_path / "bad.yaml").clouds
    assert cloud.faults == Faults(
        image_error=0.25,
        mishap_s=(1.0, 2.0),
        down_cell_skipped=True,
        clock_skew_s=-600.0,
        quota_stuck=3,
        zone_dead=("az1", "az2"),
    )
    assert cloud.strangers.never_issued == 0.25

    (tmp_path / "bad.yaml").write_text(text.replace("image-error", "image-eror"))
    with pytest.raises(ConfigError, match=r"bad.yaml:4:14: .*image-eror"):
        load_clouds(tmp_path / "bad.yaml")


def test_names_are_each_ones_own():
    names = [fault.name for fault in CLOUD]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"image_error": 1.5}, "probability"),
        ({"endless_delete_s": -1.0}, "at least"),
        ({"mishap_s": (5.0, 1.0)}, "the least and the most"),
        ({"clock_skew_s": 1e9}, "from -86400"),
        ({"quota_stuck": -1}, "at least"),
    ],
)
def test_impossible_numbers_are_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        Faults(**wrong)
