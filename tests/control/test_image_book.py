"""The index of images follows the records, commit by commit."""

import attrs

from tests.control.image_house import IMAGE, a_build, an_upload
from trellis.control.images.book import ImageBook
from trellis.model.image import BuildState, ImageRecord, UploadState
from trellis.model.records import Change
from trellis.testing.builders import a_node


def a_book(*records):
    book = ImageBook()
    book.load(records)
    return book


def test_what_is_loaded_is_found_the_newest_first():
    book = a_book(
        ImageRecord(name=IMAGE, next_build=3),
        *(a_build(number) for number in (2, 1)),
        *(an_upload(number, place) for number in (1, 2) for place in ("alpha", "beta")),
        a_node(),
    )

    all_of = book.of_image(IMAGE)

    assert [one.number for one in all_of.builds] == [2, 1]
    assert [one.id[-12:] for one in all_of.uploads] == [
        "0000000002.5", "0000000002.4", "0000000001.3", "0000000001.2",
    ]  # fmt: skip
    assert [one.id[-1] for one in book.at("alpha", IMAGE)] == ["4", "2"]
    assert book.by_external["alpha", "alpha-image-2"].id[-1] == "4"
    assert (book.names(), set(book.providers())) == ((IMAGE,), {"alpha", "beta"})


def test_attempts_are_in_order_of_their_numbers_and_not_of_their_texts():
    attempts = [an_upload(1, attempt=number) for number in (9, 10, 2)]

    book = a_book(*attempts)

    assert [one.id.rpartition(".")[2] for one in book.at("alpha", IMAGE)] == ["10", "9", "2"]


def test_who_is_told_finds_all_of_the_batch_in_the_book():
    book, seen = a_book(), []
    build, upload = a_build(1), an_upload(1)
    book.on_build.append(lambda _before, _after: seen.append(set(book.uploads)))

    book.apply([Change(None, build), Change(None, upload)])

    assert seen == [{upload.id}]


def test_what_is_gone_is_nowhere():
    build, upload = a_build(1), an_upload(1)
    book = a_book(ImageRecord(name=IMAGE), build, upload)
    told = []
    book.on_upload.append(lambda before, after: told.append((before, after)))
    deleting = upload.became(UploadState.DELETING, 0.0)
    gone = deleting.became(UploadState.GONE, 0.0)

    book.apply([Change(upload, deleting), Change(deleting, gone, archive=True)])

    assert told == [(upload, deleting), (deleting, None)]
    assert not book.uploads
    assert not book.by_external
    assert book.at("alpha", IMAGE) == book.at_provider("alpha") == book.providers() == ()
    assert book.of_image(IMAGE).uploads == ()

    removed = build.became(BuildState.DELETING, 0.0)
    book.apply([Change(build, removed)])
    book.apply([Change(removed, removed.became(BuildState.GONE, 0.0), archive=True)])
    assert not book.builds
    assert book.of_image(IMAGE).builds == ()


def test_an_id_that_comes_late_is_found_from_then_on():
    upload = an_upload(1, external_id=None, state=UploadState.UPLOADING)
    book = a_book(upload)
    assert not book.by_external

    known = attrs.evolve(upload, external_id="i-7")
    book.apply([Change(upload, known)])

    assert book.by_external == {("alpha", "i-7"): known}
    assert book.at("alpha", IMAGE) == (known,)


def test_only_what_is_about_images_moves_its_revision():
    book = a_book()
    before = book.revision

    book.apply([Change(None, a_node())])
    assert book.revision == before

    book.apply([Change(None, a_build(1))])
    assert book.revision > before


def test_an_image_of_which_nothing_was_recorded_is_a_value_too():
    book = a_book()

    assert book.record(IMAGE) == ImageRecord(name=IMAGE)
    assert book.of_image(IMAGE).builds == ()
    assert book.names() == ()
