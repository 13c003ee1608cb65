"""Results of a run in Prefect's UI: metrics, framing of faces, items left out, figures, the report."""

import base64
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.variables import Variable

from fabnet import images
from pipelines.dvc import graph
from pipelines.flows import groups, summary
from pipelines.flows.pages import URL

WIDTH_PX = 1100  # of a figure in the UI: about 100 kB in the server's database, once for every run
JPEG_QUALITY = 85


def publish(root: Path, stages: Sequence[graph.Stage]) -> None:
    """Publish the results of `stages` as artifacts of the current flow run."""
    has_report = any(groups.group_of(stage.name) == "report" for stage in stages)
    metrics = graph.metrics(root) if has_report else {}
    outs = [out for stage in stages for out in stage.outs]
    tables = {
        "metrics": (summary.metric_rows(metrics), "Headline metrics by task and method, as DVC tracks them"),
        "framing": (summary.framing_rows(outs), "Faces in the crops: side of the face over side of the crop, median"),
        "rejects": (summary.reject_rows(outs), "Items that stages left out"),
    }
    for key, (rows, description) in tables.items():
        if rows:
            create_table_artifact(rows, key=key, description=description)
    results = [out for stage in stages if groups.group_of(stage.name) in ("evaluate", "report") for out in stage.outs]
    if figures := sorted(png_files(results)):
        create_markdown_artifact(
            "\n\n".join(map(markdown, figures)), key="figures", description="Figures of the report"
        )
    url = Variable.get(URL)
    for page in (out for out in results if out.suffix == ".html" and out.exists() and url):
        create_link_artifact(f"{url}/{page.name}", link_text=page.name, key=page.stem, description="The whole report")


def show_change(difference: str, kept: str) -> None:
    """Publish what a run changed in params.yaml before its stages started, and where the edited file is kept, if so."""
    text = f"Written to `params.yaml` before any stage ran:\n\n```diff\n{difference}\n```"
    if kept:
        text += f"\n\nIt had been edited; as it was, it is kept in `{kept}`."
    create_markdown_artifact(text, key="parameters", description="Change of params.yaml")


def png_files(outs: Iterable[Path]) -> Iterator[Path]:
    """The PNG files among `outs`, in folders as well."""
    for out in outs:
        yield from out.rglob("*.png") if out.is_dir() else ([out] if out.suffix == ".png" and out.exists() else [])


def markdown(figure: Path) -> str:
    """Markdown of one figure with its pixels inside, so that a run keeps its own figures and needs no network."""
    image = cv2.imread(str(figure))
    if image is None:
        return f"## {figure.stem}\n\n{figure} is not an image"
    height, width = image.shape[:2]
    if width > WIDTH_PX:
        image = images.resize(image, WIDTH_PX, round(height * WIDTH_PX / width))
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return f"## {figure.stem}\n\n![{figure.stem}](data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()})"
