"""Launches that try an image: last of all, by room that nobody waits for."""

import attrs

from trellis.model.image import upload_id
from trellis.model.names import BuildId
from trellis.model.quota import Limits, Resources
from trellis.scheduler.decisions import Place, Warm
from trellis.scheduler.plan import plan
from trellis.scheduler.snapshot import Held, Probe, QuotaView
from trellis.testing.builders import (
    a_pool,
    a_provider,
    a_request,
    a_shape,
    a_snapshot,
    an_offer,
)

UPLOAD = upload_id(BuildId("debian-0000000002"), 3)


def a_probe(*labels, provider="alpha", **parts):
    shape = a_shape(image_id="canary")
    offers = tuple(an_offer(label, shape=shape, **parts) for label in labels or ("small",))
    return Probe(provider=provider, upload=UPLOAD, offers=offers, reason="to try image debian")


def launched(**parts):
    found = plan(a_snapshot(probes=parts.pop("probes", [a_probe()]), **parts))
    return [decision.launch for decision in found.decisions if isinstance(decision, Warm)]


def one_left():
    """Quotas with room for one node."""
    return {"alpha": QuotaView(limits=Limits(instances=1), used=Resources())}


def test_it_boots_from_the_very_upload():
    (launch,) = launched()

    assert (UPLOAD, "canary", None) == (launch.upload, launch.offer.shape.image_id, launch.slot)
    assert "to try image debian" == launch.reason


def test_others_leave_the_upload_to_be_chosen():
    (launch,) = launched(probes=[], min_ready={"small": 1})

    assert launch.upload is None


def test_it_goes_though_its_label_is_missing_for_requests():
    """An only image that fails serves nobody, and is tried all the same."""
    pool = a_pool((), missing={"small": "its only image fails"})

    assert 1 == len(launched(providers=[a_provider(pools=[pool])]))


def test_requests_go_first():
    found = plan(a_snapshot(waiting=[a_request()], quotas=one_left(), probes=[a_probe()]))

    assert [Place] == [type(decision) for decision in found.decisions]


def test_none_takes_the_room_somebody_waits_for():
    """A request for two waits until both fit."""
    waiting = [a_request(labels=("small", "small"))]
    quota = QuotaView(limits=Limits(instances=2), used=Resources(instances=1))

    assert [] == launched(waiting=waiting, quotas={"alpha": quota})


def test_what_is_kept_ready_goes_first():
    (launch,) = launched(quotas=one_left(), min_ready={"small": 1})

    assert "to keep some ready" == launch.reason


def test_another_label_of_the_image_will_do():
    full = a_pool(("small", "large"), label_limits={"small": 0})
    (launch,) = launched(probes=[a_probe("small", "large")], providers=[a_provider(pools=[full])])

    assert "large" == launch.offer.label


def test_none_where_nothing_may_be_launched():
    held = Held(key="image", reason="fails")
    for parts in (
        {"paused": "by ann"},
        {"barred": "the region fails"},
        {"closed": "unavailable"},
        {"launches_left": 0},
        {"pools": [a_pool(labels_held={"small": [held]})]},
    ):
        assert [] == launched(providers=[a_provider(**parts)]), parts


def test_none_beyond_the_launch_budget():
    assert [] == launched(launches_left=0)


def test_none_at_a_provider_that_is_gone():
    assert [] == launched(probes=[a_probe(provider="gamma")])


def test_it_goes_to_the_emptiest_zone_of_its_offer():
    pool = a_pool()
    zones = ("az1", "az2")
    offers = {"small": attrs.evolve(pool.offers["small"], zones=zones)}
    provider = a_provider(
        pools=[attrs.evolve(pool, offers=offers)], zone_nodes={"az1": 3, "az2": 1}
    )

    (launch,) = launched(providers=[provider], probes=[a_probe(zones=zones)])

    assert "az2" == launch.az


def test_two_probes_of_one_pass_share_the_room():
    probes = [a_probe(), a_probe()]

    assert 1 == len(launched(probes=probes, quotas=one_left()))
