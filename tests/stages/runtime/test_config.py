"""A wrong parameter file ends in one sentence and exit status 1, before any work starts."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hostile_server import mutated

from pipelines import profile
from stages.runtime import config
from stages.runtime.errors import UserError
from stages.runtime.params import Params

ROOT = Path(__file__).parents[3]
SAMPLE = profile.text("study", ROOT / "profiles")  # every method
METHODS = config.parsed(SAMPLE, "study").methods
# what is wrong, (text of the sample profile, what takes its place), what the sentence has to name
WRONG = {
    "unknown": (("seed: 7 ", "colour: red\nseed: 7 "), "colour is not a known parameter"),
    "of version 0.2.0": (
        ("seed: 7 ", "track_sets: [voxceleb1]\nseed: 7 "),
        "`make profile PROFILE=study FORCE=1`, which keeps a copy",
    ),
    "misspelt": (("  size_px: 64", "  size_xp: 64"), "pretrain.size_xp is not a known parameter"),
    "string for a number": (("  batch: 32", '  batch: "32"'), "pretrain.batch should be a valid integer, found '32'"),
    "float for a count": (("  batch: 32", "  batch: 32.5"), "pretrain.batch should be a valid integer"),
    "out of range": (("  track_val: 0.15", "  track_val: 1.5"), "split.track_val should be less than 1, found 1.5"),
    "a side twice": (
        ("further_px: []   ", "further_px: [224, 224]   "),
        "sides should differ from each other, found [224",
    ),
    "a floor above the rate": (
        ("  lr_floor: 0.000001", "  lr_floor: 0.1"),
        "pretrain: lr_floor should be at most lr, 0.0004, found 0.1",
    ),
    "a rate that is always held": (("  lr_hold: 0.0", "  lr_hold: 1.0"), "pretrain.lr_hold should be less than 1"),
    "faces drawn more often": (
        ("    voxceleb2: 1\n  plateau", "    voxceleb2: 1\n    w300: 2\n  plateau"),
        "pretrain.oversample names w300: expected data sets of face tracks",
    ),
    "shares above one": (("  track_val: 0.15", "  track_val: 0.95"), "track_val + track_test should be below 1"),
    "not a choice": (("optimiser: adam", "optimiser: lion"), "pretrain.optimiser should be 'adam' or 'sgd'"),
    "a method that is in no list": (
        ("  refined:\n  - fabnet_sources\n", "  refined: []\n"),
        f"`methods` [{', '.join(METHODS)}]: run",
    ),
    "a method that does not exist": (
        ("study`\n- fabnet\n", "study`\n- fabnett\n"),
        "no method 'fabnett': expected one of autoencoder, constant, contrastive, fabnet, ",
    ),
    "a method in the wrong list": (
        ("  - vicreg\n  refined:\n  - fabnet_sources\n", "  - vicreg\n  - fabnet_sources\n  refined: []\n"),
        "lists.refined should be [fabnet_sources], as",
    ),
    "a start that is not trained": (("  start: fabnet\n", "  start: fabmet\n"), "refine.start should be one of"),
    "a method without settings": (("  random: {", "  untrained: {"), "method.random is missing"),
    "a batch smaller than a window": (
        ("patience: 0, batch: 64", "patience: 0, batch: 1"),
        "batch should be at least 2",
    ),
    "a misspelt setting of a method": (
        ("  fabnet:\n    width", "  fabnet:\n    widht"),
        "method.fabnet.widht is not a known parameter",
    ),
    "a setting of another type": (
        ("  fabnet:\n    width: 16", "  fabnet:\n    width: wide"),
        "method.fabnet.width should be",
    ),
    "a data set that is in no list": (
        ("  detected_sets:\n  - affectnet\n  - emotionet\n", "  detected_sets: []\n"),
        "`datasets` [affectnet, aflw, emotionet, mafl, voxceleb1, voxceleb2, w300]: run `make profile`",
    ),
    "a data set in the wrong list": (
        ("  - emotionet\n  boxed_sets:\n  - aflw\n", "  - emotionet\n  - aflw\n  boxed_sets:\n"),
        "lists.detected_sets should be [affectnet, emotionet], as `methods`",
    ),
    "a followed data set that is in no list": (
        ("  followed:\n  - affectnet\n  - aflw\n  - emotionet\n  - mafl\n  - w300\n", "  followed: []\n"),
        "lists.followed should be [affectnet, aflw, emotionet, mafl, w300], ",
    ),
    "no lists": (("\nlists:  ", "\nlist:  "), "list is not a known parameter"),
    "a box without its margin": (
        ("    synthetic: {images: 420}\n    index: {margin_frac: 0.0}\n", "    synthetic: {images: 420}\n"),
        "dataset.aflw.index is missing",
    ),
    "a followed data set that is no still images": (
        ("centre_px: 256}\n", "centre_px: 256}\n    followed: true\n"),
        "dataset.voxceleb1.followed should be false",
    ),
    "faces without shares": (("    mafl: {val: 0.10, test: 0.0}\n", ""), "split.faces.mafl is missing"),
    "units without names": (
        ("".join(f"        - au{unit}\n" for unit in (1, 2, 4, 5, 6, 9, 12, 17, 20, 25, 26)), "        - au1\n"),
        "classes should name",
    ),
    "a crop larger than the frame": (("centre_px: 256", "centre_px: 900"), "centre_px should fit"),
    "a jitter beyond the frame": (
        ("voxceleb2:\n    - 170\n    - 190", "voxceleb2:\n    - 170\n    - 200"),
        "pretrain.jitter_px.voxceleb2",
    ),
    "scales that fall": (("  - 0.8\n  - 0.9\n", "  - 0.9\n  - 0.8\n"), "scales should rise, found [0.9, 0.8, 1.0"),
    "scales without the crop as it is": (("  - 0.9\n  - 1.0\n", "  - 0.9\n"), "perturb: scales should hold 1.0, with"),
    "an unknown probe": (("probe: pose\n", "probe: curves\n"), "no module 'curves' in fabnet.probes"),
    "an unknown metric": (("- angle_error_deg\n", "- angle_error\n"), "aflw.tasks.pose.metrics"),
    "a misspelt setting of a synthetic release": (
        ("{training: 900", "{trainings: 900"),
        "dataset.affectnet.synthetic.trainings is not a known parameter",
    ),
    "an endless rate": (("  lr: 0.0004", "  lr: .inf"), "pretrain.lr should be a finite number"),
    "an endless decay": (("  weight_decay: 0.0", "  weight_decay: .inf"), "pretrain.weight_decay should be a finite"),
    "a decay that is no number": (("  weight_decay: 0.0", "  weight_decay: .nan"), "pretrain.weight_decay should be a"),
    "a score that is no number": (("  min_score: 0.0", "  min_score: .nan"), "detect.min_score should be a finite"),
    "an endless regularisation": (("  - 1000.0\n", "  - .inf\n"), "probe.l2.7 should be a finite number"),
    "a tiny regularisation": (
        ("  - 1.0e-4\n", "  - 1.0e-300\n"),
        "probe.l2.0 should be greater than or equal to 0.000000000001, found 1e-300",
    ),
    "epochs without end": (
        ("  draws_per_identity: 32 ", f"  draws_per_identity: {2**63} "),
        "pretrain.draws_per_identity should be less than or equal to 1000000, found 9223372036854775808",
    ),
    "epochs of 2^63": (
        ("  start: fabnet\n  epochs: ", f"  start: fabnet\n  epochs: {2**63}  # "),
        "refine.epochs should be less than or equal to 1000000, found 9223372036854775808",
    ),
    "frames ever so seldom": (
        ("\ncrop:\n  fps: 5.0 ", "\ncrop:\n  fps: 1.0e-300 "),
        "crop.fps should be greater than or equal to 0.001",
    ),
    "a seed of 100 digits": (("seed: 7 ", f"seed: {'9' * 100} "), "seed should be less than 2147483648"),
    "a number of 5,000 digits": (("seed: 7 ", f"seed: {'9' * 5000} "), "is not valid YAML: Exceeds the limit"),
    "a date": (("seed: 7 ", "seed: 2018-01-01 "), "seed should be a valid integer, found '2018-01-01'"),
    "a date that does not exist": (("seed: 7 ", "seed: 2018-02-31 "), "is not valid YAML"),
    "a list as a name": (("seed: 7 ", "? [seed]\n: 7 "), "every name of a setting should be text"),
    "an endless setting of a method": (("slope: 0.0", "slope: .inf"), "method.fabnet.slope should be a finite number"),
    "a huge setting of a method": (
        ("  fabnet:\n    width: 16", f"  fabnet:\n    width: {2**62}"),
        f"method.fabnet.width should be at most 1000000000, found {2**62}",
    ),
    "brackets without end": (("seed: 7 ", f"seed: {'[' * 5000} "), "is not valid YAML"),
    "broken YAML": (("  size_px: 64", "  size_px: [64"), "is not valid YAML"),
    "a key twice": (("seed: 7 ", "seed: 7\nseed: 8 "), "is not valid YAML"),
}


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines.profile", "check"]
    env = {"PYTHONPATH": str(ROOT), "PATH": ""}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def one_sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The message of a refused command: a single line, no traceback, nothing on standard output."""
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_parameter_is_named(case, tmp_path):
    (old, new), expected = WRONG[case]
    assert SAMPLE.count(old) == 1
    path = tmp_path / "params.yaml"
    path.write_text(SAMPLE.replace(old, new), encoding="utf-8")
    with pytest.raises(UserError) as refused:
        config.check(path)
    assert expected in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "just words", "- a\n- list\n", "seed: 7\n"])
