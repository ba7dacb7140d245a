"""Which rows and columns of a table are wanted, said as to :func:`pandas.read_parquet`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kdray.core import InputError
from kdray.core.names import composed
from kdray.results.files.dictionary_encoding import Positions, decoded

Where = Sequence[tuple[str, str, Any]]
"""``[("label", "==", "pgd20"), ("epsilon", "<=", 0.03)]``: all must hold. A missing value makes
only ``not in`` true."""
POSITION = "position in the frame"
OPERATORS = ("==", "!=", "<", "<=", ">", ">=", "in", "not in")


def expression(where: Where) -> pc.Expression:
    """The same as an expression of Arrow."""
    return pq.filters_to_expression(list(where))


def checked(where: Where | None) -> Where:
    """The conditions; :class:`InputError` for what is none."""
    return [_checked(condition) for condition in where or ()]


def _checked(condition: Any) -> tuple[str, str, Any]:
    if isinstance(condition, str) or not isinstance(condition, Sequence) or len(condition) != 3:
        raise InputError(
            f"where: {condition!r} is no condition (allowed: a list of (column, operator, value))"
        )
    name, operator, value = condition
    if operator not in OPERATORS:
        near = get_close_matches(str(operator), OPERATORS, n=1)
        guess = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(
            f"where: {name}: unknown operator {operator!r}; {guess}(allowed: "
            f"{', '.join(OPERATORS)})"
        )
    if value is None:
        raise InputError(
            f"where: {name} {operator} None: missing values are not compared; pandas' "
            "isna() finds them"
        )
    several = isinstance(value, list | tuple | set | frozenset)
    if several != (operator in ("in", "not in")):
        raise InputError(
            f"where: {name} {operator} {value!r}: needs "
            f"{'one value' if several else 'a list of values'}"
        )
    return name, operator, _as_kept(name, value)


def _as_kept(column: str, value: Any) -> Any:
    """A value as ``column`` holds it."""
    if column != "case":
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [_as_kept(column, each) for each in value]
    return composed(value) if isinstance(value, str) else value


def matching(frame: pd.DataFrame, where: Where) -> pd.DataFrame:
    """The rows of ``frame`` for which all of ``where`` holds."""
    if not where:
        return frame
    asked = list(dict.fromkeys(name for name, _, _ in where))
    check_columns(asked, frame.columns, "where")
    rows = pa.Table.from_pandas(frame[asked], preserve_index=False)
    # Where nothing was ever stored any value may be asked for.
    rows = rows.cast(
        pa.schema(
            [f.with_type(_kind(f.name, where)) if f.type == pa.null() else f for f in rows.schema]
        )
    )
    check_types(rows.schema, where)
    numbered = rows.append_column(POSITION, pa.array(range(len(frame)), pa.int64()))
    found: pd.DataFrame = frame.iloc[numbered.filter(expression(where))[POSITION].to_pylist()]
    return found


def holding(rows: pa.Table, where: Where) -> Positions | None:
    """Where those of ``rows`` are for which ``where`` can hold; None if it cannot be said of all
    columns, or is of no use."""
    stated = [condition for condition in where if condition[0] in rows.column_names]
    if not stated:
        return None
    asked = decoded(rows.select(list(dict.fromkeys(name for name, _, _ in stated))))
    try:
        check_types(asked.schema, stated)
    except InputError:
        return None  # it is told of what pandas makes of the table
    asked = pa.table({name: _known(asked[name]) for name in asked.column_names})
    numbered = asked.append_column(POSITION, pa.array(range(len(rows)), pa.int64()))
    found: Positions = numbered.filter(expression(stated))[POSITION].to_numpy()
    return found


def _known(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """To pandas what is not a number is missing."""
    if not pa.types.is_floating(column.type):
        return column
    return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)


def check_types(schema: pa.Schema, where: Where) -> None:
    """:class:`InputError` for a condition whose value cannot be compared with what its column
    holds."""
    for name, operator, value in where:
        try:
            schema.empty_table().filter(expression([(name, operator, value)]))
        except (pa.ArrowException, TypeError, NotImplementedError):
            raise InputError(
                f"where: {name} {operator} {value!r}: the column holds "
                f"{_told(schema.field(name).type)}"
            ) from None


def check_columns(asked: Iterable[str], known: Iterable[str], what: str = "columns") -> None:
    """:class:`InputError` with near names if a column of ``asked`` is none of ``known``."""
    names = sorted(map(str, known))
    for name in asked:
        if name not in names:
            near = get_close_matches(str(name), names, n=3, cutoff=0.6)
            some = sorted(names, key=lambda name: ("accuracy" not in name, name.count("."), name))[
                :12
            ]
            allowed = (
                f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(some)}, …"
            )
            raise InputError(f"{what}: no column {str(name)!r}; {allowed}")


def _told(kind: pa.DataType) -> str:
    return "text" if pa.types.is_string(kind) or pa.types.is_large_string(kind) else str(kind)


def _kind(name: str, where: Where) -> pa.DataType:
    """The type of what a column is compared with."""
    (value, *_) = [value for each, _, value in where if each == name]
    return pa.array(value if isinstance(value, list | tuple | set | frozenset) else [value]).type
