"""The whole configuration file: what it gives, and every fault with its place."""

import contextlib
import os
import time
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trellis.config import ListenAddress, StoreAddress, disabled_plugins, load, parse
from trellis.errors import ConfigError
from trellis.spi.config import ProviderConfig
from trellis.spi.registry import ProviderRegistry


def test_the_example_of_the_design_is_read(configured, whole):
    configuration = configured(whole)

    assert configuration.deployment == "ci-main"
    assert configuration.store == StoreAddress(path=Path("/etc/trellis/var/trellis.db"))
    assert configuration.web.listen == ListenAddress(host="127.0.0.1", port=8480)
    assert configuration.label("debian-12").max_ready_age == 28800
    assert configuration.image("debian-12").elements == ("debian-minimal", "vm", "simple-init")
    provider = configuration.provider("ovh-bhs1")
    assert type(provider).__name__ == "ToyConfig"
    assert (provider.region_name, provider.boot_timeout) == ("BHS1", 90)
    assert provider.pools[0].labels[0].flavor_name == "b2-7"


def test_the_least_configuration_is_a_deployment(configured):
    configuration = configured("deployment: x")

    assert str(configuration.store) == "sqlite:/etc/trellis/trellis.db"
    assert str(configuration.web.listen) == "127.0.0.1:8480"
    assert (configuration.lease_ttl, configuration.max_lease_age) == (3600, 86400)
    assert configuration.history_age == 604800


@pytest.mark.parametrize(
    ("line", "there"),
    [
        ("", "/etc/trellis/images"),
        ("images-dir: built", "/etc/trellis/built"),
        ("images-dir: /srv/images", "/srv/images"),
    ],
    ids=["left out", "relative", "absolute"],
)
def test_images_lie_beside_the_file_wherever_the_daemon_is_started(configured, line, there):
    """Records name the files: another working folder must not lose them."""
    assert str(configured(f"deployment: x\n{line}").images_dir) == there


