"""s3fs, and what reads `s3://` through it: pandas, DuckDB."""

from pathlib import Path

import duckdb
import pytest

from tests.system.s3.conftest import ACCOUNT, REGION, Bucket, answer

pytestmark = [pytest.mark.system, pytest.mark.slow]

BEGIN = """
import json, os, sys, warnings
warnings.simplefilter("error")
bucket = sys.argv[1]
options = {"client_kwargs": {"endpoint_url": os.environ["AWS_ENDPOINT_URL_S3"]}}
"""


def test_s3fs(fsspec_python: Path, bucket: Bucket) -> None:
    code = """
import s3fs
s3 = s3fs.S3FileSystem(**options)
with s3.open(f"{bucket}/a/one", "wb") as file:
    file.write(b"x" * (12 << 20))
s3.pipe(f"{bucket}/a/b/two", b"2")
s3.cp(f"{bucket}/a/b/two", f"{bucket}/three")
s3.touch(f"{bucket}/empty")
said = {"found": s3.find(bucket), "listed": s3.ls(f"{bucket}/a"), "size": s3.info(f"{bucket}/a/one")["size"]}
with s3.open(f"{bucket}/a/one") as file:
    file.seek(-2, 2)
    said["end"] = file.read().decode()
s3.mv(f"{bucket}/three", f"{bucket}/moved")
s3.rm(f"{bucket}/a", recursive=True)
said["left"] = s3.find(bucket)
said["glob"] = s3.glob(f"{bucket}/m*")
print(json.dumps(said))
"""
    assert answer(fsspec_python, BEGIN + code, bucket) == {
        "found": [f"{bucket}/{key}" for key in ("a/b/two", "a/one", "empty", "three")],
        "listed": [f"{bucket}/a/b", f"{bucket}/a/one"],
        "size": 12 << 20,
        "end": "xx",
        "left": [f"{bucket}/empty", f"{bucket}/moved"],
        "glob": [f"{bucket}/moved"],
    }


def test_pandas(fsspec_python: Path, bucket: Bucket) -> None:
    code = """
import pandas
frame = pandas.DataFrame({"name": ["a", "b"], "number": [1, 2]})
frame.to_csv(f"s3://{bucket}/t/frame.csv", index=False, storage_options=options)
frame.to_parquet(f"s3://{bucket}/t/frame.parquet", storage_options=options)
frame.to_parquet(f"s3://{bucket}/set", partition_cols=["name"], storage_options=options)
csv = pandas.read_csv(f"s3://{bucket}/t/frame.csv", storage_options=options)
parquet = pandas.read_parquet(f"s3://{bucket}/t/frame.parquet", storage_options=options)
parts = pandas.read_parquet(f"s3://{bucket}/set", storage_options=options)
print(json.dumps({"csv": csv.equals(frame), "parquet": parquet.equals(frame), "parts": parts["number"].tolist()}))
"""
    assert answer(fsspec_python, BEGIN + code, bucket) == {"csv": True, "parquet": True, "parts": [1, 2]}


def test_duckdb_over_s3fs(fsspec_python: Path, bucket: Bucket) -> None:
    code = """
import duckdb, s3fs
database = duckdb.connect()
database.register_filesystem(s3fs.S3FileSystem(**options))
database.sql(f"copy (select i, i % 2 as odd from range(1000) t(i)) to 's3://{bucket}/one.parquet' (format parquet)")
database.sql(f"copy (select i from range(9) t(i)) to 's3://{bucket}/two.csv'")
parquet = database.sql(f"select sum(i) from 's3://{bucket}/one.parquet' where odd = 1").fetchall()
print(json.dumps(parquet + database.sql(f"select count(*) from 's3://{bucket}/*.csv'").fetchall(), default=int))
"""
    assert answer(fsspec_python, BEGIN + code, bucket) == [[250_000], [9]]


def test_duckdb_with_its_own_extension(bucket: Bucket) -> None:
    """httpfs is no part of DuckDB's wheel: it comes from DuckDB's own server, where that can be reached."""
    database = duckdb.connect()
    try:
        database.sql("install httpfs")
    except duckdb.Error as error:
        pytest.skip(f"DuckDB cannot fetch its httpfs extension here: {str(error).splitlines()[0]}")
    database.sql("load httpfs")
    database.sql(
        f"create secret (type s3, key_id '{ACCOUNT}', secret 'secret', region '{REGION}', "
        f"endpoint '{bucket.door.address}', url_style 'path', use_ssl false)"
    )
    database.sql(f"copy (select i from range(9) t(i)) to 's3://{bucket}/set/one.parquet' (format parquet)")
    assert database.sql(f"select sum(i) from 's3://{bucket}/set/*.parquet'").fetchall() == [(36,)]
