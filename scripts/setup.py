"""Create a virtual environment and install nmsynth in it; do nothing when both are up to date.

Use: ``python scripts/setup.py [VENV]``. Needs only Python and its ``venv``. A stamp in the environment holds the hash
of what decides its content.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DECIDING = ("pyproject.toml", "constraints.txt", "scripts/setup.py")
EXTRAS = "train,export,fast,codecs,dev"


def say(text: str) -> None:
    """Write a line to stderr, in order with the output of the programs that run."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def stamp_of(python: Path) -> str:
    """Hash of the deciding files and of the place and version of the environment's Python."""
    digest = hashlib.sha256(f"{python} {sys.version_info[:2]} {ROOT}".encode())
    for name in DECIDING:
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def run(*command: str) -> None:
    """Run a program; where it fails, say which and stop with its status."""
    done = subprocess.run(command, cwd=ROOT, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        say(f"Set-up stopped: '{' '.join(command)}' ended with status {done.returncode}.")
        sys.exit(done.returncode)


def main() -> None:
    """Set up unless the stamp says that it has been done."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this script also runs on a Python that is too old
        sys.exit(f"nmsynth needs Python 3.11 or later; this is {sys.version.split()[0]}.")
    venv = (ROOT / (sys.argv[1] if len(sys.argv) > 1 else ".venv")).absolute()
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = venv / ".nmsynth-setup"
    wanted = stamp_of(python)
    if stamp.is_file() and stamp.read_text() == wanted and python.exists():
        return
    if not python.exists():
        say(f"Creating the environment {venv.name} with Python {sys.version.split()[0]}")
        if subprocess.run([sys.executable, "-c", "import ensurepip, venv"], check=False).returncode:
            sys.exit("This Python cannot create environments; on Debian or Ubuntu: apt install python3-venv")
        run(sys.executable, "-m", "venv", str(venv))
    say(f"Installing nmsynth[{EXTRAS}]; a first time takes some minutes")
    run(str(python), "-m", "pip", "install", "-q", "-c", "constraints.txt", "-e", f".[{EXTRAS}]")
    stamp.write_text(wanted)
    say("Set-up done")


if __name__ == "__main__":
    main()
