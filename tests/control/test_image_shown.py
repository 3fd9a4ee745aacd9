"""What was shown of images is shown again, and never when it is otherwise by now."""

from types import SimpleNamespace

import attrs
import trio

from tests.control.image_house import IMAGE, a_build, a_house, an_inventory, an_upload, promoted
from tests.control.test_image_view import HOUR, Shown
from trellis.control.images.sources import Sent
from trellis.control.images.view import UnderWay
from trellis.model.image import BuildState, ImagePlace, ImageRecord, Pin, Standing, UploadState
from trellis.model.node import NodeState
from trellis.model.provider import Pause
from trellis.model.records import Change
from trellis.testing.builders import NOW


def anew(view):
    """What a view shows that has shown nothing before."""
    return attrs.evolve(view).all()


class Story:
    """A house, and what is shown of it, compared after each change."""

    def __init__(self, house):
        self.house, self.shown = house, Shown(house)
        self.verdicts = {}
        self.view = attrs.evolve(self.shown.operator.view, trial=self._trial)

    def _trial(self, upload):
        return self.verdicts.get(upload, "")

    def look(self):
        """Look twice, so that what was kept is shown at least once; it is what is so."""
        for _ in range(2):
            assert anew(self.view) == self.view.all()
            assert anew(self.view)[0] == self.view.one(IMAGE)
        return self.view.all()

    async def becomes(self, before, after):
        await self.house.store.commit([Change(before, after)])
        return after


async def test_after_each_change_it_is_what_a_new_look_shows(autojump_clock):
    """Whatever it is made of: records, nodes, configuration, what is under way, and the time."""
    uploads = promoted(1), an_upload(2), promoted(1, "beta")
    async with a_house(a_build(1), a_build(2), *uploads, run=False) as house:
        story = Story(house)
        seen = [story.look()]

        async def changed(what):
            found = story.look()
            assert found != seen[-1], f"{what} is not seen"
            seen.append(found)

        await trio.sleep(HOUR)
        await changed("that time has passed")
        node = await house.launch()
        await changed("a node")
        await house.ended(node, NodeState.FAILED)
        story.verdicts[house.upload(2).id] = "0 of 1 became ready"
        await changed("a verdict")
        withdrawn = attrs.evolve(house.upload(2), standing=Standing.WITHDRAWN, standing_why="bad")
        await story.becomes(house.upload(2), withdrawn)
        await changed("a standing")
        pin = Pin(build_id=a_build(1).id, by="ann", reason="", at=NOW)
        place = ImagePlace(provider="alpha", pin=pin)
        record = ImageRecord(name=IMAGE).with_place(place)
        await house.add(record)
        await changed("a pin")
        later = house.world.wall() + 60.0
        paused = attrs.evolve(record, pause=Pause(by="ann", reason="", since=NOW, until=later))
        await story.becomes(record, paused)
        await changed("a pause")
        await trio.sleep(61.0)
        await changed("the end of a pause")
        failed = attrs.evolve(paused, failures=1, fault="413", not_before=later + 300.0)
        await story.becomes(paused, failed)
        await changed("a back-off")
        await trio.sleep(301.0)
        await changed("the end of a back-off")
        story.shown.waiting = attrs.evolve(story.shown.waiting, builds_wait={IMAGE: "no slot"})
        await changed("what a build waits for")
        story.shown.waiting = attrs.evolve(
            story.shown.waiting, uploads_wait={("beta", IMAGE): "paused"}
        )
        await changed("what an upload waits for")
        story.shown.wants["beta"] = "vhd"
        await changed("another format")
        house.choice.takes_none("beta", "no glance there")
        story.shown.no_images["beta"] = "no glance there"
        await changed("a cloud without images")
        house.configs[IMAGE] = attrs.evolve(house.configs[IMAGE], rebuild_age=7200.0)
        house.choice.refresh()
        await changed("another configuration of the image")
        house.providers["alpha"] = SimpleNamespace(
            config=attrs.evolve(house.providers["alpha"].config, pools=()), dropped=False
        )
        await changed("another configuration of the provider")
        build = a_build(3, state=BuildState.BUILDING, ready_at=None, artifacts=())
        await house.add(build)
        await changed("a build that is under way")
        await trio.sleep(5.0)
        await changed("that it goes on")
        build = await story.becomes(build, build.became(BuildState.FAILED, NOW, fault="full"))
        upload = an_upload(3, "beta", state=UploadState.UPLOADING, external_id=None, ready_at=None)
        await house.add(upload)
        await changed("an upload")
        sent = Sent(bytes=10, total=100, bytes_per_s=1.0)
        story.shown.under_way[upload.id] = UnderWay(sent=sent)
        await changed("how far it is")
        going = await story.becomes(upload, upload.became(UploadState.DELETING, NOW, fault="413"))
        await changed("its end")
        story.shown.under_way[going.id] = UnderWay(waits="the cloud does not delete it")
        await changed("what its deletion waits for")


async def test_what_is_at_rest_is_not_made_anew_but_for_its_age(autojump_clock):
    async with a_house(a_build(1), promoted(1), promoted(1, "beta"), run=False) as house:
        house.choice.dressed("alpha", an_inventory())
        view = Story(house).view
        (first,) = view.all()
        await trio.sleep(60.0)
        (second,) = view.all()

        assert 60.0 == second.places[0].age_s - first.places[0].age_s
        assert first.places[0].uploads is second.places[0].uploads


async def test_what_is_gone_is_not_kept(autojump_clock):
    async with a_house(a_build(1), run=False) as house:
        story = Story(house)
        story.look()
        house.configs.clear()
        await story.becomes(a_build(1), a_build(1, state=BuildState.DELETING))
        story.look()
        gone = a_build(1, state=BuildState.GONE)
        before = a_build(1, state=BuildState.DELETING)
        await house.store.commit([Change(before, gone, archive=True)])

        assert () == story.view.all()
        assert {} == story.view._shown._kept
