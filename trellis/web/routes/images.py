"""Images: what is built, where it is, how it fares, and what a person may do about it."""

from typing import Annotated, Any, Final

from litestar import Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter, RawBody

from trellis.errors import RefusedError
from trellis.model.names import BuildId, UploadId
from trellis.web.desk import Desk
from trellis.web.image_answers import BuildAnswer, ImageAnswer, ImagePage
from trellis.web.image_bodies import (
    BuildBody,
    ImagePauseBody,
    ImageWordBody,
    PinBody,
    PromoteBody,
    RollbackBody,
)
from trellis.web.image_views import build_answer, image_answer
from trellis.web.log_stream import LogStream
from trellis.web.reading import read, read_optional
from trellis.web.routes.params import Actor, BuildPath, ImagePath, UploadPath

_MOST_LINES: Final = 100_000
"""Of a log: some ten megabytes, which is more than a build prints that goes well."""
_Lines = Annotated[
    int, QueryParameter(ge=0, le=_MOST_LINES, description="The last so many lines at most.")
]
_Follow = Annotated[
    bool,
    QueryParameter(
        description="true sends server-sent events, one a line, until the build has ended: "
        "`line` and in the end `end`."
    ),
]


@get("/images")
async def list_images(desk: NamedDependency[Desk]) -> ImagePage:
    """List the images: their builds, where they are, and what serves there."""
    return ImagePage(tuple(image_answer(image) for image in desk.board.images.all()))


@get("/images/{name:str}")
async def show_image(name: ImagePath, desk: NamedDependency[Desk]) -> ImageAnswer:
    """Show one image."""
    return image_answer(desk.board.images.one(name))


@get("/images/{name:str}/builds/{build_id:str}")
async def show_build(
    name: ImagePath, build_id: BuildPath, desk: NamedDependency[Desk]
) -> BuildAnswer:
    """Show one build, also one that is gone."""
    return build_answer(await desk.board.images.a_build(name, BuildId(build_id)))


@get("/images/{name:str}/builds/{build_id:str}/log", media_type="text/plain")
async def show_build_log(
    name: ImagePath,
    build_id: BuildPath,
    desk: NamedDependency[Desk],
    lines: _Lines = _MOST_LINES,
    follow: _Follow = False,
) -> Response[Any]:
    """Show the log of a build as text, or follow it; what is secret is masked in it."""
    images, build = desk.board.images, BuildId(build_id)
    if not follow:
        return Response(await images.log(name, build, lines), media_type="text/plain")

    followed = await images.follow(name, build, lines)
    return LogStream(followed, lambda: images.a_build(name, build), desk.closing)


@post("/images/{name:str}/builds", status_code=202)
async def build_image(
    name: ImagePath, desk: NamedDependency[Desk], body: RawBody
) -> Response[ImageAnswer]:
    """Have an image built as soon as there is a turn, though it may be paused or backed off.

    The header Location names the build that it will be.
    """
    word = read_optional(BuildBody, body)
    coming = desk.board.images.one(name).next_build
    image = image_answer(await desk.board.images.build(name, word.by, word.reason))
    where = f"/api/v1/images/{name}/builds/{coming}"
    return Response(image, status_code=202, headers={"location": where})


@delete("/images/{name:str}/builds/{build_id:str}", status_code=200)
async def delete_build(
    name: ImagePath, build_id: BuildPath, desk: NamedDependency[Desk], by: Actor = "api"
) -> ImageAnswer:
    """Have the files of a build deleted, and its uploads once no server boots from them.

    A build that is under way is ended in good order, which may take a minute; it has failed then.
    """
    return image_answer(await desk.board.images.delete_build(name, BuildId(build_id), by))


@post("/images/{name:str}/uploads", status_code=202)
async def upload_image(
    name: ImagePath, desk: NamedDependency[Desk], body: RawBody
) -> Response[ImageAnswer]:
    """Have the newest build uploaded now, to one provider or wherever it is not."""
    word = read_optional(ImageWordBody, body)
    image = await desk.board.images.upload(name, word.provider, word.by, word.reason)
    return Response(image_answer(image), status_code=202)


@delete("/images/{name:str}/uploads/{upload_id:str}", status_code=200)
async def delete_upload(
    name: ImagePath, upload_id: UploadPath, desk: NamedDependency[Desk], by: Actor = "api"
) -> ImageAnswer:
    """Have an upload deleted from its cloud."""
    return image_answer(await desk.board.images.delete_upload(name, UploadId(upload_id), by))


@post("/images/{name:str}/pause", status_code=200)
async def pause_image(name: ImagePath, desk: NamedDependency[Desk], body: RawBody) -> ImageAnswer:
    """Stop builds of an image, or its uploads to one provider. Survives a restart."""
    word = read_optional(ImagePauseBody, body)
    images = desk.board.images
    return image_answer(await images.pause(name, word.provider, word.by, word.reason))


@post("/images/{name:str}/resume", status_code=200)
async def resume_image(name: ImagePath, desk: NamedDependency[Desk], body: RawBody) -> ImageAnswer:
    """Let builds, or uploads to one provider, go on. Fine where nothing is paused."""
    word = read_optional(ImagePauseBody, body)
    return image_answer(await desk.board.images.resume(name, word.provider, word.by))


@post("/images/{name:str}/promote", status_code=200)
async def promote_image(name: ImagePath, desk: NamedDependency[Desk], body: RawBody) -> ImageAnswer:
    """Have a canary serve all launches now, whatever its trial says."""
    word = read_optional(PromoteBody, body)
    build = BuildId(word.build) if word.build is not None else None
    images = desk.board.images
    return image_answer(await images.promote(name, word.provider, build, word.by, word.reason))


@post("/images/{name:str}/rollback", status_code=200)
async def roll_back_image(
    name: ImagePath, desk: NamedDependency[Desk], body: RawBody
) -> ImageAnswer:
    """Go back to an older build and stay with it until it is unpinned.

    Idle nodes of what is gone back from are deleted.
    """
    word = read_optional(RollbackBody, body)
    if (word.provider is None) != word.all_providers:
        raise RefusedError(
            "a rollback is either at one provider or at all of them",
            remedy="Send either `provider` or `all_providers: true`.",
        )
    build = BuildId(word.build) if word.build is not None else None
    image = await desk.board.images.rollback(name, word.provider, build, word.by, word.reason)
    return image_answer(image)


@post("/images/{name:str}/pin", status_code=200)
async def pin_image(name: ImagePath, desk: NamedDependency[Desk], body: RawBody) -> ImageAnswer:
    """Stay with one build, at one provider or at all, until it is unpinned."""
    word = read(PinBody, body)
    images = desk.board.images
    return image_answer(
        await images.pin(name, BuildId(word.build), word.provider, word.by, word.reason)
    )


@post("/images/{name:str}/unpin", status_code=200)
async def unpin_image(name: ImagePath, desk: NamedDependency[Desk], body: RawBody) -> ImageAnswer:
    """Go by what is newest and good again. Fine where nothing is pinned."""
    word = read_optional(ImageWordBody, body)
    images = desk.board.images
    return image_answer(await images.unpin(name, word.provider, word.by, word.reason))


HANDLERS: Final = (
    list_images, show_image, show_build, show_build_log, build_image, delete_build, upload_image,
    delete_upload, pause_image, resume_image, promote_image, roll_back_image, pin_image,
    unpin_image,
)  # fmt: skip