def test_a_file_without_sections_is_refused(text, tmp_path):
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"should hold sections|is missing"):
        config.check(tmp_path / "params.yaml")


def test_the_command_reports_a_misspelt_parameter_in_one_line(tmp_path):
    (tmp_path / "params.yaml").write_text(SAMPLE.replace("  lr: ", "  rl: "), encoding="utf-8")
    assert "pretrain.rl is not a known parameter" in one_sentence(check(tmp_path))


def test_the_command_reports_a_missing_file_in_one_line(tmp_path):
    assert "params.yaml is missing: choose a profile" in one_sentence(check(tmp_path))


def test_the_command_reports_a_file_that_is_not_text_in_one_line(tmp_path):
    (tmp_path / "params.yaml").write_bytes(b"seed: \xff\xfe")
    assert "is not valid YAML" in one_sentence(check(tmp_path))


def test_sections_are_filled_by_name():
    found = config.sections(
        config.parsed(SAMPLE, "it"), {"geometry": "dataset.{dataset}.crop", "seed": "seed"}, dataset="voxceleb2"
    )
    assert found["seed"] == 7
    assert found["geometry"].centre_px == 190


def test_a_section_that_is_not_there_is_named():
    params = config.parsed(SAMPLE, "it")
    with pytest.raises(UserError, match="'imagenet' is not among affectnet"):
        config.sections(params, {"geometry": "dataset.{dataset}.crop"}, dataset="imagenet")
    with pytest.raises(UserError, match="'crop' is not among fetch, followed, index, "):
        config.sections(params, {"geometry": "dataset.{dataset}.crop"}, dataset="mafl")


