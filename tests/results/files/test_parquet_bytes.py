"""A file of a trial's row is small, and damage to it is noticed."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kdray.results import DamagedFile, Results, write_rows
from kdray.results.files.arrow_schema import arrow_schema
from kdray.results.files.parquet_bytes import MAX_PLAIN_ROWS, parquet_bytes
from kdray.trials.experiment import configuration_columns


def usual(rows: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(rows, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()


@pytest.mark.parametrize("count", [1, MAX_PLAIN_ROWS, MAX_PLAIN_ROWS + 1, 500])
def test_rows_come_back_and_take_no_more_room_than_usual(count: int) -> None:
    rows = [
        {"trial_id": f"{number:016x}", "status": "completed", "val_accuracy": number / 3}
        for number in range(count)
    ]
    table = pa.Table.from_pylist(rows, schema=arrow_schema("trials", configuration_columns()))
    data = parquet_bytes(table)
    assert pq.read_table(pa.BufferReader(data)).equals(table, check_metadata=True)
    assert len(data) <= len(usual(table))


@pytest.mark.parametrize("count", [1, 100])
def test_a_number_that_has_changed_is_noticed(empty: Results, count: int) -> None:
    rows = [
        {"trial_id": "a", "stage": "main", "epoch": epoch, "loss": 1.2345 + epoch}
        for epoch in range(count)
    ]
    write_rows(empty.store, "epochs", "a", rows, {})
    data = bytearray(empty.store.read("epochs/a.parquet"))
    column = pq.ParquetFile(pa.BufferReader(data)).metadata.row_group(0).column(4)
    assert column.path_in_schema == "loss"
    begin = column.dictionary_page_offset or column.data_page_offset
    data[begin + column.total_compressed_size - 1] ^= 1
    empty.store.write("epochs/a.parquet", bytes(data))
    with pytest.warns(DamagedFile, match="epochs/a.parquet: damaged"):
        assert empty.epochs().empty
