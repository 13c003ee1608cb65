import threading

import pytest

from pipelines.running import server


def test_a_folder_without_a_server_has_no_url(tmp_path):
    assert server.running(tmp_path) == ""


def test_the_server_of_a_folder_is_found_for_as_long_as_it_runs(tmp_path):
    with server.claimed(tmp_path) as make_known:
        make_known("http://127.0.0.1:4200")
        assert server.running(tmp_path) == "http://127.0.0.1:4200"
    assert server.running(tmp_path) == ""


def test_a_second_server_of_the_same_folder_is_told_where_the_first_one_is(tmp_path):
    with server.claimed(tmp_path) as make_known:
        make_known("http://127.0.0.1:4200")
        with pytest.raises(server.RunsAlreadyError, match=r"http://127\.0\.0\.1:4200"), server.claimed(tmp_path):
            pass


def test_a_server_that_is_starting_is_waited_for(tmp_path):
    found: list[str] = []
    with server.claimed(tmp_path) as make_known:
        asking = threading.Thread(target=lambda: found.append(server.running(tmp_path)))
        asking.start()
        asking.join(0.3)
        assert found == []
        make_known("http://127.0.0.1:4200")
        asking.join()
    assert found == ["http://127.0.0.1:4200"]


def test_what_a_server_left_behind_is_not_taken_for_one(tmp_path):
    (tmp_path / server.FILE).parent.mkdir()
    (tmp_path / server.FILE).write_text("http://127.0.0.1:9")
    assert server.running(tmp_path) == ""
    with server.claimed(tmp_path) as make_known:
        make_known("http://127.0.0.1:4200")
        assert server.running(tmp_path) == "http://127.0.0.1:4200"
