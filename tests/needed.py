"""What a test needs of its machine: without it, it fails where `CI=true`, and elsewhere says why it is passed over."""

import os
import shutil

import pytest


def needed(present: object, what: str) -> None:
    """Goes on where the thing is present; `what` names it and how to get it."""
    if present:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"needs {what}")
    pytest.skip(f"needs {what}")


def needs_command(command: str, package: str) -> None:
    """Goes on where a command of a Debian package is installed."""
    needed(shutil.which(command), f"{command}: apt-get install {package}")
