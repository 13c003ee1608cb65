import random
from pathlib import Path

import pytest
from hostile_server import mutated

from stages.acquisition import registry
from stages.acquisition.registry import Entry
from stages.runtime import plugins
from stages.runtime.errors import UserError

ROOT = Path(__file__).parents[3]
MD5 = "md5:" + "0" * 32


def test_registry_is_read_in_its_order_without_comments(tmp_path):
    path = tmp_path / "made.txt"
    path.write_text(f"# all of it\n\nb/x.zip 12 {MD5} OWNER  # the large one\na.csv - - OTHER\n")
    entries = registry.read(path)
    assert entries == [Entry("b/x.zip", 12, MD5, "OWNER"), Entry("a.csv", None, "", "OTHER")]
    assert registry.parse("\n".join(entry.line() for entry in entries), "x") == entries


def test_special_characters_in_names_are_escaped():
    entry = Entry("ibug/image 092 #1 50%.jpg", 3, "", "OWNER")
    assert registry.parse(entry.line(), "x") == [entry]
    assert registry.parse("a%20b.pts - - OWNER", "x")[0].name == "a b.pts"
    with pytest.raises(UserError, match="unsafe name"):
        registry.parse("..%2fb.pts - - OWNER", "x")


MALFORMED = {
    "too few words": ("a.zip 12 -", "expected name, size, digest and host"),
    "a size with a unit": ("a.zip 12GB - OWNER", "expected a size in bytes or -"),
    "a size of 5,000 digits": (f"a.zip {'9' * 5000} - OWNER", "expected a size in bytes or -"),
    "a digest without its kind": ("a.zip 12 00ff OWNER", "expected a digest such as md5:..."),
    "a digest of another length": ("a.zip 12 md5:00ff OWNER", "expected a digest such as md5:..."),
    "an unknown kind of digest": ("a.zip 12 crc32:00000000 OWNER", "expected a digest such as md5:..."),
    "a digest that is empty": ("a.zip 12 : OWNER", "expected a digest such as md5:..."),
    "a small host": ("a.zip 12 - owner", "expected a host in capital letters"),
    "a name that leads out": ("../a.zip 12 - OWNER", "unsafe name"),
    "an absolute name": ("/a.zip 12 - OWNER", "unsafe name"),
    "a name twice": ("x.csv - - OWNER", "x.csv is listed twice"),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_error_about_a_malformed_line_names_file_and_line(tmp_path, what):
    line, problem = MALFORMED[what]
    path = tmp_path / "made.txt"
    path.write_text(f"x.csv - - OWNER\n{line}\n")
    with pytest.raises(UserError) as error:
        registry.read(path)
    assert str(error.value).startswith(f"{path}, line 2: {problem}")


def test_binary_and_missing_files_raise_an_error(tmp_path):
    (tmp_path / "made.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="UTF-8"):
        registry.read(tmp_path / "made.txt")
    with pytest.raises(UserError, match="is missing"):
        registry.read(tmp_path / "other.txt")


def parts(size: int | None) -> list[Entry]:
    return [Entry(f"vox2_dev_mp4_parta{letter}", size, "", "OWNER") for letter in "abcdefghi"]


def test_coverage_counts_parts_and_bytes():
    entries = parts(28_000_000_000)
    present = {entry.name: 28_000_000_000 for entry in entries[:7]}
    assert registry.coverage(entries, present) == "7 of 9 parts, 196 of 252 GB"
    assert registry.coverage([*entries, Entry("meta.csv", 7, "", "OWNER")], present).endswith(", 0 of 1 other files")


def test_coverage_leaves_out_bytes_that_nobody_knows():
    entries = parts(None)
    present = {entry.name: 10**10 for entry in entries[:8]}
    assert registry.coverage(entries, present) == "8 of 9 parts"
    assert registry.coverage(entries, present | {entries[8].name: 10**10}) == "9 of 9 parts, 90 of 90 GB"
    assert registry.coverage([Entry("a", 5, "", "OWNER")], {}) == "0 of 1 files"


def test_first_parts_keep_all_other_files():
    entries = [*parts(1), Entry("meta.csv", 7, "", "OWNER")]
    assert [entry.name[-2:] for entry in registry.first_parts(entries, 2)] == ["aa", "ab", "sv"]
    assert registry.first_parts(entries, 0) == entries


def test_only_unpublished_sizes_and_digests_come_from_the_record():
    recorded = [Entry("a", 5, MD5, "OWNER")]
    assert registry.fill_in([Entry("a", None, "", "OWNER")], recorded) == recorded
    published = [Entry("a", 6, "md5:" + "1" * 32, "OWNER"), Entry("b", None, "", "OWNER")]
    assert registry.fill_in(published, recorded) == published


@pytest.mark.parametrize("path", sorted(registry.FOLDER.glob("*")), ids=lambda path: path.stem)
def test_committed_registries_are_valid_and_belong_to_a_data_set(path):
    registry.read(path)
    assert path.stem in plugins.names("stages.datasets")


def test_voxceleb_registries_list_parts_test_archives_metadata_and_text():
    names = {
        number: {entry.name for entry in registry.read(registry.FOLDER / f"voxceleb{number}.txt")} for number in (1, 2)
    }
    assert names[1] == {"dense-face-frames.tar.gz", "vox1_meta.csv", "vox1_dev_txt.zip", "vox1_test_txt.zip"}
    assert names[2] == {
        *(f"vox2_dev_mp4_parta{letter}" for letter in "abcdefghi"),
        *("vox2_test_mp4.zip", "vox2_meta.csv", "vox2_dev_txt.zip", "vox2_test_txt.zip"),
    }


def test_far_too_many_lines_raise_an_error_at_once():
    with pytest.raises(UserError, match="x should list at most 500000 files, one per line, found 1000000 lines"):
        registry.parse("a.zip - - OWNER\n" * 1_000_000, "x")


def test_mutated_registries_raise_no_other_error():
    intact, draw, refused = f"b/x.zip 12 {MD5} OWNER\na%20.csv - - OTHER  # a text\n".encode(), random.Random(2), 0
    for _ in range(2000):
        try:
            registry.parse(mutated(intact, draw).decode("utf-8", "replace"), "x")
        except UserError:
            refused += 1
    assert 200 < refused < 2000
