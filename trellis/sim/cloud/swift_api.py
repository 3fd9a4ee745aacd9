"""Swift: an account, its containers and objects, as far as images go through it.

After the Object Storage API reference (v1): objects that vanish by themselves, static and dynamic
large objects.
"""

from typing import Any, Final

import msgspec

from trellis.sim.cloud.object_store import Object, ObjectStore
from trellis.sim.cloud.routes import Call, taken_apart
from trellis.sim.cloud.site import Site
from trellis.sim.cloud.spooled import Spooled, spooled_of
from trellis.sim.cloud.swift_account import account_of
from trellis.sim.cloud.uploads import Ticket, announced_size, body_of, ticket
from trellis.sim.cloud.wire import (
    RefusalError,
    Request,
    Response,
    answer,
    empty,
    html,
)

_MIB: Final = 1_048_576
_META: Final = "x-object-meta-"
_MOST_LISTED: Final = 10_000


class SwiftApi:
    """The file store of a region."""

    def __init__(self, site: Site, objects: ObjectStore) -> None:
        self._site = site
        self._objects = objects
        self._account = account_of(site.project_id, site.spec.behaviour.files_account)

    def discover(self, segments: tuple[str, ...]) -> Response | None:
        """What the cluster can do, which needs no token."""
        if segments != ("info",):
            return None
        most = self._site.spec.behaviour.object_mib_most * _MIB
        swift = {"max_file_size": most, "container_listing_limit": _MOST_LISTED}
        slo = {"max_manifest_segments": 1000, "min_segment_size": 1}
        return answer(200, {"swift": swift, "slo": slo})

    def without_token(self, refusal: Response) -> Response:
        """Swift words it with a page."""
        return Response(401, html(401, "Unauthorized").body, dict(refusal.headers))

    def handle(self, request: Request, segments: tuple[str, ...]) -> tuple[str, Response]:
        """Answer a call below ``/object-store``, with a good token; returns its kind too."""
        kind = "/" + "/".join("*" for _ in segments[1:4])
        try:
            return kind, self._handled(taken_apart(request, segments))
        except RefusalError as refusal:
            return kind, refusal.response

    def announce(self, request: Request, segments: tuple[str, ...]) -> Ticket:
        """A call with a long body begins.

        Raises:
            RefusalError: it is refused before its body is read.
        """
        call = taken_apart(request, segments)
        self._check(call)
        if request.method != "PUT" or len(segments) < 4 or "multipart-manifest" in call.query:
            return Ticket(spools=False)
        self._check_put(call)
        return ticket(self._site, announced_size(call))

    def broke_off(self, request: Request, segments: tuple[str, ...]) -> None:
        """Nothing is there before all of it has come."""

    def elsewhere(self, _request: Request, segments: tuple[str, ...]) -> Response | None:
        """Another project has another account, which is empty."""
        return html(403, "Forbidden") if segments[:1] == ("v1",) else None

    def _check(self, call: Call) -> None:
        if call.segments[:1] != ("v1",) or len(call.segments) < 2:
            raise RefusalError(_not_there())
        if call.segments[1] != self._account:
            raise RefusalError(html(403, "Forbidden"))

    def _handled(self, call: Call) -> Response:
        self._check(call)
        name, container = "/".join(call.segments[3:]), "".join(call.segments[2:3])
        if not container:
            return self._of_account(call)
        if not name:
            return self._of_container(call, container)
        match call.request.method:
            case "PUT":
                return self._put(call, container, name)
            case "GET" | "HEAD":
                return self._get(call, container, name)
            case "POST":
                self._find(container, name)
                return empty(202)
            case "DELETE":
                return self._delete(call, container, name)
        return html(405, "Method Not Allowed")

    # -------------------------------------------------------------- account and containers

    def _of_account(self, call: Call) -> Response:
        containers = self._objects.containers
        count = sum(map(len, containers.values()))
        headers = {
            "X-Account-Container-Count": str(len(containers)),
            "X-Account-Object-Count": str(count),
            "X-Account-Bytes-Used": str(self._bytes()),
        }
        if call.request.method == "HEAD":
            return Response(204, b"", headers)
        rows = [
            {"name": name, "count": len(objects), "bytes": self._bytes(name)}
            for name, objects in sorted(containers.items())
        ]
        return answer(200, rows)

    def _of_container(self, call: Call, container: str) -> Response:
        containers = self._objects.containers
        there = container in containers
        if call.request.method in ("PUT", "POST"):
            containers.setdefault(container, {})
            return empty(202 if there else 201)
        if not there:
            raise RefusalError(_not_there())
        if call.request.method == "DELETE":
            if containers[container]:
                return html(409, "Conflict")
            del containers[container]
            return empty(204)
        headers = {
            "X-Container-Object-Count": str(len(containers[container])),
            "X-Container-Bytes-Used": str(self._bytes(container)),
        }
        if call.request.method == "HEAD":
            return Response(204, b"", headers)
        prefix, marker = call.asked("prefix") or "", call.asked("marker") or ""
        limit = call.asked("limit") or ""
        most = min(int(limit), _MOST_LISTED) if limit.isdecimal() else _MOST_LISTED
        rows = [
            self._row(one)
            for name, one in sorted(containers[container].items())
            if name.startswith(prefix) and name > marker
        ]
        return answer(200, rows[:most])

    def _bytes(self, container: str | None = None) -> int:
        return sum(
            one.file.size
            for name, objects in self._objects.containers.items()
            if container in (None, name)
            for one in objects.values()
        )

    def _row(self, one: Object) -> dict[str, Any]:
        return {
            "name": one.name,
            "bytes": one.file.size,
            "hash": one.file.md5,
            "content_type": one.content_type,
            "last_modified": self._site.timeline.long_stamp(one.created),
        }

    # ---------------------------------------------------------------------------- objects

    def _check_put(self, call: Call) -> None:
        if call.segments[2] not in self._objects.containers:
            raise RefusalError(_not_there())
        most = self._site.spec.behaviour.object_mib_most * _MIB
        if (announced_size(call) or 0) > most:
            raise RefusalError(html(413, "Request Entity Too Large"))

    def _put(self, call: Call, container: str, name: str) -> Response:
        if not call.request.admitted:
            self._check_put(call)
        headers, site = call.request.headers, self._site
        static = call.asked("multipart-manifest") == "put"
        file, segments = body_of(call, self._site), self._segments(call) if static else ()
        dynamic = headers.get("x-object-manifest", "")
        if dynamic:
            segments = self._with_prefix(dynamic)
        asked = headers.get("etag", "").strip('"')
        if asked and file.md5 and not segments and asked != file.md5:
            file.drop()
            raise RefusalError(html(422, "Unprocessable Entity"))
        if file.size > site.spec.behaviour.object_mib_most * _MIB:
            file.drop()
            raise RefusalError(html(413, "Request Entity Too Large"))
        if segments:
            file = spooled_of([])
        after = headers.get("x-delete-after", "")
        if after and not (after.isdecimal() and int(after)):
            raise RefusalError(html(400, "Bad Request"))
        one = Object(
            container=container,
            name=name,
            who=site.user,
            created=site.now,
            file=file,
            content_type=headers.get("content-type", "application/octet-stream"),
            metadata={k: v for k, v in headers.items() if k.startswith(_META)},
            segments=segments,
        )
        self._objects.put(one, float(after) if after else None)
        return Response(201, b"", _etag(file))

    def _segments(self, call: Call) -> tuple[str, ...]:
        """The parts that the manifest of a static large object names."""
        try:
            rows = msgspec.json.decode(call.request.body or (body_of(call, self._site).data or b""))
        except msgspec.DecodeError:
            rows = None
        if not isinstance(rows, list) or not rows:
            raise RefusalError(html(400, "Bad Request"))
        paths = [str(row.get("path", "")).strip("/") for row in rows if isinstance(row, dict)]
        for path, row in zip(paths, rows, strict=False):
            part = self._objects.find(path)
            etag, size = row.get("etag"), row.get("size_bytes")
            wrong = part is not None and (
                (etag and part.file.md5 and etag != part.file.md5)
                or (size is not None and size != part.file.size)
            )
            if part is None or wrong:
                raise RefusalError(html(400, "Bad Request"))
        return tuple(paths)

    def _with_prefix(self, manifest: str) -> tuple[str, ...]:
        container, _, prefix = manifest.strip("/").partition("/")
        names = sorted(self._objects.containers.get(container, ()))
        return tuple(f"{container}/{name}" for name in names if name.startswith(prefix))

    def _get(self, call: Call, container: str, name: str) -> Response:
        one = self._find(container, name)
        file = self._objects.whole(one)
        if file is None:
            return html(409, "Conflict")
        headers = {"Content-Type": one.content_type, **_etag(file), **one.metadata}
        if one.delete_at is not None:
            headers["X-Delete-At"] = str(self._site.timeline.seconds(one.delete_at))
        if one.segments:
            headers["X-Static-Large-Object"] = "True"
        if call.request.method == "HEAD":
            headers["Content-Length"] = str(file.size)
            return Response(200, b"", headers)
        if file.data is None and not file.path:
            return html(501, "Not Implemented: this simulated cloud keeps no file of this size")
        return Response(200, file.data or b"", headers, file="" if file.data else file.path)

    def _delete(self, call: Call, container: str, name: str) -> Response:
        one = self._find(container, name)
        if call.asked("multipart-manifest") == "delete":
            for part in self._objects.parts_of(one) or ():
                self._objects.remove(part)
        self._objects.remove(one)
        return empty(204)

    def _find(self, container: str, name: str) -> Object:
        one = self._objects.find(f"{container}/{name}")
        if one is None:
            raise RefusalError(_not_there())
        return one


def _etag(file: Spooled) -> dict[str, str]:
    return {"Etag": file.md5} if file.md5 else {}


def _not_there() -> Response:
    """Swift's own 404, which no front has: ``swift/common/swob.py``."""
    page = "<html><h1>Not Found</h1><p>The resource could not be found.</p></html>"
    return Response(404, page.encode(), {"Content-Type": "text/html; charset=UTF-8"})
