"""``trellis image``: what is built, where it is, how it fares, and what to do about it."""

from typing import Any, Final

import click

from trellis.cli.image_words import (
    build_fields,
    build_id,
    image_fields,
    listed,
    place_state,
    short,
    upload_id,
)
from trellis.cli.shape import Noun
from trellis.cli.tables import (
    Column,
    age,
    field,
    print_fields,
    print_table,
    show_data,
)
from trellis.cli.talk import (
    by_option,
    client,
    complete_names,
    complete_of,
    confirm,
    for_each,
    output_option,
)
from trellis.live.images import about_trial, about_upload, size
from trellis.live.text import duration, printable

_IMAGES: Final = (
    Column("IMAGE", field("image")),
    Column("WHERE", field("where"), wraps=True),
    Column("BUILD", field("build")),
    Column("AGE", field("age")),
    Column("STATE", field("state")),
    Column("WHAT COMES", field("next"), wraps=True),
)
_BUILDS: Final = (
    Column("BUILD", lambda build: build["number"]),
    Column("STATE", field("state")),
    Column("AGE", lambda build: age(build["created_at"])),
    Column("TOOK", lambda build: duration(build["elapsed_s"])),
    Column("FILES", lambda build: _files(build), wraps=True),
    Column("WHY", lambda build: build["fault"] or build["why"], wraps=True),
)
_PLACES: Final = (
    Column("PROVIDER", field("provider"), wraps=True),
    Column("STATE", place_state),
    Column("BUILD", lambda place: short(place["image"], place["build_id"])),
    Column("AGE", lambda place: age(place["built_at"])),
    Column("FORMAT", field("format"), wide=True),
    Column("LABELS", lambda place: " ".join(place["labels"]), wraps=True, wide=True),
    Column("WHY", lambda place: _why(place), wraps=True),
)
_UPLOADS: Final = (
    Column("UPLOAD", lambda one: short(one["image"], one["id"])),
    Column("PROVIDER", field("provider"), wraps=True),
    Column("STATE", lambda one: _upload_state(one)),
    Column("SHARE", lambda one: f"{100 * one['share']:.0f} %" if one["share"] else ""),
    Column("NODES", lambda one: one["nodes"] or ""),
    Column("IMAGE ID", field("external_id"), wide=True, wraps=True),
    Column("HOW IT FARES", lambda one: _fares(one), wraps=True),
)
_complete = complete_names("images")
_complete_provider = complete_of("images", "places", "provider")
_complete_build = complete_of("images", "builds", "number")
_name = click.argument("name", metavar="IMAGE", shell_complete=_complete)
_reason = click.option("--reason", default="", help="Why, for others to see.")
_provider = click.option(
    "--provider", help="Only at this provider.", shell_complete=_complete_provider
)


@click.group(
    cls=Noun,
    examples=[
        "trellis image list",
        "trellis image build debian-12 --wait",
        "trellis image log debian-12 -f",
        'trellis image rollback debian-12 --all-providers --reason "no network after boot"',
    ],
)
def image() -> None:
    """Look at images; build, upload, promote, roll back, pin and delete them.

    A build is named by its number, an upload by the build's number, a dot and its own.
    """


# ------------------------------------------------------------------------------ looking


@image.command("list", examples=["trellis image list", "trellis image list -o json"])
@output_option
def list_(output: str) -> None:
    """List the images: what is built here, what serves at each provider, and what comes."""
    with client() as face:
        images = face.items("images")
    if output != "table":
        show_data(output, images)
    elif images:
        print_table(listed(images), _IMAGES)
    else:
        click.echo("No images are configured.", err=True)


@image.command(examples=["trellis image show debian-12", "trellis image show debian-12 7"])
@_name
@click.argument("build", required=False, shell_complete=_complete_build)
@output_option
def show(name: str, build: str | None, output: str) -> None:
    """Show an image with its builds and uploads; or one of its builds."""
    with client() as face:
        if build is None:
            _show(output, face.get("images", name))
        else:
            _show_build(output, face.get("images", name, "builds", build_id(name, build)))


@image.command(
    examples=["trellis image log debian-12 -f", "trellis image log debian-12 7 --lines 50"]
)
@_name
@click.argument("build", required=False, shell_complete=_complete_build)
@click.option("-f", "--follow", is_flag=True, help="Go on until the build has ended.")
@click.option("-n", "--lines", type=click.IntRange(0), help="Begin so many lines before the end.")
def log(name: str, build: str | None, follow: bool, lines: int | None) -> None:
    """Print the log of a build, of the newest one if none is named.

    With -f the exit code is 1 if the build fails.
    """
    from trellis.cli.image_waiting import follow_log

    with client() as face:
        chosen = _newest(face.get("images", name)) if build is None else build_id(name, build)
        if follow:
            follow_log(face, name, chosen, lines)
        else:
            text = face.text("images", name, "builds", chosen, "log", lines=lines)
            click.echo(printable(text), nl=False)


