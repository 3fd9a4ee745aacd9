"""Images that inherit from one another, and what is wrong with them where it stands."""

from pathlib import Path

import attrs
import pytest

from trellis.config import as_plain, parse, render
from trellis.errors import ConfigError
from trellis.spi.config import APPENDED, MERGED, ImageConfig
from trellis.spi.registry import ImageBuilderRegistry, ProviderRegistry


@attrs.frozen(kw_only=True)
class ToyImageConfig(ImageConfig):
    """An image with a list and a mapping.

    Attributes:
        elements: parts.
        env_vars: surroundings.
        url: where it comes from.
    """

    elements: tuple[str, ...] = attrs.field(default=(), metadata={"inherit": APPENDED})
    env_vars: dict[str, str] = attrs.field(factory=dict, repr=False, metadata={"inherit": MERGED})
    url: str | None = None


@attrs.frozen(kw_only=True)
class OtherImageConfig(ImageConfig):
    """An image of another builder.

    Attributes:
        weight: of it.
    """

    weight: int


@pytest.fixture
def builders():
    registry = ImageBuilderRegistry()
    registry.add("diskimage-builder", lambda config: None, ToyImageConfig)
    registry.add("other", lambda config: None, OtherImageConfig)
    return registry


@pytest.fixture
def images(builders):
    def read(text):
        document = f"deployment: x\nimages:\n{text}"
        loaded = parse(document, ProviderRegistry(), builders, file="trellis.yaml", folder=Path())
        return {image.name: image for image in loaded.configuration.images}

    return read


@pytest.fixture
def faults(images):
    def read(text):
        with pytest.raises(ConfigError) as caught:
            images(text)
        return caught.value.faults

    return read


def test_elements_are_put_after_the_parents_and_variables_over_them(images):
    found = images("""
  - {name: base, abstract: true, elements: [vm, simple-init], env-vars: {A: "1", B: "1"}}
  - {name: debian, parent: base, elements: [debian-minimal], env-vars: {B: "2"}, username: deb}
""")

    assert found["debian"].elements == ("vm", "simple-init", "debian-minimal")
    assert found["debian"].env_vars == {"A": "1", "B": "2"}
    assert found["base"].elements == ("vm", "simple-init")
    assert found["base"].username == "zuul"


def test_a_chain_is_followed_to_its_end_in_whatever_order_it_stands(images):
    found = images("""
  - {name: c, parent: b, elements: [three]}
  - {name: b, parent: a, elements: [two], rebuild-age: 2h}
  - {name: a, abstract: true, elements: [one], rebuild-age: 1h, username: core}
""")

    assert found["c"].elements == ("one", "two", "three")
    assert found["c"].rebuild_age == 7200
    assert found["c"].username == "core"


def test_properties_pauses_and_being_abstract_are_an_images_own(images):
    found = images("""
  - {name: a, abstract: true, pause: true, metadata: {os: debian}}
  - {name: b, parent: a}
""")

    assert not found["b"].abstract
    assert not found["b"].pause
    assert found["b"].metadata == {}


def test_the_type_is_inherited_and_says_how_its_keys_are(images):
    found = images("""
  - {name: a, abstract: true, type: other, weight: 7}
  - {name: b, parent: a}
""")

    assert found["b"].type == "other"
    assert found["b"].weight == 7


def test_what_is_shown_can_be_read_again_and_is_the_same(images, builders):
    text = """deployment: x
images:
  - {name: a, abstract: true, elements: [one]}
  - {name: b, parent: a, elements: [two]}
"""
    first = parse(text, ProviderRegistry(), builders, file="a", folder=Path()).configuration

    again = parse(
        render(first), ProviderRegistry(), builders, file="b", folder=Path()
    ).configuration

    assert again.images == first.images
    assert as_plain(first)["images"][1]["parent"] is None


def test_a_fault_is_told_once_where_it_stands_and_not_for_each_that_inherits_it(faults):
    (fault,) = faults("""
  - {name: a, abstract: true, rebuild-age: soon}
  - {name: b, parent: a}
  - {name: c, parent: b}
""")

    assert fault.startswith("trellis.yaml:4:44: images.0.rebuild-age: 'soon' is no duration")


def test_a_ring_of_parents_is_told_and_ends(faults):
    assert faults("""
  - {name: a, parent: b}
  - {name: b, parent: a}
  - {name: c, parent: a}
""") == (
        "trellis.yaml:4:23: images.0.parent: image 'a' is its own ancestor",
        "trellis.yaml:5:23: images.1.parent: image 'b' is its own ancestor",
    )


def test_an_unknown_builder_is_told_with_those_there_are(faults):
    (fault,) = faults("\n  - {name: a, type: othr}\n")

    assert fault.startswith("trellis.yaml:4:21: images.0.type: no plugin registers the image")
    assert "did you mean 'other'?" in fault


def test_a_label_of_an_abstract_image_is_told(builders):
    from tests.config.conftest import ToyConfig, make_toy

    registry = ProviderRegistry()
    registry.add("toy", make_toy, ToyConfig)
    text = """deployment: x
labels: [{name: l}]
images: [{name: a, abstract: true}]
providers:
  - name: p
    type: toy
    cloud: c
    pools: [{name: main, labels: [{name: l, image: a}]}]
"""

    with pytest.raises(ConfigError) as caught:
        parse(text, registry, builders, file="trellis.yaml", folder=Path())

    assert caught.value.faults == (
        "trellis.yaml:8:52: providers.0.pools.0.labels.0.image: image 'a' is abstract: it is "
        "never built; name one that is",
    )
