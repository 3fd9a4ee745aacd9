"""An image gets into Rackspace's classic cloud, as documents have it: object, task, properties."""

from typing import Any

from tests.plugins.documented import Answer, Answers, Place, Scene, Story, refusal
from tests.providers.image_source import NAME, Source, an_intent
from trellis.sim.cloud.disk_files import vhd_footer
from trellis.spi.image import UploadProgress

GLANCE = "https://dfw.images.api.rackspacecloud.com/v2"
FILES = (
    "https://storage101.dfw1.clouddrive.com/v1/MossoCloudFS_00000000-0000-4000-8000-000000700001"
)
IMAGE = "00000000-0000-4000-8000-0000000000a1"
TASK, FAILED = (f"00000000-0000-4000-8000-00000000070{number}" for number in (1, 2))
OBJECT = f"d-{NAME}-o1.vhd"
AT = "2026-11-22T13:40:00Z"
_IMAGES_DOC = "rackerlabs/docs-cloud-images api-docs/api-reference/methods"


async def imported(on: Scene) -> list[UploadProgress]:
    """All steps of an upload."""
    source = Source(b"v" * 512 + vhd_footer())
    intent = an_intent(source, format="vhd", properties={"os_distro": "debian"})
    assert on.provider.images is not None
    steps = [UploadProgress()]
    while not steps[-1].done:
        steps.append(await on.provider.images.upload_step(intent, steps[-1], source))
    return steps


async def refused_import(on: Scene) -> Any:
    """An upload whose task fails, whenever it is begun."""
    return await refusal(imported(on))


def _task(task_id: str, status: str, **more: Any) -> dict[str, Any]:
    given = {"import_from": f"trellis-images/{OBJECT}", "image_properties": {"name": NAME}}
    return {
        "id": task_id, "type": "import", "status": status, "message": "None",
        "owner": "00700001", "created_at": AT, "updated_at": AT, "input": given,
        "schema": "/v2/schemas/task", "self": f"/v2/tasks/{task_id}", **more,
    }  # fmt: skip


def _image(**more: Any) -> dict[str, Any]:
    return {
        "id": IMAGE, "name": NAME, "status": "active", "container_format": "ovf",
        "disk_format": "vhd", "auto_disk_config": "True", "visibility": "private", **more,
    }  # fmt: skip


_STORED: Answers = {
    ("PUT", f"{FILES}/trellis-images"): [(201, {}, None)],
    ("PUT", f"{FILES}/trellis-images/{OBJECT}"): [
        (201, {"Etag": "00000000000000000000000000000e7a"}, None)
    ],
}
_TASKS = f"{GLANCE}/tasks?type=import&sort_key=created_at&sort_dir=desc&limit=50"
_MARKED = {
    "vm_mode": "hvm", "xenapi_use_agent": "False", "img_config_drive": "mandatory",
    "os_distro": "debian",
}  # fmt: skip


def _failure() -> Answer:
    message = "Image cannot be imported. Error code: '396'"
    return (200, {}, _task(FAILED, "failure", message=message, expires_at="2026-11-24T13:44:00Z"))


def image_stories(place: Place) -> dict[str, Story]:
    """The stories of images, at a place whose entry has the profile's settings."""
    none: Answer = (200, {}, {"tasks": [], "schema": "/v2/schemas/tasks", "first": "/v2/tasks"})
    return {
        "image_import": Story(
            place=place,
            path="rackspace/image/image_import.yaml",
            about="An image is imported from an object by a task, marked, and its object deleted.",
            source=f"{_IMAGES_DOC}/post-task-to-import-image-tasks.rst and "
            "get-get-task-details-tasks-taskid.rst; the patch after openstacksdk's "
            "rackspace.json; assembled",
            tell=imported,
            answers={
                **_STORED,
                ("GET", _TASKS): [none],
                ("POST", f"{GLANCE}/tasks"): [(201, {}, _task(TASK, "pending"))],
                ("GET", f"{GLANCE}/tasks/{TASK}"): [
                    (200, {}, _task(TASK, "processing")),
                    (200, {}, _task(TASK, "success", result={"image_id": IMAGE})),
                ],
                ("PATCH", f"{GLANCE}/images/{IMAGE}"): [(200, {}, _image(**_MARKED))],
                ("GET", f"{GLANCE}/images/{IMAGE}"): [(200, {}, _image(**_MARKED))],
                ("DELETE", f"{FILES}/trellis-images/{OBJECT}"): [(204, {}, None)],
            },
        ),
        "image_import_396": Story(
            place=place,
            path="rackspace/image/image_import_396.yaml",
            about="A task that fails with 396 is begun again, and not for ever.",
            source=f"{_IMAGES_DOC}/get-get-task-details-tasks-taskid.rst; openstacksdk "
            "openstack/image/v2/_proxy.py for the words; assembled",
            tell=refused_import,
            answers={
                **_STORED,
                ("GET", _TASKS): [none, none, none],
                ("POST", f"{GLANCE}/tasks"): [(201, {}, _task(FAILED, "pending"))] * 3,
                ("GET", f"{GLANCE}/tasks/{FAILED}"): [_failure()] * 3,
            },
        ),
    }