def test_the_digest_ignores_the_order_of_keys_and_notices_a_value():
    params = Params.model_validate_json(json.dumps(config.load(ROOT / "params.yaml").model_dump(mode="json")))
    turned = dict(reversed(list(params.model_dump(mode="json").items())))
    assert config.digest(Params.model_validate_json(json.dumps(turned))) == config.digest(params)
    other = params.model_copy(update={"seed": params.seed + 1})
    assert config.digest(other) != config.digest(params)


BOMB = "".join(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}' if k else '0'] * 10)}]\n" for k in range(12))
MERGED = "a0: &a0 {x: 1}\n" + "".join(f"a{k}: &a{k} {{<<: [{', '.join([f'*a{k - 1}'] * 10)}]}}\n" for k in range(1, 12))


@pytest.mark.parametrize("text", [BOMB, MERGED, "a: &a [*a]\n", "a: &a {b: *a}\n"])
def test_aliases_that_multiply_are_refused_at_once(text, tmp_path):
    (tmp_path / "params.yaml").write_text(SAMPLE + text, encoding="utf-8")
    started = time.process_time()
    with pytest.raises(
        UserError, match=r"should hold at most 100000 values: its aliases \(`\*name`\) make more of them"
    ):
        config.load(tmp_path / "params.yaml")
    assert time.process_time() - started < 5


def test_a_few_aliases_are_fine(tmp_path):
    text = SAMPLE.replace("  val_samples: 128", "  val_samples: &many 128").replace(
        "bootstrap: 1000", "bootstrap: *many"
    )
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    assert config.check(tmp_path / "params.yaml").probe.bootstrap == 128


def test_a_file_far_too_large_is_refused(tmp_path):
    (tmp_path / "params.yaml").write_text(SAMPLE + "#" * 2**20, encoding="utf-8")
    with pytest.raises(UserError, match="should hold at most 1048576 characters"):
        config.load(tmp_path / "params.yaml")


def test_mutated_parameter_files_raise_no_other_error(tmp_path):
    lines, draw, refused = SAMPLE.splitlines(keepends=True), random.Random(6), 0
    for _ in range(40):
        at = draw.randrange(len(lines))
        changed = mutated(lines[at].encode(), draw).decode("utf-8", "replace")
        try:
            config.parsed("".join([*lines[:at], changed, *lines[at + 1 :]]), "params.yaml")
        except UserError:
            refused += 1
    assert refused > 5
