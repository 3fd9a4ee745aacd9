"""How lists are followed: by the marker in the link to the next page, never by its URL."""

from urllib.parse import parse_qs, urlsplit


def marker_in(link: str, last: str) -> str:
    """The marker of the next page.

    Args:
        link: the cloud's link to it, which may lead anywhere or be no URL at all (quirks 2.9).
        last: id of the last row of this page: the marker where the link has none.
    """
    try:
        given = parse_qs(urlsplit(link).query).get("marker", [])
    except ValueError:
        given = []
    return given[0] if given else last
