"""`trellis config check`: the file, and the clouds that its providers name."""

import json

import pytest

CONFIGURATION = """\
deployment: ci-main
labels: [{name: small}]
providers:
  - name: ovh-bhs1
    type: openstack
    cloud: ovh
    region-name: BHS1
    pools: [{name: main, labels: [{name: small, cloud-image: tiny, flavor-name: b2-7}]}]
"""
CLOUDS = """\
clouds:
  ovh:
    auth: {auth_url: "https://cloud.example/v3", username: u, password: hunter2, project_name: p}
    regions: [BHS1, GRA]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a configuration; the only clouds.yaml that is found is the one in it."""
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    monkeypatch.delenv("OS_CLOUD", raising=False)
    (tmp_path / "trellis.yaml").write_text(CONFIGURATION)
    (tmp_path / "clouds.yaml").write_text(CLOUDS)
    return tmp_path


def test_file_whose_clouds_are_there_is_ok(folder, run):
    """Nothing is said but that."""
    result = run("config", "check", str(folder / "trellis.yaml"))

    assert (result.exit_code, result.stdout) == (0, f"{folder / 'trellis.yaml'}: ok\n")
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("wrong", "right", "place", "remedy"),
    [
        ("cloud: ovh", "cloud: ovhh", "6:12: providers.0.cloud", "did you mean ovh?"),
        ("BHS1", "bhs1", "7:18: providers.0.region-name", "there is: BHS1, GRA"),
    ],
)
def test_unknown_cloud_or_region_is_told_with_its_place(folder, run, wrong, right, place, remedy):
    """Where it is named, and what there is instead."""
    file = folder / "trellis.yaml"
    file.write_text(CONFIGURATION.replace(wrong, right))

    result = run("config", "check", str(file))

    assert (result.exit_code, result.stdout) == (1, "")
    assert f"trellis.yaml:{place}" in result.stderr
    assert remedy in result.stderr


def test_offline_leaves_the_clouds_out(folder, run):
    """For a machine that has no clouds.yaml, such as one that checks changes."""
    (folder / "clouds.yaml").unlink()

    checked = run("config", "check", str(folder / "trellis.yaml"))
    offline = run("config", "check", str(folder / "trellis.yaml"), "--offline")

    assert checked.exit_code == 1
    assert "clouds.yaml" in checked.stderr
    assert offline.exit_code == 0


def test_fault_of_clouds_yaml_itself_is_told(folder, run):
    """With its own place; and no secret of it."""
    (folder / "clouds.yaml").write_text(CLOUDS.replace("regions: [BHS1, GRA]", "regions: 7"))

    result = run("config", "check", str(folder / "trellis.yaml"))

    assert result.exit_code == 1
    assert "clouds.yaml:4:5" in result.stderr
    assert "hunter2" not in result.output


def test_outcome_is_data_for_a_program(folder, run):
    """Both when it is right and when it is wrong."""
    file = folder / "trellis.yaml"
    right = run("config", "check", str(file), "-o", "json")
    file.write_text(CONFIGURATION + "labls: []\n")
    wrong = run("config", "check", str(file), "-o", "json")

    assert (right.exit_code, wrong.exit_code) == (0, 1)
    assert json.loads(right.stdout) == {
        "file": str(file), "ok": True, "faults": [], "warnings": [],
    }  # fmt: skip
    (fault,) = json.loads(wrong.stdout)["faults"]
    assert "did you mean 'labels'" in fault


def test_configuration_without_providers_needs_no_clouds(folder, run):
    """There is nothing to look for."""
    (folder / "clouds.yaml").unlink()
    (folder / "trellis.yaml").write_text("deployment: ci-main\n")

    assert run("config", "check", str(folder / "trellis.yaml")).exit_code == 0
