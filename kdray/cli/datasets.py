"""``kdray data``: fetching and checking data sets."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kdray.cli.status import FAILED, OK
from kdray.core import InputError

if TYPE_CHECKING:
    from kdray.data import CINIC10, VisionData


def data(chosen: argparse.Namespace) -> int:
    from kdray.core import parse, tag_of, value_types
    from kdray.data import CINIC10, AnyData, ImageData, OwnData, VisionData, data_root

    root = data_root(chosen.data)
    own = {tag_of(kind): kind for kind in value_types(AnyData) if issubclass(kind, OwnData)}
    if chosen.name in own:
        print(
            f"{chosen.name}: your own images, nothing to fetch; put "
            f"{own[chosen.name].needed} below {root}"
        )
        print(
            f"and describe them in the sweep: data: {{name: {chosen.name}, path: …, …}} "
            "('kdray list datasets')"
        )
        return OK
    described: ImageData = parse(AnyData, {"name": chosen.name}, "NAME")  # type: ignore[arg-type]  # a union of types
    if isinstance(described, CINIC10):
        return _unpacked_by_hand(described, root)
    if not isinstance(described, VisionData):
        print(f"{chosen.name}: shipped with kdray, nothing to fetch")
        return OK
    if not chosen.check and not _fetched(chosen.name, described, root):
        return FAILED
    states = described.states(root)
    meaning = {
        "verified": "checksum verified",
        "unpacked": "there without its .gz, complete, checksum not verifiable",
        "different": "NOT the official file (checksum differs)",
        "missing": "missing",
    }
    for state in states:
        print(f"{root / state.path}: {meaning[state.state]}")
    return FAILED if any(state.state in ("different", "missing") for state in states) else OK


def _unpacked_by_hand(described: CINIC10, root: Path) -> int:
    """Whether it is there; if not, where it comes from and where it goes is said."""
    name, place = described.name, described.place(root)
    try:
        described.check(root)
    except InputError as error:
        print(f"kdray: {error}", file=sys.stderr)
        print(
            f"kdray: kdray does not fetch {name}. Download its archive from {described.page}",
            file=sys.stderr,
        )
        print(f"kdray: and unpack it so that {place} is {described.needed}", file=sys.stderr)
        return FAILED
    print(f"{place}: there, with every class; checksum not verifiable")
    return OK


def _fetched(name: str, described: VisionData, root: Path) -> bool:
    """Whether everything is there now; if not, what to do by hand is said."""
    try:
        described.fetch(root)  # unpacks what is there, downloads what is not
        return True
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        print(f"kdray: {name} could not be downloaded ({reason})", file=sys.stderr)
        print(
            f"kdray: without a network, put these files there, and run kdray data {name} again:",
            file=sys.stderr,
        )
        for source in described.sources():
            print(f"  {root / source.path}   from {source.url}, md5 {source.md5}", file=sys.stderr)
        return False
