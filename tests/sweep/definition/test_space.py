"""What a leaf of a sweep file can be, which points a space has and in which order."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kdray.core import InputError
from kdray.sweep.definition.distributions import Distribution, Same, read_leaves
from kdray.sweep.definition.space import Point, Space, check_sames
from kdray.sweep.definition.tree import at, below, put, walk


def space(tree: dict[str, Any]) -> Space:
    return Space(None, read_leaves(tree))


@pytest.mark.parametrize(
    ("leaf", "finite", "edges"),
    [
        ({"grid": [3, 1, 2]}, (3, 1, 2), (3, 1, 2)),
        (
            {"choice": ["a", None, {"name": "x"}]},
            ("a", None, {"name": "x"}),
            ("a", None, {"name": "x"}),
        ),
        ({"randint": [2, 5]}, (2, 3, 4), (2, 4)),
        ({"randint": [2, 3]}, (2,), (2, 2)),
        ({"lograndint": [1, 4]}, (1, 2, 3), (1, 3)),
        ({"uniform": [0, 0.5]}, None, (0, 0.5)),
        ({"loguniform": [0.1, 10]}, None, (0.1, 10)),
        ({"quniform": [1, 2, 0.5]}, (1.0, 1.5, 2.0), (1.0, 2.0)),
        ({"quniform": [0, 1, 0.4]}, (0, 0.4, 0.8), (0, 0.8)),
        ({"quniform": [0, 1, 3]}, (0,), (0, 0)),
    ],
)
def test_the_values_and_the_ends_of_every_kind(
    leaf: dict[str, Any], finite: Any, edges: Any
) -> None:
    read = read_leaves(leaf)
    assert read == Distribution(next(iter(leaf)), tuple(next(iter(leaf.values()))))
    assert (read.finite, read.edges) == (finite, edges)


@given(
    low=st.integers(-50, 50),
    steps=st.integers(1, 60),
    step=st.sampled_from([0.1, 0.05, 0.2, 1 / 3, 0.7, 3.0, 8 / 255]),
)
def test_a_quantised_range_that_its_step_divides_holds_its_high_end(
    low: int, steps: int, step: float
) -> None:
    high = low + steps * step
    values = Distribution("quniform", (low, high, step)).finite
    assert values is not None
    assert len(values) == steps + 1
    assert values[0] == low
    assert math.isclose(values[-1], high)


@pytest.mark.parametrize(
    "value", [0.1, [1, 2], {"name": "kd", "alpha": 1}, None, "grid", {}, {"uniform": 1, "grid": 2}]
)
def test_what_has_not_one_key_that_names_a_kind_is_a_plain_value(value: Any) -> None:
    assert read_leaves(value) == value


def test_the_last_leaf_varies_fastest_and_the_order_is_always_the_same() -> None:
    tree = {
        "a": {"grid": [0, 1]},
        "b": {"c": {"choice": ["x", "y"]}, "d": 5},
        "e": {"randint": [7, 9]},
    }
    points = list(space(tree).grid())
    assert [tuple(values.values()) for values in points] == [
        (0, "x", 7),
        (0, "x", 8),
        (0, "y", 7),
        (0, "y", 8),
        (1, "x", 7),
        (1, "x", 8),
        (1, "y", 7),
        (1, "y", 8),
    ]
    assert [list(values) for values in points] == [["a", "b.c", "e"]] * 8
    assert points == list(space(tree).grid())


def test_a_grid_over_some_paths_leaves_the_others_at_their_first_edge() -> None:
    tree = {"a": {"grid": [0, 1]}, "b": {"uniform": [0.5, 1]}, "c": {"randint": [3, 9]}}
    assert list(space(tree).grid(["a"])) == [{"a": 0, "b": 0.5, "c": 3}, {"a": 1, "b": 0.5, "c": 3}]


def test_a_space_without_distributions_has_one_point() -> None:
    assert list(space({"a": 1}).grid()) == [{}]
    assert space({"a": 1, "b": {"c": [2]}}).assign({}) == {"a": 1, "b": {"c": [2]}}


def test_a_point_is_its_tree_with_the_values_put_in() -> None:
    described = space(
        {"a": {"grid": [1, {"name": "x"}]}, "b": {"c": {"uniform": [0, 1]}}, "d": "plain"}
    )
    assert Point(0, described, {"a": {"name": "x"}, "b.c": 0.25}).tree() == {
        "a": {"name": "x"},
        "b": {"c": 0.25},
        "d": "plain",
    }


def test_same_follows_another_leaf_through_chains_and_whole_subtrees() -> None:
    tree = {
        "a": {"same": "b.x"},
        "b": {"x": {"same": "experiment.c"}},
        "c": {"grid": [1, 2]},
        "d": {"same": "b"},
        "e": {"same": "f"},
        "f": 9,
    }
    described = space(tree)
    check_sames(described)
    assert list(described.distributions) == ["c"]
    assert described.assign({"c": 2}) == {
        "a": 2,
        "b": {"x": 2},
        "c": 2,
        "d": {"x": 2},
        "e": 9,
        "f": 9,
    }


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"a": {"same": "a"}}, r"experiment\.a\.same: a -> a is a circle"),
        ({"a": {"same": "b"}, "b": {"same": "a"}}, r"a -> b -> a is a circle"),
        ({"a": {"same": "x.y"}, "b": {"grid": [1]}}, r"'x\.y' is no leaf \(distributions: b\)"),
        ({"a": {"same": "b.c"}, "b": 3}, r"'b\.c' is no leaf \(distributions: none\)"),
    ],
)
def test_a_same_that_leads_nowhere_is_named(tree: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_sames(space(tree))


def test_a_same_of_a_subtree_that_it_is_in_itself_is_a_circle() -> None:
    with pytest.raises(InputError, match="is a circle"):
        check_sames(space({"a": {"b": {"same": "a"}, "c": 1}}))


def test_a_teacher_depends_on_its_own_leaves_and_on_those_that_it_follows() -> None:
    tree = {
        "x": {"grid": [1, 2]},
        "y": {"grid": [1, 2]},
        "teacher": {"u": {"grid": [3]}, "v": {"same": "y"}, "w": 1},
    }
    assert space(tree).teacher_paths == ["y", "teacher.u"]
    assert space({"teachers": {"u": {"grid": [3]}}}).teacher_paths == []


@pytest.mark.parametrize(
    "tree",
    [
        {"x": {"grid": [1, 2]}, "y": {"same": "x"}, "teacher": {"u": {"same": "y"}}},
        {"x": {"z": {"grid": [1, 2]}}, "teacher": {"x": {"same": "x"}}},
    ],
    ids=["chain", "subtree"],
)
def test_a_teacher_depends_on_what_it_follows_in_the_end(tree: dict[str, Any]) -> None:
    (path,) = space(tree).distributions
    assert space(tree).teacher_paths == [path]


def test_corners_put_every_leaf_at_each_of_its_edges_once() -> None:
    tree = {"a": {"grid": [1, 2, 3]}, "b": {"c": {"uniform": [0, 1]}}, "d": {"randint": [5, 9]}}
    first = {"a": 1, "b.c": 0, "d": 5}
    assert list(space(tree).corners()) == [
        (None, first),
        ("a", {**first, "a": 2}),
        ("a", {**first, "a": 3}),
        ("b.c", {**first, "b.c": 1}),
        ("d", {**first, "d": 8}),
    ]
    assert list(space({"a": 1}).corners()) == [(None, {})]


def test_put_leaves_the_tree_alone_and_makes_what_is_missing() -> None:
    tree = {"a": {"b": 1, "c": 2}, "d": 3}
    assert put(tree, "a.b", 5) == {"a": {"b": 5, "c": 2}, "d": 3}
    assert put(tree, "x.y.z", 5) == {**tree, "x": {"y": {"z": 5}}}
    assert put(tree, "d.e", 5) == {**tree, "d": {"e": 5}}
    assert tree == {"a": {"b": 1, "c": 2}, "d": 3}


TREES = st.recursive(
    st.none() | st.integers() | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from("abc"), TREES, min_size=1),
    st.lists(st.sampled_from("abc"), min_size=1, max_size=4),
)
def test_what_is_put_is_there_and_every_other_leaf_is_as_it_was(
    tree: dict[str, Any], keys: list[str]
) -> None:
    path = ".".join(keys)
    # Into a list only the number of an item leads.
    assume(
        not any(
            isinstance(node_at(tree, ".".join(keys[:end])), list) for end in range(1, len(keys))
        )
    )
    before, after = dict(walk(tree)), dict(walk(put(tree, path, "new")))
    assert at(put(tree, path, "new"), path) == after.pop(path) == "new"
    assert after == {
        p: leaf for p, leaf in before.items() if not below(p, path) and not below(path, p)
    }


def node_at(tree: dict[str, Any], path: str) -> Any:
    try:
        return at(tree, path)
    except KeyError:
        return None


def test_items_of_lists_are_leaves_at_their_number() -> None:
    tree = read_leaves(
        {"noise": [{"name": "swap"}, {"sigma": {"uniform": [0, 1]}}], "plain": [1, 2]}
    )
    space = Space(None, tree)
    assert list(space.distributions) == ["noise.1.sigma"]
    assert space.assign({"noise.1.sigma": 0.5}) == {
        "noise": [{"name": "swap"}, {"sigma": 0.5}],
        "plain": [1, 2],
    }
    assert at(tree, "noise.0.name") == "swap"
    assert put(space.assign({"noise.1.sigma": 0.5}), "noise.1.sigma", 2)["noise"][1] == {"sigma": 2}
    assert put({"a": [1, 2]}, "a.1", 3) == {"a": [1, 3]}
    for path in ("a.2", "a.x", "a.x.y"):
        with pytest.raises(InputError, match=r"is no item of a list of 2 \(counted from 0\)$"):
            put({"a": [1, 2]}, path, 3)


def test_a_leaf_in_a_list_may_be_the_same_as_another() -> None:
    space = Space(
        None, read_leaves({"rate": {"grid": [1, 2]}, "noise": [{"sigma": {"same": "rate"}}]})
    )
    check_sames(space)
    assert [space.assign(values)["noise"] for values in space.grid()] == [
        [{"sigma": 1}],
        [{"sigma": 2}],
    ]
    with pytest.raises(InputError, match=r"^experiment\.noise\.0\.sigma\.same: 'rat' is no leaf"):
        check_sames(
            Space(
                None, read_leaves({"rate": {"grid": [1, 2]}, "noise": [{"sigma": {"same": "rat"}}]})
            )
        )


def test_at_finds_a_node_and_raises_where_there_is_none() -> None:
    tree = {"a": {"b": Same("x")}}
    assert at(tree, "a.b") == Same("x")
    assert at(tree, "a") == {"b": Same("x")}
    for path in ("a.b.c", "b", "a.c"):
        with pytest.raises(KeyError):
            at(tree, path)


def test_below_goes_by_whole_words() -> None:
    assert below("teacher.model", "teacher")
    assert below("teacher", "teacher")
    assert not below("teachers.model", "teacher")


@pytest.mark.parametrize(
    ("kind", "arguments", "inside", "outside"),
    [
        ("choice", (0, "a", None, [1]), [0, "a", None, [1], 0.0], [False, "b", 1]),
        ("uniform", (0, 2), [0, 1.5, 2], [-0.1, 2.1, "1", True, None]),
        ("loguniform", (1e-4, 1), [1e-4, 0.5], [0, 2]),
        ("quniform", (0, 1, 0.1), [0, 0.3, 0.7, 1], [0.35, 1.1]),
        ("randint", (2, 5), [2, 4], [5, 1, 2.5, 3.0]),
        ("lograndint", (1, 8), [1, 7], [8, 0]),
    ],
)
def test_a_distribution_holds_its_values_and_no_others(
    kind: Any, arguments: tuple[Any, ...], inside: list[Any], outside: list[Any]
) -> None:
    leaf = Distribution(kind, arguments)
    assert [value for value in inside if not leaf.holds(value)] == []
    assert [value for value in outside if leaf.holds(value)] == []
    assert all(leaf.holds(value) for value in leaf.finite or leaf.edges)


def test_what_follows_what_follows_is_not_gone_through_for_ever() -> None:
    tree: dict[str, Any] = {"a0": {"x": 1, "y": 2}}
    for number in range(30):
        tree[f"a{number + 1}"] = {"x": Same(f"a{number}"), "y": Same(f"a{number}")}
    with pytest.raises(InputError, match="too much follows something"):
        check_sames(Space(None, tree))
