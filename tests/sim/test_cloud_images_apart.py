"""A simulated Glance in trouble, in its version 1, and as the clouds of vendors have it."""

import attrs
import pytest
from image_calls import (
    DATA,
    DIRECT,
    Clock,
    a_caller,
    caller_of,
    md5,
    read,
    sha512,
)

from trellis.sim.catalogue import IMAGES
from trellis.sim.cloud import (
    CloudSpec,
    Faults,
    SimCloud,
    Strangers,
)
from trellis.sim.cloud.image_troubles import ImageTroubles
from trellis.sim.cloud.road_troubles import RoadTroubles
from trellis.sim.clouds import TWINS
from trellis.sim.oracle import judge
from trellis.sim.scenario import calm


@pytest.fixture
def caller():
    return a_caller()


class TestFaults:
    def test_each_is_in_the_catalogue_under_its_name(self):
        """And each of the catalogue can be asked for."""
        own = {f.name for f in attrs.fields(ImageTroubles)}
        own -= {f.name for f in attrs.fields(RoadTroubles)}
        names = {name.replace("_", "-") for name in own}
        known = {fault.name for fault in IMAGES}
        more = {"upload-dropped-at", "image-undeletable-s", "bad-image-error", "bad-images"}
        assert names - more == known

    def struck(self, caller, fault):
        return caller.cloud.ledger.struck[fault]

    @pytest.mark.parametrize("status", ["queued", "saving"])
    def test_an_image_stays_as_it_was(self, status):
        """For ever, though the upload was answered well; it can be deleted."""
        caller = a_caller(faults=Faults(**{f"image_stuck_{status}": 1.0}))
        image_id = caller.upload()
        caller.clock.now += 1e5

        assert caller.shown(image_id)["status"] == status
        assert self.struck(caller, f"image-stuck-{status}") == 1
        assert caller.image("DELETE", f"/images/{image_id}").status == 204

    def test_a_corrupted_image_has_other_checksums_and_boots_nothing(self):
        caller = a_caller(faults=Faults(image_corrupted=1.0))
        image_id = caller.upload(DATA)
        shown = caller.shown(image_id)
        caller.booted(image_id)
        caller.clock.now += 100.0

        assert shown["size"] == len(DATA)
        assert shown["checksum"] != md5(DATA)
        assert shown["os_hash_value"] != sha512(DATA)
        assert [len(shown[key]) for key in ("checksum", "os_hash_value")] == [32, 128]
        assert caller.cloud.servers()[0].reachable is False

    def test_no_room_for_images(self):
        caller = a_caller(faults=Faults(image_quota_full=True))
        assert caller.image("POST", "/images", body={}).status == 413
        assert self.struck(caller, "image-quota-full") == 1

    def test_lists_lag(self):
        """New ones are missing and deleted ones there for a while; by id nothing lags."""
        caller = a_caller(faults=Faults(image_list_lag_s=30.0))
        caller.clock.now += 100.0
        image_id = caller.upload()
        assert caller.listed("?name=img") == []
        assert caller.shown(image_id)["status"] == "active"
        caller.clock.now += 31.0
        assert len(caller.listed("?name=img")) == 1
        caller.image("DELETE", f"/images/{image_id}")
        assert [row["status"] for row in caller.listed("?name=img")] == ["deleted"]
        caller.clock.now += 31.0
        assert caller.listed("?name=img") == []
        assert self.struck(caller, "image-list-lag-s") >= 1

    def test_a_person_deletes_it(self):
        caller = a_caller(faults=Faults(image_deleted_by_person=1.0, mishap_s=(10.0, 10.0)))
        image_id = caller.upload()
        caller.clock.now += 11.0
        assert caller.image("GET", f"/images/{image_id}").status == 404
        assert self.struck(caller, "image-deleted-by-person") == 1

    def test_a_name_disappears(self, caller):
        """By the fault that takes the images of a name away, patterns too."""
        image_id = caller.upload(name="deb-1")
        caller.cloud.change(faults=Faults(image_gone=("deb-*",)))
        assert caller.image("GET", f"/images/{image_id}").status == 404
        assert caller.boot(image_id).status == 400

    def test_it_cannot_be_deleted_for_a_while(self):
        caller = a_caller(faults=Faults(image_undeletable=1.0, image_undeletable_s=60.0))
        image_id = caller.upload()
        assert caller.image("DELETE", f"/images/{image_id}").status == 409
        caller.clock.now += 61.0
        assert caller.image("DELETE", f"/images/{image_id}").status == 204

    def test_an_import_fails(self):
        caller = a_caller(faults=Faults(import_fails=1.0))
        image_id = caller.create()
        caller.image("PUT", f"/images/{image_id}/stage", body=DATA)
        caller.image("POST", f"/images/{image_id}/import", body=DIRECT)
        caller.clock.now += 21.0
        assert caller.shown(image_id)["status"] == "queued"

    def test_nothing_is_drawn_where_nobody_uploads(self):
        """A cloud with these faults tells the same story to who makes no image."""
        stories = []
        for faults in (Faults(), Faults(bad_image=0.5, image_corrupted=0.5, task_fails=0.5)):
            caller = a_caller(faults=faults, boot=CloudSpec(name="x").boot)
            (base,) = caller.listed("?name=tiny")
            for _ in range(5):
                caller.booted(base["id"])
            caller.clock.now += 500.0
            stories.append(caller.cloud.ledger.digest())
        assert stories[0] == stories[1]


