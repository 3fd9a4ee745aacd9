"""A simulated Glance v2: images are made, filled, imported, changed, found and deleted."""

import json
import re
import struct

import pytest
from image_calls import (
    DATA,
    DIRECT,
    PATCH,
    a_caller,
    caller_of,
    facts,
    md5,
    read,
    sha512,
    words,
)

from trellis.sim.cloud import (
    Faults,
    FlavorSpec,
    OutageKind,
    Quota,
    Strangers,
    What,
)
from trellis.sim.cloud.disk_files import made_up
from trellis.sim.cloud.spec import Behaviour


@pytest.fixture
def caller():
    return a_caller()


class TestCreate:
    def test_a_new_image_is_queued_and_empty(self, caller):
        """All fields of a real answer; what is not known yet is null."""
        answer = caller.image("POST", "/images", body={"name": "img", "tag_of": "ours"})
        shown = read(answer)

        assert answer.status == 201
        assert answer.headers["OpenStack-image-import-methods"] == "glance-direct,web-download"
        assert answer.headers["Location"].endswith(f"/image/v2/images/{shown['id']}")
        assert (shown["status"], shown["visibility"]) == ("queued", "shared")
        assert shown["tag_of"] == "ours"
        for empty in ("size", "virtual_size", "checksum", "os_hash_algo", "os_hash_value"):
            assert shown[empty] is None
        assert "stores" not in shown
        assert caller.boot(shown["id"]).status == 400

    @pytest.mark.parametrize(
        ("fields", "status", "says"),
        [
            ({"disk_format": "floppy"}, 400, "'floppy' is not one of"),
            ({"container_format": "box"}, 400, "'box' is not one of"),
            ({"visibility": "secret"}, 400, "'secret' is not one of"),
            ({"visibility": "public"}, 403, "not authorized to complete publicize_image action"),
            ({"owner": "somebody"}, 403, "owned by another project"),
            ({"min_disk": -1}, 400, "Cannot be a negative value"),
            ({"min_ram": "1"}, 400, "is not of type 'integer'"),
            ({"name": 7}, 400, "is not of type 'string', 'null'"),
            ({"name": "x" * 256}, 400, "is too long"),
            ({"id": "seven"}, 400, "does not match its pattern"),
            ({"xenapi_use_agent": False}, 400, "False is not of type 'string'"),
            ({"status": "active"}, 403, "Attribute 'status' is read-only."),
            ({"self": "/here"}, 403, "Attribute 'self' is read-only."),
            ({"deleted": "no"}, 403, "Attribute 'deleted' is reserved."),
            ({"os_glance_import_task": "x"}, 403, "Attribute 'os_glance_import_task' is reserved."),
            ({"x" * 256: "long"}, 400, "should not be greater than 255"),
            ({f"p{n}": "x" for n in range(129)}, 413, "Attempted: 129, Maximum: 128"),
        ],
        ids=lambda value: next(iter(value))[:22] if isinstance(value, dict) else None,
    )
    def test_what_a_real_glance_refuses_is_refused(self, caller, fields, status, says):
        """With its status and its words; nothing is made."""
        before = len(caller.listed())
        answer = caller.image("POST", "/images", body={"name": "img", **fields})

        assert (answer.status, says in words(answer)) == (status, True), words(answer)
        assert len(caller.listed()) == before

    def test_an_id_may_be_chosen_and_only_once(self, caller):
        """Another create with it is a conflict."""
        chosen = "00000000-0000-4000-8000-0000000000a1"
        assert caller.create(id=chosen) == chosen
        again = caller.image("POST", "/images", body={"id": chosen})
        assert (again.status, words(again)) == (409, f"Image ID {chosen} already exists!")

    @pytest.mark.parametrize("body", [None, ["list"], "text"])
    def test_a_body_that_is_no_object_is_refused(self, caller, body):
        assert caller.image("POST", "/images", body=body).status == 400


