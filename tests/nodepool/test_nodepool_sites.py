"""Several files put together: which of them counts where they differ, and one result a launcher."""

from tests.nodepool.example import BUILDER, LAUNCHER, imported, loaded, one, read, site_of, told
from trellis.nodepool import Kind, convert, read_nodepool, sites

SECOND = """\
zookeeper-servers: [{host: zk01.example.org, port: 2281}]
labels:
  - {name: jammy, min-ready: 0, max-ready-age: 7200}
  - {name: focal, min-ready: 1}
providers:
  - name: ovh-bhs1
    cloud: ovh
    diskimages: [{name: ubuntu-jammy}, {name: ubuntu-focal}]
    pools:
      - name: main
        labels:
          - {name: jammy, flavor-name: b2-7, diskimage: ubuntu-jammy}
          - {name: focal, flavor-name: b2-7, diskimage: ubuntu-focal}
diskimages:
  - name: ubuntu-jammy
  - {name: ubuntu-focal, username: nobody}
"""
FOCAL = "  - {name: ubuntu-focal, parent: base, elements: [ubuntu-minimal], release: focal}\n"


def test_launchers_share_their_labels():
    """One keeps them ready and the others say 0; the shortest age holds, as each deletes."""
    configuration, converted = imported(LAUNCHER, SECOND, BUILDER + FOCAL)

    jammy, focal = configuration.labels
    assert (jammy.min_ready, jammy.max_ready_age) == (2, 3600)
    assert (focal.min_ready, focal.max_ready_age) == (1, 0)
    assert [provider.name for provider in configuration.providers] == ["rax-dfw", "ovh-bhs1"]
    age = told(converted, "max-ready-age")
    assert (age.place, age.message) == (
        "1.yaml:3:33", "the files differ; what counts is at 0.yaml:3:33",
    )  # fmt: skip
    assert not [change for change in converted.changes if change.key == "min-ready"]


def test_launchers_word_on_an_image_counts_for_nothing():
    """A node is logged in to as its upload says, which its builder made; the rest is told."""
    configuration, converted = imported(SECOND, BUILDER + FOCAL)

    assert configuration.image("ubuntu-focal").username == "zuul"
    assert told(converted, "username").place == "0.yaml:16:26"


def test_launcher_counts_for_launches_and_builder_for_uploads():
    """Each service acts on its own file."""
    launcher = LAUNCHER.replace(
        "    cloud: rax\n", "    cloud: rax\n    rate: 0.5\n    image-upload-timeout: 60\n"
    )
    builder = BUILDER.replace(
        "    rate: 0.01\n", "    rate: 0.01\n    image-upload-timeout: 7200\n"
    )
    configuration, converted = imported(launcher, builder)

    (provider,) = configuration.providers
    assert provider.limits.calls_per_second == 2
    assert provider.image_upload_timeout == 7200
    places = {
        change.key: change.place for change in converted.changes if "files differ" in change.message
    }
    assert places == {"rate": "1.yaml:7:5", "image-upload-timeout": "0.yaml:9:5"}


def test_provider_without_pools_is_left_out_and_told():
    """It launches nothing, but another launcher's file may have its pools."""
    builder = BUILDER.replace(
        "diskimages:\n  - name: base", "  - {name: gone, cloud: x}\ndiskimages:\n  - name: base"
    )
    configuration, converted = imported(LAUNCHER, builder)

    assert [provider.name for provider in configuration.providers] == ["rax-dfw"]
    (change,) = [c for c in converted.changes if c.message.startswith("provider gone has no pools")]
    assert (change.kind, change.place) == (Kind.NO_EQUAL, "1.yaml:10:5")


def test_secure_files_servers_go_before_the_others():
    """And are no difference that has to be told."""
    secure = "zookeeper-servers: [{host: real}]\nzookeeper-tls: {cert: c, key: k, ca: a}\n"
    site = site_of(LAUNCHER, BUILDER, secure=secure)

    assert [server.host for server in site.settings["zookeeper_servers"].value] == ["real"]
    assert site.settings["zookeeper_tls"].value.cert == "c"
    assert site.conflicts == ()