def _newest(image: Any) -> str:
    if not image["builds"]:
        raise click.UsageError(f"{image['name']} has no build yet; `trellis image build` makes one")
    return str(image["builds"][0]["id"])


# ------------------------------------------------------------------------------- acting


@image.command(
    examples=[
        "trellis image build debian-12 --wait",
        'trellis image build debian-12 --reason "a new kernel"',
    ]
)
@_name
@_reason
@click.option("--wait", is_flag=True, help="Wait for its end; the exit code says how it was.")
@by_option
@output_option
def build(name: str, reason: str, wait: bool, by: str, output: str) -> None:
    """Have an image built as soon as there is a turn, though it may be paused."""
    from trellis.cli.image_waiting import wait_for_build

    with client() as face:
        coming = face.get("images", name)["next_build"]
        image = face.post("images", name, "builds", body={"by": by, "reason": reason})
        if wait:
            _show_build(output, wait_for_build(face, name, coming))
        else:
            _done(output, image, image["words"] or f"build {short(name, coming)} is asked for")


@image.command(
    examples=[
        "trellis image upload debian-12 --wait",
        "trellis image upload debian-12 --provider ovh-bhs1",
    ]
)
@_name
@_provider
@_reason
@click.option("--wait", is_flag=True, help="Wait until it is there; the exit code says whether.")
@by_option
@output_option
def upload(name: str, provider: str | None, reason: str, wait: bool, by: str, output: str) -> None:
    """Have the newest build uploaded now, wherever it is not; a back-off ends by that."""
    from trellis.cli.image_waiting import wait_for_uploads

    body = {"by": by, "reason": reason, "provider": provider}
    with client() as face:
        image = face.post("images", name, "uploads", body=body)
        if wait:
            image = wait_for_uploads(face, image, provider)
        _done(output, image, *(_told(name, place, provider) for place in image["places"]))


@image.command(
    examples=["trellis image delete debian-12 7", "trellis image delete debian-12 7.12 --yes"]
)
@_name
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@by_option
@output_option
def delete(name: str, ids: tuple[str, ...], yes: bool, by: str, output: str) -> None:
    """Delete builds (7) with their files and uploads, or single uploads (7.12).

    A build that is under way is ended.
    """
    confirm(f"Delete {' '.join(ids)} of {name}?", yes=yes)

    def act(one: str) -> Any:
        if (found := upload_id(name, one)) is not None:
            return {"id": found, **face.delete("images", name, "uploads", found, by=by)}
        found = build_id(name, one)
        return {"id": found, **face.delete("images", name, "builds", found, by=by)}

    with client() as face:
        for_each(ids, act, output=output, say=lambda answer: f"{answer['id']} goes")


@image.command(
    examples=[
        'trellis image pause debian-12 --reason "mirror is broken"',
        "trellis image pause debian-12 --provider ovh-bhs1",
    ]
)
@_name
@click.option(
    "--provider",
    help="Stop uploads to this provider instead of builds.",
    shell_complete=_complete_provider,
)
@_reason
@by_option
@output_option
def pause(name: str, provider: str | None, reason: str, by: str, output: str) -> None:
    """Stop builds of an image, or its uploads to a provider. Survives a restart."""
    _act(output, name, "pause", {"by": by, "reason": reason, "provider": provider})


@image.command(examples=["trellis image resume debian-12"])
@_name
@click.option(
    "--provider", help="Resume uploads to this provider.", shell_complete=_complete_provider
)
@by_option
@output_option
def resume(name: str, provider: str | None, by: str, output: str) -> None:
    """Let builds, or uploads to a provider, go on."""
    _act(output, name, "resume", {"by": by, "provider": provider})


@image.command(examples=["trellis image promote debian-12 --provider ovh-bhs1"])
@_name
@_provider
@click.option("--build", help="Which build; the newest canary.", shell_complete=_complete_build)
@_reason
@by_option
@output_option
def promote(
    name: str, provider: str | None, build: str | None, reason: str, by: str, output: str
) -> None:
    """Have a canary serve all launches now, whatever its trial says."""
    body = {"by": by, "reason": reason, "provider": provider, "build": build}
    _act(output, name, "promote", _of_build(name, body))


