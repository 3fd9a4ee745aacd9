"""What becomes of each key of a nodepool.yaml."""

import pytest
import yaml

from tests.nodepool.example import BUILDER, LAUNCHER, imported, one, site_of, told
from trellis.nodepool import Kind, convert
from trellis.nodepool.report import grouped


def test_launcher_and_builder_become_one_file():
    """What is launched is the launcher's, what it is made of the builder's."""
    configuration, _converted = imported(LAUNCHER, BUILDER)

    (label,) = configuration.labels
    (provider,) = configuration.providers
    (pool,) = provider.pools
    (offer,) = pool.labels
    image = configuration.image("ubuntu-jammy")
    assert (label.name, label.min_ready, label.max_ready_age) == ("jammy", 2, 3600)
    assert (provider.name, provider.cloud, provider.region_name) == ("rax-dfw", "rax", "DFW")
    assert provider.limits.calls_per_second == 100
    assert (pool.name, pool.max_servers) == ("main", 140)
    assert (offer.image, offer.flavor_name, offer.min_ram) == ("ubuntu-jammy", "Performance", 8192)
    assert offer.config_drive is True
    assert image.elements == ("vm", "simple-init", "ubuntu-minimal")
    assert image.env_vars == {"DIB_CHECKSUM": "1", "DIB_JOURNAL_SIZE": "512"}
    assert (image.release, image.pause) == ("jammy", False)
    assert image.metadata == {"os_type": "linux"}


def test_defaults_of_nodepool_that_are_others_here_are_written():
    """A launch has an hour there, and ten minutes here."""
    (provider,) = imported(one())[0].providers

    assert (provider.boot_timeout, provider.launch_timeout, provider.launch_retries) == (
        60, 3600, 3,
    )  # fmt: skip
    assert provider.limits.calls_per_second is None


@pytest.mark.parametrize(
    ("place", "line", "key"),
    [
        ("provider", "image-name-format: x", "image-name-format"),
        ("provider", "nodepool-id: x", "nodepool-id"),
        ("provider", "clean-floating-ips: false", "clean-floating-ips"),
        ("pool", "max-volumes: 3", "max-volumes"),
        ("pool", "max-volume-gb: 3", "max-volume-gb"),
        (
            "label",
            "dynamic-instance-properties: {a: '{request.id}'}",
            "dynamic-instance-properties",
        ),
        ("top", "webapp: {port: 8005}\n", "webapp"),
        ("top", "tenant-resource-limits: [{tenant-name: t, max-volumes: 2}]\n", "max-volumes"),
    ],
    ids=str,
)
def test_key_without_equal_is_a_comment_and_in_the_report(place, line, key):
    """With its place in the file."""
    _configuration, converted = imported(one(**{place: line}))

    change = told(converted, key)
    assert change.kind is Kind.NO_EQUAL
    assert change.place.startswith("0.yaml:")
    comments = [x for x in converted.text.splitlines() if x.strip().startswith("#")]
    assert any(f"`{key}: " in comment for comment in comments)


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("priority: 5", "priority", 5),
        ("priority: -5", "priority", 0),
        ("boot-timeout: 120", "boot_timeout", 120),
        ("boot-timeout: 0", "boot_timeout", 120),
        ("launch-timeout: 900", "launch_timeout", 900),
        ("launch-retries: 0", "launch_retries", 1),
        ("launch-retries: 5", "launch_retries", 5),
        ("image-upload-timeout: 21600", "image_upload_timeout", 21600),
        ("max-concurrency: 5", "max_concurrency", 5),
        ("max-concurrency: -1", "max_concurrency", None),
        ("max-concurrency: 0", "max_concurrency", None),
    ],
    ids=str,
)
def test_key_of_a_provider_is_taken_over(line, field, value):
    (provider,) = imported(one(provider=line))[0].providers

    assert getattr(provider, field) == value


@pytest.mark.parametrize(
    ("rate", "calls"),
    [("0.1", 10), ("'0.5'", 2), ("3", 0.333333), ("0", None), ("-1", None), ("often", None)],
)
def test_rate_is_turned_round(rate, calls):
    """Seconds between calls there, calls in a second here; told in any case."""
    configuration, converted = imported(one(provider=f"rate: {rate}"))

    assert configuration.providers[0].limits.calls_per_second == calls
    assert told(converted, "rate").kind is Kind.DIFFERS


def test_max_concurrency_of_0_takes_no_requests():
    """As it does there (`nodepool/launcher.py`)."""
    (provider,) = imported(one(provider="max-concurrency: 0", pool="max-servers: 5"))[0].providers

    assert provider.pools[0].max_servers == 0


