"""Where results are, as text: a folder, or the URI of an object store."""

from __future__ import annotations


def printable(location: str) -> str:
    """The location as it may be printed: of a URI neither key and secret nor options."""
    scheme, found, rest = location.partition("://")
    if not found:
        return location
    return f"{scheme}://{rest.removeprefix(user_of(location)).removeprefix('@').partition('?')[0]}"


def user_of(uri: str) -> str:
    """The key and secret in a URI; in doubt more, since a secret that is not quoted may have any
    character in it."""
    rest = uri.partition("://")[2]
    authority = rest.partition("/")[0]
    return (rest if ":" in authority else authority).rpartition("@")[0]


def with_suffix(location: str, suffix: str) -> str:
    """The location whose name ends in ``suffix`` as well, before the options of a URI."""
    place, mark, options = location.partition("?") if "://" in location else (location, "", "")
    return f"{place.rstrip('/')}{suffix}{mark}{options}"
