"""The kinds of id, so that one cannot be taken for another."""

from typing import Final, NewType

NodeId = NewType("NodeId", str)
"""Ten digits, issued by the store in rising order and never twice."""

RequestId = NewType("RequestId", str)
"""128 random bits in hexadecimal."""

LeaseId = NewType("LeaseId", str)
"""128 random bits in hexadecimal; whoever knows it may renew and end the lease."""

BuildId = NewType("BuildId", str)
"""The image's name and a rising number, as ``debian-12-0000000007``."""

UploadId = NewType("UploadId", str)
"""The build's id and a number that rises with each upload of the image."""


NODE_ID_DIGITS: Final = 10


def node_id(number: int) -> NodeId:
    """The id of the node with this running number."""
    return NodeId(f"{number:0{NODE_ID_DIGITS}d}")
