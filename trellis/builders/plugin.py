"""The builders that come with Trellis, registered by everybody's door."""

from trellis.builders.artifact import ArtifactBuilder, ArtifactConfig
from trellis.builders.diskimage_builder import DiskImageBuilder, DiskImageConfig
from trellis.spi.config import DEFAULT_BUILDER
from trellis.spi.hooks import hookimpl
from trellis.spi.registry import ImageBuilderRegistry


@hookimpl
def trellis_register_image_builders(register: ImageBuilderRegistry) -> None:
    """Register the types ``diskimage-builder`` and ``artifact``."""
    register.add(DEFAULT_BUILDER, DiskImageBuilder, DiskImageConfig)
    register.add("artifact", ArtifactBuilder, ArtifactConfig)
