"""The query parameters that several lists have."""

from typing import Annotated

from litestar.params import PathParameter, QueryParameter

RequestPath = Annotated[str, PathParameter(description="Id of the request.")]
SourcePath = Annotated[str, PathParameter(description="Name of the demand source.")]
LeasePath = Annotated[str, PathParameter(description="Id of the lease.")]
NodePath = Annotated[str, PathParameter(description="Id of the node.")]
ProviderPath = Annotated[str, PathParameter(description="Name of the provider.")]
BreakerPath = Annotated[str, PathParameter(description="Id of the breaker.")]
LeakPath = Annotated[str, PathParameter(description="Id of the leak.")]
ImagePath = Annotated[str, PathParameter(description="Name of the image.")]
BuildPath = Annotated[str, PathParameter(description="Id of the build.")]
UploadPath = Annotated[str, PathParameter(description="Id of the upload.")]

Limit = Annotated[int, QueryParameter(ge=1, le=1000, description="How many at most.")]
After = Annotated[
    str | None, QueryParameter(max_length=255, description="The `next` of the stretch before.")
]
Gone = Annotated[
    bool, QueryParameter(description="true lists what is gone, for as long as history is kept.")
]
Filter = Annotated[
    str | None, QueryParameter(max_length=255, description="Only those of this one.")
]
Word = Annotated[
    str,
    QueryParameter(
        min_length=1,
        max_length=255,
        description="An id, a tenant, or a value of the metadata; the whole of it.",
    ),
]
Actor = Annotated[
    str,
    QueryParameter(
        min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$", description="Who does this."
    ),
]
WaitS = Annotated[
    float,
    QueryParameter(
        ge=0,
        le=60,
        description="Seconds to wait for the request to be fulfilled, failed or cancelled; "
        "the answer says how it is then.",
    ),
]
