"""Recording stories at a cloud into cassettes, and telling them again from those.

What stands in a cassette is chosen here: nothing of who recorded it, and of hosts only those that
everybody knows. How the story is to be told again is written into its head, so that a test needs
no more than the file.
"""

import datetime
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

import attrs
import httpx
import trio

from trellis.errors import TrellisError
from trellis.http.transport import TransportFactory, TransportSettings
from trellis.inspection.opening import Opened, opened, provider_config, read_only
from trellis.openstack.clouds import CloudConfig
from trellis.openstack.login import Access
from trellis.spi.registry import ProviderFactory, ProviderRegistry, Registration
from trellis.testing.cassette import (
    CassetteError,
    Provenance,
    Recording,
    open_cassette,
    read_provenance,
)
from trellis.testing.cloud_stories import (
    DEPLOYMENT,
    LABEL,
    NAME,
    POOL,
    STORIES,
    CannotTellError,
    CloudStory,
    Scene,
)
from trellis.testing.heard import Heard, Listening
from trellis.testing.stand_ins import is_secret, secrets_of, stand_ins

_WITHIN_S: Final = 1800.0
_TIDY_S: Final = 300.0


@attrs.frozen(kw_only=True)
class Place:
    """Where stories are told: a type of provider, an entry, and what servers are made of.

    Attributes:
        label: image and flavor, as a label of the configuration has them; empty for none.
        pool: further keys of the pool, as ``networks``.
    """

    registration: Registration[ProviderFactory]
    registry: ProviderRegistry
    cloud: CloudConfig
    label: Mapping[str, Any] = attrs.field(factory=dict)
    pool: Mapping[str, Any] = attrs.field(factory=dict)

    def opened(
        self, transports: TransportFactory, *, wall: Callable[[], float], random: Random
    ) -> Any:
        """The provider, as long as the block runs."""
        pool = {"name": POOL, **self.pool, "labels": []}
        if self.label:
            pool["labels"] = [{"name": LABEL, **self.label}]
        config = provider_config(
            self.registry,
            self.registration.type,
            self.cloud.name,
            self.cloud.region_name or None,
            pool=pool,
        )
        return opened(
            self.registration,
            self.cloud,
            config,
            transports,
            deployment=DEPLOYMENT,
            random=random,
            wall=wall,
        )


@attrs.frozen(kw_only=True)
class Recorded:
    """A story that stands in a cassette now.

    Attributes:
        calls: how many exchanges it has.
    """

    story: CloudStory
    path: Path
    calls: int


async def record(
    story: CloudStory,
    place: Place,
    folder: Path,
    transports: TransportFactory,
    *,
    described: str,
    again: str,
    hide_hosts: bool,
    wall: Callable[[], float],
) -> Recorded:
    """Tell a story at a cloud and write its cassette.

    Whatever happens, what it made is deleted; nothing is written unless it was told to its end.

    Args:
        folder: the cloud's own, below which the cassette comes.
        described: which cloud it is, for the head.
        again: the command that records it again.
        hide_hosts: also hosts that everybody knows are replaced.
        wall: UTC seconds since the epoch.

    Raises:
        CannotTellError: it cannot be told here.
        CassetteError: something that looks like a secret would be written.
        CloudError: the cloud fails, also at deleting what was made.
    """
    heard = Heard()
    access = await _access(
        place, lambda settings: Listening(_over_httpx(transports(settings)), heard), wall
    )
    profile = place.registration.profile
    replaced = stand_ins(
        place.cloud,
        access,
        hide_hosts=hide_hosts,
        heard=heard,
        public=() if profile is None else tuple(map(str, profile.entry.get("auth", {}).values())),
    )
    known = secrets_of(place.cloud)
    inner = _over_httpx(transports(_settings(place.cloud)))
    told = json.dumps(_how_to_tell(story, place), sort_keys=True)
    for real, fake in replaced.items():
        told = told.replace(real, fake)
    recording = Recording(
        inner=inner,
        provenance=Provenance(
            story=story.about,
            source="recorded",
            cloud=described,
            date=datetime.datetime.fromtimestamp(wall(), datetime.UTC).date().isoformat(),
            again=again,
            told=told,
        ),
        stand_ins=replaced,
        secrets=known,
    )
    path = folder / story.path
    with open_cassette(path, recording=recording) as transport:
        async with transport:
            await _told(story, place, transport, wall, tidies=bool(story.makes))
    return Recorded(story=story, path=path, calls=_exchanges(path))


