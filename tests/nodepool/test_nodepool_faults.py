"""What is wrong with Nodepool's files is told with its place, all of it at once."""

import pytest

from tests.nodepool.example import one, read
from trellis.errors import ConfigError
from trellis.nodepool import check_together, read_nodepool, read_secure

SITE = """\
labels:
  - name: a
  - name: a
providers:
  - name: p
    cloud: c
    region: r
    rate: 1
    diskimages: [{name: other}]
    pools:
      - name: main
        max-servers: many
        labels:
          - {name: b, diskimage: i, min-ram: 1}
          - {name: a, cloud-image: lost, min-ram: 1}
          - {name: a, diskimage: base, cloud-image: x, min-ram: 1}
  - name: p
    driver: aws
diskimages:
  - {name: i, parent: nobody}
  - {name: base, abstract: true}
  - {name: x, parent: y}
  - {name: y, parent: x}
tenant-resource-limits: [{max-servers: 1}]
webapp: {port: 1, listen-address: x}
"""
FAULTS = """\
n.yaml:3:11: labels.1.name: label 'a' is there twice (first on line 2)
n.yaml:7:5: providers.0.region: unknown key, did you mean 'region-name'?
n.yaml:9:25: providers.0.diskimages.0.name: diskimage 'other' is not among the \
top-level 'diskimages'
n.yaml:12:22: providers.0.pools.0.max-servers: expected a whole number, got 'many'
n.yaml:14:20: providers.0.pools.0.labels.0.name: label 'b' is not among the top-level 'labels'
n.yaml:15:36: providers.0.pools.0.labels.1.cloud-image: cloud image 'lost' is not among the \
provider's 'cloud-images'
n.yaml:16:13: providers.0.pools.0.labels.2: label 'a' needs one of diskimage and cloud-image
n.yaml:16:20: providers.0.pools.0.labels.2.name: label 'a' is there twice (first on line 15)
n.yaml:16:34: providers.0.pools.0.labels.2.diskimage: diskimage 'base' is abstract: \
it is never built
n.yaml:16:53: providers.0.pools.0.labels.2.cloud-image: cloud image 'x' is not among the \
provider's 'cloud-images'
n.yaml:17:11: providers.1.name: provider 'p' is there twice (first on line 5)
n.yaml:20:23: diskimages.0.parent: diskimage 'nobody' is not among the top-level 'diskimages'
n.yaml:22:23: diskimages.2.parent: diskimage 'x' is its own ancestor
n.yaml:23:23: diskimages.3.parent: diskimage 'y' is its own ancestor
n.yaml:24:26: tenant-resource-limits.0: required key 'tenant-name' is missing, or no text
n.yaml:25:19: webapp.listen-address: unknown key, did you mean 'listen_address'?
"""


def faults_of(text, environment=None):
    with pytest.raises(ConfigError) as caught:
        read_nodepool(text, environment or {}, file="n.yaml")
    return list(caught.value.faults)


def test_every_fault_of_a_file_is_told_at_once_in_its_order():
    """Types, unknown keys, names given twice, names that stand for nothing."""
    assert faults_of(SITE) == FAULTS.splitlines()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: [", "n.yaml:2:1: (top): not YAML"),
        ("a: {b: c\nlabels: x", "n.yaml:2:7: (top): not YAML"),
        ("- a", "n.yaml:1:1: (top): expected keys and values (labels: …), got a list"),
        ("hello", "n.yaml:1:1: (top): expected keys and values (labels: …), got one text"),
        ("labels: []\nlabels: []", "n.yaml:2:1: (top): key 'labels' is given twice"),
        ("providers: x", "n.yaml:1:12: providers: expected a list"),
        ("providers: [x]", "n.yaml:1:13: providers.0: expected a mapping, got 'x'"),
        ("providers: [{driver: aws}]", "n.yaml:1:13: providers.0: required key 'name'"),
        ("zookeeper-servers: [{host: a, chroot: x}]", "n.yaml:1:39: zookeeper-servers.0.chroot:"),
        (
            "zookeeper-servers: [{host: a, chroot: /x}, {host: b, chroot: /y}]",
            "n.yaml:1:20: zookeeper-servers: one chroot holds for all servers, not /x and /y",
        ),
        ("targets: []", "n.yaml:1:1: targets: unknown key"),
    ],
    ids=str,
)
def test_text_that_is_no_configuration_is_refused_with_its_place(text, fault):
    assert faults_of(text)[0].startswith(fault)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("diskimage: i", "given twice"),
        ("min-ram: 8G", "expected a whole number, got '8G'"),
        ("console-log: 1", "expected true or false, got '1'"),
    ],
    ids=str,
)
def test_label_of_a_pool_is_read_strictly(line, fault):
    assert fault in faults_of(one(label=line))[0]


def test_secret_values_are_not_in_faults():
    """Not in that of the variable itself, nor where one comes from the environment."""
    hidden = faults_of(one(image="env-vars: {PASSWORD: [hunter2]}"))
    replaced = faults_of(one(pool="max-servers: %(NODEPOOL_X)"), {"NODEPOOL_X": "hunter2"})

    assert "hunter2" not in "".join(hidden + replaced)
    assert "%(NODEPOOL_X)" in replaced[0]


def test_null_and_empty_lists_are_as_keys_left_out():
    """As files have them that were written by hand."""
    (file,) = read("labels:\nproviders: []\ndiskimages:\n")

    assert (file.config.labels, file.providers, file.images) == (None, (), ())


def test_secure_file_that_names_an_unknown_image_is_refused():
    """Nodepool does not start with it either (`nodepool/config.py: setSecureDiskimageEnv`)."""
    secure = read_secure("diskimages: [{name: j, env-vars: {A: hunter2}}]", {}, file="secure.yaml")

    with pytest.raises(ConfigError) as caught:
        check_together(read(one()), [secure])

    (fault,) = caught.value.faults
    assert fault.startswith("secure.yaml:1:15: diskimages.0.name: diskimage 'j' is in none")
    assert "hunter2" not in fault


def test_secure_file_is_read_strictly():
    with pytest.raises(ConfigError) as caught:
        read_secure("providers: []\ndiskimages: [{name: i}]", {}, file="s.yaml")

    assert list(caught.value.faults) == [
        "s.yaml:1:1: providers: unknown key",
        "s.yaml:2:14: diskimages.0: required key 'env-vars' is missing",
    ]
