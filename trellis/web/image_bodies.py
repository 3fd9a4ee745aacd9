"""What callers may send about images, with every bound."""

from typing import Annotated

from msgspec import Meta, Struct

from trellis.web.bodies import By, Name, Reason

_Where = Annotated[
    Name | None, Meta(description="The only provider it is about; all of them if left out.")
]
_Which = Annotated[Name | None, Meta(description="Id of the build; the newest if left out.")]


class BuildBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person's wish for a build."""

    by: By = "api"
    reason: Reason = ""


class ImageWordBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person's word about an image, at one provider or at all of them."""

    provider: _Where = None
    by: By = "api"
    reason: Reason = ""


class ImagePauseBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person's word that nothing shall be built; or uploaded, where a provider is named."""

    provider: Annotated[
        Name | None,
        Meta(description="Stop uploads to this provider; if left out, builds are stopped."),
    ] = None
    by: By = "api"
    reason: Reason = ""


class PromoteBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person's word that a canary is good."""

    provider: _Where = None
    build: _Which = None
    by: By = "api"
    reason: Reason = ""


class RollbackBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person's word that an image shall be an older one again."""

    provider: Annotated[Name | None, Meta(description="The provider to go back at.")] = None
    all_providers: Annotated[
        bool, Meta(description="Go back at every provider; needed where none is named.")
    ] = False
    build: Annotated[
        Name | None,
        Meta(description="Id of the build; the newest good one before if left out."),
    ] = None
    by: By = "api"
    reason: Reason = ""


class PinBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person's word that an image stays that of one build."""

    build: Annotated[Name, Meta(description="Id of the build.")]
    provider: _Where = None
    by: By = "api"
    reason: Reason = ""
