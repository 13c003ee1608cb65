"""The shape of params.yaml: typed, frozen, strict sections.

A field's comment gives its unit. Validators compare fields; none of them reads a file. Numbers are finite, and bounded
far beyond what makes sense, so that a slip of the keyboard is a sentence.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from stages.runtime import plugins
from stages.runtime.limits import Limits

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
Fraction = Annotated[float, Field(ge=1e-6, lt=1)]
Pixels = Annotated[int, Field(gt=0, le=4096)]
Padding = Annotated[int, Field(ge=0, le=4096)]
Count = Annotated[int, Field(gt=0, le=1_000_000)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
FramesPerSecond = Annotated[float, Field(ge=0.001, le=25)]  # of a clip at 25 fps
Metric = Literal[
    "auc", "accuracy", "f1", "label_accuracy", "neighbour_recall", "angle_error_deg", "interocular_percent"
]
NAMED = {"auc", "accuracy", "f1", "label_accuracy", "neighbour_recall", "angle_error_deg"}  # one value for each class
REWRITE = "run `make profile`, which rewrites `lists`"
JpegQuality = Annotated[int, Field(ge=1, le=100)]


def _unlike(sides: list[int]) -> list[int]:
    if len(set(sides)) != len(sides):
        raise ValueError(f"sides should differ from each other, found {sides}")
    return sides


Sides = Annotated[list[Pixels], AfterValidator(_unlike)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class LimitsParams(Section):
    """What is allowed to what comes from strangers, by unit; what each is for: `stages.runtime.limits`."""

    file_mib: Annotated[float, Field(gt=0, le=65_536)] = Limits.file_mib
    image_mpx: Annotated[float, Field(gt=0, le=268)] = Limits.image_mpx
    video_s: Annotated[float, Field(gt=0, le=86_400)] = Limits.video_s
    list_mib: Annotated[float, Field(gt=0, le=65_536)] = Limits.list_mib
    expansion: Annotated[float, Field(ge=1, le=100_000)] = Limits.expansion
    process_s: Annotated[float, Field(gt=0, le=3_600)] = Limits.process_s
    process_mib: Annotated[float, Field(ge=64, le=1_048_576)] = Limits.process_mib
    download_gib: Annotated[float, Field(gt=0, le=16_384)] = Limits.download_gib
    linked_mib: Annotated[float, Field(gt=0, le=4_096)] = Limits.linked_mib
    linked_s: Annotated[float, Field(gt=0, le=86_400)] = Limits.linked_s
    answer_s: Annotated[float, Field(gt=0, le=3_600)] = Limits.answer_s
    stall_s: Annotated[float, Field(gt=0, le=3_600)] = Limits.stall_s

    @property
    def values(self) -> Limits:
        """The same for code that knows nothing of params.yaml."""
        return Limits(**self.model_dump())


class FetchParams(Section):
    source: Literal["synthetic", "folder", "http"]
    folder: str  # release folder: read when source is `folder`, filled when it is `http`
    parts: Annotated[int, Field(ge=0, le=1000)] = 0  # http: only the first parts of an archive that is cut up; 0: all
    identities: list[str] = []  # http: only these, each as an archive of its own; empty: all


class CropParams(Section):
    fps: FramesPerSecond  # frames kept per second of a 25 fps clip
    jpeg_quality: JpegQuality
    tracks_per_unit: Count  # tracks that one worker packs into one shard; not of videos, which have a shard each


class GeometryParams(Section):
    scale_px: Pixels  # the frame is first scaled to this side
    pad_ltrb_px: tuple[Padding, Padding, Padding, Padding]  # then padded with black: left, top, right, bottom
    centre_px: Pixels  # then cut to this side around the centre

    @model_validator(mode="after")
    def fits(self) -> Self:
        left, top, right, bottom = self.pad_ltrb_px
        room = self.scale_px + min(left + right, top + bottom)
        if self.centre_px > room:
            raise ValueError(f"centre_px should fit into the padded frame of {room} px, found {self.centre_px}")
        return self


class TrackParams(Section):
    fps: FramesPerSecond  # frames searched for faces per second; those of crop.fps are kept
    search_px: Annotated[int, Field(ge=64, le=4096)]  # a frame with a longer side is shrunk to it for the search
    least_likeness: Annotated[float, Field(ge=-1, lt=1)]  # a shot ends where two searched frames correlate less
    least_overlap: Fraction  # of a face's boxes in two searched frames, intersection over union
    gap_s: Annotated[float, Field(ge=0, le=10)]  # a face may be missed for so long; then its track ends
    smooth_s: Annotated[float, Field(ge=0, le=10)]  # window of median and mean over the boxes of a track
    least_s: Annotated[float, Field(ge=0, le=3600)]  # a shorter track is a reject
    least_px: Annotated[int, Field(ge=0, le=4096)]  # a smaller face, in px of the video, is a reject
    face_frac: Annotated[float, Field(ge=0.01, le=1)]  # side of the face's box in the frame that is cut out
    face_y_frac: Fraction  # height of the box's centre in that frame


class DetectParams(Section):
    detector: Name  # module in stages/detectors
    weights: str  # path of the detector's weight file, empty for a detector without one
    weights_sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]  # of that file
    upsample: Annotated[list[Annotated[int, Field(ge=0, le=2)]], Field(min_length=1)]  # doublings before each pass
    min_score: Annotated[float, Field(ge=-1000, le=1000)]  # below which a box is ignored, in the detector's own scale
    margin_frac: Annotated[float, Field(ge=0, le=1)]  # growth of the box on each side, as a fraction of the side
    crop_px: Pixels  # side of the stored crop
    further_px: Sides = []  # the face is stored at these sides too, for networks with such an input
    jpeg_quality: JpegQuality
    images_per_unit: Count  # images that one worker packs into one shard

    @model_validator(mode="after")
    def passes_rise(self) -> Self:
        if self.upsample != sorted(set(self.upsample)):
            raise ValueError(f"upsample should rise from pass to pass, found {self.upsample}")
        return self


class BoxParams(Section):
    margin_frac: Annotated[float, Field(ge=0, le=1)]  # growth of the box on each side, as a fraction of the side


class IndexParams(Section):
    crop_px: Pixels
    further_px: Sides = []  # the face is stored at these sides too, for networks with such an input
    jpeg_quality: JpegQuality
    images_per_unit: Count  # as for `detect`


class FaceSplitParams(Section):
    val: Fraction  # share of what is not test, in expectation
    test: Annotated[float, Field(ge=0, lt=1)]  # share of a data set whose owner names no test split, else 0


class SplitParams(Section):
    track_val: Fraction  # share of identities, in expectation
    track_test: Fraction
    faces: dict[Name, FaceSplitParams]  # by still-image data set

    @model_validator(mode="after")
    def leaves_a_training_split(self) -> Self:
        if self.track_val + self.track_test >= 1:
            raise ValueError("track_val + track_test should be below 1, so that some identities train")
        return self


class PretrainParams(Section):
    size_px: Literal[32, 64, 128, 256]  # side of the network's input
    batch: Count  # samples per step; a sample is a target frame and its source frames
    optimiser: Literal["adam", "sgd"]
    lr: Annotated[float, Field(gt=0, le=1000)]
    schedule: Literal["plateau", "original", "cosine"]  # how the learning rate falls: fabnet/training/rates.py
    lr_floor: Annotated[float, Field(ge=0, le=1000)]  # it falls no lower
    lr_hold: Annotated[float, Field(ge=0, lt=1)]  # cosine: share of the epochs before it begins to fall
    momentum: Annotated[float, Field(ge=0, lt=1)]  # used by sgd
    weight_decay: Annotated[float, Field(ge=0, le=1000)]
    epochs: Count
    draws_per_identity: Count  # samples that an epoch draws from each identity ...
    oversample: dict[Name, Count] = {}  # ... so many times as often from those of a track data set; 1 if not named
    plateau_factor: Fraction  # the learning rate is multiplied by this ...
    plateau_patience: Count  # ... after more than this many epochs without a better validation loss
    checkpoint_epochs: Count  # the encoder is kept after every so many epochs, for the learning curves
    val_samples: Count  # drawn once, the same in every epoch
    jitter_px: dict[Name, tuple[Count, Count]]  # per track data set: range of the random square crop's side
    device: Literal["auto", "cpu", "cuda", "mps"]
    precision: Literal["float32", "float16", "bfloat16"]  # of convolutions and products; float16 needs CUDA
    fused: bool  # the optimiser moves all weights in one call
    compile: Literal["none", "default", "reduce-overhead", "max-autotune"]  # modes of torch.compile
    jpeg_decoder: Literal["opencv", "torchcodec"]  # torchcodec: on the GPU, cuda only

    @model_validator(mode="after")
    def rate_can_fall(self) -> Self:
        if self.lr_floor > self.lr:
            raise ValueError(f"lr_floor should be at most lr, {self.lr:g}, found {self.lr_floor:g}")
        return self


class RefineParams(Section):
    start: Name  # method whose weights the refined ones start from
    epochs: Count


class EmbedParams(Section):
    batch: Count
    device: Literal["auto", "cpu", "cuda", "mps"]
    frames_per_track: Count  # of the test split, evenly spread; what the identity leakage is measured on


class FewShotParams(Section):
    shots: Annotated[list[Count], Field(min_length=1)]  # training images of each class, or in all where there are none
    draws: Annotated[int, Field(ge=2, le=10_000)]  # of these images; with one there is no interval


class ProbeParams(Section):
    l2: Annotated[list[Annotated[float, Field(ge=1e-12, le=1e12)]], Field(min_length=1)]  # tried, chosen on validation
    max_iter: Count  # Newton steps for each
    neighbours: Count  # nearest training images that retrieval looks at
    device: Literal["auto", "cpu", "cuda"]  # float64, which Apple's MPS does not have: there, auto is the CPU
    bootstrap: Count  # resamples of the test images behind every interval
    confidence: Fraction
    few_shot: FewShotParams


class MeasureParams(Section):
    crops: Count  # sampled of each data set


class PerturbParams(Section):
    images: Count  # at most so many test images of each data set, drawn with `seed`
    scales: list[Annotated[float, Field(ge=0.01, le=4)]]  # of the sides of the crop's box, around its centre
    shifts: list[Annotated[float, Field(gt=0, le=1)]]  # of the box, as shares of its sides, in four directions each

    @model_validator(mode="after")
    def values_rise(self) -> Self:
        for name, values in (("scales", self.scales), ("shifts", self.shifts)):
            if values != sorted(set(values)):
                raise ValueError(f"{name} should rise, found {values}")
        if 1.0 not in self.scales:
            raise ValueError(f"scales should hold 1.0, with which the others are compared, found {self.scales}")
        return self


class IllustrateParams(Section):
    seed: Seed  # of what is shown
    rows: Annotated[int, Field(gt=0, le=12)]  # samples in each figure
    neighbours: Annotated[int, Field(gt=0, le=12)]  # images beside each query


class TaskParams(Section):
    probe: Name  # module in fabnet/probes
    label: Name  # column of the data set's index
    metrics: Annotated[list[Metric], Field(min_length=1)]  # the first one is the headline
    classes: list[str] = []  # names of the codes 0, 1, ... in the label column, or of the values in each label

    @model_validator(mode="after")
    def classes_are_named(self) -> Self:
        if NAMED & set(self.metrics) and len(self.classes) < 2:
            raise ValueError(f"classes should name at least two classes for {', '.join(self.metrics)}")
        if len(set(self.classes)) != len(self.classes) or "mean" in self.classes:
            raise ValueError("classes should differ from each other and from `mean`")
        return self


class DatasetParams(Section):
    fetch: FetchParams
    synthetic: dict[str, Any]  # settings of stages/synthetic/<dataset>.py, checked by that module
    crop: GeometryParams | None = None  # track data sets only
    track: TrackParams | None = None  # data sets of videos only
    index: BoxParams | None = None  # data sets with annotated boxes only
    followed: bool = False  # still images that every checkpoint embeds too, for the learning curves
    tasks: dict[Name, TaskParams] = {}


class SyntheticParams(Section):
    seed: Seed


class Lists(Section):
    """What DVC runs over: written for the user, derived in `stages.runtime.lists`."""

    track_sets: list[Name]  # of `datasets`: face tracks to pre-train on, made by one of two stages:
    cropped_sets: list[Name]  # of `track_sets`: released as face tracks, which `crop` cuts
    video_sets: list[Name]  # of `track_sets`: videos in which `track` finds and follows the faces
    detected_sets: list[Name]  # of `datasets`: still images whose face is found by a detector
    boxed_sets: list[Name]  # of `datasets`: still images whose face box is annotated
    followed: list[Name]  # of the still images: those of the learning curves
    pretrained: list[Name]  # of `methods`: from initial or supplied weights
    refined: list[Name]  # of `methods`: from the weights of `refine.start`


class Settings(Section):
    """params.yaml as a person writes it: all but the lists that follow from it."""

    profile: Name
    seed: Seed  # of splits and probes
    seeds: Annotated[list[Seed], Field(min_length=1)]  # one pre-training each
    methods: Annotated[list[Name], Field(min_length=1)]  # what the report compares, in its order
    datasets: Annotated[list[Name], Field(min_length=1)]
    synthetic: SyntheticParams
    crop: CropParams
    detect: DetectParams
    index: IndexParams
    split: SplitParams
    measure: MeasureParams
    pretrain: PretrainParams
    refine: RefineParams
    embed: EmbedParams
    probe: ProbeParams
    perturb: PerturbParams
    illustrate: IllustrateParams
    limits: LimitsParams = LimitsParams()
    method: dict[Name, dict[str, Any]]
    dataset: dict[Name, DatasetParams]

    @model_validator(mode="after")
    def names_are_known(self) -> Self:
        for what, listed, mapped, package in (
            ("dataset", self.datasets, self.dataset, "stages.datasets"),
            ("method", self.methods, self.method, "fabnet.pretext"),
        ):
            known = plugins.names(package)
            if unknown := [name for name in listed if name not in known]:
                raise ValueError(f"no {what} {unknown[0]!r}: expected one of {', '.join(known)}")
            if len(set(listed)) != len(listed):
                raise ValueError(f"{what}s should differ from each other, found {flow(listed)}")
            _has_all(what, listed, mapped)
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds should differ from each other, found {self.seeds}")
        return self


class Params(Settings):
    """The whole params.yaml."""

    lists: Lists

    @property
    def track_sets(self) -> list[str]:
        """Data sets of face tracks."""
        return self.lists.track_sets

    @property
    def detected_sets(self) -> list[str]:
        """Data sets of still images whose face is found by a detector."""
        return self.lists.detected_sets

    @property
    def boxed_sets(self) -> list[str]:
        """Data sets of still images whose face box is annotated."""
        return self.lists.boxed_sets

    @property
    def face_sets(self) -> list[str]:
        """Still-image data sets, sorted: those that are probed."""
        return sorted(self.detected_sets + self.boxed_sets)

    @model_validator(mode="after")
    def lists_cover_what_runs(self) -> Self:
        """More methods than needed are harmless: none of the stages after training looks at them."""
        if sorted(self.track_sets + self.face_sets) != sorted(self.datasets):
            raise ValueError(f"lists does not fit `datasets` {flow(self.datasets)}: {REWRITE}")
        if not set(self.methods) <= {*self.lists.pretrained, *self.lists.refined}:
            raise ValueError(f"lists does not fit `methods` {flow(self.methods)}: {REWRITE}")
        if not self.track_sets or not self.face_sets:
            raise ValueError(
                "datasets should name at least one data set of face tracks and one of still images, found "
                f"{flow(self.datasets)}"
            )
        _has_all("pretrain.jitter_px", self.track_sets, self.pretrain.jitter_px)
        if unknown := sorted(self.pretrain.oversample.keys() - self.pretrain.jitter_px.keys()):
            raise ValueError(
                f"pretrain.oversample names {unknown[0]}: expected data sets of face tracks, as pretrain.jitter_px"
            )
        _has_all("split.faces", self.face_sets, self.split.faces)
        return self

    @model_validator(mode="after")
    def followed_are_faces(self) -> Self:
        if wrong := [name for name in self.track_sets if self.dataset[name].followed]:
            raise ValueError(f"dataset.{wrong[0]}.followed should be false: learning curves are of still images")
        return self

    @model_validator(mode="after")
    def start_is_trained(self) -> Self:
        refined = [name for name in self.methods if name in self.lists.refined]
        if refined and (self.refine.start not in self.methods or self.refine.start in refined):
            trained = [name for name in self.methods if name not in refined]
            raise ValueError(
                f"refine.start should be one of `methods` that is trained from initial weights {flow(trained)}, since "
                f"{refined[0]} starts from it; found {self.refine.start}"
            )
        return self

    @model_validator(mode="after")
    def boxes_have_margins(self) -> Self:
        missing = [name for name in self.boxed_sets if self.dataset[name].index is None]
        if missing:
            raise ValueError(f"dataset.{missing[0]}.index is missing: its face boxes are annotated")
        return self

    @model_validator(mode="after")
    def crops_fit(self) -> Self:
        for name in self.track_sets:
            crop, (low, high) = self.dataset[name].crop, self.pretrain.jitter_px[name]
            if crop is None:
                raise ValueError(f"dataset.{name}.crop is missing: it holds face tracks")
            if name in self.lists.video_sets and self.dataset[name].track is None:
                raise ValueError(f"dataset.{name}.track is missing: it holds videos, in which faces are followed")
            if not low <= high <= crop.centre_px:
                raise ValueError(
                    f"pretrain.jitter_px.{name} should be a rising range up to the frame side "
                    f"{crop.centre_px}, found [{low}, {high}]"
                )
        return self


def flow(names: Iterable[str]) -> str:
    """A list of names as it stands in one line of params.yaml."""
    return f"[{', '.join(names)}]"


def _has_all(what: str, listed: list[str], mapped: Mapping[str, object]) -> None:
    for name in listed:
        if name not in mapped:
            raise ValueError(f"{what}.{name} is missing: every entry that is listed needs its settings")
