"""Plug-ins: modules outside the package whose values join kdray's unions."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from kdray.cli import main
from kdray.core import InputError, canonical, fingerprint, parse, tag_of, value_types
from kdray.core.unions import joined
from kdray.data import AnyData
from kdray.methods import Adversarial, AnyMethod
from kdray.models import MLP, AnyModel
from kdray.perturbations import AnyInputNoise
from kdray.sweep.definition.plugins import (
    Plugin,
    load_installed_plugins,
    load_plugin,
    loaded_plugins,
    require_plugins,
    unload_plugin,
    worker_env,
)
from kdray.sweep.definition.read import load_sweep
from kdray.trials.experiment import Experiment, configuration, configuration_columns, loss_columns
from tests.shipped import PLUGINS

MY_LAB = PLUGINS / "my_lab.py"


@pytest.fixture(autouse=True)
def _none_stays() -> Iterator[None]:
    yield
    for plugin in loaded_plugins():
        unload_plugin(plugin)
    assert joined() == []


@pytest.fixture
def my_lab() -> Plugin:
    return load_plugin(MY_LAB)


LOSS = """
    from typing import ClassVar, Literal
    import kdray
    from torch.nn import functional

    class Mine(kdray.OutputMethod):
        \"\"\"Cross-entropy, halved.\"\"\"
        terms: ClassVar[tuple[str, ...]] = ("halved",)
        needs_teacher: ClassVar[bool] = False
        name: Literal["mine"] = "mine"
        scale: float = 0.5

        def compare(self, logits, labels, teacher_logits):
            loss = functional.cross_entropy(logits, labels)
            return self.scale * loss, {"halved": loss}
