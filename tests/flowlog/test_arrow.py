"""A stream of Arrow is read only if it has the columns that were asked for."""

from __future__ import annotations

import duckdb
import numpy as np
import pytest

from flowverdict.flowlog.arrow import ArrowError, TextColumn, batches


def capsule(query: str) -> object:
    return duckdb.connect(config={"threads": 1}).sql(query).__arrow_c_stream__()


def test_columns_are_those_of_the_query() -> None:
    found = []
    stream = capsule(
        "SELECT CASE WHEN range % 3 <> 1 THEN 'r' || range END AS t, range::INTEGER AS i, "
        "range AS l FROM range(300_000)"
    )
    for batch in batches(stream, {"t": "u", "i": "i", "l": "l"}):
        texts = batch.text("t")
        first = int(batch.integers("l")[0])
        assert texts.text(0) == (None if first % 3 == 1 else f"r{first}".encode())
        assert texts.valid is not None
        assert texts.valid.tolist() == [(first + row) % 3 != 1 for row in range(batch.rows)]
        assert np.array_equal(batch.integers("i"), batch.integers("l"))
        with pytest.raises(TypeError):
            batch.integers("t")
        found.append(batch.rows)
    assert sum(found) == 300_000
    assert len(found) > 1  # a bounded number of rows at once


def test_no_rows_are_no_batches() -> None:
    assert list(batches(capsule("SELECT 1 AS i WHERE false"), {"i": "i"})) == []


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1::BIGINT AS i",
        "SELECT 'x' AS i",
        "SELECT [1] AS i",
        "SELECT 1::INTEGER AS i, 2::INTEGER AS j",
        "SELECT NULL::INTEGER AS i",
    ],
)
def test_another_stream_is_refused(query: str) -> None:
    with pytest.raises(ArrowError):
        list(batches(capsule(query), {"i": "i"}))


def test_an_error_of_the_query_is_raised_with_its_message() -> None:
    with pytest.raises(ArrowError, match="Could not convert string 'x'"):
        list(
            batches(
                capsule(
                    "SELECT CASE WHEN range = 299_999 THEN 'x' ELSE '1' END::INTEGER AS i "
                    "FROM range(300_000)"
                ),
                {"i": "i"},
            )
        )


def test_a_column_without_texts_is_empty() -> None:
    (batch,) = batches(capsule("SELECT NULL::VARCHAR AS t FROM range(3)"), {"t": "u"})
    column = batch.columns["t"]
    assert isinstance(column, TextColumn)
