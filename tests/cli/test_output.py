"""Output survives a reader that leaves early and a terminal that lacks our characters."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import kdray
from kdray.cli.output import reader_may_leave
from kdray.results import Store
from tests.report.page.small import Small

ROOT = Path(kdray.__file__).parent.parent


def kdray_process(*arguments: str, code: str = "", **options: object) -> subprocess.Popen[bytes]:
    command = ["-c", code] if code else ["-m", "kdray", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}  # type: ignore[dict-item]
    return subprocess.Popen([sys.executable, *command], env=environment, **options)  # type: ignore[call-overload, no-any-return]


def test_a_reader_that_leaves_early_ends_a_command_without_a_word() -> None:
    read, write = os.pipe()
    os.close(read)
    process = kdray_process("list", "methods", stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert process.communicate()[1] == b""
    assert process.returncode == 0


def test_the_exit_status_stays_though_nobody_reads_why() -> None:
    read, write = os.pipe()
    os.close(read)
    process = kdray_process("run", "nowhere.yaml", stdout=write, stderr=write)
    os.close(write)
    assert process.wait() == 2


@pytest.mark.parametrize("one_pipe", [True, False])
def test_a_page_is_written_though_nobody_reads_how_far_it_is(
    one_pipe: bool, tmp_path: Path
) -> None:
    made = Small(tmp_path / "results")
    made.point(0, [0.7, 0.8])
    made.written()
    read, write = os.pipe()
    os.close(read)
    page = tmp_path / "page.html"
    process = kdray_process(
        *("report", str(tmp_path / "results"), "--out", str(page)),
        stdout=write if one_pipe else subprocess.DEVNULL,
        stderr=write,
    )
    os.close(write)
    assert process.wait() == 0
    assert page.exists()


@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_check_that_fails_says_so_though_nobody_reads_why(buffered: str, tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    process = kdray_process(
        *("data", "mnist", "--check", "--data", str(tmp_path)),
        stdout=write,
        stderr=write,
        env={"PYTHONUNBUFFERED": buffered},
    )
    os.close(write)
    assert process.wait() == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_characters_that_a_terminal_lacks_are_escaped(encoding: str) -> None:
    process = kdray_process(
        code="from kdray.cli import main; import sys; sys.argv[1:] = ['list', 'evaluations']; "
        "sys.exit(main())",
        env={"PYTHONIOENCODING": encoding},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert b"\\u" in out


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
@pytest.mark.parametrize(("command", "status"), [("list methods", 0), ("run nowhere.yaml", 2)])
def test_a_command_does_its_work_where_an_output_is_closed(
    closed: str, command: str, status: int
) -> None:
    shell = f'"{sys.executable}" -m kdray {command} {closed}'
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(shell, shell=True, env=environment, capture_output=True, check=False)
    assert done.returncode == status
    assert b"Traceback" not in done.stderr
    assert (b"nowhere" in done.stderr) == (status == 2 and "2>&-" not in closed)
    assert b"nowhere" not in done.stdout, "no message in place of the output"


def test_an_argument_that_cannot_be_encoded_is_one_line(tmp_path: Path) -> None:
    Store(tmp_path).create()
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = ["report", str(tmp_path), "--sweep", "caf\u00e9", "--out", str(tmp_path / "p.html")]
    process = kdray_process(
        *command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.communicate()[1].splitlines()[-1].startswith(b"kdray: ")
    assert process.returncode == 2


def test_what_is_printed_after_the_reader_has_left_is_dropped() -> None:
    code = (
        "from kdray.cli.output import reader_may_leave\n"
        "for _ in range(2):\n    with reader_may_leave():\n        print('x' * 100_000)\n"
        "raise SystemExit(3)"
    )
    read, write = os.pipe()
    os.close(read)
    process = kdray_process(code=code, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert process.communicate()[1] == b""
    assert process.returncode == 3


def test_other_errors_pass() -> None:
    with pytest.raises(ValueError, match="other"), reader_may_leave():
        raise ValueError("other")
