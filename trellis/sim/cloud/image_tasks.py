"""Tasks of Glance v2 that import images out of the file store, as Rackspace has them.

After the vendor's *Task to import image* and *Get task details*, as the project's survey of clouds
quotes them (Rackspace classic, rows *Image*, *Import errors* and *Task*).
"""

from typing import Any, Final

import attrs

from trellis.sim.cloud.bodies import object_of, text_of
from trellis.sim.cloud.disk_files import import_error
from trellis.sim.cloud.image_checks import refuse
from trellis.sim.cloud.images import Images
from trellis.sim.cloud.object_store import Object, ObjectStore
from trellis.sim.cloud.routes import Call, Table
from trellis.sim.cloud.site import Site
from trellis.sim.cloud.wire import Response, answer, json_object

PENDING: Final = "pending"
PROCESSING: Final = "processing"
SUCCESS: Final = "success"
FAILURE: Final = "failure"

_STARTS_AFTER: Final = 0.1
"""Share of its time for which a task waits."""
_EXPIRES_S: Final = 48 * 3600.0
_NONE: Final = "None"
"""The message of a task that has nothing to say."""
_NOT_A_VHD: Final = 396


@attrs.define(eq=False, kw_only=True)
class Task:
    """An import that goes on."""

    id: str
    source: str
    given: dict[str, Any]
    created: float
    updated: float
    status: str = PENDING
    message: str = _NONE
    expires: float | None = None
    image_id: str = ""


class ImageTasks:
    """The handlers; `table` lists them, where the cloud has tasks."""

    def __init__(self, site: Site, images: Images, objects: ObjectStore | None) -> None:
        self._site = site
        self._images = images
        self._objects = objects
        self._tasks: dict[str, Task] = {}

    def table(self) -> Table:
        """Method and pattern to handler."""
        if not self._site.spec.behaviour.imports_by_task:
            return {}
        return {
            ("POST", "tasks"): self._create,
            ("GET", "tasks"): self._list,
            ("GET", "tasks/*"): self._show,
        }

    def _create(self, call: Call) -> Response:
        wanted = json_object(call.request) or {}
        given = object_of(wanted, "input")
        source, properties = text_of(given, "import_from"), object_of(given, "image_properties")
        if text_of(wanted, "type") != "import":
            raise refuse(400, "Task does not support type")
        if not source or "/" not in source:
            raise refuse(400, "Input does not contain 'import_from' field")
        full = self._images.no_room(more=1)
        if full:
            raise refuse(413, full)
        site = self._site
        task = Task(
            id=site.new_id(), source=source, given=given, created=site.now, updated=site.now
        )
        self._tasks[task.id] = task
        seconds = site.spec.image_import.draw(site.lives)
        site.timeline.after(seconds * _STARTS_AFTER, self._become, task, PROCESSING)
        if not site.befalls("task-hangs", site.faults.task_hangs):
            site.timeline.after(seconds, self._end, task, properties)
        return answer(201, self._shown(task))

    def _end(self, task: Task, properties: dict[str, Any]) -> None:
        found = self._objects.find(task.source) if self._objects is not None else None
        if found is None:
            self._fail(task, f"Image not found: {task.source} is no object in the file store")
            return
        assert self._objects is not None
        file = self._objects.whole(found)
        if file is None:
            self._fail(task, f"Image not found: {task.source} lacks a segment")
            return
        if set(properties) - {"name"}:
            self._fail(task, _coded(111))
            return
        behaviour = self._site.spec.behaviour
        code = import_error(file, behaviour.vhd_creator, behaviour.image_gib_most)
        code = code or self._by_chance(found)
        if code is not None:
            self._fail(task, _coded(code))
            return
        image = self._images.create(
            str(properties.get("name") or ""),
            who=self._site.user,
            disk_format="vhd",
            container_format="ovf",
            visibility="private",
            properties={"auto_disk_config": "True"},
        )
        # The object may go while the image stays: the file, where there is one, is the image's.
        self._images.fill(image, file)
        if found.file is file and file.path:
            found.file = attrs.evolve(file, path="")
        task.image_id = image.id
        self._become(task, SUCCESS)

    def _by_chance(self, found: Object) -> int | None:
        """396 is transient too: documentation and practice differ."""
        site, faults = self._site, self._site.faults
        if site.befalls("task-fails", faults.task_fails):
            return _NOT_A_VHD
        if not found.failed and site.befalls("task-fails-once", faults.task_fails_once):
            found.failed = True
            return _NOT_A_VHD
        return None

    def _fail(self, task: Task, message: str) -> None:
        task.message = message
        self._become(task, FAILURE)

    def _become(self, task: Task, status: str) -> None:
        task.status, task.updated = status, self._site.now
        if status in (SUCCESS, FAILURE):
            task.expires = self._site.now + _EXPIRES_S
            self._site.timeline.after(_EXPIRES_S, self._tasks.pop, task.id, None)

    # ---------------------------------------------------------------------------- looking

    def _show(self, call: Call) -> Response:
        task = self._tasks.get(call.segments[1])
        if task is None:
            raise refuse(404, f"Task not found with id {call.segments[1]}")
        return answer(200, self._shown(task))

    def _list(self, _: Call) -> Response:
        rows = [self._shown(task) for task in reversed(self._tasks.values())]
        for one in rows:
            del one["input"], one["message"]
            one.pop("result", None)
        return answer(200, {"tasks": rows, "first": "/v2/tasks", "schema": "/v2/schemas/tasks"})

    def _shown(self, task: Task) -> dict[str, Any]:
        stamp = self._site.timeline.stamp
        shown: dict[str, Any] = {
            "id": task.id,
            "type": "import",
            "status": task.status,
            "message": task.message,
            "owner": self._site.project_id.rjust(8, "0"),
            "created_at": stamp(task.created),
            "updated_at": stamp(task.updated),
            "input": task.given,
            "schema": "/v2/schemas/task",
            "self": f"/v2/tasks/{task.id}",
        }
        if task.expires is not None:
            shown["expires_at"] = stamp(task.expires)
        if task.image_id:
            shown["result"] = {"image_id": task.image_id}
        return shown


def _coded(code: int) -> str:
    return f"Image cannot be imported. Error code: '{code}'"