class TestUpload:
    def test_what_was_sent_is_stored_with_its_checksums(self, caller):
        """Active at once, and servers boot from it."""
        image_id = caller.upload(DATA)
        shown = caller.shown(image_id)
        got = caller.image("GET", f"/images/{image_id}/file")

        assert (shown["status"], shown["size"], shown["virtual_size"]) == ("active", 600, 600)
        assert (shown["checksum"], shown["os_hash_value"]) == (md5(DATA), sha512(DATA))
        assert (got.status, got.body) == (200, DATA)
        assert caller.boot(image_id).status == 202
        assert facts(caller, What.IMAGE_CREATED, What.IMAGE_ACTIVE) == [
            What.IMAGE_CREATED, What.IMAGE_ACTIVE,
        ]  # fmt: skip

    def test_a_qcow2_has_the_size_that_its_head_says(self, caller):
        """The virtual size, which is not that of the file."""
        head = b"QFI\xfb" + struct.pack(">I", 3) + bytes(16) + struct.pack(">Q", 10 << 30)
        image_id = caller.upload(head + DATA, disk_format="qcow2")
        assert caller.shown(image_id)["virtual_size"] == 10 << 30

    def test_only_a_queued_image_is_filled(self, caller):
        """A second upload is a conflict, and the first one stays."""
        image_id = caller.upload(DATA)
        again = caller.image("PUT", f"/images/{image_id}/file", body=b"other")

        assert again.status == 409
        assert words(again) == "Image status transition from active to saving is not allowed"
        assert caller.shown(image_id)["checksum"] == md5(DATA)

    def test_formats_must_be_set_before(self, caller):
        """The image stays queued."""
        image_id = caller.create(disk_format=None, container_format=None)
        answer = caller.image("PUT", f"/images/{image_id}/file", body=DATA)

        assert answer.status == 400
        assert "disk_format, container_format must be set" in words(answer)
        assert caller.shown(image_id)["status"] == "queued"

    def test_other_content_types_and_unknown_images_are_refused(self, caller):
        image_id = caller.create()
        plain = caller.image(
            "PUT", f"/images/{image_id}/file", body=DATA, Content_Type="text/plain"
        )
        nobody = caller.image("PUT", "/images/none/file", body=DATA)
        assert (plain.status, nobody.status) == (415, 404)

    def test_without_hashing_checksums_are_null(self):
        """As old images have them; the size is known all the same."""
        shown = (caller := a_caller(hashes_images=False)).shown(caller.upload(DATA))
        assert [shown[key] for key in ("checksum", "os_hash_algo", "os_hash_value")] == [None] * 3
        assert shown["size"] == len(DATA)


class TestImport:
    def test_a_staged_file_is_imported(self, caller):
        """Staged, importing for a while, active; the checksums are those of what was staged."""
        image_id = caller.create()
        early = caller.image("POST", f"/images/{image_id}/import", body=DIRECT)
        staged = caller.image("PUT", f"/images/{image_id}/stage", body=DATA)
        between = caller.shown(image_id)["status"]
        begun = caller.image("POST", f"/images/{image_id}/import", body=DIRECT)
        during = caller.shown(image_id)["status"]
        caller.clock.now += 21.0
        shown = caller.shown(image_id)

        assert (early.status, "staged before" in words(early)) == (409, True)
        assert (staged.status, begun.status) == (204, 202)
        assert (between, during, shown["status"]) == ("uploading", "importing", "active")
        assert shown["checksum"] == md5(DATA)

    def test_a_file_is_found_on_the_web(self, caller):
        """By its URL; the import of one that is not there ends with the image queued again."""
        uri = "http://files.example/img.raw"
        caller.cloud.put_on_web(uri, DATA)
        there, missing = caller.create("there"), caller.create("missing")
        for image_id, address in ((there, uri), (missing, uri + ".not")):
            body = {"method": {"name": "web-download", "uri": address}}
            assert caller.image("POST", f"/images/{image_id}/import", body=body).status == 202
        caller.clock.now += 21.0

        assert caller.shown(there)["checksum"] == md5(DATA)
        assert caller.shown(missing)["status"] == "queued"
        assert caller.shown(missing)["os_glance_failed_import"] == "local"

    @pytest.mark.parametrize(
        ("method", "status"),
        [
            ({"name": "web-download", "uri": "file:///etc/passwd"}, 400),
            ({"name": "copy-image"}, 400),
            ({}, 400),
        ],
        ids=["scheme", "unknown", "unnamed"],
    )
    def test_other_imports_are_refused(self, caller, method, status):
        image_id = caller.create()
        answer = caller.image("POST", f"/images/{image_id}/import", body={"method": method})
        assert answer.status == status

    def test_the_methods_are_those_of_the_cloud(self):
        """Empty ones are refused, and no create names any."""
        caller = a_caller(behaviour=Behaviour(import_methods=()))
        image_id = caller.create()
        made = caller.image("POST", "/images", body={})
        info = read(caller.image("GET", "/info/import"))

        assert info["import-methods"]["value"] == []
        assert "OpenStack-image-import-methods" not in made.headers
        assert caller.image("POST", f"/images/{image_id}/import", body=DIRECT).status == 400


