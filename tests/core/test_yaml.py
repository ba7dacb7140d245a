"""YAML as kdray's files are written: what is a number, what is text, and what is refused with file
and line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kdray.core import InputError
from kdray.core.yaml import parse_text, plain_scalar, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8/255", 8 / 255),
        ("-1/2", -0.5),
        ("0.5/255", 0.5 / 255),
        ("-.5/2", -0.25),
        ("1./4", 0.25),
        ("1/0.5", "1/0.5"),
        ("1e3/2", "1e3/2"),
        ("1e-4", 1e-4),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-0.1", -0.1),
        ("12", 12),
        ("+3", 3),
        ("012", 12),
        ("0", 0),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("off", "off"),
        ("yes", "yes"),
        ("NO", "NO"),
        ("tRUE", "tRUE"),
        ("1/0", "1/0"),
        ("1 / 2", "1 / 2"),
        ("1_000", "1_000"),
        ("0x1F", "0x1F"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("nan", "nan"),
        ("1e", "1e"),
        (".", "."),
        ("12:30:45", "12:30:45"),
        ("2026-01-01", "2026-01-01"),
        ("linf", "linf"),
        ("1.2.3", "1.2.3"),
    ],
)
def test_an_unquoted_scalar_is_what_yaml_1_2_and_a_reader_of_papers_take_it_for(
    text: str, value: object
) -> None:
    read = parse_text(f"a: {text}", "f")["a"]
    assert (read, type(read)) == (value, type(value))
    assert plain_scalar(text) == value


@pytest.mark.parametrize("text", ["8/255", "1e-4", "12", "true", "null", ""])
def test_quoted_text_stays_text(text: str) -> None:
    assert parse_text(f"a: '{text}'\nb: \"{text}\"", "f") == {"a": text, "b": text}


def test_a_block_of_text_stays_text() -> None:
    assert parse_text("a: |\n  12\n", "f") == {"a": "12\n"}


def test_an_alias_is_a_copy_of_its_anchor() -> None:
    assert parse_text("a: &x {sigma: 8/255}\nb: *x", "f") == {
        "a": {"sigma": 8 / 255},
        "b": {"sigma": 8 / 255},
    }


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a: 1\nb: 2\na: 3", 3, "duplicate key 'a'"),
        ("a: 1\nb: {c: 1, c: 1}", 2, "duplicate key 'c'"),
        ("a: 1\n'a': 2", 2, "duplicate key 'a'"),
        (
            "a: 1\nb: !!python/object/apply:os.system [ls]",
            2,
            "tag 'tag:yaml.org,2002:python/object/apply:os.system'",
        ),
        ("a: !import x", 1, "tag '!import' is not allowed"),
        ("a: !!int '3'", 1, "tag 'tag:yaml.org,2002:int' is not allowed"),
        ("a: 1\n? [b, c]\n: 2", 2, "a key must be a plain word"),
        ("a: 1\n? {b: c}\n: 2", 2, "a key must be a plain word"),
        ("a: [1,", 1, "expected the node content"),
        ("a: 1\n\tb: 2", 2, "found character '\\t'"),
        ("a: *x", 1, "found undefined alias 'x'"),
        ("a: 1\n---\nb: 2", 2, "but found another document"),
    ],
)
def test_what_is_refused_is_named_with_file_and_line(text: str, line: int, problem: str) -> None:
    with pytest.raises(InputError) as raised:
        parse_text(text, "some.yaml")
    assert str(raised.value).startswith(f"some.yaml:{line}: not YAML: ")
    assert problem in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]",
        "a: &a {b: *a}",
        "a: 1e999",
        "a: -1e999",
        "[" * 3000,
        "a: " + "9" * 5000,
        "a: \x00",
    ],
)
def test_what_no_json_could_hold_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"^f.*: not YAML: "):
        parse_text(text, "f")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"a: {'9' * 400}/1", id="fraction beyond float's range: OverflowError"),
        pytest.param("a: !!map [1]", id="a list tagged as a mapping: TypeError"),
        pytest.param("a: !!str [1]", id="a list tagged as text: AttributeError"),
    ],
)
def test_an_odd_mistake_is_refused_like_any_other(text: str) -> None:
    with pytest.raises(InputError):
        parse_text(text, "f")


def test_an_explicit_text_tag_makes_text() -> None:
    assert parse_text("a: !!str 12", "f") == {"a": "12"}


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"x\.yaml: cannot be read \(not a UTF-8 text\)"):
        read_yaml(path)
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory\)"):
        read_yaml(tmp_path)


MARKS = st.sampled_from(
    [
        "a: ",
        "- ",
        "\n",
        "  ",
        "{",
        "}",
        "[",
        "]",
        ", ",
        "'",
        '"',
        "&x ",
        "*x",
        "!!str ",
        "!!map ",
        "!!seq ",
        "!y ",
        "? ",
        ": ",
        "<<: ",
        "# ",
        "%YAML 1.1\n",
        "---\n",
        "|\n",
        "8/255",
        "1e5",
        "~",
        "\\ud800",
        "\t",
    ]
)
TEXTS = st.text(max_size=40) | st.lists(MARKS | st.text(max_size=3), max_size=12).map("".join)


@given(TEXTS)
@example('a: "\\ud800"')
def test_any_text_is_a_json_value_or_an_input_error_of_one_line(text: str) -> None:
    try:
        value = parse_text(text, "f")
    except InputError as error:
        said = str(error)
    else:
        said = "f:"
        json.dumps(value, allow_nan=False)
    assert said.startswith("f:")
    assert "\n" not in said


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: " + "[" * 150 + "]" * 150, "nested too deeply"),
        ("a: &a [*a]", "nested too deeply"),
        (
            "a: &a [x,x,x,x,x,x,x,x,x]\n"
            + "".join(
                f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n"
                for old, new in zip("abcdefg", "bcdefgh", strict=True)
            ),
            "too large",
        ),
    ],
    ids=["deep", "inside itself", "aliases of aliases"],
)
def test_what_is_endless_is_refused(text: str, problem: str) -> None:
    with pytest.raises(InputError, match=f"file: not YAML: {problem}"):
        parse_text(text, "file")
