"""How long whole commands take, what memory they need, and a comparison with MONAI's sliding window.

    python benchmarks/speed.py --series ../shared/data/pet_wholebody_ge --json speed.json

Each command runs as its own process on the cores it is given, from a cold start: the interpreter, imports, reading,
the network, writing. Wall time depends on what else the machine does; processor seconds are printed beside it.
MONAI is optional; where it is installed, the same network runs over the same volume with both.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BARS = {"help": 0.5, "first voxel": 5.0, "DICOM to DICOM": 20.0, "peak MB": 2000.0}
"""What the project asks of itself [s], [MB], on two cores."""


def measure(command: list[str]) -> dict[str, float]:
    """Wall and processor seconds and peak memory of a command."""
    started = time.time()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.time() - started
    message = process.stderr.read().decode(errors="replace") if process.stderr else ""
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command[2:5])} failed: {message[-500:]}")
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return {
        "started": started,
        "wall_s": round(wall, 2),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mb": round(usage.ru_maxrss * unit / 1e6),
    }


def measure_help(*, repeats: int) -> dict[str, float]:
    """The fastest of several runs of ``nmsynth --help``."""
    runs = [measure([sys.executable, "-m", "nmsynth", "--help"]) for _ in range(repeats)]
    return min(runs, key=lambda run: run["wall_s"])


def measure_synthesis(series: Path, model: str, backend: str, *, cores: int) -> dict[str, Any]:
    """``nmsynth synthesize`` from DICOM to DICOM, with the time to its first voxel."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out"
        command = [sys.executable, "-m", "nmsynth", "-q", "synthesize", str(series), str(output), "--model", model]
        command += ["--threads", str(cores), "--set", f"backend={backend}"]
        run: dict[str, Any] = measure(command)
        record = json.loads((Path(folder) / "out.json").read_text(encoding="utf-8"))
        run["n_files"] = len(list(output.iterdir()))
    run["first_voxel_s"] = round(record["run"]["first_voxel_time"] - run["started"], 2)
    return run | {"backend": backend, "tile": record["run"]["tile"], "times_s": record["times_s"]}


def compare_with_monai(series: Path, model: str, *, cores: int) -> dict[str, Any]:
    """The network over the whole volume, by MONAI's sliding window and by the model's own tiles, in this process."""
    import numpy as np
    import torch
    from monai.inferers import sliding_window_inference

    from nmsynth import load_model, read

    torch.set_num_threads(cores)
    volume = read(series)
    loaded = load_model(model)
    times: dict[str, float] = {}
    processor: dict[str, float] = {}
    backends = ["torch"] + (["openvino"] if importlib.util.find_spec("openvino") else [])
    images = {}
    for backend in backends:
        loaded.predict(volume.array[:32], backend=backend, threads=cores)
        started, used = time.perf_counter(), time.process_time()
        images[backend] = loaded.predict(volume.array, backend=backend, threads=cores, heads=True)["mean"]
        times[backend], processor[backend] = time.perf_counter() - started, time.process_time() - used
        if backend == "torch":
            window = loaded.last_run["tile"]
    source = torch.from_numpy(np.array(volume.array))[None, None]
    started, used = time.perf_counter(), time.process_time()
    with torch.inference_mode():
        result = sliding_window_inference(source, window, 1, loaded.network, overlap=0.25, mode="gaussian")
    times["monai"], processor["monai"] = time.perf_counter() - started, time.process_time() - used
    scale = float(np.abs(images["torch"]).max())
    inner = slice(loaded.network.margin[0], -loaded.network.margin[0])
    by_monai = result[0, 0].numpy()
    return {
        "window": window,
        "overlap": 0.25,
        "seconds": {name: round(value, 2) for name, value in times.items()},
        "cpu_seconds": {name: round(value, 2) for name, value in processor.items()},
        "ratio_to_monai": {name: round(times[name] / times["monai"], 2) for name in backends},
        "largest_difference_to_monai": round(float(np.abs(by_monai - images["torch"])[inner].max()) / scale, 6),
        "largest_difference_between_backends": round(
            max(float(np.abs(images[name] - images["torch"]).max()) for name in backends) / scale, 9
        ),
    }


def table(results: dict[str, Any]) -> str:
    """Results as a small table."""
    lines = [f"{'':34}{'wall s':>8}{'cpu s':>8}{'peak MB':>9}{'bar':>12}"]
    shown = results["help"]
    lines.append(
        f"{'nmsynth --help':34}{shown['wall_s']:8.2f}{shown['cpu_s']:8.2f}{shown['peak_mb']:9.0f}{'0.5 s':>12}"
    )
    for run in results["synthesize"]:
        name = f"DICOM to DICOM, {run['backend']}"
        bar = "20 s, 2 GB" if run["backend"] == "openvino" else ""
        lines.append(f"{name:34}{run['wall_s']:8.2f}{run['cpu_s']:8.2f}{run['peak_mb']:9.0f}{bar:>12}")
        bar = "5 s" if run["backend"] == "torch" else ""
        lines.append(f"{'  of which to the first voxel':34}{run['first_voxel_s']:8.2f}{'':17}{bar:>12}")
    if "monai" in results:
        monai = results["monai"]
        for name, seconds in monai["seconds"].items():
            ratio = f"{monai['ratio_to_monai'].get(name, 1.0):.2f} x MONAI"
            lines.append(
                f"{'network over the volume, ' + name:34}{seconds:8.2f}"
                f"{monai['cpu_seconds'][name]:8.2f}{'':9}{ratio:>14}"
            )
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Speed and memory of whole commands.")
    parser.add_argument("--series", type=Path, default=Path("../shared/data/pet_wholebody_ge"), help="DICOM series")
    parser.add_argument("--model", default="lowcount-pet", help="name or folder of a model")
    parser.add_argument("--cores", type=int, default=2, help="processor cores to use")
    parser.add_argument("--repeats", type=int, default=5, help="runs of --help, of which the fastest counts")
    parser.add_argument("--json", type=Path, help="file to write the results to")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    backends = ["torch"] + (["openvino"] if importlib.util.find_spec("openvino") else [])
    results: dict[str, Any] = {
        "schema_version": 1,
        "bars": BARS,
        "machine": {"processor": platform.processor() or platform.machine(), "cores": options.cores},
        "load_before": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "help": measure_help(repeats=options.repeats),
        "synthesize": [
            measure_synthesis(options.series, options.model, name, cores=options.cores) for name in backends
        ],
    }
    if importlib.util.find_spec("monai"):
        results["monai"] = compare_with_monai(options.series, options.model, cores=options.cores)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(table(results))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
