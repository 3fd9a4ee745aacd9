"""Paths of znodes, as far as a client has to know them."""


def checked(path: str, *, sequence: bool = False) -> str:
    """The path, if ZooKeeper could have a znode there.

    Args:
        path: from the root, or from the chroot.
        sequence: whether ten digits are put after it, so that it may end with a slash.

    Raises:
        ValueError: it is no path: a mistake of the caller's.
    """
    if path == "/" and not sequence:
        return path
    whole = f"{path}0" if sequence else path
    names = whole.split("/")
    if (
        names[0]
        or len(names) < 2
        or any(name in ("", ".", "..") for name in names[1:])
        or "\0" in whole
    ):
        raise ValueError(f"not the path of a znode: {path!r}")
    return path
