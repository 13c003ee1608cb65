"""The lists that DVC's graph runs over: what follows from `methods`, `datasets` and the modules that they name.

The only place where they are derived. They stand in params.yaml, because DVC's matrix takes nothing else; front doors
write them (`pipelines.parameters.edits`), and the check of params.yaml compares them with what is derived here.
"""

from stages.runtime import plugins
from stages.runtime.errors import UserError
from stages.runtime.params import REWRITE, Lists, Params, Settings, flow

KINDS = ("track", "video", "detected", "boxed")  # what a module in stages/datasets says of itself


def derived(settings: Settings) -> Lists:
    """The lists of these settings, each sorted, so that another order of `methods` or `datasets` runs nothing again.

    Raises:
        UserError: a data set's module does not say its kind.
    """
    kinds = {name: _kind(name) for name in sorted(settings.datasets)}
    refined = {name: _is_refined(name) for name in sorted(settings.methods)}
    of_kind = {kind: [name for name, found in kinds.items() if found == kind] for kind in KINDS}
    return Lists(
        track_sets=sorted(of_kind["track"] + of_kind["video"]),
        cropped_sets=of_kind["track"],
        video_sets=of_kind["video"],
        detected_sets=of_kind["detected"],
        boxed_sets=of_kind["boxed"],
        followed=[name for name in kinds if settings.dataset[name].followed],
        pretrained=[name for name, is_refined in refined.items() if not is_refined],
        refined=[name for name, is_refined in refined.items() if is_refined],
    )


def check(params: Params) -> None:
    """The lists are those that follow, but may hold more methods.

    Raises:
        UserError: they are not.
    """
    found, expected = params.lists.model_dump(), derived(params).model_dump()
    for name in expected:
        is_of_methods = name in ("pretrained", "refined")
        if not (set(expected[name]) <= set(found[name]) if is_of_methods else expected[name] == found[name]):
            raise UserError(
                f"params.yaml: lists.{name} should be {flow(expected[name])}, as `methods`, `datasets` and their "
                f"modules have it, found {flow(found[name])}: {REWRITE}"
            )


def _kind(name: str) -> str:
    module = plugins.load("stages.datasets", name)
    kind = getattr(module, "KIND", None)
    if kind not in KINDS:
        raise UserError(f"stages/datasets/{name}.py: KIND should be one of {', '.join(KINDS)}, found {kind!r}")
    return kind


def _is_refined(name: str) -> bool:
    return hasattr(plugins.load("fabnet.pretext", name), "start_from")
