"""Whatever is committed stays, once and unchanged; whatever is not, never was: a state machine."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from samples import PLAN, answer, entries_of, raw_of

from inspection.errors import StoreError
from inspection.ledger import count, run_verdict, settle
from inspection.messages import Verdict
from inspection.store import Reader, Store
from inspection.testing.clock import FakeClock

OUTBOX = "0" * 32


class Aborted(Exception):
    pass


class StoreMachine(RuleBasedStateMachine):
    """The model is what a transaction that succeeded has said, in plain dictionaries."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="store-"))
        self.path = self.folder / "station.db"
        self.clock = FakeClock()
        self.store = Store(self.path, "station-1", self.clock)
        self.runs: dict[str, dict[int, tuple[Verdict | None, Verdict | None]]] = {}
        self.verdicts: dict[str, int] = {}
        self.committed = 0
        self.requests: dict[int, bytes] = {}

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    @initialize()
    def begin_one(self) -> None:
        self.begin(abort=False)

    @rule(abort=st.booleans())
    def begin(self, abort: bool) -> None:
        run = f"run-{len(self.runs)}"
        try:
            with self.store.transaction():
                self.store.add_run(run, f"part-{run}", PLAN, "plc", 10**12)
                if abort:
                    raise Aborted
        except Aborted:
            return
        self.runs[run] = {}

    @precondition(lambda self: self.runs)
    @rule(
        data=st.data(),
        verdicts=st.tuples(*[st.sampled_from([None, Verdict.OK, Verdict.NOK])] * 2),
        attempt=st.integers(1, 3),
        abort=st.booleans(),
    )
    def record(
        self,
        data: st.DataObject,
        verdicts: tuple[Verdict | None, Verdict | None],
        attempt: int,
        abort: bool,
    ) -> None:
        run = data.draw(st.sampled_from(sorted(set(self.runs) - set(self.verdicts)) or ["none"]))
        if run == "none":
            return
        message = answer(run=run, part=f"part-{run}", attempt=attempt, verdicts=verdicts)
        known = attempt in self.runs[run]
        try:
            with self.store.transaction():
                self.store.add_record(
                    message,
                    raw_of(message),
                    entries_of(message),
                    late=False,
                    outbox=(OUTBOX, self.committed + 1),
                )
                self.store.advance_outbox(OUTBOX, "edge-1", self.committed + 1)
                if abort:
                    raise Aborted
        except Aborted:
            return
        except StoreError:
            assert known, "an answer to a new order was refused"
            return
        assert not known, "a second answer to the same order was stored"
        self.runs[run][attempt] = verdicts
        self.committed += 1

    @precondition(lambda self: set(self.runs) - set(self.verdicts))
    @rule(data=st.data())
    def close_run(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(sorted(set(self.runs) - set(self.verdicts))))
        with self.store.transaction():
            (stored,) = [r for r in self.store.open_runs() if r.run == run]
            by_point: dict[str, list] = {}
            for record in stored.records:
                for entry in record.entries:
                    by_point.setdefault(entry.point, []).append(entry)
            settled = {point: settle(entries) for point, entries in by_point.items()}
            balance = count(len(PLAN.points), settled.values())
            if balance.open:
                return
            verdict = self.store.add_verdict(run, run_verdict(PLAN, settled), balance)
        assert verdict.verdict_seq > max(self.verdicts.values(), default=0)
        self.verdicts[run] = verdict.verdict_seq

    @rule(seq=st.integers(1, 5), answered=st.binary(max_size=8))
    def request(self, seq: int, answered: bytes) -> None:
        with self.store.transaction():
            known = self.store.request("plc", seq)
            assert (known is not None) == (seq in self.requests)
            if known is None and seq > self.store.last_seq("plc"):
                self.store.add_request("plc", seq, "0" * 64, answered)
                self.requests[seq] = answered

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.store = Store(self.path, "station-1", self.clock)

    @rule()
    def turn(self) -> None:
        """From here on another file is written."""
        before = self.store.period
        assert self.store.turn() is not None
        assert self.store.period == before + 1

    @invariant()
    def what_was_committed_is_there_exactly_once(self) -> None:
        with self.store.transaction():
            stored = {run.run: run for run in self.store.open_runs()}
            assert set(stored) == set(self.runs) - set(self.verdicts)
            for run, records in stored.items():
                assert sorted(r.attempt for r in records.records) == sorted(self.runs[run])
                assert self.store.check_chain(run) is not None
                for record in records.records:
                    said = [
                        Verdict.NOT_INSPECTED if v is None else v
                        for v in self.runs[run][record.attempt]
                    ]
                    order = sorted(record.entries, key=lambda entry: entry.point)
                    assert [entry.verdict for entry in order] == said
            assert self.store.outbox_position(OUTBOX)[1] == self.committed
            for seq, answered in self.requests.items():
                assert self.store.request("plc", seq) == ("0" * 64, answered)
            for run, seq in self.verdicts.items():
                found = self.store.latest_verdict(run)
                assert found is not None
                assert found.verdict_seq == seq

    @invariant()
    def a_reader_sees_the_same(self) -> None:
        counts = Reader(self.path).counts()
        attempts = sum(len(records) for records in self.runs.values())
        assert (counts["run"], counts["record"], counts["result"], counts["verdict"]) == (
            len(self.runs),
            attempts,
            attempts * len(PLAN.points),
            len(self.verdicts),
        )


StoreMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestStore = StoreMachine.TestCase
