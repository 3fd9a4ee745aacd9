"""What goes wrong with the images that callers make, from the first call to the last server.

Each field has the name of its fault in the catalogue; what is 0, false or empty never strikes.
"""

import attrs

from trellis.sim.cloud.bounds import at_least, chance, rate, span
from trellis.sim.cloud.road_troubles import RoadTroubles


@attrs.frozen(kw_only=True)
class ImageTroubles(RoadTroubles):
    """Troubles of images, as probabilities for each image, task or server, and in seconds.

    Attributes:
        image_create_lost: a create of an image, or of a task, is carried out and its answer lost.
        image_stuck_queued: an upload is answered well, and the image stays ``queued`` for ever.
        image_stuck_saving: the same, and it stays ``saving``.
        upload_dropped: the connection of an upload breaks at a share of the body drawn evenly from
            ``upload_dropped_at``; the image is queued again, or saving if it is stuck.
        upload_dropped_at: the least and the most of that share, 0 to 1.
        upload_hangs: from such a share on nothing of the body is taken, and nothing answered.
        image_corrupted: what is stored has other checksums than what was sent.
        image_quota_full: there is no room for any image more.
        import_fails: an import ends with the image queued again.
        task_fails_once: a task fails with 396; another one for the same object does not.
        task_fails: a task fails with 396, and so does every other one for the same object.
        task_hangs: a task is ``processing`` for ever.
        object_lost: an object vanishes soon after it is there.
        image_deleted_by_person: somebody deletes an uploaded image, after a time from
            ``mishap_s``.
        image_list_lag_s: lists of images show the past: new ones not yet, deleted ones still.
        image_undeletable: a delete of an image is answered 409, for ``image_undeletable_s``.
        bad_image: a server of a bad image never answers, or ends in ERROR.
        bad_image_error: share of such servers that end in ERROR.
        bad_images: which images are bad: patterns of names, or of a property, as
            ``trellis_build=*7``; empty are all that callers made.
    """

    image_create_lost: float = rate()
    image_stuck_queued: float = rate()
    image_stuck_saving: float = rate()
    upload_dropped: float = rate()
    upload_dropped_at: tuple[float, ...] = attrs.field(default=(0.9, 0.9), validator=span)
    upload_hangs: float = rate()
    image_corrupted: float = rate()
    image_quota_full: bool = False
    import_fails: float = rate()
    task_fails_once: float = rate()
    task_fails: float = rate()
    task_hangs: float = rate()
    object_lost: float = rate()
    image_deleted_by_person: float = rate()
    image_list_lag_s: float = attrs.field(default=0.0, validator=at_least(0.0))
    image_undeletable: float = rate()
    image_undeletable_s: float = attrs.field(default=300.0, validator=at_least(0.0))
    bad_image: float = rate()
    bad_image_error: float = attrs.field(default=0.0, validator=chance)
    bad_images: tuple[str, ...] = ()