"""


def written(folder: Path, text: str = LOSS, name: str = "lab_of_a_test.py") -> Path:
    path = folder / name
    path.write_text(dedent(text))
    return path


def description(**parts: object) -> dict[str, object]:
    return {
        "data": {"name": "stripes"},
        "model": {"name": "one_hidden_layer", "width": 8},
        "noise": {"input": {"name": "salt_and_pepper", "rate": 0.25}},
        "training": {"epochs": 1},
        **parts,
    }


def test_members_join_their_unions_and_leave_them(my_lab: Plugin) -> None:
    for union, name in (
        (AnyMethod, "mean_squared_logits"),
        (AnyModel, "one_hidden_layer"),
        (AnyData, "stripes"),
        (AnyInputNoise, "salt_and_pepper"),
    ):
        assert [tag_of(kind) for kind in value_types(union)].count(name) == 1
    unload_plugin(my_lab)
    assert "stripes" not in [tag_of(kind) for kind in value_types(AnyData)]
    with pytest.raises(InputError, match=r"^data: unknown name 'stripes'"):
        Experiment.parse(description())


def test_an_experiment_of_members_is_read_and_written_as_any_other(my_lab: Plugin) -> None:
    teacher = description(noise={})
    method = {"name": "mean_squared_logits", "alpha": 0.5}
    experiment = Experiment.parse(description(teacher=teacher, method=method))
    assert Experiment.parse(canonical(experiment)) == experiment
    assert canonical(experiment)["method"] == {**method, "version": my_lab.digest}
    columns = configuration(experiment)
    assert columns["noise.input.rate"] == 0.25
    assert columns["teacher.model.width"] == 8
    assert configuration_columns()["data.noise"] is float
    assert "loss.logits" in loss_columns()


def test_a_loss_of_outputs_is_a_half_of_adversarial_training_too(my_lab: Plugin) -> None:
    del my_lab
    half = {"name": "mean_squared_logits"}
    parse(Adversarial, {"name": "adversarial", "perturbed": half})
    assert "perturbed_logits" in Adversarial.term_names()
    assert "loss.perturbed_logits" in loss_columns()


def test_what_is_wrong_with_a_member_is_said_as_of_kdrays_own(my_lab: Plugin) -> None:
    del my_lab
    with pytest.raises(InputError, match=r"^model\.widht: unknown key, did you mean 'width'\?"):
        Experiment.parse(description(model={"name": "one_hidden_layer", "widht": 3}))
    with pytest.raises(InputError, match=r"did you mean 'stripes'\?"):
        Experiment.parse(description(data={"name": "stripe"}))
    with pytest.raises(InputError, match=r"^noise\.input\.rate: .*less than or equal to 1"):
        Experiment.parse(description(noise={"input": {"name": "salt_and_pepper", "rate": 2}}))


def test_no_id_of_kdrays_own_changes_beside_a_plugin(my_lab: Plugin) -> None:
    own = {"data": {"name": "digits"}, "model": {"name": "mlp"}, "training": {"epochs": 1}}
    beside = Experiment.parse(own).trial_id
    unload_plugin(my_lab)
    assert Experiment.parse(own).trial_id == beside
    assert fingerprint(MLP()) == fingerprint(parse(AnyModel, {"name": "mlp"}))  # type: ignore[arg-type]


def test_a_member_without_a_version_is_identified_by_its_source(tmp_path: Path) -> None:
    ids = []
    for text in (LOSS, LOSS, LOSS.replace("halved.", "halved, said in other words.")):
        plugin = load_plugin(written(tmp_path, text))
        ids.append(fingerprint(parse(AnyMethod, {"name": "mine"})))  # type: ignore[arg-type]
        unload_plugin(plugin)
    assert ids[0] == ids[1] != ids[2]
    stated = LOSS.replace("scale: float", "version: ClassVar[int] = 3\n        scale: float")
    same = []
    for text in (stated, stated.replace("halved.", "halved, said in other words.")):
        plugin = load_plugin(written(tmp_path, text))
        same.append(canonical(parse(AnyMethod, {"name": "mine"})))  # type: ignore[arg-type]
        unload_plugin(plugin)
    assert same == [{"name": "mine", "version": 3}] * 2


def test_a_plugin_is_loaded_once(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert load_plugin(path) is load_plugin(path)
    assert len(loaded_plugins()) == 1
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(InputError, match=r"has the same name; rename one$"):
        load_plugin(written(other))


def test_a_package_and_a_module_are_plugins_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "lab_in_a_folder"
    package.mkdir()
    written(package, "from lab_in_a_folder.losses import Mine", "__init__.py")
    written(package, LOSS, "losses.py")
    plugin = load_plugin(package)
    assert [tag_of(kind) for kind in plugin.members] == ["mine"]
    assert plugin.source == package.resolve()
    written(package, LOSS + "        # changed", "losses.py")
    unload_plugin(plugin)
    sys.modules.pop("lab_in_a_folder.losses")
    assert load_plugin(package).digest != plugin.digest
    unload_plugin(loaded_plugins()[0])
    sys.modules.pop("lab_in_a_folder.losses")
    monkeypatch.syspath_prepend(tmp_path)
    assert load_plugin("lab_in_a_folder").source == package.resolve()
    sys.modules.pop("lab_in_a_folder.losses")


def test_the_environment_names_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDRAY_PLUGINS", str(written(tmp_path)))
    load_installed_plugins.cache_clear()
    load_installed_plugins()
    assert [plugin.name for plugin in loaded_plugins()] == ["lab_of_a_test"]
    load_installed_plugins.cache_clear()


def test_an_installed_package_offers_plugins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, name="installed_lab_of_a_test.py")
    about = tmp_path / "installed_lab-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: installed-lab\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[kdray.plugins]\nlab = installed_lab_of_a_test\n")
    monkeypatch.syspath_prepend(tmp_path)
    load_installed_plugins.cache_clear()
    load_installed_plugins()
    (plugin,) = loaded_plugins()
    assert [tag_of(kind) for kind in plugin.members] == ["mine"]
    load_installed_plugins.cache_clear()


def test_a_sweep_with_members_is_planned_and_shrunk(my_lab: Plugin) -> None:
    del my_lab
    for smoke in (False, True):
        sweep = load_sweep(PLUGINS / "my_lab.yaml", smoke=smoke)
        assert {space.tree["data"]["name"] for space in sweep.spaces} == {
            "digits" if smoke else "stripes"
        }


BAD = {
    "missing": ("nowhere.py", None, "there is no such file"),
    "does not parse": ("a.py", "class :", "line 1: SyntaxError: invalid syntax"),
    "does not import": (
        "a.py",
        "import kdray\nimport no_such_library",
        "a.py line 2: ModuleNotFoundError: No module named 'no_such_library'",
    ),
    "raises": (
        "a.py",
        "def f():\n    1 / 0\nf()",
        "a.py line 2: ZeroDivisionError: division by zero",
    ),
    "no member": ("a.py", "x = 1", "has no class that derives from one of "),
    "abstract": (
        "a.py",
        LOSS.replace("def compare", "def compares"),
        "Mine is abstract: it lacks compare",
    ),
    "no name": (
        "a.py",
        LOSS.replace('name: Literal["mine"] = "mine"', ""),
        'Mine has no name: write name: Literal["…"] = "…" in the class',
    ),
    "a name of kdray's": (
        "a.py",
        LOSS.replace('"mine"', '"kd"'),
        "Mine has the name 'kd', and so has kdray.methods.kd.KD",
    ),
    "a column of kdray's": (
        "a.py",
        LOSS.replace("scale: float = 0.5", 'temperature: str = "hot"'),
        "Mine.temperature is str, and the column of that name is float",
    ),
    "no name of a module": ("my lab.py", LOSS, "'my lab' cannot be the name of a Python module"),
    "the name of a library": ("json.py", LOSS, "there is another module 'json'; rename the file"),
}


@pytest.mark.parametrize(("name", "text", "message"), BAD.values(), ids=BAD.keys())
def test_a_plugin_that_cannot_join_is_one_line(
    tmp_path: Path, name: str, text: str | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name if text is None else written(tmp_path, text, name)
    before = set(sys.modules)
    assert main(["list", "methods", "--plugin", str(path)]) == 2
    out, errors = capsys.readouterr()
    assert out == ""
    (line,) = errors.splitlines()
    assert line.startswith(f"kdray: plug-in {path}: ")
    assert message in line
    assert path.stem not in set(sys.modules) - before
    assert not joined()


def test_two_plugins_with_one_name_of_a_member_are_refused(tmp_path: Path) -> None:
    load_plugin(written(tmp_path))
    with pytest.raises(InputError, match=r"has the name 'mine', and so has lab_of_a_test\.Mine$"):
        load_plugin(written(tmp_path, name="another_lab_of_a_test.py"))


def test_a_worker_has_the_plugins_of_the_driver_or_says_what_it_lacks(my_lab: Plugin) -> None:
    assert worker_env({"env_vars": {"A": "b"}}) == {
        "env_vars": {"A": "b"},
        "py_modules": [str(MY_LAB)],
    }
    assert worker_env({"py_modules": ["x"]})["py_modules"] == ["x", str(MY_LAB)]
    require_plugins([(my_lab.name, my_lab.digest)])
    with pytest.raises(InputError, match=r"is not what the sweep was started with$"):
        require_plugins([(my_lab.name, "0123456789ab")])
    with pytest.raises(
        InputError, match=r"No module named 'gone_lab'.*: it is not on this worker$"
    ):
        require_plugins([("gone_lab", "0123456789ab")])


def test_without_plugins_workers_are_prepared_as_they_were() -> None:
    assert worker_env({}) == {}


def test_list_shows_members_with_where_they_are_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "models", "--plugin", str(MY_LAB)]) == 0
    shown = capsys.readouterr().out
    assert "one_hidden_layer" in shown
    assert f"from: {MY_LAB}" in shown


RAISING = """
    from typing import Literal
    import kdray

    class Mine(kdray.Model):
        'Of certain depths.'
        name: Literal["mine"] = "mine"
        depth: int = 1

        def build(self, shape, classes):
            return {1: 2, 2: 4}[self.depth]
"""


def test_a_network_whose_code_raises_whatever_it_likes_is_a_mistake_in_one_line(
    tmp_path: Path,
) -> None:
    load_plugin(written(tmp_path, RAISING))
    model = {"name": "mine", "depth": 3}
    with pytest.raises(InputError, match=r"^model: mine cannot take images of .*: KeyError: 3$"):
        Experiment.parse({"data": {"name": "digits"}, "model": model, "training": {"epochs": 1}})
