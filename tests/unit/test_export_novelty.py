"""How unusual a crop looks: fitted, computed in the graph, and limited by the policy."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from exports import Made, foreign, make

from inspection.errors import DataError, PackageError
from inspection.messages import Verdict
from inspection.package import MODEL, Package, open_package
from inspection.policy import judge
from inspection.runtimes import load, replay_golden
from inspection.testing.packages import build_package, repolicy
from inspection.training.novelty import choose_ood_max, embeddings, fit_novelty
from inspection.training.parity import auroc


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def package(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Package:
    out = tmp_path_factory.mktemp("out") / "package"
    made.package(out, novelty=True)
    return open_package(out)


def test_foreign_crops_look_more_unusual_than_own_ones(made: Made, package: Package) -> None:
    model = load(package)
    own, strange = model.outputs(made.held[0]).ood, model.outputs(foreign(40)).ood
    assert own is not None
    assert strange is not None
    both = np.concatenate([own, strange]).astype(np.float64)
    found = auroc(both, np.arange(len(both)) >= len(own))
    assert found is not None
    assert found > 0.9


def test_a_foreign_crop_never_comes_out_ok(package: Package) -> None:
    classes, policy = package.manifest.class_names, package.policy
    assert policy.ood_max is not None
    verdicts = [
        judge(scores, classes, policy, ood).verdict
        for scores, ood in load(package).outputs(foreign(40)).rows()
    ]
    assert set(verdicts) <= {Verdict.NOK, Verdict.REVIEW}


def test_the_graph_computes_the_distance_as_float64_does(made: Made, package: Package) -> None:
    for crops in (made.held[0], foreign(20)):
        found = load(package).outputs(crops).ood
        embedded = embeddings(made.network, crops, 2)
        assert found is not None
        assert embedded is not None
        assert np.allclose(found, made.novelty.distances(embedded), rtol=1e-3, atol=1e-3)


def test_the_distance_is_that_of_mahalanobis_with_the_covariance_written_out(made: Made) -> None:
    embedded = embeddings(made.network, made.held[0], 2)
    assert embedded is not None
    novelty = made.novelty
    size = embedded.shape[1]
    beside = np.eye(size) - novelty.axes @ novelty.axes.T
    covariance = novelty.axes * novelty.variances @ novelty.axes.T + novelty.rest * beside
    inverse = np.linalg.inv(covariance)
    wanted = [
        min(float((one - mean) @ inverse @ (one - mean)) for mean in novelty.means)
        for one in embedded
    ]
    assert np.allclose(novelty.distances(embedded), np.sqrt(wanted) / novelty.scale, rtol=1e-6)


def test_of_good_validation_points_nearly_all_stay_below_one(made: Made) -> None:
    crops, labels = made.held
    embedded = embeddings(made.network, crops[labels == 0], 2)
    assert embedded is not None
    found = made.novelty.distances(embedded)
    assert found.max() == pytest.approx(1.0)  # 99 of 100, and there are fewer
    assert (found <= 1.0 + 1e-9).all()


def test_too_few_points_to_fit_on_are_refused(made: Made) -> None:
    few = (made.train[0][:5], made.train[1][:5])
    with pytest.raises(DataError, match="needs 20 training points"):
        fit_novelty(made.network, 2, few, made.held)


def test_the_limit_holds_back_at_most_the_share_of_good_points_that_was_allowed() -> None:
    ood, labels = np.arange(1.0, 101.0), np.zeros(100, np.int64)
    limit = choose_ood_max(ood, labels, 0.05)
    assert (ood > limit).sum() == 5
    assert choose_ood_max(ood, labels, 0.001) == pytest.approx(125.0)
    # What is defective has no say in it.
    assert choose_ood_max(np.append(ood, 1e6), np.append(labels, 1), 0.05) == limit
    with pytest.raises(DataError, match="no good validation point has a valid score"):
        choose_ood_max([np.nan], np.zeros(1, np.int64), 0.05)


def test_golden_pictures_hold_how_unusual_they_are_and_replaying_compares_it(
    made: Made, tmp_path: Path
) -> None:
    out = tmp_path / "package"
    made.package(out, novelty=True)
    package = open_package(out)
    assert all(image.ood is not None for image in package.golden.images)
    assert replay_golden(load(package, graph=MODEL)) <= 1e-3
    other = made.novelty._replace(scale=1.5 * made.novelty.scale)
    dataclasses.replace(made, novelty=other).package(tmp_path / "other", novelty=True)
    changed = open_package(tmp_path / "other")
    # The first graph with the second one's golden scores.
    mixed = dataclasses.replace(package, golden=changed.golden)
    with pytest.raises(PackageError, match="does not reproduce"):
        load(mixed)


def test_a_limit_for_a_model_that_does_not_say_how_unusual_is_refused(tmp_path: Path) -> None:
    folder = build_package(tmp_path / "model")
    repolicy(folder, ood_max=1.0)
    with pytest.raises(PackageError, match="set ood_max to null"):
        open_package(folder)
