"""Cassettes that are written from documents, where no cloud can be recorded.

A story is told at a `Place` to our client and provider, while a transport plays what documents
say the cloud answers; a cassette keeps both. A cloud's module brings its places, answers and
stories, and its tests tell them again to the cassettes.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import attrs
import httpx

from trellis.errors import CloudError
from trellis.http import Road
from trellis.openstack.auth import running_account
from trellis.openstack.clouds import CloudConfig
from trellis.openstack.profile import CloudProfile
from trellis.openstack.session import Session
from trellis.providers.config import OpenStackProviderConfig
from trellis.providers.openstack import OpenStackProvider
from trellis.testing.cassette import Provenance, Recording, open_cassette, read_provenance

CASSETTES = Path(__file__).parents[2] / "cassettes"
NOW = datetime(2026, 11, 22, 13, 40, tzinfo=UTC)
"""When the stories happen. A cassette keeps no Date, and some answers speak of moments."""

Answer = tuple[int, dict[str, str], Any]
"""Status, headers and body; None is no body."""
Answers = dict[tuple[str, str], list[Answer]]
"""By method and URL: the answers to one call after the other."""


@attrs.frozen(kw_only=True)
class Place:
    """A cloud to which one customer's entry leads.

    Attributes:
        profile: of the cloud.
        config: the entry, on the ground of the profile.
        login: what the cloud answers to a login.
        again: how its cassettes are written again.
        cloud: its name in cassettes; the profile's title if left out.
    """

    profile: CloudProfile
    config: CloudConfig
    login: Answers
    again: str
    cloud: str = attrs.field()

    @cloud.default
    def _title(self) -> str:
        return self.profile.title


@attrs.frozen
class Scene:
    """A region through our client and provider."""

    session: Session
    provider: OpenStackProvider


@attrs.frozen(kw_only=True)
class Story:
    """What happens in one cassette.

    Attributes:
        place: where it happens.
        path: below ``cassettes``.
        about: what happens in it, for the cassette's head.
        source: the document it follows.
        tell: tells it, and returns what is to be seen.
        answers: beside, or in place of, those of the login.
    """

    place: Place
    path: str
    about: str
    source: str
    tell: Callable[[Scene], Awaitable[Any]]
    answers: Answers = attrs.field(factory=dict)

    @property
    def head(self) -> Provenance:
        """What stands at the head of its cassette."""
        return Provenance(
            story=self.about,
            source=f"documented: {self.source}",
            cloud=self.place.cloud,
            date="2026-11-23",
            again=self.place.again,
        )


@asynccontextmanager
async def scene(place: Place, transport: httpx.AsyncBaseTransport) -> AsyncIterator[Scene]:
    """Our client as the profile shapes it, on this transport, as long as the block runs."""
    profile, entry = place.profile, place.config
    road = Road(entry.name, transport, plan=profile.rates, random=Random(1), wall=NOW.timestamp)
    identity = road.beside(transport)
    async with running_account(entry, identity, refusals=profile.refusals) as account:
        settings = profile.settings
        session = Session(
            account,
            road,
            region=entry.region_name,
            overrides=entry.overrides,
            missing_region=settings.missing_region,
        )
        config = OpenStackProviderConfig(name=entry.name, type=profile.name, cloud=entry.name)
        provider = OpenStackProvider(config, session, "d", quirks=settings, settings=entry.settings)
        yield Scene(session, provider)


async def refusal(call: Awaitable[object]) -> CloudError:
    """The error with which a cloud refuses."""
    try:
        answer = await call
    except CloudError as error:
        return error
    raise AssertionError(f"the cloud accepted it: {answer}")


class Documented(httpx.AsyncBaseTransport):
    """Answers as documents have it; each answer once."""

    def __init__(self, answers: Answers) -> None:
        self._left = {call: list(given) for call, given in answers.items()}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        status, headers, body = self._left[request.method, str(request.url)].pop(0)
        content = b"" if body is None else json.dumps(body).encode()
        if content:
            headers = {"Content-Type": "application/json", **headers}
        return httpx.Response(status, headers=headers, content=content, request=request)


async def write(stories: Iterable[Story]) -> None:
    """Tell each story to the documents, and keep both in its cassette."""
    for story in stories:
        path = CASSETTES / story.path
        path.parent.mkdir(parents=True, exist_ok=True)
        answers = {**story.place.login, **story.answers}
        recording = Recording(inner=Documented(answers), provenance=story.head)
        with open_cassette(path, recording=recording) as transport:
            async with scene(story.place, transport) as on:
                await story.tell(on)


async def replay(story: Story) -> Any:
    """Tell it again; every request of the cassette must be made, and no other."""
    with open_cassette(CASSETTES / story.path) as transport:
        async with scene(story.place, transport) as on:
            return await story.tell(on)


def documented_under(folder: str) -> list[str]:
    """The cassettes of a folder that follow documents; beside them are recorded ones."""
    return sorted(
        path.relative_to(CASSETTES).as_posix()
        for path in (CASSETTES / folder).rglob("*.yaml")
        if read_provenance(path).source.startswith("documented")
    )
