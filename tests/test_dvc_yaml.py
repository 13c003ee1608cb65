"""dvc.yaml is right about the code that a stage runs, the parameters it reads and the paths it uses."""

import ast
import importlib
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import grimp
import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from fabnet.inference.loading import EXECUTABLE
from pipelines.parameters import edits
from stages.runtime import command, config, plugins

ROOT = Path(__file__).parents[1]

# What every stage runs in. Its effect on results shows elsewhere: in params, in schemas, in the exit status.
EXEMPT = "stages.runtime"

# These cost hours on the real releases: an edit that does not concern one must not run it again.
COSTLY = ("crop", "track", "detect", "index", "pretrain", "refine", "embed", "probe")

# `check` looks at what earlier runs have made: as its deps, these would have to be made before it.
# `fetch` does not read what `check` writes: the dep only lets it wait.
# `perturb` reads the images behind the packed faces, whose digests are in data/faces; DVC does not hash releases.
APART = {"check": {"data/raw", "data/tracks", "data/faces"}, "fetch": {"data/ready.txt"}, "perturb": {"data/raw"}}

IMPORTS = grimp.build_graph("stages", "fabnet")


@dataclass(frozen=True)
class Declared:
    name: str
    cmd: str
    deps: tuple[str, ...]  # paths, `/` between folders
    outs: tuple[str, ...]

    @property
    def words(self) -> list[str]:
        return self.cmd.split()

    @property
    def module(self) -> str:
        return self.words[2]

    @property
    def arguments(self) -> list[str]:
        """What the command says before its first option (data set, method, seed), and the method of `--model`."""
        rest = self.words[3:]
        model = re.findall(r"--model data/models/(\w+)-", self.cmd)
        return rest[: next((index for index, word in enumerate(rest) if word.startswith("--")), len(rest))] + model


def declared(folder: str) -> list[Declared]:
    """The stages of the graph, written into `folder`, that has every data set instead of those of params.yaml."""
    shutil.copy(ROOT / "dvc.yaml", folder)
    values = {"datasets": plugins.names("stages.datasets")}
    params = edits.with_lists(edits.replaced((ROOT / "params.yaml").read_text(encoding="utf-8"), values))
    (Path(folder) / "params.yaml").write_text(params, encoding="utf-8")
    with Repo.init(folder, no_scm=True) as repo:
        return [
            Declared(
                name=stage.name,
                cmd=stage.cmd,
                deps=tuple(dep.def_path for dep in stage.deps if dep.def_path != "params.yaml"),
                outs=tuple(out.def_path for out in stage.outs),
            )
            for stage in repo.index.stages
        ]


with TemporaryDirectory() as there:
    STAGES = {stage.name: stage for stage in declared(there)}
DVC_YAML = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
TEMPLATES = DVC_YAML["stages"]


def path_of(module: str) -> str:
    folder = ROOT / module.replace(".", "/")
    path = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    return path.relative_to(ROOT).as_posix()


def loaded_plugins(module: str, arguments: list[str]) -> set[str]:
    """Modules that `module` finds by name: those that the command names, or the whole package if it names none."""
    source = (ROOT / path_of(module)).read_text(encoding="utf-8")
    found: set[str] = set()
    for package in re.findall(r"plugins\.load\(\s*\"([\w.]+)\"", source):
        members = plugins.names(package)
        chosen = [name for name in members if name in arguments] or members
        found.update(f"{package}.{name}" for name in chosen)
    return found


def used_files(stage: Declared) -> set[str]:
    """Files of all project modules that run with the stage, packages and exempt modules left out."""
    seen: set[str] = set()
    waiting = [stage.module]
    while waiting:
        module = waiting.pop()
        if module not in seen and not covers_module(EXEMPT, module):
            seen.add(module)
            waiting += IMPORTS.find_modules_directly_imported_by(module) | loaded_plugins(module, stage.arguments)
    return {path for path in map(path_of, seen) if not path.endswith("__init__.py")}


