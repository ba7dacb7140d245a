from __future__ import annotations

import importlib
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.benchmarks import frame
from tests.benchmarks.__main__ import BENCHMARKS, main
from tests.benchmarks.figures import HEAD, Figure, follow, stored
from tests.benchmarks.frame import Collection, Part, in_turn, markdown
from tests.benchmarks.slopes import exponent, exponent_beside, slope
from tests.benchmarks.steps import PASSES, cases
from tests.benchmarks.sweep_overhead import kind, spent

RATIO = Figure("warm / plain", (1.3, 1.0, 1.1), "x", "<= 1.10", "of three")
COUNT = Figure("rows", (123456.0,), "rows")


def test_a_figure_is_met_when_its_median_is_as_aimed_at() -> None:
    assert RATIO.met is True
    assert RATIO._replace(aim="<= 1.09").met is False
    assert RATIO._replace(aim=">= 1.1").met is True
    assert RATIO._replace(aim=">= 1.2").met is False
    assert COUNT.met is None


def test_the_row_of_a_figure_has_its_median_spread_and_aim() -> None:
    assert dict(zip(HEAD, RATIO.row(), strict=True)) == {
        "what": "warm / plain",
        "median": "1.1",
        "unit": "x",
        "lowest": "1",
        "highest": "1.3",
        "runs": "3",
        "aim": "<= 1.10",
        "met": "yes",
        "note": "of three",
    }
    assert COUNT.row() == ("rows", "123456", "rows", "123456", "123456", "1", "", "", "")
    assert RATIO._replace(values=(2.0,)).row()[7] == "NO"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="told by Linux only")
