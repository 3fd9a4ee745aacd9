"""``trellis plugin record``: a plugin's exchanges with a real cloud, as cassettes for its tests."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from trellis.cli.plugin_check import run_interruptible, type_named
from trellis.cli.shape import Command, complain, complain_of, note
from trellis.cli.tables import Column, field, print_table
from trellis.errors import ConfigError, TrellisError

if TYPE_CHECKING:
    from trellis.testing.cloud_stories import CloudStory
    from trellis.testing.recording import Place

_STORIES: Final = (
    Column("STORY", field("name")),
    Column("CASSETTE", field("path")),
    Column("MAKES", field("makes"), wraps=True),
    Column("WHAT HAPPENS", field("about"), wraps=True),
)
_RECORDED: Final = (
    Column("STORY", field("name")),
    Column("CALLS", field("calls")),
    Column("FILE", field("file"), wraps=True),
)


@click.command(
    cls=Command,
    examples=[
        "trellis plugin record --list",
        "trellis plugin record --type openstack --cloud mycloud --into cassettes/mycloud login",
        "trellis plugin record --type openstack --cloud mycloud --into cassettes/mycloud "
        "--image debian-12 --yes launch",
    ],
)
@click.argument("stories", metavar="[STORY...]", nargs=-1)
@click.option("--list", "lists", is_flag=True, help="List the stories, and what each makes.")
@click.option("--type", "type_", metavar="TYPE", help="The type of provider to record with.")
@click.option("--cloud", metavar="ENTRY", help="The cloud, by its entry in clouds.yaml.")
@click.option("--region", metavar="NAME", help="In this region; the entry's first if left out.")
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="The cloud's folder of cassettes, as cassettes/ovh.",
)
@click.option("--image", metavar="NAME", help="The image that servers are made of.")
@click.option("--flavor", metavar="NAME", help="Their flavor; the smallest if left out.")
@click.option("--network", metavar="NAME", help="Their network; the cloud's choice if left out.")
@click.option(
    "--describe", metavar="TEXT", help="Which cloud it is, for the head; the profile's title."
)
@click.option(
    "--hide-hosts", is_flag=True, help="Replace hosts that everybody knows too: a private cloud."
)
@click.option("--yes", is_flag=True, help="Do not ask before something is made.")
def record(stories: Sequence[str], lists: bool, yes: bool, **given: Any) -> None:
    """Play stories at a cloud and write what was said into cassettes, without secrets.

    Without STORY all that make nothing are recorded. Says what the others will make, asks, and
    deletes it at the end of each. Names and ids of the account are replaced; nothing is written
    in which a secret would stand. Look at the files before you publish them. They are told again
    by trellis.testing.recording.tell_again. Needs trellis-ci[testing].
    """
    try:
        from trellis.testing.cloud_stories import STORIES
        from trellis.testing.recording import Place
    except ImportError as error:
        raise ConfigError(
            [f"{error.name} is not installed: pip install 'trellis-ci[testing]'"]
        ) from error
    if lists:
        rows = [
            {"name": x.name, "path": x.path, "makes": x.makes or "nothing", "about": x.about}
            for x in STORIES.values()
        ]
        print_table(rows, _STORIES)
        return
    for name in ("type_", "cloud", "into"):
        if not given[name]:
            raise click.UsageError(f"--{name.strip('_')} is needed")
    for name in stories:
        if name not in STORIES:
            raise click.BadParameter(
                f"no story {name!r}; there is {', '.join(STORIES)}", param_hint="STORY"
            )
    chosen = [STORIES[name] for name in stories] or [
        x for x in STORIES.values() if not x.makes and (given["image"] or not x.needs_label)
    ]
    if needy := [x.name for x in chosen if x.needs_label and not given["image"]]:
        raise click.UsageError(f"{', '.join(needy)}: needs --image, as servers are made of one")
    place = _place(given, Place)
    _ask(chosen, place, given, yes)
    _record(chosen, place, given)


def _place(given: dict[str, Any], make: "type[Place]") -> "Place":
    from trellis.inspection.opening import read_cloud
    from trellis.plugin_host import load_plugins

    host = load_plugins()
    registration = type_named(host, given["type_"])
    cloud = read_cloud(given["cloud"], given["region"], host.providers, given["type_"])
    label: dict[str, Any] = {}
    if given["image"]:
        size = {"flavor-name": given["flavor"]} if given["flavor"] else {"min-ram": 1}
        label = {"cloud-image": given["image"], **size}
    pool = {"networks": [given["network"]]} if given["network"] else {}
    return make(
        registration=registration,
        registry=host.providers,
        cloud=cloud,
        label=label,
        pool=pool,
    )


def _ask(chosen: "Sequence[CloudStory]", place: "Place", given: dict[str, Any], yes: bool) -> None:
    made = [story for story in chosen if story.makes]
    if not made:
        return
    where = f"{place.cloud.name} {place.cloud.region_name}".strip()
    size = given["flavor"] or "the smallest flavor"
    note(f"At {where}, of image {given['image']} and {size}, these make and delete again:")
    for story in made:
        note(f"  {story.name}: {story.makes}")
    if not yes:
        click.confirm("Go on?", abort=True, err=True)


def _record(chosen: "Sequence[CloudStory]", place: "Place", given: dict[str, Any]) -> None:
    import time
    from functools import partial

    from trellis.http import lane_transports
    from trellis.testing.cassette import CassetteError
    from trellis.testing.recording import record as record_story

    rows, failed = [], False
    for story in chosen:
        note(f"{story.name} …")
        try:
            done = run_interruptible(
                partial(
                    record_story,
                    story,
                    place,
                    given["into"],
                    lane_transports(),
                    described=given["describe"] or _title(place),
                    again=_again(story, given),
                    hide_hosts=given["hide_hosts"],
                    wall=time.time,
                )
            )
        except TrellisError as error:
            complain_of(error)
            failed = True
        except CassetteError as error:
            complain(str(error), remedy="Tell the plugin's author what would have stood there.")
            failed = True
        else:
            rows.append({"name": story.name, "calls": done.calls, "file": str(done.path)})
    if rows:
        print_table(rows, _RECORDED)
    if failed:
        raise SystemExit(1)


def _title(place: "Place") -> str:
    profile = place.registration.profile
    title = place.registration.type if profile is None else profile.title
    return f"{title}, region {place.cloud.region_name or '(the only one)'}"


def _again(story: "CloudStory", given: dict[str, Any]) -> str:
    """The command, for whoever has an account there: its entry is another one."""
    import shlex

    words = ["trellis", "plugin", "record", "--type", given["type_"], "--cloud", "ENTRY"]
    shown = {**given, "into": _shown_folder(given["into"])}
    for name in ("region", "into", "image", "flavor", "network", "describe"):
        if shown[name]:
            words += [f"--{name}", str(shown[name])]
    if given["hide_hosts"]:
        words.append("--hide-hosts")
    return shlex.join([*words, story.name])


def _shown_folder(folder: Path) -> Path:
    """The folder as seen from here; of one that is elsewhere nobody need know where."""
    whole = folder.absolute()
    here = Path.cwd()
    return whole.relative_to(here) if whole.is_relative_to(here) else Path(folder.name)
