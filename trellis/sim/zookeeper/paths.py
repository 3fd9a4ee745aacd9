"""Paths of znodes, as far as the simulated server has to know them."""


def checked(path: str, *, sequence: bool = False) -> str:
    """The path, if ZooKeeper could have a znode there.

    Args:
        sequence: whether ten digits are put after it, so that it may end with a slash.

    Raises:
        ValueError: it is no path: a mistake of the caller's.
    """
    whole = f"{path}0" if sequence else path
    names = whole.split("/")[1:]
    if not whole.startswith("/") or (whole != "/" and not all(map(_is_name, names))):
        raise ValueError(f"not the path of a znode: {path!r}")
    return path


def _is_name(name: str) -> bool:
    return name not in ("", ".", "..") and "\0" not in name


def parent_of(path: str, *, sequence: bool = False) -> str:
    """The path of the parent; with *sequence* of what will have ten digits after it."""
    return (f"{path}0" if sequence else path).rpartition("/")[0] or "/"
