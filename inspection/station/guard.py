"""Who guards the guard: whether the line has proved lately that it finds defects, and whether it
inspects at all. Holds no sockets and no store; the station tells it what happened.

A challenge counts only for the process that saw it: whatever a restart may have changed, models and
plans among it, is challenged again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from msgspec import UNSET

from inspection.ledger import Entry
from inspection.messages import Fault, Reason, Verdict
from inspection.plan import Plan
from inspection.store.people import StoredBypass

MINUTE_NS = 60 * 10**9
LONGEST_BYPASS_NS = 12 * 60 * MINUTE_NS


@dataclass(slots=True)
class Guard:
    """The state of all plans' challenges, and of the bypass."""

    plans: Mapping[str, Plan]
    passed_ns: dict[str, int] = field(default_factory=dict)
    """When a challenge of a plan was last passed, on the monotonic clock."""
    failed: dict[str, str] = field(default_factory=dict)
    """What was missed, by plan."""
    bypass: StoredBypass | None = None

    def copy(self) -> Guard:
        """As it stands now, to go back to where a transaction fails."""
        return Guard(self.plans, dict(self.passed_ns), dict(self.failed), self.bypass)

    def fault_of(self, plan: Plan, now_ns: int) -> Reason:
        """Why parts of this plan cannot be OK at present; NONE where nothing is wrong."""
        if plan.challenge is UNSET:
            return Reason.NONE
        if plan.name in self.failed:
            return Reason.CHALLENGE_FAILED
        passed = self.passed_ns.get(plan.name)
        fresh = passed is not None and now_ns - passed < plan.challenge.interval_minutes * MINUTE_NS
        return Reason.NONE if fresh else Reason.CHALLENGE_DUE

    def limit(self, plan: Plan, part: str, now_ns: int) -> Reason:
        """Why a run that begins now cannot be OK."""
        if self.bypass is not None:
            return Reason.BYPASSED
        if plan.is_challenge(part):
            return Reason.CHALLENGE_PART
        return self.fault_of(plan, now_ns)

    def finished(self, plan: Plan, missed: Iterable[str], now_ns: int) -> None:
        """A part with known defects has gone through the line."""
        missed = list(missed)
        if missed:
            self.failed[plan.name] = f"missed the known defect at {', '.join(missed[:5])}"
        else:
            self.failed.pop(plan.name, None)
            self.passed_ns[plan.name] = now_ns

    def not_ready(self, now_ns: int) -> tuple[Fault, str]:
        """What keeps a part begun now from becoming OK, in words; (NONE, "") where nothing does."""
        if self.bypass is not None:
            until = clock_time(self.bypass.until_ns)
            text = f"bypassed by {self.bypass.person} until {until}: {self.bypass.why}"
            return Fault.BYPASSED, text[:500]
        for name, plan in self.plans.items():
            reason = self.fault_of(plan, now_ns)
            if reason is Reason.CHALLENGE_FAILED:
                text = f"plan {name}: the challenge {self.failed[name]}: find out why"
                return Fault.CHALLENGE_FAILED, text[:500]
            if reason is Reason.CHALLENGE_DUE and plan.challenge is not UNSET:
                parts = ", ".join(plan.challenge.parts[:5])
                return Fault.CHALLENGE_DUE, f"plan {name}: inspect a challenge part ({parts})"[:500]
        return Fault.NONE, ""

    def expired(self, now_ns: int, wall_ns: int, boot: str) -> bool:
        """Whether the time of the bypass is up. Whichever clock says so first: setting the wall
        clock back makes no bypass longer."""
        if self.bypass is None:
            return False
        same_boot = boot == self.bypass.boot_id
        return wall_ns >= self.bypass.until_ns or (
            same_boot and now_ns >= self.bypass.until_mono_ns
        )


def missed_defects(plan: Plan, entries: Mapping[str, Entry]) -> tuple[str, ...]:
    """The known defects of a challenge part that were not found: neither NOK nor REVIEW."""
    if plan.challenge is UNSET:
        return ()
    found = (Verdict.NOK, Verdict.REVIEW)
    return tuple(
        point
        for point in sorted(plan.challenge.defects)
        if point not in entries or entries[point].verdict not in found
    )


def clock_time(wall_ns: int) -> str:
    """A wall clock time for a person."""
    return f"{datetime.fromtimestamp(wall_ns // 10**9, UTC):%Y-%m-%d %H:%M} UTC"
