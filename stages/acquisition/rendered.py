"""Synthetic releases in the owners' formats, rendered once for the same settings and code."""

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.runtime import plugins
from stages.storage import journals

log = logging.getLogger(__name__)


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
    if not rendered.exists():
        for outdated in (rendered.parent, work.parent):
            shutil.rmtree(outdated, ignore_errors=True)
        with journals.unfinished(work, rendered) as whole:
            whole.mkdir(parents=True)
            log.info("%s %s: rendering the synthetic release", stage, dataset)
            module.publish(whole, params, seed=seed)
    return rendered
