"""A report says what was counted, all of it, and can say that a model is bad."""

from __future__ import annotations

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pytest

from inspection.__main__ import main
from inspection.errors import DataError
from inspection.imaging import CropSpec, crop, encode_png
from inspection.messages import Region, Severity
from inspection.package import open_package
from inspection.policy import Policy
from inspection.runtimes import Outputs, load
from inspection.testing.packages import DEFECT_CLASS, OK_CLASS, build_package
from inspection.training.data import Dataset, read_dataset
from inspection.training.recipe import ClassDescription, DatasetDescription
from inspection.training.report import HTML, JSON, write_report
from inspection.training.report_contents import Report
from inspection.training.report_numbers import (
    Prices,
    auroc,
    cost_curve,
    operating_points,
    reliability,
)
from inspection.training.report_page import count, decimal, percent
from inspection.training.report_runs import DISTURBANCES, disturb, ood_scores, window

HOSTILE = "<img src=x onerror=alert(1)>&\"'"
PARTS, SIDE = 12, 40


def description(name: str = "plates") -> DatasetDescription:
    return DatasetDescription(
        name=name,
        layout="folders",
        source="drawn here <b>",
        licence="CC0",
        classes=(
            ClassDescription(name=OK_CLASS),
            ClassDescription(name=DEFECT_CLASS, severity=Severity.MAJOR),
        ),
        group="(left|right)",
    )


def pictures(root: Path, *, torn: bool = True) -> Dataset:
    """Bright good plates and dark defective ones; one dark good one (a false alarm) and one bright
    defective one (an escape). One name is hostile, one file is torn."""
    rng = np.random.default_rng(0)
    for label, usual, odd in ((OK_CLASS, 170, 90), (DEFECT_CLASS, 80, 190)):
        (root / label).mkdir(parents=True)
        for n in range(PARTS):
            level = odd if n == 0 else usual
            frame = rng.integers(level - 12, level + 12, (SIDE, SIDE)).astype(np.uint8)
            name = f"{HOSTILE.replace('/', '')} left" if n == 0 else f"{n:02}-{label}-right"
            (root / label / f"{name}.png").write_bytes(encode_png(frame))
    if torn:
        (root / OK_CLASS / "torn left.png").write_bytes(b"torn")
    return read_dataset(description(), root)


class Said(NamedTuple):
    """What somebody else states."""

    statement: str


class Made(NamedTuple):
    report: Report
    folder: Path
    package: Path
    data: Path

    @property
    def text(self) -> str:
        return (self.folder / HTML).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("report")
    package = build_package(folder / "package", size=32)
    dataset = pictures(folder / "data")
    report = write_report(
        package,
        dataset,
        dataset.parts,
        folder / "out" / "deep",
        choice=Said("At most 9 % <of> the defects come out OK."),
        parity=Said("fp32 within 1e-3."),
        latency_seconds=0.01,
    )
    return Made(report, folder / "out" / "deep", package, folder / "data")


