"""What the documentation says is what the program does."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import msgspec
import pytest

from edge.config import EdgeFile, EvidenceFile, ModelShares
from inspection.config import read_config
from inspection.messages import Fault
from inspection.station.config import StationFile
from inspection.testing.plc_command import PlcFile
from ui.configuration import UiFile

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_table_of_fault_codes_is_the_enumeration() -> None:
    text = (ROOT / "docs" / "plc.md").read_text("utf-8")
    table = re.findall(r"^\| (\d+) \| ([A-Z_]+) \|", text, flags=re.MULTILINE)
    assert {(int(code), name) for code, name in table} == {(f.value, f.name) for f in Fault}


@pytest.mark.parametrize(
    ("document", "name", "struct"),
    [
        ("README.md", "station.toml", StationFile),
        ("README.md", "edge.toml", EdgeFile),
        ("README.md", "ui.toml", UiFile),
        ("docs/plc.md", 'plc = "plc-1"', PlcFile),
    ],
)
def test_the_configurations_shown_are_read_as_they_stand(
    tmp_path: Path, document: str, name: str, struct: type
) -> None:
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / document).read_text("utf-8"), flags=re.DOTALL)
    (block,) = (block for block in blocks if name in block.splitlines()[0])
    path = tmp_path / "shown.toml"
    path.write_text(block, "utf-8")
    assert isinstance(read_config(path, struct), struct)


def test_the_shares_of_evidence_shown_are_the_defaults() -> None:
    text = (ROOT / "docs" / "evidence.md").read_text("utf-8")
    (block,) = re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    shown = msgspec.convert(msgspec.toml.decode(block)["evidence"], EvidenceFile)
    assert shown.models == {"clip": ModelShares(ok_share=0.05)}
    assert msgspec.structs.replace(shown, models={}) == EvidenceFile()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text("utf-8"))
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (document.parent / link).exists()] == []


def test_every_decision_is_in_the_list() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = (folder / "README.md").read_text("utf-8")
    for path in folder.glob("0*.md"):
        assert path.name in listed
        text = path.read_text("utf-8")
        for part in ("Status", "Context", "Decision", "Consequences"):
            assert f"**{part}**" in text, (path.name, part)


def test_no_tracked_file_names_a_place_of_one_machine() -> None:
    done = subprocess.run(
        ["git", "grep", "-nE", r"(^|[^A-Za-z0-9_.])/(work|root|farm)/", "--", "."],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if "test_docs.py" not in line]
    assert lines == []
