"""What other programs and the standard's tables find wrong with a DICOM file."""

import json
import subprocess
from pathlib import Path

import pytest


def errors_of(program, paths):
    """Lines of dciodvfy or dcentvfy that are errors."""
    done = subprocess.run([program, *map(str, paths)], capture_output=True, text=True, errors="replace", check=False)
    lines = (done.stdout + done.stderr).splitlines()
    # The edition of 2022 does not know SyntheticData, (0008,001C).
    return [line for line in lines if "Error" in line and "(0x0008,0x001c)" not in line.lower()]


def missing_attributes(dataset, kind):
    """Attributes of the mandatory modules of an object that are absent, or empty though they may not be."""
    highdicom = pytest.importorskip("highdicom")
    folder = Path(highdicom.__file__).parent / "_standard"
    modules = json.loads((folder / "iod_module_map.json").read_text())[kind]
    attributes = json.loads((folder / "module_attribute_map.json").read_text())
    missing = []
    for module in modules:
        for attribute in attributes[module["key"]] if module["usage"] == "M" else ():
            if attribute["path"] or attribute["type"] not in ("1", "2"):
                continue
            if attribute["keyword"] not in dataset:
                missing.append(f"{module['key']}: {attribute['keyword']} absent")
            elif attribute["type"] == "1" and dataset[attribute["keyword"]].is_empty:
                missing.append(f"{module['key']}: {attribute['keyword']} empty")
    return missing
