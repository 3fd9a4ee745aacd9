"""What has an image built anew, and what does not."""

from collections.abc import Mapping

import attrs
import pytest

from trellis.config import Configuration, label_hashes, recipe_of
from trellis.spi.config import ImageConfig, PoolConfig, PoolLabelConfig, ProviderConfig


@attrs.frozen(kw_only=True)
class CakeConfig(ImageConfig):
    """An image as a plugin might build it.

    Attributes:
        elements: what it is made of.
        env_vars: what its builder is told.
        oven_password: what nobody is told.
    """

    elements: tuple[str, ...] = ()
    env_vars: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    oven_password: str = attrs.field(default="", repr=False)


CAKE = CakeConfig(name="cake", type="cake", elements=("flour",), env_vars={"A": "1", "TOKEN": "x"})


@pytest.mark.parametrize(
    "change",
    [
        {"elements": ("flour", "eggs")},
        {"env_vars": {"A": "2"}},
        {"type": "pie"},
        {"username": "ci"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_it_is_made_of_counts(change):
    assert recipe_of(attrs.evolve(CAKE, **change)) != recipe_of(CAKE)


@pytest.mark.parametrize(
    "change",
    [
        {"rebuild_age": 5.0},
        {"keep_builds": 9},
        {"formats": ("raw",)},
        {"pause": True},
        {"metadata": {"a": "b"}},
        {"parent": "bread"},
        {"oven_password": "new"},
        {"env_vars": {"A": "1", "TOKEN": "y"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_how_it_is_kept_and_what_is_secret_does_not(change):
    assert recipe_of(attrs.evolve(CAKE, **change)) == recipe_of(CAKE)


def test_it_is_stable_over_releases():
    """Written down: were it to change, every image would be built anew on upgrade."""
    assert recipe_of(CAKE) == "aa9af890d0063efe"


def test_another_recipe_replaces_no_idle_node():
    """It is another upload that does, once it is there; nodes of the one before are good."""
    label = PoolLabelConfig(name="small", image="cake")
    pool = PoolConfig(name="main", labels=(label,))
    provider = ProviderConfig(name="alpha", type="x", cloud="alpha", pools=(pool,))
    before = Configuration(deployment="d", images=(CAKE,), providers=(provider,))
    after = attrs.evolve(before, images=(attrs.evolve(CAKE, elements=("eggs",)),))
    other = attrs.evolve(before, images=(attrs.evolve(CAKE, username="ci"),))

    assert label_hashes(after) == label_hashes(before)
    assert label_hashes(other) != label_hashes(before)
