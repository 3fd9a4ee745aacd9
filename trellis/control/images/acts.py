"""What a person may do about images: each word is recorded, and durable before it is answered.

The records are changed and nothing else: builds, uploads and launches follow from them.
"""

import attrs

from trellis.control.images.act_ground import STANDING, said
from trellis.control.images.standing_acts import StandingActs
from trellis.errors import RefusedError
from trellis.model.image import BuildState, ImagePlace, Upload
from trellis.model.names import BuildId, UploadId
from trellis.model.provider import Pause
from trellis.model.records import Change


class ImageActs(StandingActs):
    """The words of people about images.

    Every method is durable when it returns; cancelled, it may or may not have taken effect.
    """

    # ---------------------------------------------------------------------- builds, uploads

    async def build(self, image: str, by: str, reason: str = "") -> None:
        """Have an image built as soon as there is a turn, though it be paused or backed off.

        Asked for again before it has begun, it is one build.

        Raises:
            UnknownIdError: no such image is built here.
        """
        self._configured(image)
        why = said(f"asked for by {by}", reason)
        await self._amend(image, lambda r: attrs.evolve(r, wanted=why, wanted_by=by), why)

    async def upload(self, image: str, provider: str | None, by: str, reason: str = "") -> None:
        """Have the newest build uploaded now, to one provider or wherever it lacks.

        A back-off after failures is over by that.

        Raises:
            UnknownIdError: there is no such image, or it is not used there.
            RefusedError: there is nothing to upload, or uploads are paused there.
        """
        newest = self._newest_build(image)
        places = self._places(image, provider)
        lacking = [name for name in places if not self._has(name, newest)]
        if not lacking:
            raise RefusedError(
                f"build {newest.id} is at {', '.join(places)} already, or on its way there",
                remedy=f"build it anew with 'trellis image build {image}'",
            )
        record = self._record(image)
        open_ones = [name for name in lacking if record.place(name).pause is None]
        if not open_ones:
            raise RefusedError(
                f"uploads of {image} to {', '.join(lacking)} are paused",
                remedy=f"'trellis image resume {image} --provider {lacking[0]}'",
            )
        why = said(f"upload asked for by {by}", reason)

        def at_once(place: ImagePlace) -> ImagePlace:
            return attrs.evolve(place, failures=0, not_before=0.0, fault="")

        await self._amend_places(image, open_ones, at_once, why)

    async def delete_upload(self, image: str, upload: UploadId, by: str) -> None:
        """Have an upload deleted from its cloud, once no server boots from it.

        One that is under way is given up. One of the newest build is uploaded anew after that.

        Raises:
            UnknownIdError: there is no such upload.
            RefusedError: launches boot from it, or the image is pinned to its build there.
        """
        found = self._upload(image, upload)
        if found.state not in STANDING:
            return
        stable = self._choice.choose(found.provider, image)
        pin = self._record(image).place(found.provider).pin
        if pin is not None and pin.build_id == found.build_id:
            raise RefusedError(
                f"{image} is pinned to build {pin.build_id} at {found.provider}",
                remedy=f"'trellis image unpin {image} --provider {found.provider}' first",
            )
        serves = stable is not None and stable.id == found.id
        if serves and not self._choice.why_missing(found.provider, image):
            raise RefusedError(
                f"launches at {found.provider} boot from upload {upload}",
                remedy=f"'trellis image rollback {image} --provider {found.provider}' first, or "
                "pin another build there",
            )
        await self._store.commit([self._deleted(found, f"deleted by {by}")])

    async def delete_build(self, image: str, build: BuildId, by: str) -> None:
        """Have the files of a build and all its uploads deleted.

        Raises:
            UnknownIdError: there is no such build.
            RefusedError: it is being built, launches boot from it, or the image is pinned to it.
        """
        found = self._build(image, build)
        if found.state is BuildState.BUILDING:
            raise RefusedError(
                f"{build} is being built", remedy="wait until it has ended, then delete it"
            )
        if found.state is not BuildState.READY:
            return
        record = self._record(image)
        pinned = [x.provider for x in record.places if x.pin and x.pin.build_id == build]
        if pinned:
            raise RefusedError(
                f"{image} is pinned to {build} at {', '.join(pinned)}",
                remedy=f"'trellis image unpin {image}' first",
            )
        uploads = [
            head
            for one in self._book.of_image(image).uploads
            if one.build_id == build and (head := self._store.head(Upload, one.id)) is not None
        ]
        serving = [
            one.provider
            for one in uploads
            if (stable := self._choice.choose(one.provider, image)) and stable.id == one.id
        ]
        if serving:
            raise RefusedError(
                f"launches at {', '.join(serving)} boot from {build}",
                remedy=f"'trellis image rollback {image} --all-providers' first",
            )
        why = f"deleted by {by}"
        gone = found.became(BuildState.DELETING, self._world.wall())
        await self._store.commit(
            [
                Change(found, gone, why=why),
                *(self._deleted(one, why) for one in uploads if one.state in STANDING),
            ]
        )

    # ----------------------------------------------------------------------- pause, resume

    async def pause(self, image: str, provider: str | None, by: str, reason: str = "") -> None:
        """Build nothing, or upload nothing to one provider, until it is resumed.

        Raises:
            UnknownIdError: there is no such image, or it is not used there.
        """
        pause = Pause(by=by, reason=reason, since=self._world.wall())
        await self._set_pause(image, provider, pause, said(f"by {by}", reason))

    async def resume(self, image: str, provider: str | None, by: str) -> None:
        """Build, or upload to one provider, again. Fine on what is not paused.

        Raises:
            UnknownIdError: there is no such image, or it is not used there.
        """
        await self._set_pause(image, provider, None, f"resumed by {by}")

    async def _set_pause(
        self, image: str, provider: str | None, pause: Pause | None, why: str
    ) -> None:
        if provider is None:
            self._known(image)
            await self._amend(image, lambda r: attrs.evolve(r, pause=pause), why)
            return
        places = self._places(image, provider)
        await self._amend_places(image, places, lambda p: attrs.evolve(p, pause=pause), why)