class TestPatch:
    def patch(self, caller, image_id, *changes, **headers):
        headers = {"Content_Type": PATCH["content-type"], **headers}
        return caller.image("PATCH", f"/images/{image_id}", body=list(changes), **headers)

    def test_properties_and_fields_change(self, caller):
        """Added, replaced, removed, with escapes in the pointer."""
        image_id = caller.upload(old="1", kept="1")
        answer = self.patch(
            caller,
            image_id,
            {"op": "add", "path": "/owner_specified.openstack.sha256", "value": "abc"},
            {"op": "add", "path": "/a~1b", "value": "slash"},
            {"op": "replace", "path": "/kept", "value": "2"},
            {"op": "remove", "path": "/old"},
            {"op": "replace", "path": "/name", "value": "other"},
            {"op": "replace", "path": "/protected", "value": True},
        )
        shown = read(answer)

        assert answer.status == 200
        assert shown["owner_specified.openstack.sha256"] == "abc"
        assert (shown["a/b"], shown["kept"], shown["name"]) == ("slash", "2", "other")
        assert shown["protected"] is True
        assert "old" not in shown

    @pytest.mark.parametrize(
        ("change", "status"),
        [
            ({"op": "replace", "path": "/missing", "value": "1"}, 409),
            ({"op": "remove", "path": "/missing"}, 409),
            ({"op": "remove", "path": "/name"}, 403),
            ({"op": "replace", "path": "/status", "value": "active"}, 403),
            ({"op": "add", "path": "/os_glance_x", "value": "1"}, 403),
            ({"op": "replace", "path": "/owner", "value": "x"}, 403),
            ({"op": "replace", "path": "/visibility", "value": "public"}, 403),
            ({"op": "replace", "path": "/disk_format", "value": "qcow2"}, 403),
            ({"op": "add", "path": "/flag", "value": True}, 400),
            ({"op": "add", "path": "flag", "value": "1"}, 400),
            ({"op": "add", "path": "/a/b", "value": "1"}, 400),
            ({"op": "add", "path": "/flag"}, 400),
            ({"op": "move", "path": "/flag", "value": "1"}, 400),
        ],
        ids=lambda value: f"{value['op']} {value['path']}" if isinstance(value, dict) else None,
    )
    def test_what_is_refused_changes_nothing(self, caller, change, status):
        """Not even what stands before it in the same call."""
        image_id = caller.upload()
        first = {"op": "add", "path": "/first", "value": "1"}
        answer = self.patch(caller, image_id, first, change)

        assert answer.status == status
        assert "first" not in caller.shown(image_id)

    def test_another_content_type_is_refused(self, caller):
        image_id = caller.upload()
        assert self.patch(caller, image_id, Content_Type="application/json").status == 415


