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

from tests.real.daemon import Daemon
from tests.real.project import APPCRED, CLOUD, FLAVOR, NETWORK

DEPLOYMENT = "real-images"
CREATE = Path(__file__).parents[1] / "minivm" / "mini-image-create"
BUILDS = tuple(f"mini-{number:010d}" for number in (1, 2))
BIG_MB = 768
"""So that there is time to kill a daemon in the middle of an upload."""
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


def configuration(*places, **environment):
    """A daemon with one image, at these providers: name, way and format of each."""
    variables = "".join(f"\n      {name}: '{value}'" for name, value in environment.items())
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
  - name: mini
    elements: [debian-minimal, vm]
    build-command: {CREATE}
    rebuild-age: 0
    keep-builds: 1
    keep-uploads: 1
    canary-share: 0
    env-vars:
      MINI_LINES: '5'{variables}
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


@pytest.mark.parametrize("way", ["put", "import"])
def test_a_daemon_killed_in_the_middle_of_an_upload_leaves_one_good_image(
    project, env, tmp_path, way
):
    """Killed twice, while it sends: in the end one image, whole, and nothing else."""
    text = configuration(("here", way, "raw"), MINI_SIZE_MB=str(BIG_MB))
    killed = set()
    with Daemon(tmp_path, env, text) as daemon:

        def sending():
            """An upload of which a part is sent, and that no daemon was killed at yet."""
            for place in daemon.get("/images/mini")["places"]:
                for upload in place["uploads"]:
                    if upload["id"] not in killed and 0 < (upload["sent"] or 0) < upload["bytes"]:
                        return upload["id"]
            return "served" if served(daemon, BUILDS[0]) else None

        for _ in range(2):
            # Where Glance had all of it when the daemon was killed, there is nothing to do again.
            if (found := daemon.wait_for("a part of it is sent", sending)) == "served":
                break
            killed.add(found)
            daemon.kill()
            daemon.start()
        assert killed, "it was sent before anybody could look: raise BIG_MB"
        (upload,) = daemon.wait_for(
            "it serves", lambda: served(daemon, BUILDS[0]).values() or None
        )  # fmt: skip
        # What Glance still took in when its client died, it may only forget once it has seen that.
        daemon.wait_for("nothing else is there", lambda: states(project) == ["active"])
        (image,) = ours(project)
        sent = artifacts(daemon, BUILDS[0])["raw"]
        assert upload["external_id"] == image.id
        assert (sent["sha256"], sent["bytes"]) == content(project, image.id)
        assert daemon.get("/leaks")["items"] == []
        assert "Traceback" not in daemon.log(10_000), daemon.log(10_000)
        assert daemon.stop() == 0


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