def covers_module(package: str, module: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def covers(declared_path: str, path: str) -> bool:
    return path == declared_path or path.startswith(f"{declared_path}/")


def undeclared_code(stage: Declared) -> set[str]:
    return {path for path in used_files(stage) if not any(covers(dep, path) for dep in stage.deps)}


def with_method(stage: Declared, method: str) -> Declared:
    """The instance of `stage` that the graph would have if `method` were listed."""
    listed = next(name for name in plugins.names("fabnet.pretext") if name in stage.arguments)
    deps = tuple(dep.replace(f"fabnet/pretext/{listed}.py", f"fabnet/pretext/{method}.py") for dep in stage.deps)
    cmd = re.sub(rf"(\s|data/models/){listed}(\s|-)", rf"\1{method}\2", stage.cmd)
    return Declared(stage.name, cmd, deps, stage.outs)


def instances(name: str) -> list[Declared]:
    return [stage for stage in STAGES.values() if stage.name.split("@")[0] == name]


def run_by_any(stages: list[Declared]) -> set[str]:
    """Files that some instance of a stage runs, whatever method is listed."""
    first = stages[0]
    methods = plugins.names("fabnet.pretext") if any("fabnet/pretext/" in dep for dep in first.deps) else []
    return {
        path for stage in [*stages, *(with_method(first, method) for method in methods)] for path in used_files(stage)
    }


def code_deps(stages: list[Declared]) -> set[str]:
    return {dep for stage in stages for dep in stage.deps if not dep.startswith("data/")}


def unused_code(stages: list[Declared]) -> set[str]:
    """Deps of a stage's instances that hold no module which one of them runs."""
    used = run_by_any(stages)
    return {
        dep
        for dep in code_deps(stages)
        if Path(dep).suffix not in (".html", ".css", ".md") and not any(covers(dep, path) for path in used)
    }


def unmatched_paths(stage: Declared) -> set[str]:
    """Data paths of the command that no dep or out lies at or below, and the other way round."""
    in_cmd = {word for word in stage.words if word.startswith("data/")}
    in_lists = {path for path in (*stage.deps, *stage.outs) if path.startswith("data/")}
    alone = {path for path in in_cmd if not any(covers(path, other) for other in in_lists)}
    return alone | {path for path in in_lists if not any(covers(other, path) for other in in_cmd)}


def declared_sections(template: dict[str, list]) -> set[str]:
    """Sections of params.yaml that a stage names; `*` is all of it, as one of its params or as a dep."""
    if "params.yaml" in template["deps"] or template["params"] == [{"params.yaml": None}]:
        return {"*"}
    return {re.sub(r"\$\{item\.(\w+)\}", r"{\1}", section) for section in template["params"]}


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_every_module_that_it_runs(name):
    assert undeclared_code(STAGES[name]) == set()


@pytest.mark.parametrize("name", ["pretrain@fabnet-0", "embed@fabnet-0"])
@pytest.mark.parametrize("method", plugins.names("fabnet.pretext"))
def test_a_stage_would_depend_on_every_module_of_a_method_that_is_not_listed(name, method):
    stage = with_method(STAGES[name], method)
    assert f"fabnet/pretext/{method}.py" in used_files(stage)
    assert undeclared_code(stage) == set()


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_stage_depends_on_no_module_that_it_does_not_run(name):
    assert unused_code(instances(name)) == set()


@pytest.mark.parametrize("name", COSTLY)
def test_the_rooms_of_a_costly_stage_hold_only_what_it_runs(name):
    stages = instances(name)
    files = {path for dep in code_deps(stages) for path in (ROOT / dep, *(ROOT / dep).rglob("*.py")) if path.is_file()}
    modules = {path.relative_to(ROOT).as_posix() for path in files if path.name != "__init__.py"}
    assert modules - run_by_any(stages) == set()


@pytest.mark.parametrize("name", STAGES)
def test_data_paths_of_a_command_are_its_deps_and_outs(name):
    assert unmatched_paths(STAGES[name]) == APART.get(name.split("@")[0], set())


def test_a_forgotten_module_a_surplus_one_and_a_stray_path_are_found():
    split = STAGES["split"]
    planted = Declared(
        name="split",
        cmd=f"{split.cmd} --more data/stray",
        deps=tuple({*split.deps, "stages/report.py"} - {"stages/split.py"}),
        outs=split.outs,
    )
    assert undeclared_code(planted) == {"stages/split.py"}
    assert unused_code([planted]) == {"stages/report.py"}
    assert unmatched_paths(planted) == {"data/stray"}


@pytest.mark.parametrize("name", TEMPLATES)
def test_params_of_a_stage_are_the_sections_that_its_module_reads(name):
    module = importlib.import_module(f"stages.{name}")
    sections = command.sections(module.run, getattr(module, "SECTIONS", {})).values()
    read = {section for name in sections for section in config.COMPOSED.get(name, (name,))}
    assert declared_sections(TEMPLATES[name]) == read


def test_the_lock_holds_all_parameters_for_single_stages_alone():
    whole = {name for name, template in TEMPLATES.items() if template.get("params") == [{"params.yaml": None}]}
    assert whole
    assert not any("matrix" in TEMPLATES[name] for name in whole)  # DVC writes the whole lock again after each instance


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_command_of_a_stage_is_the_module_of_that_name(name):
    assert TEMPLATES[name]["cmd"].startswith(f"python -m stages.{name} ")


def test_init_files_hold_no_logic_but_the_one_function_that_loads_a_network():
    for package in ("fabnet", "stages", "pipelines"):
        for path in (ROOT / package).rglob("__init__.py"):
            body = ast.parse(path.read_text(encoding="utf-8")).body
            functions = [node.name for node in body if isinstance(node, ast.FunctionDef)]
            assert functions == (["load"] if path == ROOT / "fabnet" / "__init__.py" else []), path
            assert functions or all(isinstance(node, ast.Expr) for node in body), path


def test_no_stage_loads_a_network_by_the_front_door():
    assert not any(re.search(r"fabnet\.load\(", path.read_text()) for path in (ROOT / "stages").rglob("*.py"))


def test_a_declared_model_is_that_of_a_method_and_lies_where_it_is_packed():
    models = {name for name, artifact in DVC_YAML["artifacts"].items() if artifact["type"] == "model"}
    assert models
    assert models <= set(plugins.names("fabnet.pretext")) - {EXECUTABLE}
    assert all(DVC_YAML["artifacts"][name]["path"] == f"data/packages/{name}-${{seeds[0]}}" for name in models)
