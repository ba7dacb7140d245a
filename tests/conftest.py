"""Shapes in annotations are checked while the tests run, in the packages that work on tensors."""

from jaxtyping import install_import_hook

install_import_hook(
    ["kdray.data", "kdray.methods", "kdray.models", "kdray.perturbations", "kdray.robustness", "kdray.teachers"],
    "beartype.beartype",
)