def test_an_image_that_no_record_claims_is_a_leak():
    """So is an object of the file store; what the cloud offers, and a stranger's, is not."""
    caller = a_caller(object_storage=True, strangers=Strangers(images_at_start=1))
    claimed, leaked = caller.upload(), caller.create("leaked")
    root = f"/object-store/v1/AUTH_{caller.cloud.project_id}"
    caller.send("PUT", f"{root}/box")
    caller.send("PUT", f"{root}/box/x", body=DATA)
    clouds = {"test": caller.cloud}

    found = judge(calm(), clouds, [], claimed={claimed})
    assert [(one.promise, one.about[0]) for one in found] == [("P2", leaked), ("P2", "box/x")]
    assert judge(calm(), clouds, [], claimed={claimed, leaked, "box/x"}) == ()


@pytest.mark.parametrize(
    ("twin", "region", "disk_format"),
    [
        ("ovh", "GRA1", "qcow2"), ("ovh", "GRA1", "raw"), ("vexxhost", "ca-ymq-1", "raw"),
        ("rackspaceflex", "SJC3", "qcow2"),
    ],
)  # fmt: skip
def test_twins_that_are_stock_here_take_an_upload(twin, region, disk_format):
    """By create and PUT; the others have tests of their own."""
    clock = Clock()
    caller = caller_of(SimCloud(TWINS[twin](), clock=clock), clock, region)
    image_id = caller.upload(DATA, disk_format=disk_format)
    assert caller.shown(image_id)["status"] == "active"


FIELDS = {
    "x-image-meta-name": "trusty", "x-image-meta-disk_format": "qcow2",
    "x-image-meta-container_format": "bare", "x-image-meta-is_public": "False",
}  # fmt: skip


class TestVersion1:
    """Glance v1 on HP's twin."""

    @pytest.fixture
    def old(self):
        clock = Clock()
        spec = attrs.evolve(TWINS["hpcloud"](), token_lifetime_s=1e7)
        return caller_of(SimCloud(spec, clock=clock), clock, "region-a.geo-1")

    def post(self, old, data=DATA, **more):
        fields = {**FIELDS, **{k.replace("_", "-"): v for k, v in more.items()}}
        return old.send("POST", "/image/v1/images", body=data, **fields)

    def test_one_post_makes_an_image(self, old):
        """With its fields and properties from headers, as the documents show it."""
        answer = self.post(old, **{"x-image-meta-property-trellis_build": "1"})
        image = read(answer)["image"]

        assert answer.status == 201
        assert (image["name"], image["status"], image["size"]) == ("trusty", "active", len(DATA))
        assert image["checksum"] == md5(DATA)
        assert image["properties"] == {"trellis_build": "1"}
        assert (image["is_public"], image["deleted"]) == (False, False)

    def test_it_is_found_shown_changed_and_deleted(self, old):
        """By property; HEAD has its fields in headers; a PUT keeps properties when told to."""
        image_id = read(self.post(old, **{"x-image-meta-property-trellis_build": "1"}))["image"][
            "id"
        ]
        path = f"/image/v1/images/{image_id}"
        found = read(old.send("GET", "/image/v1/images/detail?property-trellis_build=1"))["images"]
        other = read(old.send("GET", "/image/v1/images/detail?property-trellis_build=2"))["images"]
        head = old.send("HEAD", path)
        keep = {"x-glance-registry-purge-props": "false", "x-image-meta-property-b": "2"}
        changed = read(old.send("PUT", path, **keep))["image"]

        assert ([one["id"] for one in found], other) == ([image_id], [])
        assert head.headers["X-Image-Meta-Status"] == "active"
        assert head.headers["X-Image-Meta-Property-Trellis_build"] == "1"
        assert changed["properties"] == {"trellis_build": "1", "b": "2"}
        assert old.send("GET", path).body == DATA
        assert old.send("DELETE", path).status == 200
        assert old.send("GET", path).status == 404

    def test_pages_have_25_rows(self, old):
        """Two images are the cloud's own."""
        for _ in range(30):
            old.clock.now += 1.0
            assert self.post(old).status == 201
        first = read(old.send("GET", "/image/v1/images/detail"))["images"]
        path = f"/image/v1/images/detail?marker={first[-1]['id']}"
        second = read(old.send("GET", path))["images"]
        assert (len(first), len(second)) == (25, 7)
        assert not {one["id"] for one in first} & {one["id"] for one in second}

    @pytest.mark.parametrize(
        ("fields", "status"),
        [
            ({"x-image-meta-disk_format": "floppy"}, 400),
            ({"x-image-meta-container_format": ""}, 400),
            ({"x-image-meta-is_public": "True"}, 403),
            ({"x-image-meta-property-com.hp__1__os": "x"}, 403),
            ({"x-image-meta-checksum": "0" * 32}, 400),
            ({"x-image-meta-size": "7"}, 400),
        ],
        ids=lambda value: next(iter(value))[13:] if isinstance(value, dict) else None,
    )
    def test_what_does_not_fit_is_refused(self, old, fields, status):
        """In HTML, as that version does."""
        answer = self.post(old, **fields)
        assert (answer.status, answer.headers["Content-Type"]) == (status, "text/html")

    def test_what_the_cloud_offers_cannot_be_touched(self, old):
        base = read(old.send("GET", "/image/v1/images"))["images"][0]
        assert old.send("DELETE", f"/image/v1/images/{base['id']}").status == 403
