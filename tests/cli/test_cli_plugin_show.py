"""``trellis plugin show``: a plugin, or the cloud of one of its types, with every quirk."""

import json
import types

import pytest
import yaml
from trellis_vendors.plugin import PROFILES

from trellis import plugin_host
from trellis.plugin_host import Plugin
from trellis.spi.provider import SPI_VERSION


def test_a_plugin_is_shown_with_all_its_clouds(run):
    """Hooks, types, and of each quirk all that is known."""
    shown = json.loads(run("plugin", "show", "vendors", "-o", "json").stdout)

    assert (shown["name"], shown["origin"]) == ("vendors", "trellis-vendors")
    assert (shown["state"], shown["spi_version"]) == ("active", SPI_VERSION)
    assert shown["hooks"] == ["trellis_register_providers"]
    assert [cloud["type"] for cloud in shown["clouds"]] == sorted(p.name for p in PROFILES)
    by_name = {profile.name: profile for profile in PROFILES}
    for cloud in shown["clouds"]:
        profile = by_name[cloud["profile"]]
        assert [quirk["name"] for quirk in cloud["quirks"]] == [q.name for q in profile.quirks]
        for quirk in cloud["quirks"]:
            assert all(quirk[key] for key in ("does", "evidence", "era", "check", "sure"))
            assert quirk["section"]


def test_a_type_is_shown_with_its_own_cloud(run):
    """By the plugin that registers it."""
    shown = yaml.safe_load(run("plugin", "show", "cleura", "-o", "yaml").stdout)

    assert shown["name"] == "vendors"
    (cloud,) = shown["clouds"]
    assert (cloud["type"], cloud["title"]) == ("cleura", "Cleura")
    assert cloud["regions"] == ["Kna1", "Sto2", "Fra1", "Buf1", "dx1", "tky1"]
    zones = next(quirk for quirk in cloud["quirks"] if quirk["name"] == "zones")
    assert (zones["value"], zones["stock"]) == ("nova", "Every zone that is shown works.")


def test_the_table_has_the_same(run):
    """For people: what the cloud does beside what stock does, and how to see it again."""
    shown = run("plugin", "show", "cleura").stdout

    for words in (
        "trellis-vendors", "CleuraConfig", "Cleura", "zones=nova", "2016-19",
        "The zone nova-local is shown and cannot be used.", "Every zone that is shown works.",
        "create a server in nova-local", "(documented)",
    ):  # fmt: skip
        assert words in shown


def test_the_stock_type_has_no_quirks(run):
    """And is shown all the same."""
    shown = run("plugin", "show", "openstack")

    assert shown.exit_code == 0
    assert "built-in" in shown.stdout
    assert "QUIRK" not in shown.stdout


@pytest.mark.parametrize(
    ("name", "words"), [("vendor", "did you mean vendors?"), ("zzz", "there is: openstack")]
)
def test_what_is_not_there_is_refused_with_what_is(run, name, words):
    """Near names first."""
    refused = run("plugin", "show", name)

    assert refused.exit_code == 1
    assert f"there is no plugin or provider type {name}" in refused.stderr
    assert words in " ".join(refused.stderr.split())


def test_a_broken_plugin_is_shown_with_what_is_wrong(run, monkeypatch):
    """And what to upgrade."""
    module = types.ModuleType("ahead")
    module.trellis_spi_version = SPI_VERSION + 1
    ahead = Plugin(name="ahead", load=lambda: module, origin="trellis-ahead", version="9.0")
    monkeypatch.setattr(plugin_host, "installed_plugins", lambda: (ahead,))

    shown = json.loads(run("plugin", "show", "ahead", "-o", "json").stdout)

    assert (shown["state"], shown["spi_version"], shown["clouds"]) == ("broken", None, [])
    assert "upgrade trellis-ci" in shown["problem"]
