"""What a person chose changes the values it names in params.yaml and no other byte, or nothing at all."""

from pathlib import Path

import pytest

from pipelines import profile
from pipelines.flows import choices
from pipelines.flows.choices import Choice
from stages.runtime import config
from stages.runtime.errors import UserError

PROFILES = Path(__file__).parents[3] / "profiles"


@pytest.fixture
def params(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(profile.text("sample", PROFILES), encoding="utf-8")
    return path


def write(params: Path, **chosen) -> str:
    return choices.write(Choice(**chosen), params, PROFILES).difference


@pytest.mark.parametrize("chosen", [{}, {"methods": [], "datasets": [], "seeds": []}])  # the latter: an empty form
def test_choosing_nothing_needs_no_file(chosen, tmp_path):
    assert write(tmp_path / "params.yaml", **chosen) == ""
    assert list(tmp_path.iterdir()) == []


def test_what_is_in_force_already_changes_nothing(params):
    before = params.stat().st_mtime_ns
    assert write(params, profile="sample", seeds=[0], methods=["fabnet", "fabnet_sources", "random"]) == ""
    assert params.stat().st_mtime_ns == before


def test_a_profile_is_taken_over_byte_by_byte(params):
    assert "+profile: study" in write(params, profile="study")
    assert params.read_text(encoding="utf-8") == profile.text("study", PROFILES)


def test_only_the_lines_of_a_chosen_value_change(params):
    _, _, *change = write(params, seeds=[0, 3]).splitlines()
    assert change == ["@@ -17,0 +18 @@", "+- 3"]
    assert config.check(params).seeds == [0, 3]


def test_a_choice_keeps_the_comments_of_the_file_and_of_what_stays(params):
    text = params.read_text(encoding="utf-8").replace("- random\n", "- random   # the control\n", 1)
    params.write_text(text.replace("seeds:  ", "seeds: [0]  ").replace("each\n- 0\n", "each\n"), encoding="utf-8")
    write(params, methods=["random", "fabnet"], seeds=[5])
    lines = params.read_text(encoding="utf-8").splitlines()
    assert lines[3:6] == [
        "methods:                      # compared in this order; every method: profile `study`",
        "- random   # the control",
        "- fabnet",
    ]
    assert f"seeds: [5]{' ' * 24}# one pre-training, embedding and probing for each" in lines


def test_methods_go_into_the_list_that_trains_them(params):
    write(params, methods=["pca", "fabnet_sources", "fabnet"])
    now = config.check(params)
    assert (now.methods, now.lists.pretrained, now.lists.refined) == (
        ["pca", "fabnet_sources", "fabnet"],
        ["fabnet", "pca"],
        ["fabnet_sources"],
    )


def test_data_sets_go_into_the_list_of_their_kind_and_leave_the_followed_ones(params):
    write(params, datasets=["voxceleb2", "w300"])
    now = config.check(params)
    assert (now.datasets, now.track_sets, now.detected_sets, now.boxed_sets) == (
        ["voxceleb2", "w300"],
        ["voxceleb2"],
        [],
        ["w300"],
    )
    assert now.lists.followed == ["w300"]
    write(params, datasets=["voxceleb2", "w300", "affectnet"])
    assert config.check(params).detected_sets == ["affectnet"]


def test_choices_come_on_top_of_a_chosen_profile(params):
    write(params, profile="study", methods=["fabnet", "vicreg"])
    now = config.check(params)
    assert (now.profile, now.lists.pretrained) == ("study", ["fabnet", "vicreg"])


def test_the_settings_of_an_own_encoder_keep_what_was_not_chosen(params):
    write(params, own={"weights": 'a "b": c # d.pt', "weights_sha256": "0" * 64, "size_px": 96}, methods=["own"])
    own = config.check(params).method["own"]
    assert (own["weights"], own["size_px"], own["kind"]) == ('a "b": c # d.pt', 96, "torchscript")


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"profile": "huge"}, "no profile 'huge': expected one of own_videos, paper, sample, small, study"),
        ({"methods": ["fabmet", "fabnet"]}, r"params\.yaml: no method 'fabmet': expected one of autoencoder, "),
        (
            {"methods": ["random", "fabnet_sources"]},
            r"refine\.start should be one of `methods` that is trained from initial weights",
        ),
        ({"methods": ["own"]}, r"method\.own\.weights is empty"),
        ({"datasets": ["voxceleb1"]}, "one of still images, found \\[voxceleb1\\]"),
        ({"datasets": ["voxceleb1", "lfw"]}, "no dataset 'lfw': expected one of affectnet, "),
        ({"seeds": [-1]}, r"seeds\.0 should be greater than or equal to 0, found -1"),
        ({"methods": ["fabnet]\ncolour: [red"]}, r"methods\.0 should be String should match pattern"),
    ],
)
def test_a_wrong_choice_is_a_user_error_and_leaves_the_file(params, chosen, sentence):
    before = params.read_bytes()
    with pytest.raises(UserError, match=sentence):
        write(params, **chosen)
    assert params.read_bytes() == before
    assert [path.name for path in params.parent.iterdir()] == ["params.yaml"]


def test_what_was_edited_by_hand_is_in_the_lists_without_a_choice(params):
    text = params.read_text(encoding="utf-8").replace("- fabnet_sources\n", "", 1)
    params.write_text(text, encoding="utf-8")
    assert "-  - fabnet_sources" in write(params)
    assert config.check(params).lists.refined == []


def test_a_profile_over_an_edited_file_keeps_a_copy_and_other_choices_do_not(params):
    change = choices.write(Choice(methods=["fabnet", "pca"]), params, PROFILES)
    assert change.difference
    assert change.kept == ""
    edited = params.read_bytes()
    change = choices.write(Choice(profile="study"), params, PROFILES)
    assert (params.parent / change.kept).read_bytes() == edited
    assert choices.write(Choice(profile="small"), params, PROFILES).kept == ""


def test_without_a_file_the_sentence_says_how_to_get_one(tmp_path):
    with pytest.raises(UserError, match=r"params\.yaml is missing: choose a profile"):
        write(tmp_path / "params.yaml", seeds=[1])


def test_one_more_method_keeps_those_that_the_file_names_by_then(params):
    write(params, methods=["fabnet", "random"])
    write(params, more_methods=["random", "pca"])
    assert config.load(params).methods == ["fabnet", "random", "pca"]


@pytest.mark.parametrize("seeds", [[0, 0], [2**31]])
def test_seeds_that_no_run_could_have_are_refused(params, seeds):
    before = params.read_text()
    with pytest.raises(UserError, match="seeds"):
        write(params, seeds=seeds)
    assert params.read_text() == before
