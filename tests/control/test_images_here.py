"""What a provider at work has to do with images: formats, what launches boot from, logins."""

from types import SimpleNamespace

import attrs

from tests.control.image_house import IMAGE, an_own_offer, an_upload, withdrawn
from trellis.control.images.book import ImageBook
from trellis.control.images.here import ImagesHere, SharedImages, login_of, same_but_image
from trellis.model.image import ImagePlace, ImageRecord, Pin, UploadState
from trellis.model.node import Login
from trellis.spi.config import PoolConfig, PoolLabelConfig, ProviderConfig
from trellis.testing.builders import a_node, a_shape

CONFIG = ProviderConfig(
    name="alpha",
    type="openstack",
    cloud="alpha",
    pools=(
        PoolConfig(
            name="main",
            labels=(
                PoolLabelConfig(name="small", image=IMAGE),
                PoolLabelConfig(name="big", image=IMAGE),
                PoolLabelConfig(name="other"),
            ),
        ),
    ),
)


def here(*records):
    book, nudges = ImageBook(), []

    def told(_provider, _why):
        """Words for why a label is missing are made elsewhere."""

    book.load(records)
    shared = SharedImages(
        book=book,
        choice=SimpleNamespace(takes_none=told),
        in_force=None,
        nudge=lambda: nudges.append("asked"),
    )
    found = ImagesHere("alpha", shared)
    found.nudges = nudges
    return found


def a_provider(formats=("raw", "qcow2")):
    return SimpleNamespace(images=SimpleNamespace(formats=formats))


class TestPlace:
    def test_it_wants_the_images_of_its_labels(self):
        place = here().place(CONFIG, dropped=False)

        assert place.images == {IMAGE}
        assert place.wants(IMAGE)
        assert not here().place(CONFIG, dropped=True).wants(IMAGE)

    def test_the_format_is_known_once_it_is_connected(self):
        images = here()
        assert images.place(CONFIG, dropped=False).format is None

        images.connected(a_provider())

        assert images.place(CONFIG, dropped=False).format == "raw"
        assert images.nudges == ["asked"]

    def test_until_then_it_is_what_it_was(self):
        older = an_upload(1, artifact=attrs.evolve(an_upload(1).artifact, format="vhd"))
        images = here(an_upload(2), attrs.evolve(older, created_at=older.created_at + 1))

        assert images.place(CONFIG, dropped=False).format == "vhd"

    def test_another_configuration_may_have_another_format(self):
        images = here()
        images.connected(a_provider())
        images.taken_up()

        assert images.place(CONFIG, dropped=False).format is None

    def test_one_that_keeps_no_images_wants_none(self):
        images = here()
        images.connected(SimpleNamespace(images=None))
        place = images.place(CONFIG, dropped=False)

        assert not place.wants(IMAGE)
        assert place.no_images

    def test_one_made_for_an_earlier_release_wants_none(self):
        images = here()
        images.connected(SimpleNamespace())

        assert not images.place(CONFIG, dropped=False).wants(IMAGE)


class TestLaunches:
    NODE = a_node(shape=a_shape(image_id="alpha-image-1", image_name="debian-1"))

    def test_one_from_a_good_upload_may_be_sent(self):
        assert here(an_upload(1)).against(self.NODE, an_own_offer()) == ""

    def test_one_from_an_image_of_the_clouds_may(self):
        offer = attrs.evolve(an_own_offer(), image=None)

        assert here().against(self.NODE, offer) == ""
        assert here().against(self.NODE, None) == ""

    def test_one_from_what_is_deleted_may_not(self):
        deleting = an_upload(1).became(UploadState.DELETING, 0.0)

        assert "is no upload of debian any more" in here().against(self.NODE, an_own_offer())
        assert "is being deleted" in here(deleting).against(self.NODE, an_own_offer())

    def test_one_from_what_was_withdrawn_may_only_if_it_is_pinned(self):
        bad = withdrawn(1)
        assert "was withdrawn: it was bad" in here(bad).against(self.NODE, an_own_offer())

        pin = Pin(build_id=bad.build_id, by="ada", reason="", at=0.0)
        record = ImageRecord(name=IMAGE).with_place(ImagePlace(provider="alpha", pin=pin))
        assert here(bad, record).against(self.NODE, an_own_offer()) == ""

    def test_which_upload_it_was_is_nothing_about_the_offer(self):
        offer = an_own_offer()
        booted = attrs.evolve(offer.shape, image_id="alpha-image-1", image_name="debian-1")

        assert same_but_image(booted, offer)
        assert not same_but_image(attrs.evolve(booted, flavor_id="f2"), offer)
        assert not same_but_image(booted, attrs.evolve(offer, image=None))


class TestLogin:
    IMAGE_SAYS = Login(username="zuul", python_path="/usr/bin/python3", connection_port=2222)

    def test_the_image_says_how(self):
        assert login_of(Login(), self.IMAGE_SAYS) == self.IMAGE_SAYS

    def test_what_the_label_says_otherwise_wins(self):
        label = Login(username="core", connection_type="winrm")

        found = login_of(label, self.IMAGE_SAYS)

        assert (found.username, found.connection_type) == ("core", "winrm")
        assert (found.python_path, found.connection_port) == ("/usr/bin/python3", 2222)

    def test_whether_keys_are_checked_is_the_labels_to_say(self):
        assert not login_of(Login(host_key_checking=False), self.IMAGE_SAYS).host_key_checking
