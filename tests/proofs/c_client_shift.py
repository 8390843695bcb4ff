"""A shift of the C client on a wire that is cut: one JSON line.

python tests/proofs/c_client_shift.py [--parts N] [--cuts N] [--kills N] [--seed S] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import c_client
import circuit_boards


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="the C client through a shift with link cuts")
    parser.add_argument("--parts", type=int, default=300)
    parser.add_argument("--cuts", type=int, default=100)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    if why := c_client.why_not_here():
        print(f"the proof of the C client is left out: {why}", file=sys.stderr)
        return 0
    with tempfile.TemporaryDirectory(prefix="c-client-") as name:
        folder = Path(name)
        program = c_client.build(folder / "program")
        went = c_client.shift(
            folder,
            program,
            parts=options.parts,
            cuts=options.cuts,
            kills=options.kills,
            seed=options.seed,
        )
    line = json.dumps(
        {
            "claim": "C client",
            "commit": circuit_boards.commit(),
            "seed": options.seed,
            "parts": options.parts,
            "connections_cut": went.cuts,
            "kills": went.kills,
            **{name.lower(): went.actions[name] for name in ("RELEASE", "DIVERT", "HOLD")},
            "missed": len(went.missed),
            "taken_twice": len(went.twice),
            "stale_accepted": len(went.stale),
            "other": len(went.other),
            "seconds": round(went.seconds),
        }
    )
    print(line, flush=True)
    if options.json is not None:
        options.json.write_text(line + "\n", "utf-8")
    for what in (*went.missed, *went.twice, *went.stale, *went.other):
        print(what, file=sys.stderr)
    return not went.clean


if __name__ == "__main__":
    raise SystemExit(main())