async def tell_again(path: Path, registry: ProviderRegistry) -> Any:
    """Tell the story of a cassette to the plugin's provider, which must ask as it did then.

    Use a virtual clock: the story waits as long as it did.

    Args:
        path: a cassette that `record` wrote.
        registry: has the type it was recorded with.

    Returns:
        What the provider made of the answers; another thing for each story.

    Raises:
        CassetteError: its head does not say how; or the provider asks something else, or less.
    """
    head = read_provenance(path)
    if not head.told:
        raise CassetteError(
            f"{path}: no line '# told: …' at its head, which `trellis plugin record` writes"
        )
    how = json.loads(head.told)
    registration = registry.get(how["type"])
    if registration is None or how["story"] not in STORIES:
        raise CassetteError(f"{path}: no plugin offers {how['type']}, or no story {how['story']}")
    place = Place(
        registration=registration,
        registry=registry,
        cloud=CloudConfig(**how["cloud"]),
        label=how["label"],
        pool=how["pool"],
    )
    with open_cassette(path) as transport:
        return await _told(STORIES[how["story"]], place, transport, trio.current_time)


async def _told(
    story: CloudStory,
    place: Place,
    transport: httpx.AsyncBaseTransport,
    wall: Callable[[], float],
    *,
    tidies: bool = False,
) -> Any:
    try:
        async with place.opened(
            lambda _settings: _Lent(transport), wall=wall, random=Random(1)
        ) as there:
            return await _to_its_end(story, there, tidies)
    except BaseExceptionGroup as group:
        ours, others = group.split((TrellisError, CassetteError))
        if ours is None or others is not None:
            raise
        found = list(_leaves(ours))
    # What the cassette says is the cause of what the client made of it.
    raise next((x for x in found if isinstance(x, CassetteError)), found[0])


async def _to_its_end(story: CloudStory, there: Opened, tidies: bool) -> Any:
    scene = Scene(there=there)
    try:
        with trio.fail_after(_WITHIN_S):
            return await story.tell(scene)
    except Exception as broken:
        left = await _tidied(scene) if tidies else None  # noqa: ASYNC120 - it is shielded
        if left is not None:
            raise left from broken
        if isinstance(broken, trio.TooSlowError):
            what = f"it did not come to its end within {_WITHIN_S:g} s"
            raise CannotTellError(what) from None
        raise
    except BaseException as broken:
        left = await _tidied(scene) if tidies else None  # noqa: ASYNC102 - it is shielded, and ends
        if left is not None:
            # Ctrl-C stays one: else whoever records more stories would go on with the next.
            both = BaseExceptionGroup("broken off, and not tidied up", [broken, left])
            raise both from None  # noqa: ASYNC104 - what was cancelled is in the group
        raise


async def _tidied(scene: Scene) -> TrellisError | None:
    """Delete what was made; what stands against it, if something does."""
    try:
        with trio.move_on_after(_TIDY_S, shield=True) as late:
            await scene.tidy()
    except TrellisError as error:
        return error
    if not late.cancelled_caught:
        return None
    return CannotTellError(
        f"what was made is not gone after {_TIDY_S:g} s: look for server {NAME} and "
        f"floating IPs whose description begins with trellis:{DEPLOYMENT}"
    )


async def _access(place: Place, transports: TransportFactory, wall: Callable[[], float]) -> Access:
    """Log in beside the recording, to know what must not stand in it."""
    found: list[BaseException] = []
    try:
        async with place.opened(read_only(transports), wall=wall, random=Random(1)) as there:
            access: Access = await there.account.token()
    except* TrellisError as group:
        found = list(_leaves(group))
    if found:
        raise found[0]
    return access


def _over_httpx(transport: Any) -> httpx.AsyncBaseTransport:
    if not isinstance(transport, httpx.AsyncBaseTransport):
        raise CassetteError("only what goes over httpx can be recorded")
    return transport


def _settings(cloud: CloudConfig) -> TransportSettings:
    return TransportSettings(
        cloud=cloud.name,
        verify=cloud.verify,
        cacert=cloud.cacert,
        cert=cloud.cert,
        key=cloud.key,
    )


def _exchanges(path: Path) -> int:
    return path.read_text(encoding="utf-8").count("\n- request:")


def _leaves(group: BaseExceptionGroup[Any]) -> Iterator[Any]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


class _Lent(httpx.AsyncBaseTransport):
    """One transport in several hands, none of which closes it."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


def _how_to_tell(story: CloudStory, place: Place) -> dict[str, Any]:
    cloud = place.cloud
    auth = {key: "scrubbed" if is_secret(key) else value for key, value in cloud.auth.items()}
    entry = {
        "name": "recorded", "region_name": cloud.region_name, "auth_type": cloud.auth_type,
        "auth": auth, "interface": cloud.interface, "overrides": dict(cloud.overrides),
    }  # fmt: skip
    return {
        "story": story.name, "type": place.registration.type, "cloud": entry,
        "label": dict(place.label), "pool": dict(place.pool),
    }  # fmt: skip


def cassettes_under(folder: Path) -> Sequence[Path]:
    """The cassettes below a folder whose stories can be told again, in order."""
    return [path for path in sorted(folder.rglob("*.yaml")) if read_provenance(path).told]
