"""What pytest gets from an installed Trellis, tried in a pytest of its own."""

import os
import subprocess
import sys
import textwrap

import pytest

import trellis.testing

pytestmark = pytest.mark.slow


def run_pytest(folder, test, *options, without=(), environment=None):
    """Run a test file; *without* hides modules, as where the extra is not installed."""
    (folder / "pyproject.toml").write_text("[tool.pytest.ini_options]\ntrio_mode = true\n")
    if without:
        (folder / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    (folder / "test_it.py").write_text(textwrap.dedent(test))
    hide = "".join(
        f"import importlib.util as u; f = u.find_spec; "
        f"u.find_spec = lambda n, *a: None if n in {tuple(without)!r} else f(n, *a)\n"
        if without
        else ""
    )
    program = f"{hide}import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"
    blocked = [option for name in without for option in ("-p", f"no:{name.removeprefix('py')}")]
    return subprocess.run(
        [sys.executable, "-c", program, "-q", "-ra", "-p", "no:cacheprovider", *blocked, *options],
        cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, **(environment or {})},
    )  # fmt: skip


def test_fixtures_make_a_twin_a_stage_and_virtual_time(tmp_path):
    """An hour of the cloud's passes in no time."""
    done = run_pytest(
        tmp_path,
        """
        from trellis.testing import CloudSpec

        async def test_twin(trellis_twin, trellis_clock):
            assert trellis_twin(page=7).spec.page == 7
            assert trellis_twin(CloudSpec(name="mine")).auth_url.startswith("http://mine.sim/")

        async def test_stage(trellis_stage, trellis_clock):
            stage = trellis_stage(twin=CloudSpec(name="mine"), type="openstack")
            async with stage.running():
                (node,) = await stage.nodes()
            assert node.provider == "trial"
        """,
    )

    assert "2 passed" in done.stdout, done.stdout


CASSETTE = """\
# story: a version document is read.
# source: documented in a test
# cloud: none
# date: 2026-11-23
# again: by hand
interactions:
- request: {method: GET, uri: "http://cloud.example/", body: "", headers: {}}
  response:
    status: {code: 200, message: OK}
    headers: {}
    body: {string: "{}"}
version: 1
"""
REPLAY = """
import httpx

async def test_asks(trellis_cassette):
    transport = trellis_cassette("identity/versions.yaml")
    async with httpx.AsyncClient(transport=transport) as client:
        assert (await client.get("http://cloud.example/")).json() == {}

async def test_asks_nothing(trellis_cassette):
    trellis_cassette("identity/versions.yaml")

async def test_has_none(trellis_cassette):
    trellis_cassette("identity/lost.yaml")
"""


def test_a_cassette_is_replayed_and_settled(tmp_path):
    """What was recorded and not asked for fails at the end; one that is missing is looked for."""
    (tmp_path / "cassettes/identity").mkdir(parents=True)
    (tmp_path / "cassettes/identity/versions.yaml").write_text(CASSETTE)

    done = run_pytest(tmp_path, REPLAY)

    assert "1 failed, 2 passed, 1 error" in done.stdout, done.stdout
    assert "recorded, but never asked for" in done.stdout
    assert "there is no cassette identity/lost.yaml; looked in: " in done.stdout


CONFORMING = """
from trellis.testing import CloudSpec, ProviderConformance

class TestMine(ProviderConformance):
    type = "openstack"
    twin = CloudSpec(name="mine")
    pool = {"auto-floating-ip": False}
"""


def test_conformance_tests_run_and_a_skip_names_the_missing_capability(tmp_path):
    """Also where the project has no ``trio_mode``."""
    (tmp_path / "conftest.py").write_text("")

    done = run_pytest(tmp_path, CONFORMING, "-k", "floating or limits")

    assert " failed" not in done.stdout, done.stdout
    assert "openstack lacks the capability floating-ips" in done.stdout
    assert "ProviderConformance" not in done.stdout


@pytest.mark.parametrize(
    ("test", "words"),
    [
        (
            'type = "nocloud"\n    twin = CloudSpec(name="x")',
            "registers the provider type 'nocloud'",
        ),
        ('type = "openstack"', "TestMine has no twin: set `twin` to a CloudSpec"),
    ],
    ids=["no-such-type", "no-twin"],
)
def test_a_class_that_lacks_something_says_what(tmp_path, test, words):
    """And no traceback is to be read."""
    head = "from trellis.testing import CloudSpec, ProviderConformance\n\n"
    done = run_pytest(
        tmp_path,
        f"{head}class TestMine(ProviderConformance):\n    {test}\n",
        *("-k", "limits"),
    )

    assert words in done.stdout, done.stdout


def test_live_needs_an_image(tmp_path):
    """Said before anything is made."""
    done = run_pytest(tmp_path, CONFORMING, "--live", "mycloud", "-k", "limits")

    assert "--live needs --live-image NAME" in done.stdout, done.stdout


def test_live_goes_to_the_entry_of_clouds_yaml(tmp_path):
    """And not to the twin."""
    clouds = tmp_path / "clouds.yaml"
    clouds.write_text("clouds: {other: {auth: {}}}")

    done = run_pytest(
        tmp_path,
        CONFORMING,
        *("--live", "mycloud", "--live-image", "debian", "-k", "limits"),
        environment={"OS_CLIENT_CONFIG_FILE": str(clouds)},
    )

    assert "there is no cloud mycloud" in done.stdout, done.stdout


def test_without_the_extra_nothing_is_added_and_nothing_breaks(tmp_path):
    """Others' tests, in an environment where Trellis and pytest are installed for other reasons."""
    done = run_pytest(
        tmp_path,
        """
        import sys

        def test_of_somebody_else(pytestconfig):
            assert pytestconfig.getoption("--live", "none") == "none"
            assert "trellis.sim" not in sys.modules

        def test_that_asks_for_a_twin(trellis_twin):
            raise AssertionError("never run")
        """,
        without=("pytest_trio", "vcr"),
    )

    assert "1 passed, 1 error" in done.stdout, done.stdout
    assert "pip install 'trellis-ci[testing]'" in done.stdout


def test_nothing_heavy_is_imported_until_a_fixture_is_asked_for(tmp_path):
    """Whoever has Trellis installed pays no second for each pytest."""
    done = run_pytest(
        tmp_path,
        """
        import sys

        def test_of_somebody_else():
            ours = [name for name in sys.modules if name.startswith("trellis")]
            assert sorted(ours) == [
                "trellis", "trellis.testing", "trellis.testing.live",
                "trellis.testing.pytest_plugin",
            ]
        """,
    )

    assert "1 passed" in done.stdout, done.stdout


@pytest.mark.parametrize("name", trellis.testing.__all__)
def test_every_name_of_the_kit_is_there(name):
    """Imported when it is asked for."""
    assert getattr(trellis.testing, name) is not None
    assert name in dir(trellis.testing)


def test_a_name_that_the_kit_lacks_is_an_attribute_error():
    """As of any module."""
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        trellis.testing.Nothing  # noqa: B018