def test_keys_of_a_pool_are_taken_over():
    lines = """\
max-servers: -1
max-cores: 8
max-ram: 9000
priority: 3
ignore-provider-quota: true
availability-zones: [z]
networks: [n]
security-groups: [s]
auto-floating-ip: false
host-key-checking: false
node-attributes: {executor-zone: a, rack: 7, list: [1]}
"""
    configuration, converted = imported(one(pool=lines))

    (pool,) = configuration.providers[0].pools
    assert (pool.max_servers, pool.max_cores, pool.max_ram, pool.priority) == (0, 8, 9000, 3)
    assert (pool.ignore_provider_quota, pool.auto_floating_ip) == (True, False)
    assert (pool.availability_zones, pool.networks) == (("z",), ("n",))
    assert (pool.security_groups, pool.host_key_checking) == (("s",), False)
    assert pool.node_attributes == {"executor-zone": "a", "rack": "7"}
    assert [c.message for c in converted.changes if c.key == "node-attributes"] == [
        "rack: attributes are texts here",
        "list: lists and mappings are no attributes; left out",
    ]


def test_keys_of_a_label_are_taken_over():
    lines = """\
min-ram: 8000
key-name: k
boot-from-volume: true
volume-size: 80
instance-properties: {a: b, trellis_c: d}
networks: [m]
host-key-checking: true
console-log: true
userdata: |
  #cloud-config
    x: y
"""
    (label,) = imported(one(label=lines))[0].providers[0].pools[0].labels

    assert (label.min_ram, label.key_name, label.boot_from_volume) == (8000, "k", True)
    assert (label.volume_size, label.networks, label.host_key_checking) == (80, ("m",), True)
    assert label.console_log
    assert label.instance_properties == {"a": "b"}
    assert label.userdata == "#cloud-config\n  x: y\n"


def test_empty_networks_of_a_label_take_back_the_pools():
    """Which needs the others to have them of their own."""
    text = one(pool="networks: [n]", label="networks: []")
    text = text.replace("labels: [{name: jammy}]", "labels: [{name: jammy}, {name: other}]")
    text = text.replace(
        "          - name: jammy\n",
        "          - {name: other, diskimage: i, flavor-name: f}\n          - name: jammy\n",
    )

    (pool,) = imported(text)[0].providers[0].pools

    assert pool.networks == ()
    assert {label.name: label.networks for label in pool.labels} == {"other": ("n",), "jammy": ()}


CLOUD_IMAGE = """\
cloud-images:
  - name: windows
    IMAGE
    username: admin
    python-path: A:/python.exe
    shell-type: cmd
    connection-type: winrm
    config-drive: true
"""


@pytest.mark.parametrize(
    ("line", "meant"),
    [("image-id: 4711", None), ("image-id: '4711'", "4711"), ("image-name: w", "w"),
     ("username: a", None)],
    ids=str,
)  # fmt: skip
def test_cloud_image_is_named_as_the_cloud_does(line, meant):
    """By its id, or its name; an id that is a number is refused, as its zeros would be lost."""
    text = one(provider=CLOUD_IMAGE.replace("IMAGE", line)).replace(
        "            diskimage: i\n", "            cloud-image: windows\n"
    )
    if meant is None:
        with pytest.raises(Exception, match=r"expected text|given twice"):
            imported(text)
        return

    (label,) = imported(text)[0].providers[0].pools[0].labels

    assert (label.cloud_image, label.image) == (meant, None)
    assert (label.username, label.python_path, label.shell_type) == (
        "admin", "A:/python.exe", "cmd",
    )  # fmt: skip
    assert (label.connection_type, label.connection_port) == ("winrm", 5986)
    assert label.config_drive is True


def test_top_of_the_file_is_taken_over():
    top = """\
max-hold-age: 86400
elements-dir: /etc/elements
images-dir: /opt/dib
build-log-dir: /var/log/builds/
build-log-retention: 3
tenant-resource-limits: [{tenant-name: t, max-servers: 5, max-cores: 6, max-ram: 7}]
"""
    configuration, _converted = imported(one(top=top), deployment="site")

    assert configuration.deployment == "site"
    assert configuration.max_hold_age == 86400
    assert str(configuration.elements_dir) == "/etc/elements"
    assert str(configuration.images_dir) == "/opt/dib/trellis"
    assert str(configuration.build_log_dir) == "/var/log/builds/trellis"
    assert configuration.build_log_retention == 3
    (tenant,) = configuration.tenants
    assert (tenant.name, tenant.max_servers, tenant.max_cores, tenant.max_ram) == ("t", 5, 6, 7)


