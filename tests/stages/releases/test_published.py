import pytest

from stages.releases import published

PUBLISHED = {"training": 100, "test": 20}


@pytest.mark.parametrize("found", [{"training": 100, "test": 20}, {"training": 130, "test": 21}])
def test_a_whole_release_lacks_nothing(found):
    assert list(published.lacking("made", found, PUBLISHED)) == []


@pytest.mark.parametrize("found", [{"training": 3, "test": 2}, {"training": 40, "test": 19}])
def test_a_sample_lacks_nothing_and_is_counted_in_the_log(found, caplog):
    with caplog.at_level("INFO"):
        assert list(published.lacking("made", found, PUBLISHED)) == []
    assert f"made: a sample: {sum(found.values())} of 120 that its owner published" in caplog.text


@pytest.mark.parametrize("training", [100, 90])
def test_a_part_of_the_owners_release_that_is_short_is_a_reject_and_a_warning(training, caplog):
    rejects = list(published.lacking("made", {"training": training, "test": 18}, PUBLISHED))
    assert ("18 of 20", "incomplete: test") in [(reject.key, reject.kind) for reject in rejects]
    assert len(rejects) == (1 if training == 100 else 2)
    assert "made: test: the release holds 18 of 20 that its owner published" in caplog.text


@pytest.mark.parametrize(("training", "rejects"), [(59, 0), (60, 2)])
def test_half_of_all_is_taken_for_the_owners_release(training, rejects):
    assert len(list(published.lacking("made", {"training": training}, PUBLISHED))) == rejects


def test_a_part_that_is_missing_is_a_reject_even_of_a_sample_with_most_parts():
    (reject,) = published.lacking("made", {"training": 3, "more": 1}, PUBLISHED | {"more": 5})
    assert (reject.key, reject.kind) == ("0 of 20", "incomplete: test")


def test_a_sample_without_most_parts_is_told_in_the_log_alone(caplog):
    assert list(published.lacking("made", {"training": 3}, PUBLISHED)) == []
    assert "made: test: the release holds 0 of 20 that its owner published" in caplog.text
