"""Synthetic releases in the owners' formats, rendered once for the same settings and code.

A stopped rendering continues after the people that were finished. The files of the release are written anew.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.runtime import outputs, plugins
from stages.storage import journals
from stages.synthetic.renderer import parallel

log = logging.getLogger(__name__)

PEOPLE = "people"  # folder of a journal with the finished jobs of the renderer


def release(stage: str, dataset: str, journal: Path, settings: Mapping[str, Any], seed: int) -> Path:
    """Folder with the synthetic release; rendered now unless `stage` rendered it before.

    Raises:
        UserError: the data set has no publisher, or its settings are wrong.
    """
    module = plugins.load("stages.synthetic", dataset)
    params = plugins.settings(module, settings, f"dataset.{dataset}.synthetic")
    ingredients = json.dumps([dataset, dict(settings), seed], sort_keys=True)
    work = journals.folder(journal, stage, dataset, ingredients)
    rendered = journal / stage / f"{dataset}.synthetic" / work.name
    if rendered.exists():
        outputs.forget(journal, stage, dataset)  # where a run was killed just before it did
        return rendered
    with journals.unfinished(work, {journals.WHOLE: rendered}, is_kept=False) as is_due:
        if is_due:
            log.info("%s %s: rendering the synthetic release", stage, dataset)
            for outdated in rendered.parent.glob("*"):
                outputs.remove(outdated)
            whole = work / journals.WHOLE
            outputs.remove(whole)
            whole.mkdir(parents=True)
            with parallel.keeping(work / PEOPLE):
                module.publish(whole, params, seed=seed)
    return rendered
