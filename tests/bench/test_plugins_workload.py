"""What a plugin adds to the calls of a life: counted alike for stock and for plugins."""

import attrs
import pytest

from tests.bench.child import BrokenRunError
from tests.bench.goals import ROWS, measured
from tests.bench.workloads.plugins import Plugins, places_of
from trellis.sim.clouds import TWINS

pytestmark = pytest.mark.slow


async def test_a_plugin_is_measured_beside_the_stock_life_of_its_own_way(tmp_path):
    """OVH's servers have addresses of their own: it is held against stock that has them too."""
    outcome = await Plugins(in_flight=5, rounds=2, kinds=("ovh",)).run(tmp_path)

    assert outcome.faults == []
    of = outcome.figures
    assert of["stock_direct_calls"] < of["stock_floating_calls"]
    assert of["ovh_more"] == of["ovh_calls"] - of["stock_direct_calls"]
    assert of["ovh_calls"] > 2  # a create and a delete at least


async def test_a_region_without_disks_is_measured_beside_stock_on_volumes(tmp_path):
    """The plugin boots from a volume there, which costs calls at a stock cloud as well."""
    outcome = await Plugins(in_flight=5, rounds=2, kinds=("vexxhost",)).run(tmp_path)

    of = outcome.figures
    assert of["vexxhost_more"] == of["vexxhost_calls"] - of["stock_direct_calls"]
    assert of["vexxhost-sjc1_more"] == of["vexxhost-sjc1_calls"] - of["stock_volume_calls"]


async def test_a_twin_that_its_plugin_cannot_use_breaks_the_run(tmp_path, monkeypatch):
    """Its figures would mean nothing; the words are the daemon's own."""
    image = TWINS["ovh"]().images[0]
    wrong = attrs.evolve(TWINS["ovh"](), images=(attrs.evolve(image, min_disk_gib=9999),))
    monkeypatch.setitem(Plugins.run.__globals__, "TWINS", {"ovh": lambda: wrong})

    with pytest.raises(BrokenRunError, match=r"ovh on the twin ovh: .* is too small for image"):
        await Plugins(in_flight=1, rounds=1, kinds=("ovh",)).run(tmp_path)


def test_each_twin_has_a_row_and_a_goal():
    """At most one call more than stock."""
    places = [place for kind in TWINS for place in places_of(kind)]
    figures = {"plugins": {f"{place}_more": 1.5 for place in places}}
    rows = measured(figures, judged=True)

    assert "vexxhost-sjc1" in places  # where flavors have no disk
    assert len(rows) == len(places) > len(TWINS)
    assert {row.short_by for row in rows} == {0.5}
    assert {r.figure for r in ROWS if r.workload == "plugins" and r.most == 1.0} == set(
        figures["plugins"]
    )
