"""A simulated Swift, as far as images go through it."""

import hashlib
import json

import pytest
from cloud_session import QUICK
from image_calls import Clock, caller_of, md5, read

from trellis.sim.cloud import CloudSpec, SimCloud, What
from trellis.sim.cloud.spec import Behaviour
from trellis.sim.cloud.wire import Request

DATA = b"an object" * 100


class Files:
    """The account's file store, called through its whole paths."""

    def __init__(self, **changes):
        self.clock = Clock()
        spec = CloudSpec(**{"name": "test", **QUICK, "object_storage": True, **changes})
        self.cloud = SimCloud(spec, clock=self.clock)
        self.caller = caller_of(self.cloud, self.clock)
        prefix = spec.behaviour.files_account
        self.root = f"/object-store/v1/{prefix}{self.cloud.project_id}"

    def __call__(self, method, path="", **kwargs):
        return self.caller.send(method, self.root + path, **kwargs)

    def names(self, query=""):
        return [row["name"] for row in read(self("GET", f"/box{query}"))]


@pytest.fixture
def files():
    found = Files()
    assert found("PUT", "/box").status == 201
    return found


def test_the_catalog_has_it_where_the_cloud_has_it():
    """And nothing answers where it has none."""
    for has in (True, False):
        files = Files(object_storage=has)
        found = read(files.caller.cloud.handle(
            Request("GET", "/identity/v3/auth/catalog", headers=files.caller.headers)
        ))["catalog"]  # fmt: skip
        urls = [s["endpoints"][0]["url"] for s in found if s["type"] == "object-store"]
        assert urls == ([f"{files.cloud.root}/RegionOne{files.root}"] if has else [])
        assert files("GET").status == (200 if has else 404)


def test_an_object_is_put_shown_and_deleted(files):
    """Its Etag is its md5; the ledger knows both ends of its life."""
    put = files("PUT", "/box/a/b.vhd", body=DATA)
    got, head = files("GET", "/box/a/b.vhd"), files("HEAD", "/box/a/b.vhd")

    assert (put.status, put.headers["Etag"]) == (201, md5(DATA))
    assert (got.status, got.body) == (200, DATA)
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(DATA)))
    assert files.names() == ["a/b.vhd"]
    assert [one.id for one in files.cloud.objects()] == ["box/a/b.vhd"]
    assert files("DELETE", "/box/a/b.vhd").status == 204
    assert files("DELETE", "/box/a/b.vhd").status == 404
    facts = files.cloud.ledger.of(What.OBJECT_CREATED, What.OBJECT_DELETED)
    assert [fact.what for fact in facts] == [What.OBJECT_CREATED, What.OBJECT_DELETED]


def test_containers_are_made_once_and_deleted_empty(files):
    files("PUT", "/box/x", body=DATA)
    assert files("PUT", "/box").status == 202
    assert files("DELETE", "/box").status == 409
    files("DELETE", "/box/x")
    assert files("DELETE", "/box").status == 204
    assert files("GET", "/box").status == 404
    assert files("PUT", "/box/x", body=DATA).status == 404


def test_the_account_tells_what_it_holds(files):
    files("PUT", "/box/x", body=DATA)
    head = files("HEAD")
    assert (head.status, head.headers["X-Account-Bytes-Used"]) == (204, str(len(DATA)))
    assert read(files("GET")) == [{"name": "box", "count": 1, "bytes": len(DATA)}]


def test_it_vanishes_when_it_was_told_to(files):
    """By X-Delete-After, in seconds; what is no number of seconds is refused."""
    files("PUT", "/box/x", body=DATA, X_Delete_After="86400")
    assert "X-Delete-At" in files("HEAD", "/box/x").headers
    assert files("PUT", "/box/y", body=DATA, X_Delete_After="soon").status == 400
    files.clock.now += 86_399.0
    assert [one.name for one in files.cloud.objects()] == ["x"]
    files.clock.now += 2.0
    assert files.cloud.objects() == ()


def test_one_that_is_put_again_lives_as_long_as_the_last_one(files):
    """The timer of the first one is over with it."""
    files("PUT", "/box/x", body=DATA, X_Delete_After="10")
    files("PUT", "/box/x", body=b"other")
    files.clock.now += 20.0
    assert files("GET", "/box/x").body == b"other"


def test_a_wrong_checksum_is_refused(files):
    """Said as Etag by the caller: nothing is stored."""
    assert files("PUT", "/box/x", body=DATA, Etag=md5(b"other")).status == 422
    assert files("PUT", "/box/x", body=DATA, Etag=md5(DATA)).status == 201


def test_lists_have_a_prefix_a_marker_and_a_limit(files):
    for name in ("a/1", "a/2", "a/3", "b/1"):
        files("PUT", f"/box/{name}", body=DATA)
    assert files.names("?prefix=a/") == ["a/1", "a/2", "a/3"]
    assert files.names("?prefix=a/&marker=a/1&limit=1") == ["a/2"]


class TestLargeObjects:
    def parts(self, files):
        for number in (1, 2):
            files("PUT", f"/box/seg/{number}", body=bytes([number]) * 10)

    def test_a_manifest_joins_its_segments(self, files):
        """Checked against their sizes and checksums; deleted with them when asked to."""
        self.parts(files)
        rows = [
            {"path": f"/box/seg/{n}", "size_bytes": 10, "etag": md5(bytes([n]) * 10)}
            for n in (1, 2)
        ]
        made = files("PUT", "/box/whole?multipart-manifest=put", body=rows)
        got = files("GET", "/box/whole")

        assert made.status == 201
        assert got.body == b"\1" * 10 + b"\2" * 10
        assert got.headers["Etag"] == hashlib.md5(got.body).hexdigest()
        assert files("DELETE", "/box/whole?multipart-manifest=delete").status == 204
        assert files.names() == []

    def test_a_manifest_that_does_not_fit_is_refused(self, files):
        self.parts(files)
        for rows in (
            [{"path": "/box/seg/3"}], [{"path": "/box/seg/1", "size_bytes": 11}],
            [{"path": "/box/seg/1", "etag": "0" * 32}], [], "x",
        ):  # fmt: skip
            assert files("PUT", "/box/w?multipart-manifest=put", body=rows).status == 400

    def test_a_dynamic_one_joins_what_has_its_prefix(self, files):
        self.parts(files)
        files("PUT", "/box/whole", body=b"", X_Object_Manifest="box/seg/")
        assert len(files("GET", "/box/whole").body) == 20

    def test_one_object_has_a_most(self):
        """More is refused, before it is stored."""
        files = Files(behaviour=Behaviour(object_mib_most=1))
        files("PUT", "/box")
        assert files("PUT", "/box/x", body=bytes((1 << 20) + 1)).status == 413
        assert files.cloud.objects() == ()


def test_others_have_no_way_in(files):
    """Without a token, or to another account."""
    path = "/RegionOne" + files.root
    assert files.cloud.handle(Request("GET", path)).status == 401
    assert files.caller.send("GET", files.root + "x").status == 403
    assert files.caller.send("PATCH", files.root + "/box/x").status == 405


def test_what_it_can_do_needs_no_token(files):
    info = files.cloud.handle(Request("GET", "/RegionOne/object-store/info"))
    assert json.loads(info.body)["swift"]["max_file_size"] == 5 << 30
