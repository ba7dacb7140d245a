"""The same attack by other libraries, and the reference's corruptions image by image.

As documented, foolbox and ART are given the network as a user has it, whose weights want gradients;
helped, it is frozen, as kdray's evaluations have it. torchattacks pins another requests than
everything else, and the reference's script wants names that NumPy, SciPy and scikit-image have
dropped: both run in a process of their own,

    python -m tests.benchmarks.peers torchattacks FOLDER
    python -m tests.benchmarks.peers make_cifar_c FOLDER IMAGES.npy

to which weights go as safetensors and images as .npy; it prints JSON.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from kdray.models import Classifier
from kdray.teachers import frozen
from tests.benchmarks.measuring import say, timed
from tests.benchmarks.networks import EPSILON, STEP_SIZE, Logits, Name, Target, untrained

STEPS, RESTARTS = 20, 5


class Attacked(NamedTuple):
    """What one run of an attack took and left."""

    seconds: float
    correct: int


Peer = Callable[[Classifier, Tensor, Tensor], int]
"""A classifier, images and labels in, and how many images no restart has broken."""


def foolbox_documented(classifier: Classifier, images: Tensor, labels: Tensor) -> int:
    """Called once for each restart, on all images."""
    standing = torch.ones_like(labels, dtype=torch.bool)
    with as_a_user_has_it(classifier):
        for _ in range(RESTARTS):
            standing &= ~_foolbox(classifier, images, labels)
    return int(standing.sum())


@contextmanager
def as_a_user_has_it(classifier: Classifier) -> Iterator[None]:
    """Weights that want gradients: no library's documentation says to freeze them."""
    classifier.requires_grad_(True)
    try:
        yield
    finally:
        classifier.requires_grad_(False)


def foolbox_helped(classifier: Classifier, images: Tensor, labels: Tensor) -> int:
    """The caller leaves out what is misclassified without attack, and what a restart has broken."""
    with torch.no_grad():
        right = classifier.logits(images).argmax(1) == labels
    for _ in range(RESTARTS):
        images, labels = images[right], labels[right]
        if not len(labels):
            break
        right = ~_foolbox(classifier, images, labels)
    return int(right.sum())


def _foolbox(classifier: Classifier, images: Tensor, labels: Tensor) -> Tensor:
    """Which images one run breaks."""
    import foolbox

    model = foolbox.PyTorchModel(Logits(classifier).eval(), bounds=(0, 1), device="cpu")
    attack = foolbox.attacks.LinfPGD(abs_stepsize=STEP_SIZE, steps=STEPS, random_start=True)
    broken: Tensor = attack(model, images, labels, epsilons=EPSILON)[2]
    return broken


def art(classifier: Classifier, images: Tensor, labels: Tensor) -> int:
    """With restarts of its own, and one prediction at the end."""
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    model = PyTorchClassifier(
        Logits(classifier).eval(),
        loss=nn.CrossEntropyLoss(),
        input_shape=tuple(images.shape[1:]),
        nb_classes=10,
        clip_values=(0, 1),
        device_type="cpu",
    )
    attack = ProjectedGradientDescentPyTorch(
        model,
        norm=np.inf,
        eps=EPSILON,
        eps_step=STEP_SIZE,
        max_iter=STEPS,
        num_random_init=RESTARTS,
        batch_size=len(images),
        verbose=False,
    )
    with as_a_user_has_it(classifier):
        adversarial = attack.generate(images.numpy(), labels.numpy())
        predicted = model.predict(adversarial, batch_size=len(images)).argmax(1)
    return int((predicted == labels.numpy()).sum())


def torchattacks(classifier: Classifier, images: Tensor, labels: Tensor) -> int:
    """MultiAttack, as its documentation composes restarts: it leaves out what one has broken."""
    import torchattacks as library

    model = Logits(classifier).eval()
    restarts = [
        library.PGD(model, eps=EPSILON, alpha=STEP_SIZE, steps=STEPS, random_start=True)
        for _ in range(RESTARTS)
    ]
    adversarial = library.MultiAttack(restarts)(images, labels)
    with torch.no_grad():
        return int((model(adversarial).argmax(1) == labels).sum())


def attacked_by(peer: Peer, target: Target, images: Tensor, labels: Tensor) -> Attacked:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Attacked(*timed(lambda: peer(target.classifier, images, labels)))


def torchattacks_environment(folder: Path) -> Path:
    """A virtual environment with torchattacks and the requests that it wants; all else is this
    one's, torch above all."""
    python = folder / "bin" / "python"
    if python.exists():
        return python
    say(f"installing torchattacks into {folder}")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    own = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    here = json.dumps(sysconfig.get_path("purelib"))
    (own / "shared.pth").write_text(f"import site; site.addsitedir({here})\n")
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", "torchattacks"], check=True)
    return python


