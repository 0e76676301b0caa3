"""The compact table of the README from the tables of ``benchmarks.count_levels``.

python -m benchmarks.summary benchmarks/results/count_levels-*/table.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

ARMS = (("model standard", "lowcount-pet"), ("best Gaussian of the source", "best Gaussian"), ("source", "input"))
COLUMNS = (
    ("NRMSE", None),
    ("SSIM", None),
    ("recovery", "lesions 10-18 mm"),
    ("recovery", "lesions 18-25 mm"),
    ("recovery", "lesions >=25 mm"),
    ("COV", None),
    ("false structures", None),
)


def cell(rows: list[dict[str, Any]], arm: str, counts: str, name: str, mask: str | None) -> str:
    """Median and interval of one number."""
    for row in rows:
        if row["arm"] == arm and row["counts"] == counts and row["name"] == name and mask in (None, row["mask"]):
            digits = 1 if name == "false structures" else 2
            return f"{row['median']:.{digits}f} [{row['lower']:.{digits}f}, {row['upper']:.{digits}f}]"
    return ""


def main() -> None:
    """Print one table for each test."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path, nargs="+")
    for path in parser.parse_args().tables:
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        titles = [f"{name}{f', {mask[8:]}' if mask else ''}" for name, mask in COLUMNS]
        print(f"\n**{rows[0]['test']}**\n\n| counts | method | " + " | ".join(titles) + " |")
        print("|" + "---|" * (len(COLUMNS) + 2))
        for counts in dict.fromkeys(row["counts"] for row in rows):
            for arm, title in ARMS:
                if counts == "1/1" and arm == "model standard":
                    arm, title = "full counts through the model", "lowcount-pet"
                cells = [cell(rows, arm, counts, name, mask) for name, mask in COLUMNS]
                print(f"| {counts} | {title} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