class _Cells(HTMLParser):
    """The texts of all cells and the addresses that anything refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.refers: list[str] = []
        self.tags: set[str] = set()
        self._inside = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.refers += [v or "" for k, v in attrs if k in ("src", "href", "srcset", "data")]
        assert not any(key.startswith("on") for key, _ in attrs), (tag, attrs)
        if tag in ("td", "th"):
            self._inside += 1
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside -= tag in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.cells[-1] += data


def read(text: str) -> _Cells:
    parser = _Cells()
    parser.feed(text)
    return parser


def test_the_json_is_the_report_and_reads_back(made: Made) -> None:
    raw = (made.folder / JSON).read_bytes()
    assert msgspec.json.decode(raw, type=Report) == made.report


def test_escapes_and_overkill_are_those_of_the_pictures(made: Made) -> None:
    told = made.report.evaluation
    assert (told.escapes.errors, told.escapes.trials) == (1, PARTS)
    assert (told.overkill.errors, told.overkill.trials) == (1, PARTS)
    assert made.report.by["group"]["left"].escapes.errors == 1
    assert made.report.by["group"]["right"].escapes.errors == 0
    assert [gallery.of for gallery in made.report.galleries[:2]] == [1, 1]


def _leaves(value: object) -> list[object]:
    if isinstance(value, dict):
        return [leaf for entry in value.values() for leaf in _leaves(entry)] + list(value)
    if isinstance(value, list):
        return [leaf for entry in value for leaf in _leaves(entry)]
    return [value]


def test_every_number_in_a_table_is_in_the_json(made: Made) -> None:
    leaves = _leaves(json.loads((made.folder / JSON).read_bytes()))
    known = {"95", "99", "99.9", "256", "1", "1,000"}  # of headings
    number = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")
    for leaf in leaves:
        if isinstance(leaf, bool) or leaf is None:
            continue
        if isinstance(leaf, int):
            known.add(count(leaf))
        if isinstance(leaf, int | float):
            known |= {percent(leaf).removesuffix(" %"), f"{leaf:g}", f"{100 * leaf:g}"}
            known |= {decimal(leaf, places) for places in (1, 2, 3, 4, 6)}
            known.add(count(round(leaf)))
        if isinstance(leaf, str):
            known |= set(number.findall(leaf))
    texts = [cell for cell in read(made.text).cells if not re.fullmatch(r"[0-9a-f]{64}", cell)]
    missing = {
        (found, text)
        for text in texts
        for found in number.findall(re.sub(r"[0-9a-f]{64}", "", text))
        if found.rstrip(",") not in known
    }
    scale = {(found, text) for found, text in missing if text.startswith("0 to ")}  # an axis
    assert missing == scale
    assert sum(bool(number.search(text)) for text in texts) > 100


def test_hostile_names_are_text(made: Made) -> None:
    assert HOSTILE not in made.text
    assert html.escape(HOSTILE) in made.text
    assert "drawn here <b>" not in made.text
    assert "the defects" in made.text
    assert "<of>" not in made.text


def test_the_page_refers_to_nothing_outside_itself(made: Made) -> None:
    found = read(made.text)
    assert found.refers
    assert all(address.startswith("data:image/jpeg;base64,") for address in found.refers)
    assert not found.tags & {"script", "link", "iframe", "object", "embed", "base", "a", "form"}
    assert "@import" not in made.text
    assert "url(" not in made.text
    assert "://" not in re.sub(r"base64,[^\"]*", "", made.text)
    assert "default-src 'none'" in made.text


def test_page_one_says_what_ok_means_the_promise_and_what_makes_numbers_weaker(made: Made) -> None:
    first = made.text.partition("How well defects are told")[0]
    assert "nothing visible is wrong" in first
    assert "At most 9 % &lt;of&gt; the defects" in first
    assert made.report.evaluation.package in first
    assert made.report.data_hash in first
    assert "nothing says which part a picture shows" in first
    assert "torn left.png" in first
    assert first.index("Escapes per point") < first.index("Overkill per point")
    assert "AUROC" not in first


def test_parts_that_were_trained_on_are_said_on_page_one(tmp_path: Path) -> None:
    dataset = pictures(tmp_path / "data", torn=False)
    folder = build_package(tmp_path / "package")
    (folder / "split.json").write_text(json.dumps({"train": dataset.parts[:3], "test": []}))
    _reseal(folder)
    report = write_report(
        folder, dataset, dataset.parts, tmp_path / "out", sample=0, latency_seconds=0
    )
    assert any("3 of" in text and "no test" in text for text in report.warnings)
    assert report.robustness is None
    assert report.speed is None


def _reseal(folder: Path) -> None:
    from inspection.package import read_manifest, seal
    from inspection.policy import read_policy

    manifest, _ = read_manifest(folder)
    policy, _ = read_policy(folder / "policy.json")
    seal(folder, manifest, policy)


def test_a_model_that_only_looks_at_brightness_fails_the_robustness(made: Made) -> None:
    told = made.report.robustness
    assert told is not None
    assert told.points == 2 * PARTS
    by_name = {entry.name: entry for entry in told.disturbances}
    darker = by_name["less light"]
    # Dark is a defect to it: less light makes defects of good plates.
    assert darker.strengths[-1].overkill.errors == PARTS
    assert darker.overkill_hold_to != -50
    assert not darker.strengths[-1].overkill_inside
    # It does not see a turn, and the report says so.
    assert by_name["rotation"].overkill_hold_to == 20


def test_robustness_shows_escapes_where_light_hides_defects(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for label, level in ((OK_CLASS, 180), (DEFECT_CLASS, 118)):
        (root / label).mkdir(parents=True)
        for n in range(20):
            frame = np.full((SIDE, SIDE), level + n % 3, np.uint8)
            (root / label / f"{label}{n}-left.png").write_bytes(encode_png(frame))
    dataset = read_dataset(description(), root)
    folder = build_package(tmp_path / "package")
    report = write_report(folder, dataset, dataset.parts, tmp_path / "out", latency_seconds=0)
    assert report.evaluation.escapes.errors == 0
    assert report.robustness is not None
    brighter = next(d for d in report.robustness.disturbances if d.name == "more light")
    assert brighter.strengths[-1].escapes.errors == 20
    assert brighter.escapes_hold_to is not None
    assert brighter.escapes_hold_to < 50


@pytest.mark.parametrize("left", [-7.0, 3.5, 30.25])
def test_an_undisturbed_window_gives_the_very_crop_of_the_frame(left: float) -> None:
    frame = np.random.default_rng(1).integers(0, 256, (60, 50, 3)).astype(np.uint8)
    region = Region(left_px=left, top_px=35.5, width_px=21.0, height_px=19.0)
    spec = CropSpec(width=24, height=24, channels=3, margin=0.2)
    seen = window(frame, region, spec)
    assert np.array_equal(crop(seen.pixels, seen.region, spec), crop(frame, region, spec))


def test_every_disturbance_changes_pixels_and_more_of_it_changes_more() -> None:
    rng = np.random.default_rng(2)
    frame = np.kron(rng.integers(40, 200, (12, 12)), np.ones((8, 8))).astype(np.uint8)
    region = Region(left_px=20.0, top_px=20.0, width_px=50.0, height_px=50.0)
    spec = CropSpec(width=50, height=50, channels=1)
    clean = crop(frame, region, spec).astype(int)
    seen = window(frame, region, spec)
    for how in DISTURBANCES:
        changed = [
            np.abs(disturb(seen, how, s, spec, np.random.default_rng(3)).astype(int) - clean).mean()
            for s in (how.strengths[0], how.strengths[-1])
        ]
        assert 0 < changed[0] < changed[1], how.name


def test_foreign_pictures_are_counted_and_a_package_without_a_score_says_so(made: Made) -> None:
    told = made.report.out_of_distribution
    assert told is not None
    assert not told.has_score
    assert "no out-of-distribution score" in made.text
    inverted = next(kind for kind in told.kinds if kind.name == "inverted")
    assert inverted.called_ok.errors == PARTS  # the dark ones, inverted, are bright


def test_an_out_of_distribution_score_is_used_where_a_model_has_one(made: Made) -> None:
    class WithScore:
        def outputs(self, crops: np.ndarray) -> Outputs:  # type: ignore[type-arg]
            unusual = crops.reshape(len(crops), -1).std(axis=1)
            return Outputs(np.ones((len(crops), 2), np.float32), unusual)

    crops = np.zeros((3, 32, 32, 1), np.uint8)
    found = ood_scores(WithScore(), crops)  # type: ignore[arg-type]
    assert found is not None
    assert found.tolist() == [0, 0, 0]
    assert ood_scores(load(open_package(made.package)), crops) is None


def test_latency_names_the_processor_and_no_percentile_without_the_calls_for_it(made: Made) -> None:
    told = made.report.speed
    assert told is not None
    assert [(row.threads, row.batch) for row in told.rows] == [
        (threads, batch) for threads in (1, 2) for batch in (1, 4, 16, 20, 64)
    ]
    for row in told.rows:
        assert (row.p99_ms is None) == (row.calls < 100)
        assert (row.p999_ms is None) == (row.calls < 1000)
        assert row.crops_per_s > 0
    assert html.escape(told.processor) in made.text


def test_saliency_explains_the_found_defects(made: Made) -> None:
    told = made.report.saliency
    assert told is not None
    assert {looked.label for looked in told.pictures} == {DEFECT_CLASS}
    assert made.text.count('class="pair"') == len(told.pictures) == 2


def test_auroc_is_the_share_of_pairs_in_order() -> None:
    values = np.array([0.1, 0.4, 0.4, 0.8, 0.9])
    positive = np.array([False, True, False, False, True])
    pairs = [(p > n) + (p == n) / 2 for p in values[positive] for n in values[~positive]]
    found = auroc(values, positive, ["a", "b", "c", "d", "e"])
    assert found.value == pytest.approx(sum(pairs) / 6)
    assert found.lower is not None
    assert found.upper is not None
    assert found.lower <= sum(pairs) / 6 <= found.upper
    assert auroc(values, values > 2).value is None


def test_operating_points_let_no_more_defects_pass_than_allowed_also_with_ties() -> None:
    ok_scores = np.array([*([0.5] * 10), *np.linspace(0, 0.2, 90), *np.linspace(0.3, 1, 100)])
    defective = np.arange(200) < 100
    for point in operating_points(ok_scores, defective):
        assert point.escapes.errors <= point.escapes_allowed * 100
        assert point.overkill.errors == (ok_scores[~defective] < point.ok_min).sum()
    none = operating_points(ok_scores, defective, (0.0,))[0]
    assert none.ok_min > 0.5
    assert operating_points(ok_scores[:100], defective[:100]) == ()


def test_cost_is_what_the_stated_prices_make_of_the_rates() -> None:
    policy = Policy(
        version=1,
        package="0" * 64,
        ok_class=OK_CLASS,
        ok_min=0.6,
        nok_min={DEFECT_CLASS: 0.7},
        author="",
        created="",
        why="",
    )
    ok = np.array([0.9, 0.5, 0.2, 0.8, 0.1])  # OK, REVIEW, NOK, OK (an escape), NOK
    curve = cost_curve(
        np.stack([ok, 1 - ok], axis=1),
        np.ones(5, bool),
        np.array([False, False, False, True, True]),
        (OK_CLASS, DEFECT_CLASS),
        policy,
        Prices(miss=100, false_alarm=5, review=1, prevalence=0.1),
    )
    assert curve is not None
    assert (curve.present.escapes, curve.present.overkill) == (0.5, pytest.approx(2 / 3))
    each = 0.1 * 0.5 * 100 + 0.9 / 3 * 5 + 0.9 / 3 * 1
    assert curve.present.cost == pytest.approx(1000 * each)
    assert curve.cheapest.cost == min(point.cost for point in curve.points)


def test_a_score_that_says_ninety_and_is_right_half_the_time_is_badly_calibrated() -> None:
    scores = np.array([[0.1, 0.9]] * 10)
    labels = [OK_CLASS, DEFECT_CLASS] * 5
    told = reliability(scores, labels, (OK_CLASS, DEFECT_CLASS), OK_CLASS)
    assert told.ece_defect == pytest.approx(0.4)
    assert [(group.defective.errors, group.defective.trials) for group in told.bins] == [(5, 10)]


def test_nothing_to_judge_is_said(made: Made, tmp_path: Path) -> None:
    dataset = read_dataset(description(), made.data)
    with pytest.raises(DataError, match="no point among 0 parts"):
        write_report(made.package, dataset, [], tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write_report(
            made.package,
            dataset,
            dataset.parts[:2],
            tmp_path / "file" / "out",
            sample=0,
            latency_seconds=0,
        )


def test_the_command_writes_both_files(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toml = tmp_path / "plates.toml"
    toml.write_text(
        'name = "plates"\nlayout = "folders"\nsource = "here"\nlicence = "CC0"\n'
        f'[[classes]]\nname = "{OK_CLASS}"\n[[classes]]\nname = "{DEFECT_CLASS}"\n'
        'severity = "major"\n'
    )
    words = ["evaluate", str(made.package), "--data", str(made.data), "--dataset", str(toml)]
    assert main([*words, "--report", str(tmp_path / "out"), "--sample", "24"]) == 0
    assert (tmp_path / "out" / HTML).is_file()
    told = msgspec.json.decode((tmp_path / "out" / JSON).read_bytes(), type=Report)
    said = capsys.readouterr().out
    assert str(told.evaluation.escapes) in said
    assert HTML in said
    assert main([*words, "--report", str(tmp_path / "out"), "--sample", "-1"]) == 1
