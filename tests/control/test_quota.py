"""What others use is known between two bounds; what a refusal says is held against the figures."""

import trio
import trio.testing

from trellis.control.quota import (
    ACCEPTED_A_TRY,
    FIRST_REFUSAL_S,
    FIRST_TRY_S,
    MOST_TRY_S,
    Quota,
    quota_name,
    short_resources,
)
from trellis.model.quota import UNLIMITED, Limits, QuotaReading, Resources
from trellis.testing.builders import a_home, a_node, a_shape

ONE = Resources(instances=1)
NODE = a_node(1, shape=a_shape(resources=ONE))


def servers(count):
    return Resources(instances=count)


def reading(used, limit=10):
    return QuotaReading(limits=Limits(instances=limit), used=servers(used), read_at=0.0)


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Place:
    """A quota, and how many of ours are in the cloud, all of them active."""

    def __init__(self, limit=10, used=0, ours=0):
        self.clock, self.ours = Clock(), ours
        self.quota = Quota("q", self.clock, now=self.clock, sent=lambda _: servers(self.ours))
        self.read(used or ours, limit)

    def read(self, used, limit=10, moving=0):
        certain, possible = servers(self.ours - moving), servers(self.ours)
        self.quota.learn(reading(used, limit), certain=certain, possible=possible, proved=certain)

    def refuse(self, why="no"):
        self.quota.refused(NODE, why)

    def view(self):
        return self.quota.view(ours=servers(self.ours), freeing=Resources())

    def left(self):
        view = self.view()
        return view.limits.instances - view.used.instances


class TestOthers:
    def test_what_is_not_ours_is_others(self):
        """With nothing of ours on its way, the rest of what is used is a stranger's."""
        place = Place(used=7, ours=3)

        assert place.quota.others == servers(4)

    def test_our_own_traffic_does_not_look_like_a_stranger(self):
        """Two creates in flight may or may not be counted: the estimate stays at nobody."""
        place = Place(ours=5)

        place.read(4, moving=2)

        assert place.quota.others == servers(0)

    def test_a_stranger_who_leaves_is_forgotten_at_once(self):
        """The upper bound pulls the estimate down."""
        place = Place(used=8, ours=3)

        place.read(3)

        assert place.quota.others == servers(0)


class TestARefusal:
    def test_it_closes_the_quota_until_it_is_read_anew(self):
        """Refusals of one occasion count once; what comes of a reading decides, not the time."""
        place = Place(ours=5)

        place.refuse()
        place.refuse()
        assert place.view().refused
        assert place.quota.doubted
        place.read(10)

        assert not place.view().refused
        assert not place.quota.doubted
        assert place.quota.refusals == 2

    def test_without_a_reading_it_opens_later_each_time(self):
        """The figures cannot be had: time alone must do."""
        place = Place(ours=5)

        place.refuse()
        place.clock.now += FIRST_REFUSAL_S + 0.1
        assert not place.view().refused
        place.refuse()
        place.clock.now += FIRST_REFUSAL_S + 0.1
        assert place.view().refused

    async def test_those_who_wait_go_on_when_it_has_been_read(self, autojump_clock):
        """Nothing is sent in between, and nobody waits longer than that."""
        place = Place(ours=5)
        place.refuse()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(place.quota.wait_open)
            await trio.testing.wait_all_tasks_blocked()
            place.read(10)

        assert trio.current_time() < 1.0

    def test_a_stranger_who_came_explains_it(self):
        """The new figures have room for the refusal, so they are right, and no ceiling is set."""
        place = Place(ours=5)

        place.refuse()
        place.read(10)

        assert place.quota.others == servers(5)
        assert place.quota.ceilings == {}
        assert place.left() == 0

    def test_the_least_that_explains_it_is_held_of_others(self):
        """Two of ours may or may not be counted: a stranger has one place, and not both."""
        place = Place(ours=8)
        place.ours = 9

        place.refuse()
        place.read(10, moving=2)

        assert place.quota.others == servers(1)
        assert place.quota.ceilings == {}

    def test_where_nothing_explains_it_the_figures_are_wrong(self):
        """Limit 10, five used, and refused: five is the limit."""
        place = Place(ours=5)

        place.refuse()
        place.read(5)

        assert place.quota.ceilings == {"instances": 5}
        assert place.left() == 0
        assert place.view().whole == Limits(instances=10)

    def test_a_cloud_that_tells_nothing_or_no_limit_teaches_by_refusing(self):
        """Unknown and unlimited are no numbers; the use at the refusal is."""
        for limit in (None, UNLIMITED):
            place = Place(ours=5, limit=limit)

            place.refuse()
            place.read(5 if limit else 0, limit)

            assert place.quota.ceilings == {"instances": 5}

    def test_another_limit_is_a_new_start(self):
        """Quota was given: what was learnt of the last limit does not hold for it."""
        place = Place(ours=5)
        place.refuse()
        place.read(5)

        place.read(5, limit=20)

        assert place.quota.ceilings == {}
        assert place.left() == 15

    def test_it_closes_only_what_it_names(self):
        """Without cores a node that needs none would still go."""
        place = Place(ours=5)
        node = a_node(1, shape=a_shape(resources=Resources(instances=1, cores=2)))

        place.quota.refused(node, "Quota exceeded for cores: Requested 2, but already used 0")
        place.read(5)

        assert place.quota.ceilings == {"cores": 0}


