"""An inference that does not come back is ended, told of, and stops nobody."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from test_judge import make_order, ref_of

from edge.evidence_spool import EvidenceSpool
from edge.inference import Inference
from edge.judge import Judge
from edge.models import Models
from inspection import runtimes
from inspection.errors import ModelHung, PackageError
from inspection.imaging import Frame
from inspection.messages import Inspected, Missed, Reason
from inspection.package import open_package
from inspection.runtimes import Model
from inspection.testing import boards
from inspection.testing.packages import Broken

WHITE = np.full((1, boards.TILE, boards.TILE, 1), 255, np.uint8)
GREY = np.full((1, boards.TILE, boards.TILE, 1), 200, np.uint8)
LONG_S = 600.0
"""More than any machine needs for what does not hang."""


@pytest.fixture(scope="module")
def hanging(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "hanging"
    return boards.model(folder, broken=Broken.HANGS_ON_WHITE)


def loaded(folder: Path) -> Model:
    return runtimes.load(open_package(folder))


def nothing() -> None:
    pass


def board_with_a_white_tile() -> Frame:
    image = boards.board(shade=200)
    image[: boards.TILE, : boards.TILE] = 255
    return image


def test_it_is_ended_and_the_same_model_goes_on(hanging: Path) -> None:
    inference, model = Inference(grace_s=LONG_S), loaded(hanging)
    with pytest.raises(ModelHung, match="was ended after") as hung:
        inference.outputs(model, WHITE, 0.3, nothing)
    assert (hung.value.ended, inference.stuck) == (True, False)
    (said,) = inference.outputs(model, GREY, LONG_S, nothing).scores
    assert said[0] > 0.9
    inference.close()


def test_whoever_waits_can_do_something_meanwhile(hanging: Path) -> None:
    turns: list[float] = []
    inference = Inference(grace_s=LONG_S)
    with pytest.raises(ModelHung):
        inference.outputs(loaded(hanging), WHITE, 0.6, lambda: turns.append(time.monotonic()))
    assert len(turns) >= 3
    inference.close()


def test_what_the_model_raises_comes_out_where_somebody_waits(tmp_path: Path) -> None:
    model = loaded(boards.model(tmp_path / "good"))
    inference = Inference()
    with pytest.raises(PackageError, match="inference failed"):
        inference.outputs(model, WHITE[:, :5], LONG_S, nothing)
    assert inference.outputs(model, WHITE, LONG_S, nothing).scores.shape == (1, 2)
    inference.close()


def test_the_points_of_its_batch_are_not_inspected_and_all_others_are(
    tmp_path: Path, hanging: Path
) -> None:
    models = Models({"darkness": hanging})
    judged = Judge(models, EvidenceSpool(tmp_path / "spool"), batch=5, hang_s=1.0)
    said = judged.points(make_order(ref_of(models)), board_with_a_white_tile())
    missed = [entry for entry in said if isinstance(entry, Missed)]
    assert [(e.point, e.reason) for e in missed] == [
        (f"r0c{column}", Reason.MODEL_HUNG) for column in range(5)
    ]
    assert "was ended after 1.0 s" in missed[0].detail
    assert sum(isinstance(entry, Inspected) for entry in said) == 20
    assert not judged.stuck


def test_at_the_order_s_deadline_it_is_late_and_so_is_what_was_not_begun(
    tmp_path: Path, hanging: Path
) -> None:
    models = Models({"darkness": hanging})
    judged = Judge(models, EvidenceSpool(tmp_path / "spool"), batch=5, hang_s=LONG_S)
    said = judged.points(make_order(ref_of(models)), board_with_a_white_tile(), 1.0)
    assert {entry.reason for entry in said} == {Reason.LATE}
    assert len(said) == boards.GRID**2


def test_a_package_that_hangs_on_its_own_golden_pictures_is_refused(tmp_path: Path) -> None:
    bad, good = boards.model(tmp_path / "a", broken=Broken.HANGS), boards.model(tmp_path / "b")
    models = Models({"bad": bad, "good": good}, hang_s=0.3)
    bad_state, good_state = models.states
    assert "was ended after 0.3 s" in bad_state.fault
    assert (bad_state.ref, good_state.fault) == (None, "")
