"""The entries of demand sources in the file, and words about host keys that are not read."""

from pathlib import Path

import attrs
import pytest

from trellis.config import parse, render
from trellis.config.document import read_document
from trellis.config.references import reference_faults
from trellis.errors import ConfigError
from trellis.spi.config import DemandSourceConfig
from trellis.spi.registry import DemandSourceRegistry, ProviderRegistry


@attrs.frozen(kw_only=True)
class MailConfig(DemandSourceConfig):
    """Asks by mail.

    Attributes:
        box: its box.
        password: a secret.
    """

    box: str
    password: str = attrs.field(default="", repr=False)


@pytest.fixture
def read():
    sources = DemandSourceRegistry()
    sources.add("mail", lambda config, context: None, MailConfig)

    def read(text):
        return parse(
            f"deployment: d\n{text}",
            ProviderRegistry(),
            None,
            sources,
            file="t.yaml",
            folder=Path("/etc"),
        )

    return read


def faults(read, text):
    with pytest.raises(ConfigError) as refused:
        read(text)
    return list(refused.value.faults)


def test_an_entry_is_of_the_class_of_its_type(read):
    text = "demand-sources:\n- {name: post, type: mail, box: in, password: hunter2}\n"

    configuration = read(text).configuration

    assert configuration.demand_sources == (
        MailConfig(name="post", type="mail", box="in", password="hunter2"),
    )
    assert "hunter2" not in render(configuration)
    assert "box: in" in render(configuration)


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        (
            "{name: z, type: zuul}",
            "t.yaml:3:19: demand-sources.0.type: no plugin registers the demand source 'zuul'; "
            "`pip install trellis-zuul` brings it (types are: mail; `trellis plugin list` shows "
            "plugins that failed)",
        ),
        (
            "{name: z, type: mial}",
            "t.yaml:3:19: demand-sources.0.type: no plugin registers the demand source 'mial', "
            "did you mean 'mail'? (types are: mail; `trellis plugin list` shows plugins that "
            "failed)",
        ),
        (
            "{name: z}",
            "t.yaml:3:3: demand-sources.0: required key 'type' is missing; types are: mail",
        ),
        (
            "{name: z, type: 7}",
            "t.yaml:3:19: demand-sources.0.type: expected text, the name of a type; types are: "
            "mail",
        ),
        ("{name: z, type: mail}", "t.yaml:3:3: demand-sources.0: required key 'box' is missing"),
        (
            "{name: z, type: mail, box: a, bos: b}",
            "t.yaml:3:33: demand-sources.0.bos: unknown key, did you mean 'box'?",
        ),
    ],
    ids=["not-installed", "mistyped", "no-type", "number", "key-missing", "unknown-key"],
)
def test_a_fault_names_its_place_and_the_remedy(read, entry, fault):
    assert faults(read, f"demand-sources:\n- {entry}\n") == [fault]


def test_two_of_one_name_are_refused(read):
    entry = "- {name: post, type: mail, box: in}\n"

    (fault,) = faults(read, f"demand-sources:\n{entry}{entry}")

    assert fault == (
        "t.yaml:4:10: demand-sources.1.name: demand source 'post' is there twice (first on line 3)"
    )


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("labels: [{name: win, host-key-checking: false}]", "labels.0.host-key-checking"),
        (
            "providers: [{name: a, pools: [{name: win, host-key-checking: false}]}]",
            "providers.0.pools.0.host-key-checking",
        ),
        (
            "providers: [{name: a, pools: [{labels: [{name: win, host-key-checking: no}]}]}]",
            "providers.0.pools.0.labels.0.host-key-checking",
        ),
    ],
    ids=["label", "pool", "pool-label"],
)
def test_host_keys_that_are_not_read_are_warned_of(text, place):
    tree, _ = read_document(text)
    _, warnings = reference_faults(tree)

    (warning,) = [w for w in warnings if "host keys" in w.message]
    assert "host keys of 'win' are NOT checked" in warning.message
    assert place in warning.render("f")


@pytest.mark.parametrize("says", ["host-key-checking: true", "min-ready: 0"])
def test_host_keys_that_are_read_need_no_word(read, says):
    warnings = read(f"labels: [{{name: win, {says}}}]").warnings

    assert [w for w in warnings if "host keys" in w] == []
