"""The example of `docs/security.md`, taken from there and walked from the authority to the answer who may what."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from daemon import process
from grid import until

from reploc.demo.ports import free_port

PAGE = Path(__file__).parents[2] / "docs" / "security.md"


def blocks() -> list[str]:
    """What stands in the fences of the section, without their first lines, in order."""
    section = PAGE.read_text().partition("## The whole way, once\n")[2].partition("\n## ")[0]
    return [fence.partition("\n")[2] for fence in section.split("```")[1::2]]


def run(command: str, folder: Path, **variables: str) -> tuple[int, str]:
    """The status of a `reploc` command and what it says."""
    words = [sys.executable, "-m", *shlex.split(command)]
    environment = os.environ | variables
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


async def test_the_example_does_what_the_page_says(tmp_path: Path) -> None:
    issue, rules, settings, _, asked = blocks()
    for command in issue.splitlines():
        assert run(command, tmp_path)[0] == 0, command
    (tmp_path / "rules.toml").write_text(rules)
    url = f"https://127.0.0.1:{free_port()}"
    settings = settings.replace("127.0.0.1:39280", url.removeprefix("https://"))
    for name in ("store", "ca/", "rules.toml", "audit.jsonl"):  # the page has them beside the settings
        settings = settings.replace(f'"{name}', f'"{tmp_path / name}' + ("/" if name.endswith("/") else ""))
    (tmp_path / "lrc.toml").write_text(settings)
    export, whoami, may, may_not = asked.splitlines()
    variables = dict(word.partition("=")[::2] for word in export.split()[1:])
    whoami = whoami.replace("https://127.0.0.1:39280", url)
    daemon = process("lrc", tmp_path / "lrc.toml", url)
    daemon.start()
    try:

        async def said() -> tuple[int, str]:
            return run(whoami, tmp_path, **variables)

        _, words = await until(said, lambda answer: answer[0] == 0, "the catalog answers")
        assert "/O=reploc/OU=people/CN=jane" in words
        assert words.count("/store/mc/") == 2
        status, words = run(may, tmp_path)
        assert (status, words.startswith("allowed: rule 1")) == (0, True), words
        status, words = run(may_not, tmp_path)
        assert (status, words.startswith("refused: ")) == (1, True), words
        assert run("reploc ca revoke ca jane", tmp_path)[0] == 0
        await until(said, lambda answer: answer[0] != 0, "she is refused")
    finally:
        daemon.stop()
