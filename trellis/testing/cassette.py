"""Recorded exchanges with a cloud, played back to an httpx client: vcrpy's files on Trio.

A cassette belongs to a transport, not to the process: nothing is patched, several may be open
at once. By default it only replays, strictly: a request that was not recorded fails and shows
the nearest one that was; one that was recorded and never made fails at the end.

    with open_cassette("cassettes/openstack/compute/over_quota.yaml") as transport:
        async with httpx.AsyncClient(transport=transport) as client: ...

Needs ``trellis-ci[testing]``.
"""

import copy
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import httpx
import trio
import yaml
from vcr import matchers
from vcr.cassette import Cassette
from vcr.request import Request
from vcr.serialize import serialize
from vcr.serializers import yamlserializer

from trellis.testing.secrets import Scrubber, find_secrets

_MATCH_ON: Final = (
    matchers.method, matchers.scheme, matchers.host, matchers.port, matchers.path,
    matchers.query, matchers.body,
)  # fmt: skip
_LARGEST_BODY: Final = 64 * 1024
# What differs from one recording to the next and tells a reader nothing.
_DULL_REQUEST: Final = frozenset(
    {"accept-encoding", "connection", "content-length", "host", "user-agent"}
)
_DULL_RESPONSE: Final = frozenset(
    {"connection", "content-length", "date", "keep-alive", "server", "transfer-encoding"}
)


class CassetteError(AssertionError):
    """A cassette and the requests made do not agree, or the cassette cannot be used."""


@attrs.frozen(kw_only=True)
class Provenance:
    """Where a cassette comes from: the comment at the head of its file.

    Attributes:
        story: what happens in it, in a sentence.
        source: ``recorded``, or ``documented`` with the address of the document.
        cloud: which cloud, with the versions of the services that answer.
        date: when, as ``2026-11-23``.
        again: how to record it again.
        told: how its story is told again, as JSON, where `trellis plugin record` wrote it
            (`trellis.testing.recording.tell_again`); "" for other cassettes.
    """

    story: str
    source: str
    cloud: str
    date: str
    again: str
    told: str = ""

    def as_comment(self) -> str:
        """The lines at the head of the file."""
        return "".join(
            f"# {name}: {' '.join(str(value).split())}\n"
            for name, value in attrs.asdict(self).items()
            if value or name != "told"
        )


