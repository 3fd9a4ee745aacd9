"""Images on the real OpenStack: built here, uploaded to its Glance, replaced, never half there.

The image is the small bootable one of tests/minivm. Nothing boots from it here: the real Nova has
a driver that only pretends. Glance is judged through openstacksdk.
"""

import hashlib
import os
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.real.daemon import Daemon
from tests.real.project import APPCRED, CLOUD, FLAVOR, NETWORK
from tests.real.stopping_proxy import StoppingProxy

DEPLOYMENT = "real-images"
CREATE = Path(__file__).parents[1] / "minivm" / "mini-image-create"
BUILDS = tuple(f"mini-{number:010d}" for number in (1, 2))
BIG_MB = 48
STOP_AT = 8 << 20
"""Far from its end: what sockets hold besides is a few MiB."""
HALF_THERE = ("queued", "saving", "uploading")
PROVIDER = """
  - name: {name}
    type: openstack
    cloud: {cloud}
    sweep: delete
    image-upload: {way}
    image-format: {format}
    pools:
      - name: main
        networks: [{network}]
        host-key-checking: false
        labels:
          - {{name: {name}, image: mini, flavor-name: {flavor}}}
"""


BUILT = f"""
    elements: [debian-minimal, vm]
    build-command: {CREATE}
    build-room-mib: 128
    env-vars:
      MINI_LINES: '5'"""


def configuration(*places, url="", sha256=""):
    """A daemon with one image, at these providers: name, way and format of each.

    Args:
        places: the providers.
        url: of a file that is the image; one is built if left out.
        sha256: of that file.
    """
    fetched = f"\n    type: artifact\n    url: {url}\n    sha256: '{sha256}'"
    labels = "".join(f"\n  - name: {name}" for name, _, _ in places)
    providers = "".join(
        PROVIDER.format(
            name=name, way=way, format=format, network=NETWORK, flavor=FLAVOR,
            cloud=CLOUD if way == "put" else APPCRED,
        )
        for name, way, format in places
    )  # fmt: skip
    return f"""
deployment: {DEPLOYMENT}
images:
  - name: mini{fetched if url else BUILT}
    rebuild-age: 0
    keep-builds: 1
    keep-uploads: 1
    canary-share: 0
labels:{labels}
providers:{providers}
"""


@pytest.fixture
def env(project):
    """The environment of a daemon."""
    return {**os.environ, "OS_CLIENT_CONFIG_FILE": str(project.clouds_yaml)}


def ours(project):
    """What Glance has that says it is ours, whatever its state."""
    return [
        image
        for image in project.own.image.images(owner=project.id)
        # The list shows one that is just being deleted without them.
        if DEPLOYMENT in map(str, (image.properties or {}).values())
        or (image.name or "").startswith("mini")
    ]


def states(project):
    """The states of these, in order."""
    return sorted(image.status for image in ours(project))


def served(daemon, build):
    """The uploads of a build that launches boot from, by provider."""
    return {
        place["provider"]: upload
        for place in daemon.get("/images/mini")["places"]
        for upload in place["uploads"]
        if upload["build_id"] == build and upload["state"] == "ready" and upload["serving"]
    }


def uploads(daemon):
    """All uploads on record."""
    return [one for place in daemon.get("/images/mini")["places"] for one in place["uploads"]]


def artifacts(daemon, build):
    """The files of a build, by format."""
    shown = daemon.get("/images/mini")["builds"]
    (found,) = (one for one in shown if one["id"] == build)
    return {one["format"]: one for one in found["artifacts"]}


def content(project, image_id):
    """The checksum and the size of what Glance gives back."""
    told, size = hashlib.sha256(), 0
    answer = project.own.image.get(f"/images/{image_id}/file", stream=True)
    assert answer.status_code == 200, answer.text
    for piece in answer.iter_content(1 << 20):
        told.update(piece)
        size += len(piece)
    return told.hexdigest(), size


@contextmanager
def limit_of(project, resource, most):
    """Have Keystone limit a resource of Glance for this project."""
    identity = project.admin.identity
    service = next(one for one in identity.services() if one.type == "image")
    made = identity.create_limit(
        project_id=project.id, service_id=service.id, resource_name=resource, resource_limit=most,
        region_id=project.own.config.get_region_name(),
    )  # fmt: skip
    try:
        yield
    finally:
        identity.delete_limit(made)