class TestACeiling:
    def lying(self):
        place = Place(ours=5)
        place.refuse()
        place.read(5)
        return place

    def test_nothing_is_tried_before_its_time(self):
        """Time alone is not enough: a hundred creates must have gone well."""
        place = self.lying()
        assert not place.view().one_more

        place.clock.now += FIRST_TRY_S + 0.1
        assert not place.view().one_more
        for _ in range(ACCEPTED_A_TRY):
            place.quota.accepted()

        assert place.view().one_more

    def test_where_few_are_made_an_hour_will_do(self):
        """Or a small cloud would keep for ever what it learnt once."""
        place = self.lying()

        place.clock.now += MOST_TRY_S + 0.1

        assert place.view().one_more

    def test_one_at_a_time(self):
        """While one is above the ceiling no other is."""
        place = self.lying()
        place.clock.now += MOST_TRY_S + 0.1

        place.ours = 6

        assert not place.view().one_more

    def test_it_rises_twice_as_much_with_each_success(self):
        """From five to the ten that there are in a few readings."""
        place = self.lying()
        ceilings = []

        while (place.quota.ceilings["instances"]) < 10:
            place.ours = place.quota.ceilings["instances"] + 1
            place.read(place.ours)
            ceilings.append(place.quota.ceilings["instances"])

        assert ceilings == [7, 10]

    def test_a_try_that_is_refused_leaves_it(self):
        """And the next one comes twice as late."""
        place = self.lying()
        place.clock.now += MOST_TRY_S + 0.1

        place.refuse()
        place.read(5)

        assert place.quota.ceilings == {"instances": 5}
        for _ in range(ACCEPTED_A_TRY):
            place.quota.accepted()
        place.clock.now += FIRST_TRY_S + 0.1
        assert not place.view().one_more
        place.clock.now += FIRST_TRY_S
        assert place.view().one_more


class TestWords:
    SIZE = Resources(
        instances=1, cores=2, ram_mib=4096, floating_ips=1, ports=1, volumes=1, volume_gib=20
    )

    def test_what_each_service_names(self):
        """The texts of nova, neutron and cinder (quirks.md part 1 §5.1)."""
        texts = {
            "Quota exceeded for cores, ram: Requested 2, 4096, but already used 4, 9 of 5, 9 "
            "cores, ram": ("cores", "ram_mib"),
            "Quota exceeded for instances: Requested 1, but already used 10 of 10 instances": (
                "instances",
            ),
            "Maximum number of ports exceeded": ("ports",),
            "Quota exceeded for resources: ['floatingip'].": ("floating_ips",),
            "VolumeLimitExceeded: Maximum number of volumes allowed (9) exceeded for quota "
            "'volumes'.": ("volumes",),
            "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed "
            "gigabytes quota. Requested 20G, quota is 60G": ("volume_gib",),
            "over quota": ("instances",),
        }

        told = {text: short_resources(text, self.SIZE) for text in texts}

        assert told["over quota"] == ("instances",)
        for text, names in texts.items():
            assert set(names) <= set(told[text]), text
            assert len(told[text]) <= len(names) + 1, text

    def test_what_the_node_does_not_need_was_not_short(self):
        """A word that happens to stand there means nothing."""
        assert short_resources("Maximum number of ports exceeded", ONE) == ("instances",)


class TestWhoseItIs:
    def test_a_project_in_a_region_has_one_quota(self):
        """Keystone's ids are unique: whichever address leads there, it is the same quota."""
        one = a_home(project_id="f" * 32, endpoint="https://public/compute")
        other = a_home(project_id="f" * 32, endpoint="https://internal/compute")

        assert quota_name(one) == quota_name(other)
        assert quota_name(one) != quota_name(a_home(project_id="f" * 32, region="Two"))

    def test_account_numbers_are_told_apart_by_host(self):
        """Two clouds may both have a project 42."""
        one = a_home(project_id="42", endpoint="https://one.example/v2/42")
        other = a_home(project_id="42", endpoint="https://two.example/v2/42")

        assert quota_name(one) != quota_name(other)


class TestAReadingThatFails:
    def test_what_was_refused_holds_until_one_comes(self):
        """Else each time it opens all that the last figures allow would be sent and refused."""
        place = Place(limit=60, ours=20)
        place.refuse()
        place.quota.unread()

        assert place.view().limits.instances == 20
        assert place.quota.doubted, "it has to be read all the same"
        place.read(20, limit=20)
        assert place.quota.ceilings == {}
        assert place.view().limits.instances == 20

    def test_a_reading_that_explains_it_leaves_no_ceiling(self):
        """A stranger had come, and nobody could see him."""
        place = Place(ours=4)
        place.refuse()
        place.quota.unread()
        place.read(10)

        assert place.quota.ceilings == {}
        assert place.quota.others == servers(6)

    def test_a_ceiling_of_before_is_kept(self):
        """It was learnt from figures, not for want of them."""
        place = Place(ours=6)
        place.refuse()
        place.read(6)
        assert place.quota.ceilings == {"instances": 6}
        place.ours = 3
        place.refuse()
        place.quota.unread()
        assert place.quota.ceilings == {"instances": 3}

        place.read(6)

        assert place.quota.ceilings == {"instances": 6}

    def test_without_a_refusal_it_means_nothing(self):
        place = Place(ours=4)
        place.quota.unread()

        assert place.quota.ceilings == {}


def test_of_what_is_above_a_ceiling_one_is_sent():
    """The rest of what was planned before the refusal would be refused as well."""
    place = Place(ours=5)
    place.refuse()
    place.read(5)

    assert "refuses more" in place.quota.overbooked(NODE, servers(7))
    assert not place.quota.overbooked(NODE, servers(6))


def test_a_launch_that_no_longer_fits_is_known_before_it_is_sent():
    """The limit was lowered under it: it is given up, and costs no refusal."""
    place = Place(ours=5)

    assert not place.quota.overbooked(NODE, servers(10))
    place.read(5, limit=8)

    assert "too small" in place.quota.overbooked(NODE, servers(10))
    assert not place.quota.overbooked(NODE, servers(8))
