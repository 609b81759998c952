"""A worker that counts how often it was asked what it has counted, and says nothing until it may.

It makes the file `begun` in the folder that stands in its settings, and waits for a file `may-speak` there.
"""

import sys
import time
from pathlib import Path

import msgspec

from reploc.telemetry import Family
from reploc.workers import Brief


def main() -> None:
    lines = sys.stdin.buffer
    folder = Path(msgspec.json.decode(msgspec.json.decode(lines.readline(), type=Brief).settings)["folder"])
    (folder / "begun").touch()
    for asked, _ in enumerate(iter(lines.readline, b""), 1):
        while not (folder / "may-speak").exists():
            time.sleep(0.01)
        said = [Family("asked", "counter", "How often it was asked", [("asked_total", {}, float(asked))])]
        sys.stdout.buffer.write(msgspec.json.encode(said) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