def torchattacks_apart(
    python: Path, target: Target, images: Tensor, labels: Tensor, repeats: int
) -> list[Attacked]:
    """In its own environment on as many threads, as often as asked, after one run on one image that
    does not count."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        safetensors.torch.save_file(target.classifier.state_dict(), folder / "weights.safetensors")
        np.save(folder / "images.npy", images.numpy())
        np.save(folder / "labels.npy", labels.numpy())
        asked = {"name": target.name, "repeats": repeats, "threads": torch.get_num_threads()}
        (folder / "asked.json").write_text(json.dumps(asked))
        command = [str(python), "-m", "tests.benchmarks.peers", "torchattacks", name]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [Attacked(*each) for each in json.loads(said.splitlines()[-1])]


def _torchattacks_there(folder: Path) -> list[Attacked]:
    asked: dict[str, Any] = json.loads((folder / "asked.json").read_text())
    torch.set_num_threads(asked["threads"])
    name: Name = asked["name"]
    classifier = untrained(name)
    classifier.load_state_dict(safetensors.torch.load_file(folder / "weights.safetensors"))
    target = Target(name, False, frozen(classifier))
    images, labels = (
        torch.from_numpy(np.load(folder / f"{n}.npy", allow_pickle=False))
        for n in ("images", "labels")
    )
    attacked_by(torchattacks, target, images[:1], labels[:1])
    return [attacked_by(torchattacks, target, images, labels) for _ in range(asked["repeats"])]


def reference_corruptions(script_folder: Path, images: np.ndarray) -> dict[str, list[float]]:
    """Seconds for an image of (N, 32, 32, 3) uint8 ``images`` by the reference's functions: by
    kind, at severities 1 to 5."""
    with tempfile.TemporaryDirectory() as name:
        np.save(Path(name) / "images.npy", images)
        command = [
            sys.executable,
            "-m",
            "tests.benchmarks.peers",
            "make_cifar_c",
            str(script_folder),
            f"{name}/images.npy",
        ]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, list[float]] = json.loads(said.splitlines()[-1])
    return found


def _reference_there(
    folder: Path, images: np.ndarray, kinds: tuple[str, ...]
) -> dict[str, list[float]]:
    from PIL import Image

    functions = _functions_of(folder.absolute() / "make_cifar_c.py")
    shown = [Image.fromarray(image) for image in images]
    os.chdir(folder)  # frost reads its photographs from here
    found = {}
    for kind in kinds:
        corrupt = getattr(functions, kind)
        corrupt(shown[0], 1)
        found[kind] = [
            timed(lambda c=corrupt, s=severity: [np.uint8(c(image, s)) for image in shown])[0]
            / len(shown)
            for severity in (1, 2, 3, 4, 5)
        ]
        say(f"reference {kind}: {1e3 * np.mean(found[kind]):.2f} ms an image")
    return found


class _DefinedEverything(Exception):
    """The script has defined its functions and goes on to corrupt CIFAR-10."""


def _functions_of(script: Path) -> types.ModuleType:
    """The module of the reference's script, stopped where it starts to work."""
    warnings.simplefilter("ignore")
    spec = importlib.util.spec_from_file_location("make_cifar_c", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    _bring_back_names()
    try:
        spec.loader.exec_module(module)
    except _DefinedEverything:
        return module
    raise SystemExit(f"{script} is not the script that was expected: it does not read CIFAR-10")


def _bring_back_names() -> None:
    """What NumPy 2, SciPy and scikit-image no longer have, for the rest of this process."""
    import scipy.ndimage
    import skimage.filters

    def stop(*_: object, **__: object) -> None:
        raise _DefinedEverything

    current = skimage.filters.gaussian

    def gaussian(
        image: np.ndarray, *given: Any, multichannel: bool = False, **named: Any
    ) -> np.ndarray:
        blurred: np.ndarray = current(
            image, *given, channel_axis=-1 if multichannel else None, **named
        )
        return blurred

    skimage.filters.gaussian = gaussian
    sys.modules["scipy.ndimage.interpolation"] = scipy.ndimage
    vars(np).update(
        float_=np.float64, fromstring=lambda text, dtype: np.frombuffer(text, dtype).copy()
    )
    # torchvision serves it to read CIFAR-10 only.
    datasets, transforms = (
        types.ModuleType("torchvision.datasets"),
        types.ModuleType("torchvision.transforms"),
    )
    vars(datasets).update(CIFAR10=stop)
    vars(transforms).update(Compose=list, ToTensor=object, ToPILImage=object)
    whole = types.ModuleType("torchvision")
    vars(whole).update(datasets=datasets, transforms=transforms)
    sys.modules.update({module.__name__: module for module in (whole, datasets, transforms)})


if __name__ == "__main__":
    what, *given = sys.argv[1:]
    if what == "torchattacks":
        print(json.dumps(_torchattacks_there(Path(given[0]))))
    else:
        from kdray.perturbations.corruptions import CORRUPTIONS

        print(
            json.dumps(
                _reference_there(Path(given[0]), np.load(given[1], allow_pickle=False), CORRUPTIONS)
            )
        )
