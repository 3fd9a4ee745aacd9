"""``images:`` of a trellis.yaml."""

import shlex
from collections.abc import Mapping
from typing import Final

import attrs

from trellis.config.durations import write_duration
from trellis.nodepool import model
from trellis.nodepool.merging import Placed
from trellis.nodepool.recipes import (
    BUILD_TIMEOUT_S,
    CENTURY_S,
    COMMAND,
    PYTHON_PATH,
    REBUILD_AGE_S,
    USERNAME,
    Recipe,
    ancestry,
    can_be_split,
    recipe,
    split_elements,
    texts,
    variables,
)
from trellis.nodepool.report import Kind
from trellis.nodepool.site import Site
from trellis.nodepool.telling import Telling
from trellis.nodepool.uploads import Uploads
from trellis.nodepool.writing import Block

_LEAST_SECRET: Final = 4
"""A shorter secret cannot be masked in a log."""


@attrs.frozen(kw_only=True)
class ImageBlocks:
    """Makes the block of each image.

    Attributes:
        names: how images are called here.
        uploads: what is known of them from the providers.
    """

    site: Site
    names: Mapping[str, str]
    uploads: Uploads
    telling: Telling

    def blocks(self) -> list[Block]:
        """All of them, in the order of the files."""
        return [self._block(image) for image in self.site.images]

    @property
    def _images(self) -> dict[str, model.DiskImage]:
        return {image.value.name: image.value for image in self.site.images}

    def _block(self, said: Placed[model.DiskImage]) -> Block:
        image, block = said.value, Block()
        name = self.names[image.name]
        block["name"] = name
        if (original := self.site.copies.get(image.name)) is not None:
            file = original.source.name
            message = f"{original.value.name} as {file} has it; another file has it otherwise"
            self.telling.say(block, original, "", message)
        if name != image.name:
            message = f"files cannot be called so; it is {name!r} here"
            self.telling.say(block, said, "name", message)
        if image.abstract:
            block["abstract"] = True
        resolved = recipe(image.name, self._images)
        why_resolved = self._why_resolved(image)
        if image.parent and not why_resolved:
            block["parent"] = self.names[image.parent]
        elif image.parent:
            message = f"what its parents say is repeated here, as {why_resolved}"
            self.telling.say(block, said, "parent", message)
        inherits = bool(image.parent) and not why_resolved
        own = _own(image) if inherits else resolved
        self._state(block, said, resolved)
        self._recipe(block, said, own, resolved)
        self._variables(block, said, own)
        self._times(block, said, own, resolved)
        self._files(block, own, inherits=inherits)
        self._login(block, own, inherits=inherits)
        self._properties(block, said)
        self._hook(block, image)
        return block

    def _why_resolved(self, image: model.DiskImage) -> str:
        """Why an image cannot inherit here as it did; "" if it can."""
        line = ancestry(image.name, self._images)
        if any(parent.name in self.site.secrets for parent in line[:-1]):
            return "variables of a secure file are not inherited there, and would be here"
        if any(split_elements(one.elements or ())[1] for one in line):
            return "options among the elements go into `build-command` here"
        hooks = [self.uploads.hooks.get(one.name) or "" for one in line]
        if any(hook and hook != hooks[-1] for hook in hooks):
            return "another `post-upload-hook` would be inherited"
        return ""

    def _state(self, block: Block, said: Placed[model.DiskImage], resolved: Recipe) -> None:
        image = said.value
        if image.abstract:
            return
        if resolved.pause:
            block["pause"] = True
        elif resolved.is_empty:
            block["pause"] = True
            self.telling.say(
                block, said, "",
                "no file given says what the image is made of, so its builds are paused: give "
                "the builder's file too, or write its `elements` and take `pause` away",
                kind=Kind.TO_DO,
                explains=(("image", self.names[image.name], "pause"),),
            )  # fmt: skip

    def _recipe(
        self, block: Block, said: Placed[model.DiskImage], own: Recipe, resolved: Recipe
    ) -> None:
        if own.elements:
            block["elements"] = list(own.elements)
        if own.release:
            block["release"] = own.release
        if not can_be_split(resolved.build_command):
            self.telling.say(
                block, said, "dib_cmd", "cannot be split into words as a shell does",
                kind=Kind.TO_DO, comment="dib-cmd",
                explains=(("image", self.names[own.name], "build-command"),),
            )  # fmt: skip
        elif own.dib_cmd != ("" if own is not resolved else COMMAND) or own.options:
            block["build-command"] = own.build_command

    def _variables(self, block: Block, said: Placed[model.DiskImage], own: Recipe) -> None:
        kept, refused = variables(own.env_vars)
        secret, refused_secrets = variables(self.site.secrets.get(own.name, {}))
        short = {name: value for name, value in secret.items() if len(value) < _LEAST_SECRET}
        kept |= short
        secret = {name: value for name, value in secret.items() if name not in short}
        if kept:
            block["env-vars"] = kept
        if secret:
            block["secret-env-vars"] = secret
        for name, why in (refused | refused_secrets).items():
            self.telling.say(
                block, said, "env_vars", f"{name} is left out: {why}", comment="env-vars",
                explains=(("image", self.names[own.name], "env-vars"),),
            )  # fmt: skip

    def _times(
        self, block: Block, said: Placed[model.DiskImage], own: Recipe, resolved: Recipe
    ) -> None:
        for key, value, all_in_all, usual in (
            ("rebuild-age", own.rebuild_age, resolved.rebuild_age, REBUILD_AGE_S),
            ("build-timeout", own.build_timeout, resolved.build_timeout, BUILD_TIMEOUT_S),
        ):
            if all_in_all < 0:
                self.telling.say(
                    block, said, key.replace("-", "_"), "no time can be below 0; left out",
                    comment=key, explains=(("image", self.names[own.name], key),),
                )  # fmt: skip
            elif value != (0 if own is not resolved else usual):
                block[key] = write_duration(min(value, CENTURY_S))

    def _files(self, block: Block, own: Recipe, *, inherits: bool) -> None:
        if own.formats:
            block["formats"] = list(own.formats)
        if own.keep_formats:
            block["keep-formats"] = list(own.keep_formats)
        image = self._images[own.name]
        if own.delete_after_upload or (inherits and image.delete_after_upload is not None):
            block["delete-after-upload"] = own.delete_after_upload

    def _login(self, block: Block, own: Recipe, *, inherits: bool) -> None:
        for key, value, usual in (
            ("username", own.username, USERNAME),
            ("python-path", own.python_path, PYTHON_PATH),
            ("shell-type", own.shell_type, ""),
        ):
            if value and value != ("" if inherits else usual):
                block[key] = value

    def _properties(self, block: Block, said: Placed[model.DiskImage]) -> None:
        image = said.value
        own, refused = texts(image.metadata or {})
        shared = self.uploads.of_images.get(image.name)
        properties = own if shared is None else dict(shared)
        if properties:
            block["metadata"] = properties
        if refused:
            self.telling.say(
                block, said, "metadata", "lists and mappings are no properties; left out",
                comment="metadata",
            )  # fmt: skip

    def _hook(self, block: Block, image: model.DiskImage) -> None:
        if hook := self.uploads.hooks.get(image.name):
            block["post-upload-hook"] = _word(hook)


def _own(image: model.DiskImage) -> Recipe:
    """What an image says itself; what it leaves to its parents is empty."""
    elements, options = split_elements(image.elements or ())
    return Recipe(
        name=image.name,
        elements=elements,
        options=options,
        dib_cmd=image.dib_cmd or "",
        release=str(image.release or ""),
        formats=image.formats or (),
        keep_formats=image.keep_formats or (),
        delete_after_upload=bool(image.delete_after_upload),
        rebuild_age=image.rebuild_age or 0,
        build_timeout=image.build_timeout or 0,
        env_vars=image.env_vars or {},
        username=image.username or "",
        python_path=image.python_path or "",
        shell_type=image.shell_type or "",
    )


def _word(path: str) -> str:
    """A program's path as one word of a command."""
    return shlex.quote(path)