class TestDelete:
    def test_it_is_gone(self, caller):
        """And a second delete is not found."""
        image_id = caller.upload()
        assert caller.image("DELETE", f"/images/{image_id}").status == 204
        again = caller.image("DELETE", f"/images/{image_id}")
        assert (again.status, words(again)) == (404, f"Failed to find image {image_id} to delete")
        assert caller.image("GET", f"/images/{image_id}").status == 404
        assert facts(caller, What.IMAGE_DELETED) == [What.IMAGE_DELETED]

    def test_a_protected_one_stays(self, caller):
        image_id = caller.upload(protected=True)
        answer = caller.image("DELETE", f"/images/{image_id}")
        assert (answer.status, "is protected" in words(answer)) == (403, True)

    def test_what_the_cloud_offers_is_not_ours(self, caller):
        """It can neither be deleted nor changed."""
        (base,) = caller.listed("?name=tiny")
        assert caller.image("DELETE", f"/images/{base['id']}").status == 403
        assert caller.image("PUT", f"/images/{base['id']}/tags/x").status == 403
        assert caller.listed("?name=tiny")

    def test_a_clone_keeps_its_image(self):
        """Where images are cloned, one cannot go while a server of it is there."""
        caller = a_caller(behaviour=Behaviour(clones_images=True))
        image_id = caller.upload()
        server = caller.booted(image_id)
        refused = caller.image("DELETE", f"/images/{image_id}")
        caller.send("DELETE", f"/compute/v2.1/servers/{server}")
        caller.clock.now += 5.0

        assert (refused.status, "in use" in words(refused)) == (409, True)
        assert caller.image("DELETE", f"/images/{image_id}").status == 204

    def test_a_strangers_image_is_harmed(self):
        """It can be done, in the same project, and it is written down."""
        caller = a_caller(strangers=Strangers(images_at_start=1))
        (golden,) = caller.listed("?name=golden-0")
        assert caller.image("DELETE", f"/images/{golden['id']}").status == 204
        assert [fact.detail for fact in caller.cloud.ledger.violations] == ["image deleted"]

    def test_deleted_rows_are_shown_where_the_cloud_shows_them(self):
        """For a while, as deleted, in lists and by id; then not any more."""
        behaviour = Behaviour(lists_deleted=True)
        caller = a_caller(behaviour=behaviour, keep_deleted_s=100.0)
        image_id = caller.upload()
        caller.image("DELETE", f"/images/{image_id}")

        assert caller.shown(image_id)["status"] == "deleted"
        assert [one["status"] for one in caller.listed("?name=img")] == ["deleted"]
        assert caller.image("DELETE", f"/images/{image_id}").status == 404
        caller.clock.now += 101.0
        assert caller.image("GET", f"/images/{image_id}").status == 404