def test_all_faults_are_told_at_once_in_the_order_of_the_file(faults):
    text = """\
deployment: "ci main"
lables: []
labels:
  - name: debian-12
    min-ready: -1
  - name: 12.10
  - {}
  - name: debian-12
providers:
  - name: a
    type: toi
  - name: b
    type: toy
    cloud: x
    cloud: y
    boot-timout: 8h
    launch-timeout: 8 hours
    pools:
      - name: main
        max-servers: "3"
        labels:
          - {name: debian-13, image: no-such}
  - name: c
    type: toy
"""

    assert faults(text) == [
        "trellis.yaml:1:13: deployment: must be 1 to 64 letters, digits and dashes: "
        "it stands on every tag in the clouds",
        "trellis.yaml:2:1: lables: unknown key, did you mean 'labels'?",
        "trellis.yaml:5:16: labels.0.min-ready: must be at least 0, not -1",
        'trellis.yaml:6:11: labels.1.name: expected text, got a number; quote it: "12.10"',
        "trellis.yaml:7:5: labels.2: required key 'name' is missing",
        "trellis.yaml:8:11: labels.3.name: label 'debian-12' is there twice (first on line 4)",
        "trellis.yaml:11:11: providers.0.type: no plugin registers the type 'toi', did you mean "
        "'toy'? (types are: plain, toy; `trellis plugin list` shows plugins that failed)",
        "trellis.yaml:15:5: providers.1: key 'cloud' is given twice (first on line 14)",
        "trellis.yaml:16:5: providers.1.boot-timout: unknown key, did you mean 'boot-timeout'?",
        "trellis.yaml:17:21: providers.1.launch-timeout: '8 hours' is no duration; write 8h",
        "trellis.yaml:20:22: providers.1.pools.0.max-servers: expected a whole number, got '3'",
        "trellis.yaml:22:20: providers.1.pools.0.labels.0.name: label 'debian-13' is not among "
        "the top-level 'labels', did you mean 'debian-12'?",
        "trellis.yaml:22:38: providers.1.pools.0.labels.0.image: image 'no-such' is not among "
        "the top-level 'images'",
        "trellis.yaml:23:5: providers.2: required key 'cloud' is missing",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "1:1: (top): required key 'deployment' is missing"),
        ("- a", "1:1: (top): expected keys and values (deployment: …), got a list"),
        ("hello", "1:1: (top): expected keys and values (deployment: …), got one text"),
        ("deployment: 7", '1:13: deployment: expected text, got a number; quote it: "7"'),
        ("deployment: on", '1:13: deployment: expected text, got a boolean; quote it: "on"'),
        ("deployment:", "1:12: deployment: expected text, got nothing"),
        ("deployment: [x]", "1:13: deployment: expected text, got a list"),
        ("deployment: x\nweb: 3", "2:6: web: expected a mapping, got '3'"),
        ("deployment: x\nlabels: {a: b}", "2:9: labels: expected a list, got a mapping"),
        ("deployment: x\nlabels:", "2:8: labels: expected a list, got nothing"),
        ("deployment: x\nlease-ttl: 25h",
         "1:1: (top): lease-ttl must not be longer than max-lease-age"),
        ("deployment: x\nhistory-age: 010", "'010' is no duration"),
        ("deployment: x\nlaunch-budget: 1.5",
         "2:16: launch-budget: expected a whole number, got '1.5'"),
        ("deployment: x\nlaunch-budget: -1" + "0" * 400,
         "2:16: launch-budget: too large a number: '-1000"),
        ("deployment: x\nlaunch-budget: true",
         "2:16: launch-budget: expected a whole number, got 'true'"),
        ("deployment: x\nstore: zookeeper://a/b", "not available yet; write sqlite:PATH"),
        ("deployment: x\nstore: trellis.db", "is no store; write sqlite:PATH"),
        ("deployment: x\nstore: 'sqlite:'", "a path to a file must follow sqlite:"),
        ("deployment: x\nweb: {listen: '0.0.0.0:80'}", "'0.0.0.0' is no loopback address"),
        ("deployment: x\nweb: {listen: '10.0.0.1:80'}", "others are refused for now"),
        ("deployment: x\nweb: {listen: '[::]:80'}", "'::' is no loopback address"),
        ("deployment: x\nweb: {listen: '::1:80'}", "put an IPv6 address in brackets"),
        ("deployment: x\nweb: {listen: 8480}", "expected text, got a number"),
        ("deployment: x\nweb: {listen: '127.0.0.1'}", "is no address and port"),
        ("deployment: x\nweb: {listen: '127.0.0.1:99999'}", "is no address and port"),
        ("deployment: x\nproviders: [{name: a}]",
         "2:13: providers.0: required key 'type' is missing; types are: plain, toy"),
        ("deployment: x\nproviders: [{name: a, driver: toy}]",
         "the key 'driver' is called 'type' here; types are: plain, toy"),
        ("deployment: x\nproviders: [{name: a, type: [toy]}]",
         "expected text, the name of a type; types are: plain, toy"),
        ("deployment: x\nproviders: [{type: toy, name: a, cloud: c, sweep: delet}]",
         "expected one of report, delete, got 'delet', did you mean 'delete'?"),
        ("deployment: x\nproviders: [{type: toy, name: a, cloud: c, boot-timeout: 0}]",
         "boot-timeout: must be above 0, not 0"),
        ("deployment: x\ndiskimages: []", "unknown key, it is called 'images' here"),
        ("deployment: x\nimages: [{name: a, parent: a}]", "image 'a' is its own ancestor"),
        ("deployment: x\nimages: [{name: a, parent: b}]", "image 'b' is not among the top-level"),
        ("deployment: x\nimages: [{name: a}, {name: a}]", "image 'a' is there twice"),
        ("deployment: x\nproviders: [{type: toy, name: a, cloud: c}, "
         "{type: toy, name: a, cloud: d}]", "provider 'a' is there twice"),
        ("deployment: x\nproviders: [{type: toy, name: a, cloud: c, "
         "pools: [{name: p}, {name: p}]}]", "pool 'p' is there twice"),
    ],
)  # fmt: skip
def test_one_fault_has_its_place_and_its_remedy(faults, text, fault):
    found = faults(text)

    assert len(found) == 1
    assert fault in found[0]


def test_secrets_are_not_shown_in_faults(faults):
    text = """\
deployment: x
providers:
  - {name: a, type: toy, cloud: c, password: 31337}
  - {name: b, type: toy, cloud: c, password: [hunter2]}
  - {name: c, type: toy, cloud: c, passwort: hunter2}
images:
  - {name: i, env-vars: {A_PASSWORD: 31337, B: [hunter2]}}
"""

    found = faults(text)

    assert len(found) == 5
    assert not [fault for fault in found if "31337" in fault or "hunter2" in fault]


def test_secrets_are_not_shown_in_reprs(configured, whole):
    configuration = configured(whole)

    assert configuration.provider("ovh-bhs1").password == "hunter2"
    assert "hunter2" not in repr(configuration)


def test_a_label_that_nobody_offers_is_a_warning(loaded):
    warnings = loaded(
        "deployment: x\nlabels: [{name: a}]\nproviders: [{name: p, type: toy, cloud: c}]"
    ).warnings

    assert warnings == (
        "trellis.yaml:2:17: labels.0.name: no pool offers the label 'a'",
        "trellis.yaml:3:13: providers.0: has no pools: launches nothing",
    )


def test_the_whole_example_has_no_warnings(loaded, whole):
    assert loaded(whole).warnings == ()


def test_a_port_of_zero_and_ipv6_loopback_may_be_listened_on(configured):
    listen = configured("deployment: x\nweb: {listen: '[::1]:0'}").web.listen

    assert (listen.host, listen.port, str(listen)) == ("::1", 0, "[::1]:0")


