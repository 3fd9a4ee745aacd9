"""Calls that change glance, and the file store: as they are sent, and as refusals are read."""

from contextlib import asynccontextmanager

import httpx
import pytest
from answering import Script, answering, recorded

from trellis.errors import (
    CloudBrokenError,
    ConflictingStateError,
    MisconfiguredError,
    NotFoundError,
    QuotaExceededError,
    RejectedError,
    RetryLaterError,
)
from trellis.http.message import Answer
from trellis.openstack.faults import error_from
from trellis.openstack.image_v1 import ImageV1
from trellis.openstack.image_write import ImageWrites
from trellis.openstack.object_store import ObjectStore, Segment


class Body:
    size = 3

    @asynccontextmanager
    async def open(self):
        async def pieces():
            yield b"abc"

        yield pieces()


async def test_create_names_formats_and_properties(autojump_clock):
    """Without a visibility the cloud's own is taken."""
    async with answering(Script([(201, recorded("create image record"))])) as at:
        image = await ImageWrites(at.session).create(
            name="debian", disk_format="qcow2", properties={"os_distro": "debian"}
        )

    (call,) = at.cloud.calls
    assert (call.method, call.url.path) == ("POST", "/v2/images")
    assert call.content == (
        b'{"os_distro":"debian","name":"debian","disk_format":"qcow2","container_format":"bare"}'
    )
    assert image.status == "queued"
    assert image.properties["os_distro"] == "none"


async def test_vhd_is_in_a_container_of_its_own(autojump_clock):
    """As openstacksdk has it."""
    async with answering(Script([(201, recorded("create image record"))])) as at:
        await ImageWrites(at.session).create(
            name="d", disk_format="vhd", properties={}, visibility="community"
        )

    (call,) = at.cloud.calls
    assert b'"container_format":"ovf"' in call.content
    assert b'"visibility":"community"' in call.content


@pytest.mark.parametrize("way", ["file", "stage"])
async def test_data_go_as_they_are(autojump_clock, way):
    async with answering(Script([(204, None)])) as at:
        glance = ImageWrites(at.session)
        await (glance.put_file if way == "file" else glance.stage)("i/1", Body())

    (call,) = at.cloud.calls
    assert (call.method, call.url.raw_path.decode()) == ("PUT", f"/v2/images/i%2F1/{way}")
    assert call.headers["Content-Type"] == "application/octet-stream"
    assert call.headers["Content-Length"] == "3"


async def test_properties_are_added_by_a_patch_of_glances_own(autojump_clock):
    """Slashes and tildes in names are written as RFC 6901 has them."""
    async with answering(Script([(200, recorded("patch image"))])) as at:
        await ImageWrites(at.session).set_properties("i", {"a/b~c": "1"})

    (call,) = at.cloud.calls
    assert call.headers["Content-Type"] == "application/openstack-images-v2.1-json-patch"
    assert call.content == b'[{"op":"add","path":"/a~1b~0c","value":"1"}]'


async def test_image_is_read_with_all_its_properties(autojump_clock):
    async with answering(Script([(200, recorded("image active"))])) as at:
        image = await ImageWrites(at.session).image("6ff41fb4")

    assert (image.status, image.size, image.hash_algo) == ("active", 65536, "sha512")
    assert image.checksum == "598bf98d5c865461aef3eaa8d95a0fd9"
    assert image.properties == {"os_distro": "none", "hw_disk_bus": "virtio"}


async def test_image_of_another_shape_is_the_clouds_fault(autojump_clock):
    async with answering(Script([(200, {"id": 7, "status": "active"})])) as at:
        with pytest.raises(CloudBrokenError, match="another shape"):
            await ImageWrites(at.session).image("i")


async def test_list_is_followed_to_its_end(autojump_clock):
    """By the marker in the link."""
    one, two = {"id": "1", "name": "a"}, {"id": "2", "name": "a"}
    script = Script(
        [(200, {"images": [one], "next": "/v2/images?marker=m1"}), (200, {"images": [two]})]
    )
    async with answering(script) as at:
        images = await ImageWrites(at.session).images({"name": "a"})

    assert [image.id for image in images] == ["1", "2"]
    assert [dict(call.url.params) for call in at.cloud.calls] == [
        {"name": "a"}, {"name": "a", "marker": "m1"},
    ]  # fmt: skip


async def test_list_without_end_is_given_up(autojump_clock):
    pages = [(200, {"images": [{"id": str(n)}], "next": "/v2/images?x"}) for n in range(9)]
    async with answering(Script(pages)) as at:
        with pytest.raises(CloudBrokenError, match="no end"):
            await ImageWrites(at.session, None, 3).images({})


async def test_import_methods_are_read(autojump_clock):
    async with answering(Script([(200, recorded("import methods"))])) as at:
        assert await ImageWrites(at.session).import_methods() == ("glance-direct", "web-download")


@pytest.mark.parametrize("status", [403, 404, 405])
async def test_cloud_without_imports_has_no_methods(autojump_clock, status):
    refusal = {"message": "The resource could not be found.", "code": "404", "title": ""}
    async with answering(Script([(status, refusal)])) as at:
        assert await ImageWrites(at.session).import_methods() == ()


@pytest.mark.parametrize(
    ("method", "uri", "body"),
    [
        ("glance-direct", None, b'{"method":{"name":"glance-direct"}}'),
        ("web-download", "http://x/y", b'{"method":{"name":"web-download","uri":"http://x/y"}}'),
    ],
)
async def test_import_is_begun(autojump_clock, method, uri, body):
    async with answering(Script([(202, None)])) as at:
        await ImageWrites(at.session).start_import("i", method, uri)

    (call,) = at.cloud.calls
    assert (call.url.path, call.content) == ("/v2/images/i/import", body)