class TestLists:
    def test_filters_by_field_and_by_property(self, caller):
        """All of them at once; values are those very ones."""
        one = caller.upload(name="one", trellis_build="1", trellis_deployment="ci")
        two = caller.upload(name="two", trellis_build="2", trellis_deployment="ci")
        queued = caller.create("three", trellis_deployment="ci")

        def ids(query):
            return {row["id"] for row in caller.listed(query)}

        assert ids("?trellis_deployment=ci") == {one, two, queued}
        assert ids("?trellis_deployment=ci&trellis_build=2") == {two}
        assert ids("?trellis_deployment=ci&status=queued") == {queued}
        assert ids("?name=in:one,two") == {one, two}
        assert ids("?trellis_deployment=c") == set()

    def test_pages_have_25_rows_and_a_link(self, caller):
        """Newest first; the last page has none."""
        made = []
        for number in range(30):
            caller.clock.now += 1.0
            made.append(caller.create(f"n{number}", of="us"))
        first = read(caller.image("GET", "/images?of=us"))
        second = read(caller.image("GET", first["next"].removeprefix("/v2")))

        rows = [row["id"] for page in (first, second) for row in page["images"]]
        assert rows == made[::-1]
        assert len(first["images"]) == 25
        assert "next" not in second

    def test_limit_and_order_are_asked_for(self, caller):
        for number in (2, 0, 1):
            caller.clock.now += 1.0
            caller.create(f"n{number}", of="us")
        rows = caller.listed("?of=us&sort_key=name&sort_dir=asc&limit=2")
        assert [row["name"] for row in rows] == ["n0", "n1"]
        assert [row["name"] for row in caller.listed("?of=us&sort=name:desc")] == ["n2", "n1", "n0"]

    @pytest.mark.parametrize(
        "query",
        ["limit=x", "limit=-1", "sort_key=colour", "sort_dir=up", "marker=none", "visibility=some",
         "os_hidden=perhaps", "size_min=big"],
    )  # fmt: skip
    def test_questions_without_sense_are_refused(self, caller, query):
        assert caller.image("GET", f"/images?{query}").status == 400

    def test_hidden_ones_are_asked_for(self, caller):
        hidden = caller.create("h", os_hidden=True)
        assert hidden not in {row["id"] for row in caller.listed()}
        assert [row["id"] for row in caller.listed("?os_hidden=true")] == [hidden]

    def test_tags_are_set_and_filtered_by(self, caller):
        image_id = caller.create(tags=["a"])
        assert caller.image("PUT", f"/images/{image_id}/tags/b").status == 204
        assert [row["id"] for row in caller.listed("?tag=a&tag=b")] == [image_id]
        assert caller.image("DELETE", f"/images/{image_id}/tags/a").status == 204
        assert caller.image("DELETE", f"/images/{image_id}/tags/a").status == 404


class TestQuota:
    def test_of_images(self):
        """The create is refused with 413, and written down apart from refused servers."""
        caller = a_caller(quota=Quota(images=1))
        caller.create()
        answer = caller.image("POST", "/images", body={"name": "more"})

        assert answer.status == 413
        assert re.search(r"image_count_total is over limit of 1 .* delta 1", words(answer))
        assert facts(caller, What.IMAGE_REFUSED, What.QUOTA_REFUSED) == [What.IMAGE_REFUSED]

    def test_of_their_size(self):
        """The upload is refused before it is stored, and the image stays queued."""
        caller = a_caller(quota=Quota(image_mib=3))
        caller.upload(bytes(2 << 20))
        second = caller.create("second")
        answer = caller.image("PUT", f"/images/{second}/file", body=bytes(2 << 20))

        assert (answer.status, "image_size_total" in words(answer)) == (413, True)
        assert caller.shown(second)["status"] == "queued"

    def test_a_front_may_refuse_long_bodies_in_html(self):
        caller = a_caller(behaviour=Behaviour(front_mib_most=1))
        image_id = caller.create()
        answer = caller.image("PUT", f"/images/{image_id}/file", body=bytes(2 << 20))
        assert (answer.status, answer.headers["Content-Type"]) == (413, "text/html")