def test_zookeeper_becomes_a_demand_source():
    """A chroot at the last server holds for all, as in the text that kazoo gets."""
    top = """\
zookeeper-servers: [{host: zk01}, {host: zk02, port: 2282, chroot: /x/}]
zookeeper-tls: {cert: /c.pem, key: /k.pem, ca: /ca.pem}
zookeeper-timeout: 20
"""
    text = convert(site_of(one(top=top))).text

    assert yaml.safe_load(text)["demand-sources"] == [
        {
            "name": "zuul",
            "type": "zuul",
            "zookeeper-servers": [
                {"host": "zk01", "port": 2281, "chroot": "/x"},
                {"host": "zk02", "port": 2282, "chroot": "/x"},
            ],
            "zookeeper-tls": {"cert": "/c.pem", "key": "/k.pem", "ca": "/ca.pem"},
            "zookeeper-timeout": 20.0,
        }
    ]


def test_zookeeper_without_tls_is_to_be_looked_at():
    """Nodepool refuses to start without: it stands in a file that was not given."""
    top = "zookeeper-servers: [{host: zk01}]\n"
    missing = [
        change.message
        for change in convert(site_of(one(top=top))).changes
        if change.kind is Kind.TO_DO and "zookeeper-tls" in change.message
    ]
    secure = "zookeeper-tls: {cert: /c, key: /k, ca: /a}"

    given = convert(site_of(one(top=top), secure=secure)).changes

    assert len(missing) == 1
    assert not [change for change in given if "zookeeper-tls" in change.message]
    assert [change.kind for change in given if "check-name" in change.message] == [Kind.DIFFERS]


def test_drivers_that_are_not_here_stay_with_nodepool():
    """With the labels that they alone have; the rest is converted."""
    other = """\
  - name: ec2
    driver: aws
    region-name: us-east-1
    pools: [{name: main, labels: [{name: ami, instance-type: t2}, {name: jammy}]}]
  - name: rack
    driver: static
    pools: [{name: main, nodes: [{name: host, labels: [iron, steel]}]}]
  - name: slots
    driver: metastatic
    pools: [{name: main, labels: [{name: slot, backing-label: jammy}]}]
diskimages:
"""
    text = one().replace("diskimages:\n  - name: i", f"{other}  - name: i").replace(
        "labels: [{name: jammy}]",
        "labels: [{name: jammy}, {name: ami}, {name: iron}, {name: steel}, {name: slot}]",
    )  # fmt: skip
    configuration, converted = imported(text)

    assert [label.name for label in configuration.labels] == ["jammy"]
    assert [provider.name for provider in configuration.providers] == ["p"]
    stays = " ".join(c.message for c in converted.changes if c.kind is Kind.STAYS)
    for word in ("ec2", "'aws'", "static nodes", "metastatic nodes", "iron", "steel", "slot"):
        assert word in stays
    said = [change.message for change in converted.changes]
    assert any(message.startswith("label jammy: nodes of provider slots") for message in said)
    assert any("set its min-ready to 0 there" in message for message in said)


def test_type_of_a_clouds_providers_can_be_given():
    """Then it is not told that there may be a better one."""
    converted = convert(site_of(one()), types={"c": "ovh"}, demand=False)

    assert "    type: ovh\n" in converted.text
    assert not any("--type" in change.message for change in converted.changes)


def test_no_secret_is_in_the_report():
    """Variables, user data, properties: their names may be, their values not."""
    lines = "instance-properties: {password: hunter2, b: [hunter2]}\nuserdata: hunter2"
    text = one(label=lines, image="env-vars: {TMPDIR: hunter2, PASSWORD: hunter2, a-b: hunter2}")
    _configuration, converted = imported(
        text, secure="diskimages: [{name: i, env-vars: {KEY: hunter2, a-b: hunter2}}]"
    )

    assert "hunter2" in converted.text
    assert converted.changes
    assert "hunter2" not in str(converted.changes) + repr(converted)
    assert not any(
        "hunter2" in line for line in converted.text.splitlines() if line.strip().startswith("#")
    )


def test_the_same_is_told_once_with_all_its_places():
    """Anchors repeat keys in many labels."""
    told_of = "dynamic-instance-properties: {a: '{request.id}'}"
    text = one(label=told_of).replace(
        "labels: [{name: jammy}]", "labels: [{name: jammy}, {name: b}]"
    )
    again = f"          - {{name: b, diskimage: i, flavor-name: f, {told_of}}}\ndiskimages:"
    _configuration, converted = imported(
        text.replace("diskimages:\n  - name: i", f"{again}\n  - name: i")
    )

    key = told_of.partition(":")[0]
    (lines,) = [lines for lines in grouped(converted.changes) if lines.key == key]

    assert len(lines.places) == 2
