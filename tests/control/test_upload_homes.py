"""A cloud that has moved, or another project's login: uploads are judged as nodes are (rule 2)."""

import pytest

from tests.control.upload_stage import an_upload
from trellis.control.homes import foreign, moved
from trellis.errors import RefusedError
from trellis.testing.builders import a_home, a_node

HERE = a_home()
MOVED = a_home(endpoint="http://new.sim/compute")
OTHER = a_home(project_id="p2", endpoint="http://new.sim/compute")


def test_upload_alone_tells_that_the_project_is_another():
    """A provider may have images and no nodes."""
    why = foreign([an_upload(home=HERE)], OTHER, provider="alpha", cloud="alpha")

    assert "upload debian-12-0000000001.1 is recorded in project p1" in why
    assert "--project p2" in why


def test_upload_that_was_never_sent_is_nowhere_yet():
    """It can be made in any project."""
    assert foreign([an_upload()], OTHER, provider="alpha", cloud="alpha") == ""


def test_person_who_accepts_a_move_moves_the_uploads_too():
    """Else the provider would stay closed for them."""
    records = [a_node(home=HERE), an_upload(home=HERE), an_upload(2)]

    changes = moved(
        records, MOVED, provider="alpha", endpoint=MOVED.endpoint, project_id=None, by="ann"
    )

    assert [(change.after.id, change.after.home) for change in changes] == [
        (records[0].id, MOVED),
        (records[1].id, MOVED),
    ]


def test_images_of_another_project_are_not_given_up_without_its_name():
    """They would be taken for gone, and never be deleted."""
    with pytest.raises(RefusedError, match="what is left in p1"):
        moved(
            [an_upload(home=HERE)],
            OTHER,
            provider="alpha",
            endpoint=OTHER.endpoint,
            project_id=None,
            by="ann",
        )
