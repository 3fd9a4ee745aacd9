"""Names that one file has and another one needs."""

from collections.abc import Sequence

from trellis.config.document import Fault
from trellis.config.loading import in_order
from trellis.config.structure import near, shown
from trellis.errors import ConfigError
from trellis.nodepool.reading import NodepoolFile, SecureFile


def check_together(files: Sequence[NodepoolFile], secure: Sequence[SecureFile]) -> None:
    """Check that the images that secure files name are there.

    Raises:
        ConfigError: with every name that stands for nothing.
    """
    known = {image.name for file in files for image in file.images if not image.abstract}
    lines: list[str] = []
    for one in secure:
        faults = [
            Fault(
                one.source.mark(path := ("diskimages", i, "name")),
                path,
                f"diskimage {shown(image.name)} is in none of the files given"
                f"{near(image.name, known)}; an abstract one cannot be meant",
            )
            for i, image in enumerate(one.config.diskimages or ())
            if image.name not in known
        ]
        lines += in_order(faults, one.source.name)
    if lines:
        raise ConfigError(lines)
