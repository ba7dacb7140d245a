"""Values and what is said about them: identity, dotted paths, one-line explanations, named random
streams. Only the last loads torch."""

from kdray.core.effort import Effort, efforts, efforts_below
from kdray.core.explain import InputError, describe, explain, parse, shortened, unknown_key
from kdray.core.leaves import leaf_types, leaves
from kdray.core.unions import OpenUnion, of_all_members, value_types
from kdray.core.values import (
    Json,
    OneOrMore,
    Several,
    Value,
    canonical,
    canonical_json,
    fingerprint,
    several,
    tag_of,
)

__all__ = [
    "Effort",
    "InputError",
    "Json",
    "OneOrMore",
    "OpenUnion",
    "Several",
    "Value",
    "canonical",
    "canonical_json",
    "describe",
    "efforts",
    "efforts_below",
    "explain",
    "fingerprint",
    "leaf_types",
    "leaves",
    "of_all_members",
    "parse",
    "several",
    "shortened",
    "tag_of",
    "unknown_key",
    "value_types",
]