def test_each_launcher_gets_a_file_of_its_own():
    """Of its own providers and labels, with the images these need, and another deployment."""
    found = sites(read(LAUNCHER, SECOND, BUILDER + FOCAL), each=True)

    configurations = [loaded(convert(site, demand=False)) for site in found]

    assert [site.name for site in found] == ["0", "1"]
    assert [c.deployment for c in configurations] == ["ci-main-0", "ci-main-1"]
    assert [[p.name for p in c.providers] for c in configurations] == [["rax-dfw"], ["ovh-bhs1"]]
    assert [[x.name for x in c.labels] for c in configurations] == [["jammy"], ["jammy", "focal"]]
    assert [{x.name for x in c.images} for c in configurations] == [
        {"base", "ubuntu-jammy"},
        {"base", "ubuntu-jammy", "ubuntu-focal"},
    ]
    assert [c.labels[0].max_ready_age for c in configurations] == [3600, 7200]


def test_files_of_one_name_are_told_apart_by_their_folders():
    """As configuration management has them: one folder a host."""
    texts = {"/etc/nl01/nodepool.yaml": LAUNCHER, "/etc/nl02/nodepool.yaml": SECOND}
    files = [read_nodepool(text, {}, file=file) for file, text in texts.items()]

    assert [site.name for site in sites(files, each=True)] == ["nl01-nodepool", "nl02-nodepool"]


def test_file_that_is_given_twice_is_one():
    (file,) = read(one())

    (site,) = sites([file, file], each=True)

    assert (site.files, site.conflicts) == (("0.yaml",), ())


def test_one_launcher_is_one_file_either_way():
    (site,) = sites(read(one()), each=True)

    assert site.name == ""


def test_two_launchers_of_one_pool_are_one_pool():
    """They count its servers together there; where they differ, the first counts."""
    other = LAUNCHER.replace("max-servers: 140", "max-servers: 5")
    configuration, converted = imported(LAUNCHER, other, BUILDER)

    assert [pool.max_servers for pool in configuration.providers[0].pools] == [140]
    (change,) = [c for c in converted.changes if "files differ" in c.message]
    assert change.place == "1.yaml:11:9"


def test_parents_of_one_name_in_two_builders_files_are_both_kept():
    """Each builder resolves its images by its own file; a grandparent counts as well."""
    first = """\
diskimages:
  - {name: base, abstract: true, elements: [x86], env-vars: {A: x86}}
  - {name: middle, abstract: true, parent: base, elements: [middle]}
  - {name: one, parent: middle}
  - {name: two-arm, elements: []}
"""
    second = """\
diskimages:
  - {name: base, abstract: true, elements: [arm], rebuild-age: 60}
  - {name: middle, abstract: true, parent: base, elements: [middle]}
  - {name: two-arm, parent: middle, elements: [two]}
"""
    configuration, converted = imported(first, second)

    built = {image.name: image for image in configuration.images if not image.abstract}
    assert built["one"].elements == ("x86", "middle")
    assert built["two-arm"].elements == ("arm", "middle", "two")
    assert (built["two-arm"].env_vars, built["two-arm"].rebuild_age) == ({}, 60)
    assert {"base-1", "middle-1"} < {image.name for image in configuration.images}
    assert [change.place for change in converted.changes if "otherwise" in change.message] == [
        "1.yaml:2:5", "1.yaml:3:5",
    ]  # fmt: skip
    assert not [change for change in converted.changes if "files differ" in change.message]


def test_same_parents_in_two_builders_files_are_one():
    """As builders that share the work have them."""
    configuration, converted = imported(LAUNCHER, BUILDER, BUILDER)

    assert [image.name for image in configuration.images] == ["base", "ubuntu-jammy"]
    assert not [change for change in converted.changes if "files differ" in change.message]