@image.command(
    examples=[
        'trellis image rollback debian-12 --all-providers --reason "no network after boot"',
        "trellis image rollback debian-12 --provider ovh-bhs1 --to 6",
    ]
)
@_name
@click.option("--provider", help="Go back at this provider.", shell_complete=_complete_provider)
@click.option("--all-providers", is_flag=True, help="Go back everywhere.")
@click.option(
    "--to",
    "build",
    metavar="BUILD",
    help="To this build; the newest good one before.",
    shell_complete=_complete_build,
)
@_reason
@by_option
@output_option
def rollback(
    name: str,
    provider: str | None,
    all_providers: bool,
    build: str | None,
    reason: str,
    by: str,
    output: str,
) -> None:
    """Go back to an older build, and stay with it until it is unpinned.

    Idle nodes of the build that is gone back from are deleted; those in use stay.
    """
    if (provider is None) != all_providers:
        raise click.UsageError("say where: --provider NAME, or --all-providers")
    body = {
        "by": by,
        "reason": reason,
        "provider": provider,
        "all_providers": all_providers,
        "build": build,
    }
    _act(output, name, "rollback", _of_build(name, body))


@image.command(
    examples=['trellis image pin debian-12 6 --provider ovh-bhs1 --reason "until the release"']
)
@_name
@click.argument("build", shell_complete=_complete_build)
@_provider
@_reason
@by_option
@output_option
def pin(name: str, build: str, provider: str | None, reason: str, by: str, output: str) -> None:
    """Stay with one build, at one provider or at all, until it is unpinned."""
    body = {"by": by, "reason": reason, "provider": provider, "build": build}
    _act(output, name, "pin", _of_build(name, body))


@image.command(examples=["trellis image unpin debian-12"])
@_name
@_provider
@_reason
@by_option
@output_option
def unpin(name: str, provider: str | None, reason: str, by: str, output: str) -> None:
    """Go by what is newest and good again, at one provider or at all."""
    _act(output, name, "unpin", {"by": by, "reason": reason, "provider": provider})


def _of_build(name: str, body: dict[str, Any]) -> dict[str, Any]:
    given = body["build"]
    return {**body, "build": None if given is None else build_id(name, given)}


def _act(output: str, name: str, verb: str, body: dict[str, Any]) -> None:
    with client() as face:
        image = face.post("images", name, verb, body=body)
    provider = body.get("provider")
    at_places = verb not in ("pause", "resume") or provider is not None
    told = [_told(name, place, provider) for place in image["places"]] if at_places else []
    state = "paused" if image["pause"] is not None else image["words"] or "builds go on"
    _done(output, image, *(told or [state]))


def _told(name: str, place: Any, provider: str | None) -> str:
    """How an image stands at a provider now, in a line; "" for one that was not asked about."""
    if provider not in (None, place["provider"]):
        return ""
    build = short(name, place["build_id"])
    serves = f"{place_state(place)}, build {build}" if build else place_state(place)
    return f"{place['provider']}: {serves}" + (f"; {place['words']}" if place["words"] else "")


def _done(output: str, image: Any, *lines: str) -> None:
    if output != "table":
        show_data(output, image)
        return
    for line in filter(None, lines):
        click.echo(printable(line))


# ------------------------------------------------------------------------------ showing


def _show(output: str, image: Any) -> None:
    if output != "table":
        show_data(output, image)
        return
    print_fields(image_fields(image))
    tables = (
        (image["builds"], _BUILDS),
        ([{**place, "image": image["name"]} for place in image["places"]], _PLACES),
        (
            [
                {**upload, "image": image["name"]}
                for place in image["places"]
                for upload in place["uploads"]
            ],
            _UPLOADS,
        ),
    )
    for rows, columns in tables:
        if rows:
            click.echo()
            print_table(rows, columns)


def _show_build(output: str, build: Any) -> None:
    if output != "table":
        show_data(output, build)
    else:
        print_fields(build_fields(build))


def _files(build: Any) -> str:
    return ", ".join(
        f"{one['format']} {size(one['bytes'])}" + ("" if one["path"] else " (deleted here)")
        for one in build["artifacts"]
    )


def _why(place: Any) -> str:
    pin, pause = place["pin"], place["pause"]
    parts = [
        f"pinned by {pin['by']}: {pin['reason']}" if pin else "",
        f"uploads paused by {pause['by']}: {pause['reason']}" if pause else "",
        place["words"],
    ]
    return "; ".join(filter(None, parts))


def _upload_state(upload: Any) -> str:
    if upload["state"] != "ready":
        return str(upload["state"])
    return "serving" if upload["serving"] else str(upload["standing"])


def _fares(upload: Any) -> str:
    if upload["state"] != "ready":
        return upload["fault"] or about_upload(upload)
    if upload["standing"] == "canary":
        return about_trial(upload)
    return str(upload["standing_why"])
