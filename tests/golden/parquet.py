"""Writes the Parquet files of tests/golden/parquet, as pandas, pyarrow and DuckDB write them by default, and with zstd and gzip.

pip install pyarrow pandas duckdb
"""

import datetime
from pathlib import Path

import duckdb
import pandas
import pyarrow
import pyarrow.parquet

FOLDER = Path(__file__).parent / "parquet"
ROWS = [
    {
        "text": f"text {n} äß",
        "queue": ["billing", "shipping"][n % 2],
        "n": n - 3,
        "x": None if n == 2 else n / 10,
        "ok": n % 3 == 0,
        "tags": None if n == 4 else ["a"] * (n % 3),
        "who": {"name": f"n{n}", "age": n},
        "lines": [{"item": "nut", "q": q} for q in range(n % 3)],
    }
    for n in range(6)
]


def main() -> None:
    table = pyarrow.Table.from_pylist(ROWS)
    write = pyarrow.parquet.write_table
    write(table, FOLDER / "pyarrow.parquet")
    write(table, FOLDER / "zstd.parquet", compression="zstd", row_group_size=4, data_page_version="2.0")
    write(table, FOLDER / "gzip.parquet", compression="gzip")
    frame = pandas.DataFrame(
        {
            "text": [row["text"] for row in ROWS],
            "queue": pandas.Categorical([row["queue"] for row in ROWS]),
            "day": [datetime.date(2024, 1, 1 + n) for n in range(6)],
            "when": pandas.date_range("2024-01-01 10:00", periods=6, freq="h"),
            "n": pandas.array([None if n == 1 else n for n in range(6)], dtype="Int64"),
            "f": pandas.array([n / 10 for n in range(6)], dtype="float32"),
        }
    )
    frame.to_parquet(FOLDER / "pandas.parquet")
    duckdb.sql(
        f"""copy (select text, queue::varchar as queue, day, 1.25::decimal(9, 2) as price, ['a', 'b'] as tags, {{'a': 1}} as who,
        map {{'k': 1}} as m, 'x'::blob as raw from frame) to '{FOLDER}/duckdb.parquet' (format parquet)"""
    )
    # A byte of a page at which the parquet crate (60.1) panics; look for another where it no longer does.
    damaged = bytearray((FOLDER / "pyarrow.parquet").read_bytes())
    damaged[130] = 0
    (FOLDER / "damaged.parquet").write_bytes(damaged)


main()
