"""params.yaml as checked values: the whole file, its sections, and a digest that names it.

Lists say *what* runs, maps say *how*. A wrong name, type or combination stops with one sentence before any work
starts.
"""

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.runtime import lists, plugins
from stages.runtime.errors import UserError
from stages.runtime.params import REWRITE, DatasetParams, Params, Settings

FORMER = ("track_sets", "detected_sets", "boxed_sets", "pretrained", "refined")  # keys up to version 0.2.0
MAX_BYTES = 2**20  # of a parameter file; the largest profile takes 20 kB
MAX_VALUES = 100_000  # in it, those behind aliases counted each time; the largest profile has 500
UNCOUNTED = {"lists", "limits"}  # sections that change no value of a result: lists follow from the rest
CHOOSE = "choose a profile with `make profile PROFILE=sample`"
Model = TypeVar("Model", bound=Settings)

# Properties of Params that a stage may take as a section, and the sections that they are made of.
COMPOSED = {"face_sets": ("lists.detected_sets", "lists.boxed_sets")}


def load(path: Path) -> Params:
    """The whole parameter file, checked.

    Raises:
        UserError: no file, no YAML, or the first parameter that is unknown, missing or wrong.
    """
    try:
        return parsed(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: {CHOOSE}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not valid YAML: {error}") from None


def parsed(text: str, name: str) -> Params:
    """What the text of a parameter file holds, checked; `name` stands for the file in sentences.

    Raises:
        UserError: as `load`.
    """
    raw = content(text, name)
    if "lists" not in raw:
        settings(text, name)  # says first what a person has to correct
        raise UserError(f"{name} has no `lists`: {REWRITE}")
    return _validated(Params, raw, name)


def settings(text: str, name: str) -> Settings:
    """What a person wrote into a parameter file, checked: all but its lists, which may be wrong or missing.

    Raises:
        UserError: as `load`.
    """
    return _validated(Settings, {key: value for key, value in content(text, name).items() if key != "lists"}, name)


def content(text: str, name: str) -> dict[str, Any]:
    """The values in the text of a parameter file as they are.

    Raises:
        UserError: no YAML, not of sections, or a file of version 0.2.0.
    """
    try:
        if len(text) > MAX_BYTES:
            raise UserError(f"{name} should hold at most {MAX_BYTES} characters, found {len(text)}: it holds settings")
        if "*" in text:
            _check_aliases(YAML(typ="safe", pure=True).compose(text), name)
        raw = YAML(typ="safe").load(text)
    except (YAMLError, ValueError) as error:  # the latter: a number of thousands of digits, a date that does not exist
        raise UserError(f"{name} is not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise UserError(f"{name} is not valid YAML: its lists or maps are nested too deeply") from None
    if not isinstance(raw, dict):
        raise UserError(f"{name} should hold sections such as `crop:` and `pretrain:`, found {type(raw).__name__}")
    if former := [key for key in FORMER if key in raw]:
        raise UserError(
            f"{name} is of version 0.2.0, where {former[0]} was a key of its own: `methods` and `datasets` say all; "
            f"write it anew with `make profile PROFILE={raw.get('profile', 'sample')} FORCE=1`, which keeps a copy"
        )
    return raw


def _check_aliases(node: Any, name: str) -> None:
    """Nothing, if all values together are few: aliases of aliases make billions of values out of ten lines.

    Raises:
        UserError: there are too many, or a value holds itself.
    """
    counts: dict[int, int] = {}  # node -> values in it; 0 while they are counted

    def count(node: Any) -> int:
        if id(node) not in counts:
            counts[id(node)] = 0
            parts = node.value if isinstance(node.value, list) else []
            pairs = [part if isinstance(part, tuple) else (part,) for part in parts]
            counts[id(node)] = 1 + sum(count(part) for pair in pairs for part in pair)
        return counts[id(node)] or MAX_VALUES + 1

    if node is not None and count(node) > MAX_VALUES:
        raise UserError(f"{name} should hold at most {MAX_VALUES} values: its aliases (`*name`) make more of them")


def _validated(model: type[Model], raw: dict[str, Any], name: str) -> Model:
    try:  # JSON mode: lists may fill tuples, types stay strict; YAML's dates become text, which nothing takes
        return model.model_validate_json(json.dumps(raw, default=str))
    except TypeError:
        raise UserError(f"{name}: every name of a setting should be text, as in `seed: 7`") from None
    except ValidationError as error:
        raise UserError(f"{name}: {plugins.explain(error)}") from None


def check(path: Path) -> Params:
    """`load`, and its lists and the settings of every listed method and of every synthetic release as well."""
    return check_plugins(load(path))


def check_plugins(params: Params) -> Params:
    """`params`, whose modules all exist and accept their settings, and whose lists follow from them.

    Raises:
        UserError: no such module, a setting that it refuses, or a list that is not the one that follows.
    """
    lists.check(params)
    plugins.load("stages.detectors", params.detect.detector)
    for name in params.methods:
        _check_method(name, params)
    for name in params.datasets:
        plugins.load("stages.datasets", name)
        _check_synthetic(name, params.dataset[name])
        for task in params.dataset[name].tasks.values():
            plugins.load("fabnet.probes", task.probe)
    return params


def _check_synthetic(name: str, dataset: DatasetParams) -> None:
    """A data set without a synthetic release is fine, as long as it comes from elsewhere."""
    if dataset.fetch.source == "synthetic" or name in plugins.names("stages.synthetic"):
        plugins.settings(plugins.load("stages.synthetic", name), dataset.synthetic, f"dataset.{name}.synthetic")


def _check_method(name: str, params: Params) -> None:
    module = plugins.load("fabnet.pretext", name)
    settings = plugins.settings(module, params.method[name], f"method.{name}")
    if getattr(settings, "weights", None) == "":
        raise UserError(
            f"params.yaml: method.{name}.weights is empty: name the weight file, or take {name} off `methods`"
        )


def sections(params: Params, wanted: Mapping[str, str], **names: Any) -> dict[str, Any]:
    """Values for the keywords in `wanted`, each the section of that dotted name.

    `{dataset}` and the like inside a dotted name are filled from `names`; `*` stands for the whole file.

    Raises:
        UserError: a section does not exist.
    """
    return {keyword: _section(params, dotted.format(**names)) for keyword, dotted in wanted.items()}


def _section(params: Params, dotted: str) -> Any:
    value: Any = params
    if dotted == "*":
        return params
    if dotted in COMPOSED:
        return getattr(params, dotted)
    for key in dotted.split("."):
        known = {name: section for name, section in dict(value).items() if section is not None}
        if key not in known:
            raise UserError(f"params.yaml has no section {dotted!r}: {key!r} is not among {', '.join(sorted(known))}")
        value = known[key]
    return value


def digest(params: Params) -> str:
    """12 hex digits that name this configuration; neither the order of keys nor UNCOUNTED sections matter."""
    canonical = json.dumps(params.model_dump(mode="json", exclude=UNCOUNTED), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


if __name__ == "__main__":
    sys.exit("stages.runtime.config has no command line: see `python -m pipelines.profile --help`")