def test_an_image_is_uploaded_by_both_ways_and_replaced(project, env, tmp_path):
    """By PUT and by import: what Glance gives back is what was built; the old one is deleted."""
    places = [("put", "put", "qcow2"), ("imported", "import", "raw")]
    with Daemon(tmp_path, env, configuration(*places)) as daemon:
        first = daemon.wait_for(
            "it serves at both", lambda: len(f := served(daemon, BUILDS[0])) == 2 and f
        )
        files = artifacts(daemon, BUILDS[0])
        for name, _, format in places:
            shown = project.own.image.get_image(first[name]["external_id"])
            assert ("active", format) == (shown.status, shown.disk_format)
            sent = files[format]
            assert sent["bytes"] == shown.size
            assert (sent["sha256"], sent["bytes"]) == content(project, shown.id)

        daemon.post("/images/mini/builds", {"by": "test", "reason": "a new kernel"})
        second = daemon.wait_for(
            "the next one serves at both", lambda: len(f := served(daemon, BUILDS[1])) == 2 and f
        )
        wanted = {upload["external_id"] for upload in second.values()}
        daemon.wait_for(
            "the old ones are gone", lambda: {image.id for image in ours(project)} == wanted
        )
        daemon.wait_for(
            "so are their files",
            lambda: {f.suffix for f in (tmp_path / "images").glob(f"{BUILDS[0]}*")} == {".log"},
        )
        log = daemon.log(10_000)
        assert not [secret for secret in project.secrets if secret in log]
        assert "Traceback" not in log, log
        assert daemon.stop() == 0


@pytest.fixture
def narrow_glance(project):
    """A Glance that can stop in the middle of a file; the judge's connection goes past it."""
    session, region = project.own.session, project.own.config.get_region_name()
    target = session.get_endpoint(
        service_type="image", interface="public", region_name=region
    )  # fmt: skip
    clouds = yaml.safe_load(project.clouds_yaml.read_text())
    with StoppingProxy(target, STOP_AT) as proxy:
        for entry in clouds["clouds"].values():
            entry["image_endpoint_override"] = proxy.url
        project.clouds_yaml.write_text(yaml.safe_dump(clouds))
        yield proxy


@pytest.mark.parametrize("way", ["put", "import"])
def test_a_daemon_killed_in_the_middle_of_an_upload_leaves_one_good_image(
    project, narrow_glance, env, tmp_path, way
):
    """Killed twice while Glance has a part of the file: one whole image, and nothing else.

    Where it is killed does not depend on how fast anything is: Glance has had a part of the file,
    it cannot get the rest, and it shows the image as not there yet.
    """
    source = tmp_path / "source.raw"
    source.write_bytes(os.urandom(BIG_MB << 20))
    wanted = hashlib.sha256(source.read_bytes()).hexdigest()
    text = configuration(("here", way, "raw"), url=source.as_uri(), sha256=wanted)
    narrow_glance.stop()
    torn = []
    with Daemon(tmp_path, env, text) as daemon:
        for times in (1, 2):
            daemon.wait_for(
                "Glance has a part of it", lambda times=times: narrow_glance.stopped >= times
            )
            (going,) = [one for one in uploads(daemon) if one["state"] == "uploading"]
            assert 0 < going["sent"] < going["bytes"]
            status = {image.id: image.status for image in ours(project)}
            assert status[going["external_id"]] in HALF_THERE, status
            torn.append(going)
            daemon.kill()
            # What was on its way still arrives, and then the end of the connection.
            narrow_glance.let_go()
            if times == 1:
                narrow_glance.stop()
            daemon.start()
        (upload,) = daemon.wait_for(
            "it serves", lambda: list(served(daemon, BUILDS[0]).values()) or None
        )
        # What Glance still took in when its client died, it may only forget once it has seen that.
        daemon.wait_for("nothing else is there", lambda: states(project) == ["active"])
        (image,) = ours(project)
        assert upload["external_id"] == image.id
        assert (wanted, BIG_MB << 20) == content(project, image.id)
        # Glance takes the file anew where it has seen the end of the first try, and says so.
        for gone in {one["external_id"] for one in torn} - {image.id}:
            assert project.own.image.get(f"/images/{gone}").status_code == 404
        daemon.wait_for(
            "no record of another is left", lambda: [x["id"] for x in uploads(daemon)]
            == [upload["id"]]
        )  # fmt: skip
        assert daemon.get("/leaks")["items"] == []
        assert "Traceback" not in daemon.log(10_000), daemon.log(10_000)
        assert daemon.stop() == 0
    left = {path.name for path in (tmp_path / "images").iterdir() if path.name[0] != "."}
    assert left == {f"{BUILDS[0]}.raw", f"{BUILDS[0]}.log"}
    assert list((tmp_path / "images").glob(".scratch/*")) == []


def test_a_quota_of_images_is_said_in_words_and_ends_the_wait(project, env, tmp_path):
    """Glance's 413: nothing is left there, and a person's word has it tried at once afterwards."""
    there = len(list(project.own.image.images(owner=project.id)))
    with Daemon(tmp_path, env, configuration(("put", "put", "qcow2"))) as daemon:

        def fault():
            (place,) = daemon.get("/images/mini")["places"]
            return place["fault"] or None

        with limit_of(project, "image_count_total", there):
            said = daemon.wait_for("the upload is refused", fault)
            assert "quota" in said.lower() or "limit" in said.lower(), said
            daemon.wait_for("nothing of it is left", lambda: not ours(project))
            (place,) = daemon.get("/images/mini")["places"]
            assert place["missing"]
            assert place["not_before"] is not None
            before = time.time()
        daemon.post("/images/mini/uploads", {"by": "test", "reason": "there is room again"})
        daemon.wait_for("it serves", lambda: served(daemon, BUILDS[0]))
        assert time.time() - before < 300
        assert states(project) == ["active"]
        assert daemon.stop() == 0
