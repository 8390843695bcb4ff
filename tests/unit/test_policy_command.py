"""``inspection policy``: thresholds changed without a new model, nothing overwritten."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import pytest

from inspection import policy_command
from inspection.__main__ import main
from inspection.clock import SystemClock
from inspection.errors import ConfigurationError, PackageError
from inspection.imaging import encode_png
from inspection.messages import Reason, Verdict
from inspection.package import open_package
from inspection.policy import Judgement, Policy, read_policy
from inspection.policy_command import amended, compare, history, history_folder, replace_policy
from inspection.testing.packages import build_package, repolicy
from inspection.training import evaluate
from inspection.training.evaluate import Judged
from inspection.training.promise import Costs

ROOT = Path(__file__).resolve().parents[2]
SIDE = 32
WHO = ("--author", "Q. Eng", "--why", "too many reviews")

DESCRIPTION = """\
name = "tiles"
layout = "folders"
source = "drawn here"
licence = "CC0"
part = '([^/]+)_\\d+$'

[[classes]]
name = "ok"

[[classes]]
name = "defect"
severity = "major"
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_package(tmp_path_factory.mktemp("made") / "1", size=SIDE)


@pytest.fixture
def package(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "darkness" / "1"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 bright tiles of 15 parts and 10 dark ones of 5; some are neither very bright nor dark."""
    root = tmp_path_factory.mktemp("tiles")
    (root / "dataset.toml").write_text(DESCRIPTION)
    for label, shades in (
        ("ok", [230] * 20 + [160] * 10),
        ("defect", [20] * 7 + [110, 140, 145]),
    ):
        folder = root / "data" / label
        folder.mkdir(parents=True)
        for number, shade in enumerate(shades):
            frame = np.full((SIDE, SIDE), shade, np.uint8)
            name = f"{label}{number // 2}_{number}.png"
            (folder / name).write_bytes(encode_png(frame))
    return root


def on(pictures: Path) -> tuple[str, ...]:
    return ("--data", str(pictures / "data"), "--dataset", str(pictures / "dataset.toml"))


def policy(*words: object) -> int:
    return main(["policy", *map(str, words)])


def replaced(package: Path, ok_min: float, **more: object) -> Policy:
    told: dict[str, object] = {"author": "a", "why": "b", "clock": SystemClock(), **more}
    return replace_policy(package, ok_min=ok_min, **told)[1].policy  # type: ignore[arg-type]


# ------------------------------------------------------------ versions


def test_a_change_is_a_new_version_with_who_when_and_why(package: Path) -> None:
    assert policy("set", package, "--ok-min", "0.8", *WHO) == 0
    now = open_package(package)
    assert now.policy.version == 2
    assert (now.policy.ok_min, now.policy.nok_min) == (0.8, {"defect": 0.5})
    assert (now.policy.author, now.policy.why) == ("Q. Eng", "too many reviews")
    assert now.policy.created > "2026-01-01T00:00:00Z"


def test_nothing_is_overwritten_and_the_package_stays_what_it_was(package: Path) -> None:
    first = (package / "policy.json").read_bytes()
    before = open_package(package)
    for ok_min in (0.8, 0.7, 0.9):
        replaced(package, ok_min)
    versions = history(package)
    assert [kept.policy.version for kept in versions] == [1, 2, 3, 4]
    assert [kept.policy.ok_min for kept in versions] == [0.9, 0.8, 0.7, 0.9]
    assert (history_folder(package) / "000001.json").read_bytes() == first
    after = open_package(package)
    assert after.ref.package == before.ref.package
    assert after.ref.policy == versions[-1].sha256 != before.ref.policy
    assert [path.name for path in package.parent.iterdir() if path != package] == ["1.policies"]


def test_a_folder_with_versions_beside_its_package_still_has_that_package(package: Path) -> None:
    assert policy("set", package.parent, "--ok-min", "0.8", *WHO) == 0
    assert policy("set", package.parent, "--nok-min", "defect=0.7", *WHO) == 0
    assert open_package(package).policy.nok_min == {"defect": 0.7}


def test_what_is_shown_names_the_version_in_force(
    package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert policy("show", package) == 0
    said = capsys.readouterr().out
    assert "version 1" in said
    assert "OK from    0.9 (ok)" in said
    assert "major" in said
    replaced(package, 0.85, author="M. Ustermann", why="after the audit")
    assert policy("show", package) == 0
    said = capsys.readouterr().out
    assert "M. Ustermann: after the audit" in said
    assert [line.split()[:2] for line in said.splitlines()[-2:]] == [
        ["1", "2026-01-01T00:00:00Z"],
        ["*", "2"],
    ]


def test_to_show_or_set_a_policy_needs_no_numpy(package: Path) -> None:
    code = (
        "import sys; from inspection.__main__ import main;"
        f"print(main(['policy', 'show', {str(package)!r}]));"
        f"print(main(['policy', 'set', {str(package)!r}, '--ok-min', '0.7', *{WHO!r}]));"
        "print([name for name in ('numpy', 'onnxruntime', 'torch') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert open_package(package).policy.ok_min == 0.7


def test_of_many_changes_at_once_each_gets_a_version_of_its_own(package: Path) -> None:
    limits = [0.5 + number / 100 for number in range(12)]
    with ThreadPoolExecutor(12) as pool:
        made = list(pool.map(lambda limit: replaced(package, limit), limits))
    assert sorted(new.version for new in made) == list(range(2, 14))
    kept = {version.policy.version: version.policy for version in history(package)}
    assert all(kept[new.version] == new for new in made)
    assert open_package(package).policy == kept[13]


def test_of_two_who_saw_the_same_version_one_is_told(package: Path) -> None:
    def change(limit: float) -> bool:
        try:
            replaced(package, limit, if_version=1)
        except ConfigurationError as error:
            assert "version 2 is in force, not 1" in str(error)  # noqa: PT017
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(change, [0.5 + number / 100 for number in range(8)])) == 1
    assert open_package(package).policy.version == 2


def test_a_failure_before_the_last_step_leaves_the_old_version_in_force(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Path.replace

    def dies(self: Path, target: Path) -> Path:
        if target == package / "policy.json":
            raise OSError(28, "No space left on device", str(target))
        return whole(self, target)

    monkeypatch.setattr(Path, "replace", dies)
    with pytest.raises(PackageError, match=r"policy\.json.*No space left"):
        replaced(package, 0.8)
    monkeypatch.setattr(Path, "replace", whole)
    assert open_package(package).policy.ok_min == 0.9
    # The number is used up: version 2 is never two policies.
    assert replaced(package, 0.7).version == 3
    assert [kept.policy.ok_min for kept in history(package)] == [0.9, 0.8, 0.7]


def test_a_policy_changed_by_other_means_is_not_written_over(package: Path) -> None:
    replaced(package, 0.8)
    repolicy(package, ok_min=0.1)
    with pytest.raises(PackageError, match="another version 2"):
        replaced(package, 0.85)
    assert open_package(package).policy.ok_min == 0.1
    assert [kept.policy.ok_min for kept in history(package)] == [0.9, 0.8]


# ------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--ok-min", "nan"), "--ok-min: a threshold is a number from 0 to 1, not 'nan'"),
        (("--ok-min", "inf"), "from 0 to 1"),
        (("--ok-min", "1.0001"), "from 0 to 1"),
        (("--ok-min=-0.1",), "from 0 to 1"),
        (("--ok-min", "high"), "'high'"),
        (("--nok-min", "defect=nan"), "--nok-min defect"),
        (("--nok-min", "defect=2"), "--nok-min defect"),
        (("--nok-min", "defect"), "CLASS=X"),
        (("--nok-min", "=0.5"), "CLASS=X"),
        (("--nok-min", "crack=0.5"), "'crack' is no defect class of this model, which has defect"),
        (("--nok-min", "ok=0.5"), "'ok' is no defect class"),
        (("--nok-min", "defect=0.5", "--nok-min", "defect=0.6"), "given twice"),
        (("--ok-min", "0.9"), "has these thresholds"),
        ((), "has these thresholds"),
        (("--ok-min", "0.8", "--if-version", "7"), "version 1 is in force, not 7"),
        (("--ok-min", "0.8", "--why", "  "), "--why: must not be empty"),
        (("--ok-min", "0.8", "--author", ""), "--author: must not be empty"),
        (("--ok-min", "0.8", "--why", "a\nb"), "one line"),
        (("--ok-min", "0.8", "--why", "a\x1b[2Jb"), "one line"),
        (("--ok-min", "0.8", "--why", "x" * 501), "500"),
        (("--ok-min", "0.8", "--json", "x.json"), "only with --data"),
    ],
)
def test_a_change_that_cannot_be_is_refused_and_nothing_is_written(
    package: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    before = (package / "policy.json").read_bytes()
    assert policy("set", package, *WHO, *words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert (package / "policy.json").read_bytes() == before
    assert history(package) == []


@pytest.mark.parametrize("left_out", ["--author", "--why"])
def test_who_and_why_must_be_said(package: Path, left_out: str) -> None:
    at = WHO.index(left_out)
    assert policy("set", package, "--ok-min", "0.8", *WHO[:at], *WHO[at + 2 :]) == 2
    assert open_package(package).policy.version == 1


def test_a_policy_of_another_package_gets_no_new_version(
    package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repolicy(package, package="b" * 64)
    assert policy("set", package, "--ok-min", "0.8", *WHO) == 1
    assert "fitted for package bbbbbbbbbbbb" in capsys.readouterr().err


def test_a_damaged_package_gets_no_new_version(
    package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (package / "CARD.md").write_text("changed")
    assert policy("set", package, "--ok-min", "0.8", *WHO) == 1
    assert "CARD.md" in capsys.readouterr().err
    assert read_policy(package / "policy.json")[0].version == 1


def test_a_history_that_cannot_be_written_is_said(
    package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history_folder(package).write_text("in the way")
    assert policy("set", package, "--ok-min", "0.8", *WHO) == 1
    assert "1.policies: cannot be written" in capsys.readouterr().err
    assert open_package(package).policy.version == 1


def test_a_damaged_history_is_said(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replaced(package, 0.8)
    first = history_folder(package) / "000001.json"
    first.rename(first.with_name("000009.json"))
    assert policy("show", package) == 1
    assert "000009.json: holds version 1" in capsys.readouterr().err


def test_only_lowering_what_is_released_warns_of_the_promise(
    package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy("set", package, "--ok-min", "0.95", *WHO)
    assert "warning" not in capsys.readouterr().err
    policy("set", package, "--ok-min", "0.94", *WHO)
    assert "what the card says of the escape rate" in capsys.readouterr().err


# ------------------------------------------------------------ before and after


def test_before_and_after_are_counted_on_the_same_scores(
    package: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    whole = evaluate._judge_frame
    monkeypatch.setattr(evaluate, "_judge_frame", lambda *a: calls.append(1) or whole(*a))
    out = tmp_path / "found.json"
    words = ("--points-per-shift", 1000, "--review-minutes", 2, "--prevalence", 0.01)
    assert policy("what-if", package, *on(pictures), "--ok-min", 0.7, *words, "--json", out) == 0
    assert len(calls) == 40  # each picture once, not once a policy
    found = json.loads(out.read_text())
    # 160 and brighter is OK from 0.93; 145 from 0.79, 140 from 0.73.
    for side, escaped, overkilled in (("before", 0, 0), ("after", 2, 0)):
        rates = found[side]["evaluation"]
        assert (rates["escapes"]["errors"], rates["escapes"]["trials"]) == (escaped, 10)
        assert (rates["overkill"]["errors"], rates["overkill"]["trials"]) == (overkilled, 30)
    assert found["changes"] == {"REVIEW -> OK": {"defect": 2}}
    assert found["before"]["review"] == pytest.approx(0.01 * 0.2)
    assert found["before"]["review_minutes_per_shift"] == pytest.approx(0.01 * 0.2 * 2000)
    assert found["after"]["review"] == 0
    assert found["after"]["policy"]["ok_min"] == 0.7
    assert open_package(package).policy.version == 1  # nothing has changed


def test_a_change_shows_what_it_does_and_puts_it_in_force(
    package: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert policy("set", package, *on(pictures), "--ok-min", "0.97", *WHO) == 0
    said = capsys.readouterr().out
    assert "OK -> REVIEW: 10 ok" in said
    assert "0 of 30 = 0.00%" in said
    assert "10 of 30 = 33.33%" in said
    assert "minutes per shift" in said
    assert open_package(package).policy.ok_min == 0.97


def test_nothing_is_put_in_force_where_the_data_cannot_be_read(
    package: Path, pictures: Path, tmp_path: Path
) -> None:
    words = ("--data", tmp_path / "none", "--dataset", pictures / "dataset.toml")
    assert policy("set", package, *words, "--ok-min", "0.97", *WHO) == 1
    assert policy("set", package, "--data", pictures / "data", "--ok-min", "0.97", *WHO) == 1
    assert open_package(package).policy.version == 1


def test_thresholds_by_cost_come_with_what_is_proven(
    package: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found.json"
    words = ("what-if", package, *on(pictures), "--json", out)
    assert policy(*words, "--limit", "0.01", "--cost-miss", "50") == 0
    said = capsys.readouterr().out
    assert "not proven" in said
    # Ten defects of five parts: 5 trials.
    assert "0 of 5 counted as independent" in said
    assert "294 more independent defects" in said
    found = json.loads(out.read_text())
    assert found["choice"]["costs"]["miss"] == 50
    assert found["after"]["evaluation"]["escapes"]["errors"] == 0
    assert policy(*words, "--limit", "0.5") == 0
    assert "Escapes are at most 50 %" in capsys.readouterr().out


def test_a_threshold_by_hand_can_be_held_against_a_limit(
    package: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("what-if", package, *on(pictures), "--ok-min", "0.85", "--limit", "0.5")
    assert policy(*words) == 0
    said = capsys.readouterr().out
    assert "Escapes are at most 50 %" in said
    assert "not found by trying several" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "either thresholds"),
        (("--ok-min", "0.8", "--cost-miss", "4"), "either thresholds"),
        (("--limit", "1"), "limit must lie between 0 and 1"),
        (("--limit", "nan"), "limit must lie between 0 and 1"),
        (("--cost-miss", "nan"), "miss must be a number from 0"),
        (("--cost-miss=-1",), "miss must be a number from 0"),
        (("--limit", "0.1", "--confidence", "0.5"), "confidence"),
        (("--limit", "0.1", "--prevalence", "0"), "prevalence"),
        (("--limit", "0.1", "--points-per-shift", "0"), "points_per_shift"),
    ],
)
def test_what_if_of_nonsense_is_refused(
    package: Path,
    pictures: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    said: str,
) -> None:
    assert policy("what-if", package, *on(pictures), *words) == 2
    assert said in capsys.readouterr().err


def test_what_was_no_look_at_a_point_stays_none_under_any_policy(package: Path) -> None:
    opened = open_package(package)
    missed = Judgement(Verdict.NOT_INSPECTED, Reason.NO_IMAGE, "")
    seen = Judgement(Verdict.REVIEW, Reason.UNCERTAIN, "defect")
    judged = [
        Judged("p1", "", "a.png", "1", "defect", missed, ()),
        Judged("p2", "", "b.png", "1", "ok", seen, (0.6, 0.4)),
        Judged("p3", "", "c.png", "1", None, seen, (0.6, 0.4)),
        Judged("p4", "", "d.png", "1", "ok", seen, (0.6, 0.4), borderline=True),
    ]
    found = compare(judged, opened, amended(opened.policy, ok_min=0.0), Costs())
    assert found.after.evaluation.verdicts == {"defect": {"NOT_INSPECTED": 1}, "ok": {"OK": 1}}
    assert found.before.review == pytest.approx(0.5)
    assert found.changes == {"REVIEW -> OK": {"(no label)": 1, "ok": 2}}
    msgspec.json.encode(found)


def test_the_command_is_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "--help"]) == 0
    said = capsys.readouterr().out
    assert all(action in said for action in ("show", "set", "what-if"))
    assert policy_command.__doc__