def test_the_cpu_that_a_program_and_what_it_starts_have_taken_is_told() -> None:
    busy = "import time\nwhile time.process_time() < 0.3: pass\n"
    code = (
        "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', "
        f"{busy + 'print(flush=True); input()'!r}]).wait()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as program:
        assert program.stdout is not None
        program.stdout.readline()
        told = spent({program.pid})
        program.communicate(b"\n")
    assert re.fullmatch(r"(.*, )?Ray's servers 0\.[3-5] s(, .*)?", told), (
        told
    )  # whatever is no agent and no worker


def test_the_floor_of_a_step_is_the_sum_of_its_passes() -> None:
    of = {case.name: case for case in cases()}
    assert of["PGD-3, mix 1"].passes == "1 to learn, 3 to craft"
    assert of["PGD-3, mix 0.5"].passes == "2 to learn, 3 to craft"
    assert of["KD, logits given"].passes == "1 to learn"
    cost = dict.fromkeys(PASSES, 1.0)
    assert [
        of[name].floor(cost) for name in ("KD, logits given", "PGD-3, mix 1", "PGD-3, mix 0.5")
    ] == [3, 9, 11]


def test_processes_of_ray_are_told_apart() -> None:
    commands = [
        "ray::TrialActor.train",
        "python ray/_private/workers/default_worker.py",
        "ray::RuntimeEnvAgent",
        "raylet --x",
    ]
    assert [kind(command) for command in commands] == [
        "workers",
        "workers",
        "Ray's agents",
        "Ray's servers",
    ]


def test_numbers_keep_three_digits_and_large_ones_all_before_the_point() -> None:
    shown = [
        Figure("", (number,), "").row()[1]
        for number in (0.01234, 12.345, 999.4, 999.6, 1234.5, 54321.0)
    ]
    assert shown == ["0.0123", "12.3", "999", "1000", "1234", "54321"]


def test_figures_are_written_as_they_are_measured_and_told_even_before_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "figures.json"

    def breaks() -> Iterator[Figure]:
        yield RATIO
        assert stored(file) == [RATIO]
        yield COUNT
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        follow(breaks(), "Reading", file)
    assert stored(file) == [RATIO, COUNT]
    said = capsys.readouterr()
    assert "warm / plain: 1.1 x (aim <= 1.10)" in said.err
    assert "Reading (" in said.out
    assert "123456" in said.out


def test_the_written_table_has_a_section_for_each_part() -> None:
    parts = {
        "reading": Part([RATIO._replace(note="a|b")], 0.5, 12.0),
        "steps": Part([], 1.0, 3.0, "ended with status 1"),
    }
    assert markdown(BENCHMARKS, "machine: of 2 CPUs", parts).splitlines() == [
        "# kdray's benchmarks",
        "",
        "machine: of 2 CPUs",
        "",
        f"## {BENCHMARKS.parts['reading']}",
        "",
        "12 s, load 0.5 when it began.",
        "",
        f"| {' | '.join(HEAD)} |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        r"| warm / plain | 1.1 | x | 1 | 1.3 | 3 | <= 1.10 | yes | a\|b |",
        "",
        f"## {BENCHMARKS.parts['steps']}",
        "",
        "3 s, load 1.0 when it began. FAILED: ended with status 1; what it measured before:",
        "",
        f"| {' | '.join(HEAD)} |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]


@pytest.mark.parametrize("name", BENCHMARKS.parts)
def test_every_part_is_a_module_that_yields_figures(name: str) -> None:
    measure: Callable[[bool], Iterator[Figure]] = importlib.import_module(
        f"tests.benchmarks.{name}"
    ).figures
    assert isinstance(measure(True), Iterator)


class Programs:
    """In place of benchmarks: what each of them does, as Python."""

    def __init__(self, sources: dict[str, str]) -> None:
        self._sources = sources

    def __call__(self, module: str, file: Path, options: Sequence[str]) -> list[str]:
        name, short = module.rpartition(".")[-1], "--short" in options
        write = (
            f'open({str(file)!r}, \'w\').write(\'["{name}, short: {short}", [2.0], "x", "<= 1", '
            '""]\\n\')'
        )
        return [sys.executable, "-S", "-c", f"{write}; {self._sources[name]}"]


def test_a_part_that_fails_loses_no_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = {"distillation": "pass", "batches": "raise SystemExit(3)", "reading": "pass"}
    monkeypatch.setattr(frame, "command", Programs(sources))
    out = tmp_path / "new" / "figures.md"
    assert main([*sources, "--out", str(out)]) == 1
    written, said = out.read_text(), capsys.readouterr()
    for name in sources:
        assert f"## {BENCHMARKS.parts[name]}" in written
        assert f"| {name}, short: False | 2 |" in written
        assert f"not as aimed at: {name}, short: False: 2 x (aim <= 1, NOT met)" in said.out
    assert written.count("FAILED") == 1
    assert "failed: batches" in said.out
    assert "batches: 0 s, load" in said.err


def test_an_aim_that_is_missed_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(frame, "command", Programs({"reading": "pass"}))
    assert main(["reading", "--short"]) == 0
    assert "reading, short: True: 2 x (aim <= 1, NOT met)" in capsys.readouterr().out


def test_a_part_whose_module_is_missing_fails_by_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(BENCHMARKS.parts, "absent", "9. What nobody wrote")
    monkeypatch.setattr(frame, "command", lambda module, *_: [sys.executable, "-S", "-m", module])
    assert main(["absent"]) == 1
    assert "failed: absent" in capsys.readouterr().out


def test_what_could_not_be_measured_says_why_and_misses_its_aim() -> None:
    why = Figure("bits", (), "tensors", "<= 0", "failed: no driver")
    assert why.row() == ("bits", "", "tensors", "", "", "0", "<= 0", "NO", "failed: no driver")
    assert why.line == "bits: failed: no driver"
    assert why._replace(aim=None).met is None


def test_a_part_that_takes_too_long_is_broken_off_and_the_next_has_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = {"slow": "import time; time.sleep(60)", "quick": "pass"}
    monkeypatch.setattr(frame, "command", Programs(sources))
    both = Collection("both", "here", {name: name for name in sources}, {"slow": 1, "quick": 9})
    began = time.monotonic()
    found = in_turn(both, list(sources), [], None, 20.0)
    assert time.monotonic() - began < 20
    assert found["slow"].failure == "broken off after 2 s, for the sake of the others"
    assert found["quick"].failure is None
    assert all(part.figures for part in found.values())


def test_time_that_is_left_goes_to_those_that_follow() -> None:
    three = Collection("", "", {}, {"a": 1, "b": 2, "c": 1})
    assert three.limit("a", ["b", "c"], 40.0) == 10
    assert three.limit("b", ["c"], 39.0) == 26
    assert three.limit("c", [], 30.0) == 30


def test_a_silent_part_is_still_heard_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(frame, "command", Programs({"reading": "import time; time.sleep(0.2)"}))
    monkeypatch.setattr(frame, "SILENCE", 0.05)
    assert main(["reading"]) == 0
    assert "reading: 0 s so far" in capsys.readouterr().err


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["nonsense"])
    assert stopped.value.code == 2
    assert "no such part: nonsense (allowed: distillation, " in capsys.readouterr().err


def test_the_exponent_of_a_power_is_found() -> None:
    sizes = (10, 40, 160)
    assert exponent(sizes, [3 * size**1.5 for size in sizes]) == pytest.approx(1.5)
    assert exponent(sizes, [7.0, 7.0, 7.0]) == pytest.approx(0)
    assert exponent_beside(sizes, [100 + 3 * size**1.5 for size in sizes]) == pytest.approx(1.5)


def test_a_slope_may_be_a_tenth_steeper_than_expected() -> None:
    steeper, steep = (slope("", (1, 10), [(1.0, 10**b)], 1, "") for b in (1.15, 1.05))
    assert (steeper.met, steep.met) == (False, True)
