"""A person's word on which upload serves: promoted, rolled back from, pinned."""

from collections.abc import Iterator

import attrs

from trellis.control.images.act_ground import STANDING, ActGround, has_files, said, show
from trellis.errors import AlreadyDoneError, RefusedError, UnknownIdError
from trellis.model.image import (
    Build,
    BuildState,
    ImagePlace,
    Pin,
    Standing,
    Upload,
    UploadState,
    upload_order,
)
from trellis.model.names import BuildId
from trellis.model.node import Node, NodeState
from trellis.model.records import Change


class StandingActs(ActGround):
    """The words of people about what launches boot from."""

    async def promote(
        self,
        image: str,
        provider: str | None,
        build: BuildId | None,
        by: str,
        reason: str = "",
    ) -> None:
        """Have a canary, or what was withdrawn, serve all launches from now on.

        Args:
            provider: there only; wherever there is one if None.
            build: which one; the newest canary if None.

        Raises:
            UnknownIdError: there is no such image, or it is not used there.
            RefusedError: there is nothing to promote, or the image is pinned.
        """
        places = self._places(image, provider)
        found = [one for name in places if (one := self._to_promote(image, name, build))]
        if not found:
            what = f"upload of {build} that is not promoted" if build else "canary"
            raise RefusedError(f"{image} has no {what} at {', '.join(places)}", remedy=show(image))
        for upload in found:
            self._not_pinned(image, upload.provider, upload.build_id)
            newer = self._choice.choose(upload.provider, image)
            good = newer is not None and newer.standing is Standing.PROMOTED
            if newer is not None and good and upload_order(newer) > upload_order(upload):
                raise RefusedError(
                    f"{newer.build_id}, which is newer, is good and serves at {upload.provider}",
                    remedy=f"'trellis image rollback {image} --provider {upload.provider}' goes "
                    "back to an older one",
                )
        why = said(f"promoted by {by}", reason)
        await self._store.commit(
            [
                Change(
                    one, attrs.evolve(one, standing=Standing.PROMOTED, standing_why=why), why=why
                )
                for one in found
            ]
        )

    def _to_promote(self, image: str, provider: str, build: BuildId | None) -> Upload | None:
        for known in self._book.at(provider, image):
            upload = self._store.head(Upload, known.id)
            if upload is None or upload.state is not UploadState.READY:
                continue
            if build is None and upload.standing is Standing.CANARY:
                return upload
            if build == upload.build_id and upload.standing is not Standing.PROMOTED:
                return upload
        return None

    def _not_pinned(self, image: str, provider: str, build: BuildId) -> None:
        pin = self._record(image).place(provider).pin
        if pin is not None and pin.build_id != build:
            raise RefusedError(
                f"{image} is pinned to build {pin.build_id} at {provider} by {pin.by}",
                remedy=f"'trellis image unpin {image} --provider {provider}' first, or pin {build}",
            )

    async def rollback(
        self,
        image: str,
        provider: str | None,
        build: BuildId | None,
        by: str,
        reason: str = "",
    ) -> None:
        """Go back to an older build, and stay with it until it is unpinned.

        What serves until now, and what is newer than the build gone back to and was promoted, is
        withdrawn there, and idle nodes made from it are deleted: unpinned, it does not come
        back. A build whose upload is gone is uploaded again; its labels wait for that.

        Args:
            provider: there only; None is all of them, of which those that cannot go back stay
                as they are, as long as one can.
            build: to which one; the newest good one before what serves now if None.

        Raises:
            UnknownIdError: there is no such image or build, or it is not used there.
            RefusedError: there is nothing to go back to.
        """
        places = self._places(image, provider)
        why = said(f"rolled back by {by}", reason)
        targets, refusals = dict[str, BuildId](), list[str]()
        for name in places:
            try:
                targets[name] = self._before(image, name, build)
            except RefusedError as refused:
                refusals.append(f"{name}: {refused}")
        if not targets:
            raise RefusedError("; ".join(refusals), remedy=f"{show(image)}; or build it anew")

        def pinned(place: ImagePlace) -> ImagePlace:
            target = targets[place.provider]
            pin = Pin(build_id=target, by=by, reason=reason, at=self._world.wall())
            return attrs.evolve(place, pin=pin)

        changes = [*self._place_changes(image, targets, pinned, why)]
        for name, target in targets.items():
            changes += self._withdrawn(image, name, target, why)
        await self._store.commit(changes)

    def _before(self, image: str, provider: str, build: BuildId | None) -> BuildId:
        """The build to go back to at a provider.

        Raises:
            RefusedError: there is none.
        """
        now = self._choice.choose(provider, image)
        newest = now.build_id if now is not None else None
        if build is not None:
            if build == newest:
                raise AlreadyDoneError(f"{build} is what launches boot from")
            self._usable(image, build, provider)
            return build
        number = upload_order(now)[0] if now is not None else None
        for upload in self._heads(image, provider):
            older = number is None or upload_order(upload)[0] < number
            if older and upload.usable and upload.standing is Standing.PROMOTED:
                return upload.build_id
        # Its upload may be gone while its files are here; that it was good is not known then.
        for one in self._book.of_image(image).builds:
            if (number is None or one.number < number) and self._fit(one):
                return one.id
        raise RefusedError(
            f"nothing of a build before {newest} is left" if newest else "no build is left"
        )

    def _fit(self, build: Build) -> bool:
        """Whether a build's files are here and nothing bad is known of it anywhere."""
        uploads = self._book.of_image(build.image).uploads
        bad = any(x.build_id == build.id and x.standing is Standing.WITHDRAWN for x in uploads)
        return not bad and self._has_files(build.id)

    def _has_files(self, build: BuildId) -> bool:
        """Whether a build can be uploaded, and nothing is on its way that deletes its files."""
        head = self._store.head(Build, build)
        return head is not None and head.state is BuildState.READY and has_files(head)

    def _heads(self, image: str, provider: str) -> Iterator[Upload]:
        """The uploads to a provider as they are on their way to be, the newest first."""
        for known in self._book.at(provider, image):
            upload = self._store.head(Upload, known.id)
            if upload is not None:
                yield upload

    def _withdrawn(self, image: str, provider: str, target: BuildId, why: str) -> Iterator[Change]:
        """What is gone back from: withdrawn, and its idle nodes deleted."""
        number = _number(target)
        now = self._choice.choose(provider, image)
        for known in self._book.at(provider, image):
            upload = self._store.head(Upload, known.id)
            if upload is None or upload.state is not UploadState.READY:
                continue
            served = (now is not None and now.id == upload.id) or (
                upload.standing is Standing.PROMOTED and upload_order(upload)[0] > number
            )
            if not served or upload.build_id == target:
                continue
            bad = attrs.evolve(upload, standing=Standing.WITHDRAWN, standing_why=why)
            yield Change(upload, bad, why=why)
            yield from self._retired(upload, why)

    def _retired(self, upload: Upload, why: str) -> Iterator[Change]:
        for known in list(self._fleet.by_provider.get(upload.provider, {}).values()):
            if not known.idle or known.shape.image_id != upload.external_id:
                continue
            node = self._store.head(Node, known.id)
            if node is not None and node.idle:
                yield Change(node, node.became(NodeState.DELETING, self._world.wall()), why=why)

    # ------------------------------------------------------------------------------ the pin

    async def pin(
        self, image: str, build: BuildId, provider: str | None, by: str, reason: str = ""
    ) -> None:
        """Stay with one build, at one provider or at all, until it is unpinned.

        Nodes that are idle stay: `rollback` deletes them.

        Raises:
            UnknownIdError: there is no such image or build, or it is not used there.
            RefusedError: neither an upload nor a file of it is left.
        """
        places = self._places(image, provider)
        for name in places:
            self._usable(image, build, name)
        pin = Pin(build_id=build, by=by, reason=reason, at=self._world.wall())
        why = said(f"pinned by {by}", reason)
        await self._amend_places(image, places, lambda p: attrs.evolve(p, pin=pin), why)

    async def unpin(self, image: str, provider: str | None, by: str, reason: str = "") -> None:
        """Go by what is newest and good again. Fine on what is not pinned.

        Raises:
            UnknownIdError: there is no such image, or it is not used there.
        """
        pinned = [one.provider for one in self._record(image).places if one.pin is not None]
        # One that uses the image no longer may be unpinned all the same.
        places = [provider] if provider in pinned else self._places(image, provider)
        names = [*places, *(pinned if provider is None else ())]
        why = said(f"unpinned by {by}", reason)
        await self._amend_places(
            image, dict.fromkeys(names), lambda p: attrs.evolve(p, pin=None), why
        )

    def _usable(self, image: str, build: BuildId, provider: str) -> None:
        """See that nodes can be made from a build at a provider, now or once it is uploaded.

        Raises:
            UnknownIdError: there is no such build.
            RefusedError: nothing of it is left.
        """
        there = self._heads(image, provider)
        if any(one.build_id == build and one.state in STANDING for one in there):
            return
        found = self._book.builds.get(build)
        known = found is not None and found.image == image
        if not known and all(x.build_id != build for x in self._book.of_image(image).uploads):
            raise UnknownIdError(f"{image} has no build {build}", remedy=show(image))
        if not self._has_files(build):
            raise RefusedError(
                f"nothing of build {build} is left for {provider}: its files and its upload "
                "there are gone",
                remedy=f"choose another build; {show(image)}",
            )


def _number(build: BuildId) -> int:
    return int(build.rpartition("-")[2])