def read_provenance(path: Path) -> Provenance:
    """Read the comment at the head of a cassette.

    Raises:
        CassetteError: a line of it is missing, or its source is neither of the two.
    """
    found = dict(re.findall(r"^# (\w+): (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE))
    names = [field.name for field in attrs.fields(Provenance)]
    missing = [name for name in names if name not in found and name != "told"]
    if missing:
        raise CassetteError(
            f"{path}: no line '# {missing[0]}: …' at its head. Every cassette says "
            f"{', '.join(names[:-1])}: add it, or record it again."
        )
    if not re.match(r"recorded$|documented\b", found["source"]):
        raise CassetteError(f"{path}: source is {found['source']!r}, not recorded or documented …")
    return Provenance(**{name: found[name] for name in names if name in found})


@attrs.frozen(kw_only=True)
class Recording:
    """What recording needs to know.

    Attributes:
        inner: the transport to the real cloud; closed with the cassette's.
        provenance: the comment at the head of the file.
        stand_ins: by real text, what stands in the cassette instead, wherever it occurs: as
            ``https://identity.cloud.example`` for ``http://127.0.0.1:15000``, or a fixed name
            for one that was drawn by lot.
        secrets: values known to be secret. Nothing is written if one is still there after
            scrubbing.
    """

    inner: httpx.AsyncBaseTransport
    provenance: Provenance
    stand_ins: Mapping[str, str] = attrs.field(factory=dict)
    secrets: tuple[str, ...] = attrs.field(default=(), repr=False)


@contextmanager
def open_cassette(
    path: str | Path, *, recording: Recording | None = None
) -> "Iterator[CassetteTransport]":
    """Hold the transport of one cassette.

    Args:
        path: the file; vcrpy reads and writes the same.
        recording: replay if None; else make the file anew, whatever there was. It is written
            when the block ends without an error.

    Raises:
        CassetteError: at once: the file is missing or lacks its head. At the end: a request was
            made that is not in it (even if the error was swallowed), one in it was not made, or
            something that looks like a secret would have been written.
    """
    transport = CassetteTransport(Path(path), recording=recording)
    yield transport
    transport.finish()


class CassetteTransport(httpx.AsyncBaseTransport):
    """The transport of one cassette; made by `open_cassette`.

    Bodies are streamed in both directions while recording; of a large upload the cassette keeps
    a digest. A response left before its end is not recorded.
    """

    def __init__(self, path: Path, *, recording: Recording | None = None) -> None:
        self._path = path
        self._recording = recording
        self._scrubber = Scrubber()
        self._unexpected: list[str] = []
        if recording is None:
            if not path.is_file():
                raise CassetteError(f"{path}: there is no such cassette, and nothing is recorded")
            read_provenance(path)
        self._cassette: Any = (Cassette.load if recording is None else Cassette)(
            path=str(path),
            record_mode="none" if recording is None else "all",
            match_on=_MATCH_ON,
            before_record_request=self._clean_request,
            before_record_response=self._clean_response,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer from the cassette, or from the cloud while recording.

        Raises:
            CassetteError: the request is not in the cassette.
        """
        if self._recording is None:
            return await self._replay(request)
        return await self._record(request, self._recording.inner)

    async def aclose(self) -> None:
        """Close the transport to the cloud, if there is one."""
        if self._recording is not None:
            await self._recording.inner.aclose()

    def finish(self) -> None:
        """Settle: see `open_cassette`."""
        if self._recording is not None:
            self._write(self._recording)
            return
        if self._unexpected:
            raise CassetteError("\n".join(self._unexpected))
        counts = self._cassette.play_counts
        unplayed = [r for index, r in enumerate(self._cassette.requests) if not counts[index]]
        if unplayed:
            lines = "\n".join(f"  {_name(request)}" for request in unplayed)
            raise CassetteError(f"{self._path}: recorded, but never asked for:\n{lines}")

    # -------------------------------------------------------------------------- replaying

    async def _replay(self, request: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        upload = _Upload(request.stream)
        async for _ in upload:
            pass
        asked = Request(request.method, str(request.url), upload.record(), dict(request.headers))
        if not self._cassette.can_play_response_for(asked):
            self._unexpected.append(self._explain(asked))
            raise CassetteError(self._unexpected[-1])
        answer = self._cassette.play_response(asked)
        return httpx.Response(
            answer["status"]["code"],
            headers=[(name, value) for name, all_ in answer["headers"].items() for value in all_],
            stream=httpx.ByteStream(answer["body"]["string"] or b""),
            extensions={"reason_phrase": answer["status"]["message"].encode("ascii", "replace")},
        )

    def _explain(self, asked: Request) -> str:
        lines = [f"{self._path}: not recorded: {_name(asked)}"]
        for request, _, failures in self._cassette.find_requests_with_most_matches(asked)[:1]:
            if failures:
                lines.append(f"  nearest recorded: {_name(request)}")
                lines += [f"  differs in {what}: {how}" for what, how in failures]
            else:
                lines.append("  it was recorded, but not as often as it is made now")
        if len(lines) == 1:
            lines.append("  nothing recorded is like it")
        lines.append(f"  record it again: {read_provenance(self._path).again}")
        return "\n".join(lines)

    # -------------------------------------------------------------------------- recording

    async def _record(
        self, request: httpx.Request, inner: httpx.AsyncBaseTransport
    ) -> httpx.Response:
        upload = _Upload(request.stream)
        if not isinstance(request.stream, httpx.ByteStream):
            request.stream = upload
        else:
            async for _ in upload:
                pass
        request.headers["accept-encoding"] = "identity"  # what is stored must be readable
        response = await inner.handle_async_request(request)

        def keep(content: bytes) -> None:
            headers: dict[str, list[str]] = {}
            for name, value in response.headers.multi_items():
                headers.setdefault(name, []).append(value)
            self._cassette.append(
                Request(request.method, str(request.url), upload.record(), dict(request.headers)),
                {
                    "status": {"code": response.status_code, "message": response.reason_phrase},
                    "headers": headers,
                    "body": {"string": content},
                },
            )

        assert isinstance(response.stream, httpx.AsyncByteStream)
        # A new one: an answer made in memory holds its content and would not read the stream.
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=_Download(response.stream, keep),
            extensions=response.extensions,
        )

    def _write(self, recording: Recording) -> None:
        interactions = {
            "requests": self._cassette.requests,
            "responses": copy.deepcopy(self._cassette.responses),
        }
        text = recording.provenance.as_comment() + serialize(interactions, _ReadableYaml)
        found = [f"line {finding.line}: {finding.what}" for finding in find_secrets(text)]
        found += ["one of the known secrets" for secret in recording.secrets if secret in text]
        if found:
            raise CassetteError(f"{self._path}: not written, it would hold {'; '.join(found)}")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(text, encoding="utf-8")

    # ------------------------------------------------- run by vcrpy on every exchange it sees

    def _clean_request(self, request: Request) -> Request:
        clean = copy.copy(request)
        clean.uri = self._masked(self._scrubber.url(request.uri))
        clean.headers = {
            name: self._masked(value)
            for name, value in self._scrubber.headers(request.headers).items()
            if name.lower() not in _DULL_REQUEST
        }
        body = request.body if isinstance(request.body, bytes) else (request.body or "").encode()
        clean.body = self._masked(self._scrubber.body(body).decode("utf-8", "replace"))
        return clean

    def _clean_response(self, response: dict[str, Any]) -> dict[str, Any]:
        headers = {
            name: [self._masked(self._scrubber.headers({name: one})[name]) for one in values]
            for name, values in response["headers"].items()
            if name.lower() not in _DULL_RESPONSE
        }
        body = self._scrubber.body(response["body"]["string"] or b"")
        if self._recording is not None:
            for real, fake in self._recording.stand_ins.items():
                body = body.replace(real.encode(), fake.encode())
        return {**response, "headers": headers, "body": {"string": body}}

    def _masked(self, text: str) -> str:
        if self._recording is not None:
            for real, fake in self._recording.stand_ins.items():
                text = text.replace(real, fake)
        return text


def _name(request: Request) -> str:
    return f"{request.method} {request.uri}"


class _Upload(httpx.AsyncByteStream):
    """A request's body on its way, remembered as far as a cassette keeps it."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._digest = hashlib.sha256()
        self._size = 0
        self._head = bytearray()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._inner:
            self._digest.update(part)
            self._size += len(part)
            if self._size <= _LARGEST_BODY:
                self._head += part
            yield part

    def record(self) -> bytes:
        if self._size <= _LARGEST_BODY:
            return bytes(self._head)
        return f"sha256:{self._digest.hexdigest()};{self._size}".encode()


class _Download(httpx.AsyncByteStream):
    """A response's body on its way; *keep* gets it if it was read to its end."""

    def __init__(self, inner: httpx.AsyncByteStream, keep: Callable[[bytes], None]) -> None:
        self._inner = inner
        self._keep: Callable[[bytes], None] | None = keep
        self._parts: list[bytes] = []
        self._whole = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._inner:
            self._parts.append(part)
            yield part
        self._whole = True

    async def aclose(self) -> None:
        await self._inner.aclose()
        keep, self._keep = self._keep, None
        if keep is not None and self._whole:
            keep(b"".join(self._parts))


class _ReadableYaml:
    """vcrpy's YAML with long texts as blocks, so that a change of a body reads as a diff."""

    deserialize = staticmethod(yamlserializer.deserialize)

    @staticmethod
    def serialize(cassette: dict[str, Any]) -> str:
        return yaml.dump(
            cassette, Dumper=_BlockDumper, allow_unicode=True, width=4096, sort_keys=False
        )


class _BlockDumper(yaml.SafeDumper):
    pass


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_BlockDumper.add_representer(str, _represent_text)