class TestServers:
    def server(self, caller, server_id):
        caller.clock.now += 60.0
        return read(caller.send("GET", f"/compute/v2.1/servers/{server_id}"))["server"]

    @pytest.mark.parametrize(
        ("fields", "says"),
        [
            ({"min_ram": 2048}, "memory is too small"),
            ({"min_disk": 20}, "smaller than the minimum size specified in image metadata"),
        ],
        ids=["memory", "disk"],
    )
    def test_a_flavor_must_fit_what_the_image_asks_for(self, fields, says):
        flavors = (FlavorSpec(name="small", cores=1, ram_mib=1024, disk_gib=10),)
        caller = a_caller(flavors=flavors)
        answer = caller.boot(caller.upload(**fields))
        assert (answer.status, says in answer.body.decode()) == (400, True)

    def test_truth_tells_the_image_of_a_server(self, caller):
        """And the servers of an image, whose properties are told too."""
        image_id = caller.upload(DATA, trellis_build="7")
        server_id = caller.booted(image_id)
        (server,) = caller.cloud.servers()
        image = caller.cloud.images()[-1]

        assert (server.image_id, server.image_name) == (image_id, "img")
        assert (image.id, image.servers, image.md5) == (image_id, (server_id,), md5(DATA))
        assert (image.who, image.properties) == ("ci", {"trellis_build": "7"})

    def test_a_made_up_file_says_how_its_servers_fare(self, caller):
        """Some end in ERROR, some never answer, and those of a good file come up."""
        for data, ends, answers in (
            (made_up(failure=1.0, error=1.0), "ERROR", False),
            (made_up(failure=1.0), "ACTIVE", False),
            (made_up(), "ACTIVE", True),
        ):
            server_id = caller.booted(caller.upload(data))
            assert self.server(caller, server_id)["status"] == ends
            caller.clock.now += 60.0
            (truth,) = (one for one in caller.cloud.servers() if one.id == server_id)
            assert truth.reachable is answers

    def test_bad_images_are_meant_by_name_or_property(self, caller):
        """Others are not met, nor are those that the cloud offers."""
        faults = Faults(bad_image=1.0, bad_image_error=1.0, bad_images=("deb-*", "build=*7"))
        caller.cloud.change(faults=faults)
        (base,) = caller.listed("?name=tiny")
        ids = [
            caller.upload(name="deb-1"), caller.upload(name="x", build="17"),
            caller.upload(name="fed-1", build="18"), base["id"],
        ]  # fmt: skip
        servers = [caller.booted(image_id) for image_id in ids]

        assert [self.server(caller, one)["status"] for one in servers] == [
            "ERROR", "ERROR", "ACTIVE", "ACTIVE",
        ]  # fmt: skip
        assert caller.cloud.ledger.struck["bad-image"] == 2

    def test_some_formats_do_not_boot_and_some_boot_late(self):
        """As a cloud's hypervisors have it."""
        caller = a_caller(behaviour=Behaviour(boots_formats=("raw", "qcow2"), qcow2_import_s=100.0))
        vhd, qcow2 = caller.upload(disk_format="vhd"), caller.upload(disk_format="qcow2")
        bad, late = caller.booted(vhd), caller.booted(qcow2)

        assert self.server(caller, late)["status"] == "BUILD"
        assert self.server(caller, bad)["status"] == "ERROR"
        assert self.server(caller, late)["status"] == "ACTIVE"

    @pytest.mark.parametrize(("version", "answers"), [(2, True), (3, False)], ids=["0.10", "1.1"])
    def test_old_hypervisors_boot_old_qcow2_alone(self, version, answers):
        """A newer one is ACTIVE and never answers."""
        caller = a_caller(behaviour=Behaviour(boots_old_qcow2=True))
        head = b"QFI\xfb" + struct.pack(">I", version) + bytes(24)
        caller.booted(caller.upload(head, disk_format="qcow2"))
        caller.clock.now += 60.0
        assert caller.cloud.servers()[0].reachable is answers


def test_another_project_sees_what_the_cloud_offers_alone():
    """While the credentials lead there."""
    caller = a_caller()
    image_id = caller.upload()
    caller.cloud.set_outage(OutageKind.PROJECT)
    caller.clock.now += 1.0
    there = caller_of(caller.cloud, caller.clock)

    assert [row["name"] for row in there.listed()] == ["tiny"]
    assert there.image("GET", f"/images/{image_id}").status == 404
    assert there.image("DELETE", f"/images/{image_id}").status == 404
    assert caller.cloud.images()[-1].id == image_id


def test_json_stays_small_for_many_images(caller):
    """A list of a thousand rows is one page when it is asked for."""
    for number in range(40):
        caller.create(f"n{number}")
    answer = caller.image("GET", "/images?limit=1000")
    assert len(json.loads(answer.body)["images"]) == 41