def test_validators_that_look_at_other_fields_speak_when_the_whole_is_made(tmp_path):
    def check(instance, field, value):
        if value > instance.launch_retries:
            raise ValueError("probes must not be more than launch-retries")

    @attrs.frozen(kw_only=True)
    class ProbingConfig(ProviderConfig):
        probes: int = attrs.field(default=1, validator=check)

    registry = ProviderRegistry()
    registry.add("probing", lambda config, context: None, ProbingConfig)
    text = "deployment: x\nproviders: [{name: a, type: probing, cloud: c, probes: 9}]"

    with pytest.raises(ConfigError, match=r"providers\.0: probes must not be more"):
        parse(text, registry, file="f", folder=tmp_path)


@pytest.mark.slow
def test_a_file_of_nothing_but_faults_takes_seconds_not_hours(faults):
    labels = "".join(f"  - {{name: l{i}, nmae: x}}\n" for i in range(3000))
    used = ", ".join(f"{{name: u{i}}}" for i in range(3000))
    pools = f"[{{name: p, labels: [{used}]}}]"
    text = f"deployment: x\nlabels:\n{labels}providers: [{{type: toy, name: a, cloud: c, pools: "

    started = time.process_time()
    found = faults(f"{text}{pools}}}]")

    assert len(found) == 1001
    assert found[-1] == "trellis.yaml: … and 5000 more"
    assert time.process_time() - started < 5


def test_images_that_are_each_others_ancestors_are_faults_and_their_children_are_not(faults):
    text = """\
deployment: x
images:
  - {name: child, parent: a}
  - {name: a, parent: b}
  - {name: b, parent: a}
"""

    assert [fault.split(": ", 2)[2] for fault in faults(text)] == [
        "image 'a' is its own ancestor",
        "image 'b' is its own ancestor",
    ]


class TestFiles:
    def test_a_file_is_loaded_and_paths_are_taken_from_its_folder(self, tmp_path, registry):
        file = tmp_path / "trellis.yaml"
        file.write_text("﻿deployment: x\n", encoding="utf-8")

        configuration = load(file, registry).configuration

        assert configuration.store.path == tmp_path / "trellis.db"

    def test_a_file_that_is_not_there(self, tmp_path, registry):
        with pytest.raises(ConfigError, match=r"trellis\.yaml: there is no such file"):
            load(tmp_path / "trellis.yaml", registry)

    def test_a_directory(self, tmp_path, registry):
        with pytest.raises(ConfigError, match="is a directory; name the configuration file"):
            load(tmp_path, registry)

    def test_a_pipe_that_nobody_writes_to_is_not_waited_for(self, tmp_path, registry):
        os.mkfifo(tmp_path / "pipe")

        with pytest.raises(ConfigError, match="is no regular file"):
            load(tmp_path / "pipe", registry)

    def test_a_name_that_cannot_be_a_file(self, registry):
        with pytest.raises(ConfigError, match="cannot be read"):
            load(Path("a\0b"), registry)

    def test_a_huge_file(self, tmp_path, registry):
        file = tmp_path / "trellis.yaml"
        with file.open("wb") as out:
            out.truncate(5 * 1024 * 1024)

        with pytest.raises(ConfigError, match="is larger than 4 MiB"):
            load(file, registry)

    def test_bytes_that_are_not_utf8_have_a_place(self, tmp_path, registry):
        file = tmp_path / "trellis.yaml"
        file.write_bytes("deployment: x\n# grün\n".encode("latin-1"))

        with pytest.raises(ConfigError, match=r"yaml:2:5: \(top\): byte 0xfc is not UTF-8"):
            load(file, registry)

    def test_disabled_plugins_are_read_before_anything_else_is_judged(self, tmp_path):
        file = tmp_path / "trellis.yaml"
        file.write_text("disabled-plugins: [ovh, rackspace]\nproviders: nonsense\n")

        assert disabled_plugins(file) == ("ovh", "rackspace")


KEYS = st.sampled_from(
    ["deployment", "labels", "providers", "images", "name", "type", "pools", "cloud", "web",
     "listen", "store", "min-ready", "boot-timeout", "image", "parent", "<<", "x"]
)  # fmt: skip
VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
        st.sampled_from(["toy", "plain", "a", "8h", "127.0.0.1:1", "sqlite:x", "*a", "&a x"]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=25,
)  # fmt: skip


def written(value):
    """Write flow YAML without quoting anything, so that the text may mean something else."""
    match value:
        case dict():
            return "{" + ", ".join(f"{k}: {written(v)}" for k, v in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(written, value)) + "]"
        case _:
            return str(value)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(value=st.one_of(st.text(), VALUES.map(written)))
def test_any_text_is_a_configuration_or_a_config_error(value):
    """Whatever else is raised fails this test."""
    registry = ProviderRegistry()
    registry.add("toy", lambda config, context: None, ProviderConfig)
    with contextlib.suppress(ConfigError):
        parse(value, registry, file="f", folder=Path())