async def test_failed_import_says_why(autojump_clock):
    """The last of its tasks."""
    tasks = [
        {"id": "1", "status": "failure", "message": "no room"},
        {"id": "2", "status": "failure", "message": "no such file"},
    ]
    async with answering(Script([(200, {"tasks": tasks})])) as at:
        assert await ImageWrites(at.session).why_failed("i") == "no such file"


async def test_import_task_has_a_name_and_no_other_property(autojump_clock):
    """With any other it fails."""
    task = {"id": "t", "type": "import", "status": "pending", "message": "None"}
    async with answering(Script([(201, task)])) as at:
        row = await ImageWrites(at.session).create_import_task("c/o", "debian")

    (call,) = at.cloud.calls
    assert call.content == (
        b'{"type":"import","input":{"import_from":"c/o","image_properties":{"name":"debian"}}}'
    )
    assert (row.id, row.words, row.image_id) == ("t", "", None)


REFUSALS = [
    (413, {"message": "Project is over limit"}, QuotaExceededError),
    (413, "<html><h1>413 Request Entity Too Large</h1></html>", QuotaExceededError),
    (409, "upload image data again", ConflictingStateError),
    (403, "delete a protected image", RejectedError),
    (404, "image gone", NotFoundError),
    (400, "create image: bad disk format", RejectedError),
]


@pytest.mark.parametrize(("status", "body", "error"), REFUSALS)
def test_refusals_of_glance_are_read(status, body, error):
    """Bodies recorded from a real one, but for its quota."""
    if isinstance(body, str) and not body.startswith("<"):
        body = recorded(body)
    answer = httpx.Response(status, json=body) if isinstance(body, dict) else None
    content = body.encode() if answer is None else answer.content

    found = error_from(
        Answer(status=status, body=content), cloud="acme", service="image", call="PUT image"
    )

    assert type(found) is error


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (413, b"Upload exceeds quota.", QuotaExceededError),
        (498, b"Rate Limited", RetryLaterError),
        (422, b"<html><h1>Unprocessable Entity</h1></html>", RejectedError),
        (
            404,
            b"<html><h1>Not Found</h1><p>The resource could not be found.</p></html>",
            NotFoundError,
        ),
        (404, b"<html><head><title>404 Not Found</title></head></html>", CloudBrokenError),
        (404, b"", CloudBrokenError),
    ],
)
def test_refusals_of_swift_are_read(status, body, error):
    """Its own 404 is a page, and a front's proves nothing."""
    found = error_from(
        Answer(status=status, body=body), cloud="acme", service="object-store", call="PUT"
    )

    assert type(found) is error


@asynccontextmanager
async def swift(*replies):
    async with answering(Script(list(replies))) as at:
        endpoint = {"interface": "public", "region": "R1", "region_id": "R1"}
        at.cloud.catalog.append(
            {
                "type": "object-store",
                "name": "swift",
                "endpoints": [{**endpoint, "url": "http://swift.test/v1/AUTH_p1"}],
            }
        )
        yield at


async def test_object_goes_with_its_checksum_and_its_end(autojump_clock):
    """It vanishes by itself."""
    async with swift((201, None)) as at:
        await ObjectStore(at.session).put_object("c", "o 1.vhd", Body(), md5="m", keep_s=60)

    (call,) = at.cloud.calls
    assert (call.method, str(call.url)) == ("PUT", "http://swift.test/v1/AUTH_p1/c/o%201.vhd")
    assert (call.headers["ETag"], call.headers["X-Delete-After"]) == ("m", "60")
    assert call.headers["Content-Length"] == "3"


async def test_manifest_names_its_segments(autojump_clock):
    async with swift((201, None)) as at:
        await ObjectStore(at.session).put_manifest(
            "c", "o", [Segment(path="c/o-0000", etag="e", size=7)], keep_s=60
        )

    (call,) = at.cloud.calls
    assert call.url.params["multipart-manifest"] == "put"
    assert call.content == b'[{"path":"/c/o-0000","etag":"e","size_bytes":7}]'


async def test_cloud_without_a_file_store_says_so(autojump_clock):
    async with answering(Script([])) as at:
        store = ObjectStore(at.session)

        assert not await store.offered()
        with pytest.raises(MisconfiguredError, match="object-store"):
            await store.create_container("c")


async def test_version_1_sends_fields_as_headers(autojump_clock):
    """Below its own path, whatever version the catalog shows."""
    row = {"id": "i", "name": "debian", "status": "active", "size": 3, "properties": {}}
    async with answering(Script([(201, {"image": row})])) as at:
        image = await ImageV1(at.session).post(
            name="debian", disk_format="qcow2", properties={"trellis_image": "d"}, md5="m",
            public=False, body=Body(),
        )  # fmt: skip

    (call,) = at.cloud.calls
    sent = {k: v for k, v in call.headers.items() if k.startswith("x-image-meta-")}
    assert (call.method, call.url.path) == ("POST", "/v1/images")
    assert sent == {
        "x-image-meta-name": "debian",
        "x-image-meta-disk_format": "qcow2",
        "x-image-meta-container_format": "bare",
        "x-image-meta-is_public": "False",
        "x-image-meta-size": "3",
        "x-image-meta-checksum": "m",
        "x-image-meta-property-trellis_image": "d",
    }
    assert (image.id, image.status) == ("i", "active")
