"""An independent judge of what people may make of a verdict: reads the database with SQL of its
own, applies the rules of the manual (docs/decisions-by-people.md) in its own words, and trusts no
code of the station.

It does not compute what a verdict should be. For each OK that was ever given it asks, point by
point, for the proof that was on record at that moment; and that no revision came from nowhere.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NEVER_OK = (800, 801, 802)
CONFLICT = 602
SAYS_WHAT_IT_SAW = ("operator", "quality")


def examine_people(
    path: Path,
    points: Mapping[str, str],
    *,
    two_persons: tuple[str, ...] = (),
    trusts_repairs: bool = False,
) -> list[str]:
    """Everything that is wrong, empty where nothing is. ``points`` are the planned points with
    their severities; the rest as the plan says it."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        database.row_factory = sqlite3.Row
        everything = {
            table: [dict(row) for row in database.execute(f"SELECT * FROM {table}")]
            for table in ("run", "run_terms", "result", "verdict", "verdict_basis", "decision")
        }
    return _Judge(everything, points, two_persons, trusts_repairs).wrong()


class _Judge:
    def __init__(
        self,
        tables: dict[str, list[dict[str, Any]]],
        points: Mapping[str, str],
        two_persons: tuple[str, ...],
        trusts_repairs: bool,
    ) -> None:
        self.points = points
        self.two_persons = two_persons
        self.trusts_repairs = trusts_repairs
        self.runs = {row["run_id"]: row for row in tables["run"]}
        self.terms = {row["run_id"]: row for row in tables["run_terms"]}
        self.verdicts = sorted(tables["verdict"], key=lambda row: row["verdict_seq"])
        self.basis = {row["verdict_seq"]: row for row in tables["verdict_basis"]}
        self.decisions = sorted(tables["decision"], key=lambda row: row["number"])
        self.seen: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        for row in tables["result"]:
            if not row["late"]:
                self.seen[row["run_id"], row["point_id"]].append(row)

    def wrong(self) -> list[str]:
        found: list[str] = []
        first: set[str] = set()
        for verdict in self.verdicts:
            name = f"verdict {verdict['verdict_seq']} of run {verdict['run_id']}"
            if verdict["run_id"] in first:
                found += self._revision(name, verdict)
            first.add(verdict["run_id"])
            if verdict["verdict"] == "OK":
                found += self._ok(name, verdict)
        for word in self.decisions:
            if not word["person"] or not word["roles"]:
                found.append(f"decision {word['number']} is nobody's")
        return found

    def _revision(self, name: str, verdict: dict[str, Any]) -> list[str]:
        """Some decision on this run, or on one that it rests on, was made for it."""
        lineage = {run["run_id"] for run in self._lineage(verdict["run_id"])}
        earlier = max(
            row["verdict_seq"]
            for row in self.verdicts
            if row["run_id"] == verdict["run_id"] and row["verdict_seq"] < verdict["verdict_seq"]
        )
        reasons = [
            word
            for word in self.decisions
            if word["run_id"] in lineage and word["verdict_seq"] <= verdict["verdict_seq"]
        ]
        wrong = [] if reasons else [f"{name}: a revision, but nobody has decided anything"]
        if verdict["formed_ns"] < 0 or earlier >= verdict["verdict_seq"]:
            wrong.append(f"{name}: numbered below the one before it")
        return wrong

    def _lineage(self, run: str) -> list[dict[str, Any]]:
        """The run and those it goes on from, oldest first."""
        found = []
        name: str | None = run
        while name is not None:
            found.append(self.runs[name])
            name = self.terms[name]["repair_of"] if name in self.terms else None
        return found[::-1]

    def _ok(self, name: str, verdict: dict[str, Any]) -> list[str]:
        wrong = []
        run = self.runs[verdict["run_id"]]
        lineage = self._lineage(run["run_id"])
        if {(each["part_id"], each["plan_hash"]) for each in lineage} != {
            (run["part_id"], run["plan_hash"])
        }:
            wrong.append(f"{name}: OK over another part or plan")
        for each in lineage:
            limits = {
                row["limit_reason"]
                for row in (*self.terms.values(), *self.basis.values())
                if row["run_id"] == each["run_id"]
                and row.get("verdict_seq", 0) <= verdict["verdict_seq"]
            }
            if limits & set(NEVER_OK):
                wrong.append(f"{name}: OK, but run {each['run_id']} was not guarded")
        is_revision = any(
            row["run_id"] == run["run_id"] and row["verdict_seq"] < verdict["verdict_seq"]
            for row in self.verdicts
        )
        if is_revision and any(
            other["part_id"] == run["part_id"]
            and other["number"] > run["number"]
            and other["begun_ns"] <= verdict["formed_ns"]
            for other in self.runs.values()
        ):
            wrong.append(f"{name}: OK of a run that was followed by another")
        if verdict["ok"] != len(self.points) or not self.points:
            wrong.append(f"{name}: OK, but not for every planned point")
        return wrong + [
            f"{name}: nothing proves that {point} is OK"
            for point in self.points
            if not self._proved(point, lineage, verdict["verdict_seq"])
        ]

    # ----------------------------------------------------------------------------- one point

    def _story(
        self, point: str, lineage: list[dict[str, Any]], seq: int
    ) -> list[tuple[str, dict[str, Any]]]:
        """("look" or "word", row) about a point, in order, as far as was on record then."""
        story: list[tuple[str, dict[str, Any]]] = []
        for run in lineage:
            name = run["run_id"]
            covers = self.terms[name]["covers"] if name in self.terms else None
            covered = None if covers in (None, "null") else json.loads(covers)
            if covered is None or point in covered:
                story.append(("look", self._look(name, point)))
            story += [
                ("word", word)
                for word in self.decisions
                if (word["run_id"], word["point_id"]) == (name, point)
                and word["verdict_seq"] <= seq
            ]
        return story

    def _look(self, run: str, point: str) -> dict[str, Any]:
        """What all attempts of a run make of a point."""
        rows = self.seen[run, point]
        kinds = {row["verdict"] for row in rows}
        conflict = any(row["reason"] == CONFLICT for row in rows)
        severities = [row["class_severity"] for row in rows if row["class_severity"]]
        verdict = "NOT_INSPECTED"
        if kinds & {"NOK", "REVIEW"}:
            verdict = "BAD"
        elif conflict:
            verdict = "CONFLICT"
        elif "OK" in kinds:
            verdict = "OK"
        return {"verdict": verdict, "severities": severities}

    def _proved(self, point: str, lineage: list[dict[str, Any]], seq: int) -> bool:
        story = self._story(point, lineage, seq)
        if not story or story[0][0] != "look":
            return False
        repairs = [
            index
            for index, (kind, row) in enumerate(story)
            if kind == "word"
            and row["action"] == "repaired"
            and set(row["roles"].split()) & set(SAYS_WHAT_IT_SAW)
        ]
        since = story[repairs[-1] + 1 :] if repairs else story
        looks = [row for kind, row in since if kind == "look"]
        standing = self._standing([row for kind, row in since if kind == "word"])
        quality = [word for word in standing if "quality" in word["roles"].split()]
        against = [
            word
            for word in quality or standing
            if word["action"] in ("reclassify", "escape", "confirm")
        ]
        # By machine: the last look is OK and none since the last repair was anything worse.
        seen = [row["verdict"] for row in looks]
        blamed = [word for word in against if word["action"] != "confirm"]
        if seen and seen[-1] == "OK" and not {"BAD", "CONFLICT"} & set(seen) and not blamed:
            return True
        # By people: enough of quality say so, after the last look that saw something bad, and
        # nobody of quality says otherwise.
        bad = [
            i for i, (kind, row) in enumerate(since) if kind == "look" and row["verdict"] != "OK"
        ]
        after = since[bad[-1] + 1 :] if bad else since
        said = {word["number"] for kind, word in after if kind == "word"}
        saw_it = bool(seen) and "BAD" in seen
        for_it = [
            word
            for word in quality
            if word["action"] == "overrule"
            and word["number"] in said
            and (saw_it or word["method"])
        ]
        severities = {self.points[point], *(s for look in looks for s in look["severities"])}
        severities |= {word["severity"] for word in standing if word["severity"]}
        needed = 2 if severities & set(self.two_persons) else 1
        if len({word["person"].lower() for word in for_it}) >= needed:
            return not any(word in quality for word in against)
        if self.trusts_repairs and repairs and not looks:
            who = {story[index][1]["person"].lower() for index in repairs}
            return len(who) >= needed and not against
        return False

    @staticmethod
    def _standing(words: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The latest word of each person, unless it takes the others back."""
        latest = {word["person"].lower(): word for word in words}
        return [word for word in latest.values() if word["action"] != "cannot_tell"]
