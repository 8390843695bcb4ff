"""Training recipes and data set descriptions: TOML, read strictly.

Everything that shapes a model stands in these two files; their hashes go into the package. A field
nobody knows is refused, because a misspelt one would otherwise be a silent default.
"""

from __future__ import annotations

import math
import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from inspection.errors import Problem, RecipeError
from inspection.imaging import CropSpec
from inspection.messages import MAX_CLASSES, Id, Severity
from inspection.training.promise import Costs, Promise

ANOMALY = "anomaly"
"""The class of whatever is unlike the good points: of no kind in particular, and no picture need
show it. What a data set calls its classes, beyond those described, is this one."""
GOOD_ALONE = frozenset({"patchcore", "padim"})
"""Architectures that learn from good points alone (`architectures.Normality`)."""

Share = Annotated[float, Meta(ge=0, lt=1)]
Positive = Annotated[float, Meta(gt=0)]


class ClassDescription(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A class; the one without severity is the OK class. ``code`` is what the data set calls it
    (a folder, a label, a number); the name, where it says nothing."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    severity: Severity | None = None
    code: str | None = None


class SplitRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which shares of the parts are kept from training. Always by part; within each group (a
    layout, a lot), so that every group is seen on both sides unless parts are named. ``by`` "time"
    makes the newest parts the test, where the data say when their pictures were taken."""

    validation: Annotated[float, Meta(gt=0, lt=1)] = 0.15
    test: Share = 0.2
    seed: int = 0
    by: Literal["part", "time"] = "part"


class Tiles(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Size of the points that pictures with boxes are divided into, in pixels."""

    width_px: Annotated[int, Meta(ge=8)]
    height_px: Annotated[int, Meta(ge=8)]


class RenderedSplit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parts of a rendered split, and which share of their welds is defective, in equal numbers of
    each class."""

    parts: Annotated[int, Meta(ge=0, le=90_000)]
    defects: Share


class Rendered(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `inspection.rendering` draws for a data set of layout "rendered": ``welds`` welds of
    each part, from a seed, in a domain. ``scenes`` is the SHA-256 of everything drawn but the
    pixels, which rounding makes differ from processor to processor."""

    seed: Annotated[int, Meta(ge=0)]
    domain: Literal["standard", "shifted"]
    welds: Annotated[int, Meta(ge=1, le=1000)]
    train: RenderedSplit = RenderedSplit(parts=0, defects=0.5)
    validation: RenderedSplit = RenderedSplit(parts=0, defects=0.5)
    test: RenderedSplit = RenderedSplit(parts=0, defects=0.5)
    scenes: str = ""


class DatasetDescription(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``dataset.toml``. ``part`` and ``group`` are regular expressions applied to the picture's
    path below the data directory, without its suffix; their first group is the answer."""

    name: Id
    layout: str
    source: str
    licence: str
    classes: Annotated[tuple[ClassDescription, ...], Meta(min_length=2, max_length=MAX_CLASSES)]
    split: SplitRule = SplitRule()
    part: str | None = None
    group: str | None = None
    tiles: Tiles | None = None
    rendered: Rendered | None = None
    index: str = "index.csv"
    notes: str = ""

    @property
    def ok_class(self) -> str:
        return next(entry.name for entry in self.classes if entry.severity is None)

    @property
    def class_names(self) -> tuple[str, ...]:
        """All classes, the OK class first: the order of a model's scores."""
        defects = (entry.name for entry in self.classes if entry.severity is not None)
        return (self.ok_class, *defects)

    def name_of(self, code: str) -> str | None:
        """The class a data set calls ``code``; None where there is none."""
        known = next((c.name for c in self.classes if code == (c.code or c.name)), None)
        return ANOMALY if known is None and ANOMALY in self.class_names else known


class Fit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Optimisation: AdamW, a linear warm-up and then a cosine, weights averaged at the end.

    Its length is said in ``steps``, or in ``epochs``: as many steps as show as many points as the
    training parts have, so many times.
    ``averaging`` is the decay of the exponential moving average that becomes the model.
    ``body_rate`` is the factor on the learning rate of weights that were trained before.
    ``checks`` times on the way the average is tried on the validation parts; after ``patience``
    checks in a row without a smaller loss training stops, and the average of the best check is
    kept (0: neither). ``smoothing`` is the label smoothing (Szegedy et al., 2016).
    ``precision`` "auto" is bfloat16 where the processor multiplies it natively, else float32.
    Results depend on the number of ``threads``, through the order of sums.
    """

    steps: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    epochs: Annotated[float, Meta(gt=0, le=10_000)] | None = None
    batch: Annotated[int, Meta(ge=2, le=1024)] = 32
    learning_rate: Positive = 1e-3
    body_rate: Annotated[float, Meta(ge=0, le=1)] = 1.0
    weight_decay: Annotated[float, Meta(ge=0)] = 0.02
    averaging: Annotated[float, Meta(ge=0, lt=1)] = 0.985
    smoothing: Share = 0.0
    checks: Annotated[int, Meta(ge=1, le=1000)] = 10
    patience: Annotated[int, Meta(ge=0, le=1000)] = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    threads: Annotated[int, Meta(ge=1, le=256)] = 1

    def steps_of(self, points: int) -> int:
        """How many steps that is with so many training points."""
        if self.steps is not None:
            return self.steps
        return max(1, math.ceil(float(self.epochs or 0) * points / self.batch))


class Sampling(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a batch is made of.

    ``points`` takes the points as the data set lists them, with augmentation. ``windows`` takes
    regions at random positions of pictures with boxes: ``real`` and ``synthetic`` are the shares
    of a batch placed over a real and a synthetic defect; the rest lies anywhere. Of these, the
    share ``hard`` repeats places that were called defective before; of points, it grows to that
    share which are the hardest of a few drawn.
    ``cells`` weighs the loss on the architecture's single cells, ``measures`` that on the measures
    of a point and ``zones`` that on whose metal lies where, where architecture and data have any.
    ``augment`` says what may change in a point: "photograph" also its place, size and angle,
    "light" nothing that is measured, only how light it is; turns and mirror images always.
    """

    kind: Literal["points", "windows"] = "points"
    defects: Share = 0.5
    real: Share = 0.2
    synthetic: Share = 0.0
    hard: Share = 0.5
    cells: Annotated[float, Meta(ge=0)] = 3.0
    measures: Annotated[float, Meta(ge=0)] = 0.0
    zones: Annotated[float, Meta(ge=0)] = 0.0
    augment: Literal["photograph", "light"] = "photograph"


class Roles(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which class of the data set each kind of drawn defect belongs to: material removed inside
    (hole), at an edge (notch), right through (cut); added apart (island), at an edge (bump), from
    one edge to another (bridge)."""

    hole: str
    notch: str
    cut: str
    island: str
    bump: str
    bridge: str


class Synthesis(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Synthetic defects, drawn into training pictures and their defect-free references only:
    ``frames`` two-tone pictures with up to ``defects`` defects each, lettering in the share
    ``lettering`` of them, and the share ``varied`` of the references turned into another design
    first (scale, angle, thickness). The card says so."""

    labels: Roles
    frames: Annotated[int, Meta(ge=1, le=100_000)]
    defects: Annotated[int, Meta(ge=1, le=200)] = 16
    lettering: Share = 0.6
    varied: Share = 0.0


class Thresholds(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the policy is fitted for, on validation parts: the ratio of these two wanted rates says
    how many false alarms an escape is worth. ``nok_overkill`` is the share of good points that may
    reach NOK instead of REVIEW."""

    escapes: Annotated[float, Meta(gt=0, lt=1)] = 0.01
    overkill: Annotated[float, Meta(gt=0, lt=1)] = 0.02
    nok_overkill: Annotated[float, Meta(gt=0, lt=1)] = 0.005


class Export(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the package holds beside the fp32 graph. ``int8``: the same in 8 bits, where the parity
    gate releases it, its ranges taken from training parts that are set aside for it;
    ``prefer_int8``: a machine that can runs that one. ``novelty``: how unusual a point is, and the
    policy asks for a person where it is more so than all but the share ``unusual`` of good ones."""

    int8: bool = False
    prefer_int8: bool = False
    novelty: bool = False
    unusual: Annotated[float, Meta(gt=0, lt=1)] = 0.002


class Recipe(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``recipe.toml``. ``dataset`` is a path from the recipe's own folder to a description; where
    it is empty the data say themselves what they are (`inspection.training.discover`). With a
    ``promise`` thresholds are the cheapest by ``costs`` that keep it, and ``thresholds`` say
    nothing."""

    name: Id
    version: Annotated[str, Meta(min_length=1, max_length=64)]
    dataset: str = ""
    architecture: str
    input: CropSpec
    fit: Fit = Fit()
    seed: int = 0
    options: dict[str, int | float | str | bool] = {}
    sampling: Sampling = Sampling()
    synthesis: Synthesis | None = None
    thresholds: Thresholds = Thresholds()
    promise: Promise | None = None
    costs: Costs = Costs()
    export: Export = Export()


Described = TypeVar("Described", Recipe, DatasetDescription)


def read_recipe(path: Path) -> Recipe:
    """A checked recipe; raises `RecipeError` naming file, line and field."""
    recipe, text = _read(path, Recipe)
    if recipe.architecture in GOOD_ALONE:
        if recipe.fit.steps is not None or recipe.fit.epochs is not None:
            raise _problem(path, text, "fit", f"{recipe.architecture} learns in one pass: no steps")
        if recipe.export.int8 or recipe.export.novelty:
            raise _problem(
                path, text, "export", f"{recipe.architecture} has one graph and one score"
            )
    elif (recipe.fit.steps is None) == (recipe.fit.epochs is None):
        raise _problem(path, text, "fit", "needs either steps or epochs")
    if recipe.sampling.real + recipe.sampling.synthetic >= 1:
        raise _problem(
            path, text, "sampling.real", "with sampling.synthetic it leaves no good ones"
        )
    windows = recipe.sampling.kind == "windows"
    if windows and recipe.sampling.synthetic > 0 and recipe.synthesis is None:
        raise _problem(path, text, "sampling.synthetic", "is above 0 without a [synthesis] table")
    if recipe.synthesis is not None and not windows:
        raise _problem(path, text, "synthesis", 'needs sampling.kind = "windows"')
    return recipe


def one_kind_of_defect(description: DatasetDescription) -> DatasetDescription:
    """The same with all classes of defects as one, `ANOMALY`, as severe as the worst of them."""
    if ANOMALY in description.class_names:
        return description
    good = next(entry for entry in description.classes if entry.severity is None)
    levels = [entry.severity for entry in description.classes if entry.severity is not None]
    worst = max(levels, key=lambda level: level.rank)
    classes = (good, ClassDescription(name=ANOMALY, severity=worst))
    return msgspec.structs.replace(description, classes=classes)


def read_description(path: Path) -> DatasetDescription:
    """A checked data set description; raises `RecipeError` naming file, line and field."""
    description, text = _read(path, DatasetDescription)
    good = [entry.name for entry in description.classes if entry.severity is None]
    if len(good) != 1:
        raise _problem(
            path,
            text,
            "classes",
            "exactly one class, the OK class, must have no severity; without one are"
            f" {good or 'none'}",
        )
    names = [entry.name for entry in description.classes]
    codes = [entry.code or entry.name for entry in description.classes]
    for what, values in (("name", names), ("code", codes)):
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            raise _problem(path, text, "classes", f"two classes have the {what} {twice[0]!r}")
    for field in ("part", "group"):
        pattern = getattr(description, field)
        if pattern is None:
            continue
        try:
            check_expression(pattern, field)
        except RecipeError as error:
            raise _problem(path, text, field, str(error).partition(": ")[2]) from None
    if (description.layout == "rendered") != (description.rendered is not None):
        raise _problem(
            path, text, "layout", 'layout "rendered" and a [rendered] table belong together'
        )
    if description.split.validation + description.split.test >= 1:
        raise _problem(path, text, "split.test", "with split.validation it leaves none to train on")
    return description


def check_expression(pattern: str, what: str) -> None:
    """Raises `RecipeError`, naming ``what``, unless it is a regular expression with a group."""
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise RecipeError(f"{what}: no regular expression: {error}") from None
    if groups < 1:
        raise RecipeError(f"{what}: needs a group in parentheses: what it finds counts")


def _read(path: Path, kind: type[Described]) -> tuple[Described, str]:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise RecipeError(Problem(str(path), None, "", "no such file")) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(Problem(str(path), None, "", f"cannot be read: {error}")) from None
    try:
        value = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = int(found[1]) if found else None
        raise RecipeError(Problem(str(path), line, "", f"no valid TOML: {error}")) from None
    try:
        return msgspec.convert(value, kind), text
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$")
        field = place.rstrip("`").lstrip(".")
        named = re.search(r"field `(\w+)`", message)
        if named:
            field = f"{field}.{named[1]}".lstrip(".")
        raise _problem(path, text, field, message) from None


def _problem(path: Path, text: str, field: str, message: str) -> RecipeError:
    return RecipeError(Problem(str(path), line_of(text, field), field, message))


def line_of(text: str, field: str) -> int | None:
    """The line of a dotted field in a TOML text, counted from 1: the key's own line, else that of
    the nearest table above it that is there; None where neither is."""
    table, keys = "", re.sub(r"\[[^\]]*\]", "", field).split(".")
    best: tuple[int, int] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if head := re.match(r"\s*\[\[?\s*([\w.-]+)\s*\]\]?", line):
            table = head[1]
            here = table.split(".")
        elif entry := re.match(r"\s*([\w-]+)\s*=", line):
            here = [*(table.split(".") if table else []), entry[1]]
        else:
            continue
        if here == keys[: len(here)] and (best is None or len(here) > best[0]):
            best = (len(here), number)
    return best[1] if best else None
