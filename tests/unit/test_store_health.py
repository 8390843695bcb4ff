"""Whether edges and PLC are there, as the station wrote it down last."""

from __future__ import annotations

from test_station_people import OK_NOK, Floor, one_file

from inspection import messages as m
from inspection.store.health import health

__all__ = ["one_file"]


def test_an_edge_is_there_until_it_is_lost_and_a_verdict_taken_until_the_next(
    one_file: Floor,
) -> None:
    nothing = health(one_file.reader)
    assert (nothing.edges, nothing.taken_ns) == ((), None)
    run = one_file.inspected(OK_NOK)
    found = health(one_file.reader)
    ((edge,), taken) = found.edges, found.taken_ns
    assert (edge.edge, edge.connected) == ("edge-1", True)
    assert taken is None
    verdict = one_file.verdict(run)
    one_file.ask(m.Ack, run=run, verdict_seq=verdict.verdict_seq)
    assert health(one_file.reader).taken_ns is not None
    one_file.clock.advance(ms=60_000)
    one_file.status()
    (edge,) = health(one_file.reader).edges
    assert not edge.connected
    assert edge.since_ns > verdict.verdict_seq
