"""One way of reading the bench server into Parquet, timed in this process alone: ours, or one of dlt's.

Prints one JSON object: seconds from the first request to the last file, records, peak memory in MB.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PAGE = 1_000


def crossdock(url: str, folder: Path) -> Callable[[], int]:
    """The Stacker connector and `extract`, as a sync uses them."""
    from connectors.base import ReadRequest
    from connectors.settings import Ports
    from connectors.stacker import CONNECTOR
    from pipelines.extract import extract
    from pipelines.ports import SystemClock, SystemRng
    from pipelines.staging import Dataset
    from pipelines.staging.parquet import ParquetStaging

    settings = CONNECTOR.settings(connector="stacker", base_url=url, integration_key="k", account_id="a", stack_id="s")  # type: ignore[call-arg]
    source = CONNECTOR.open(settings, Ports(SystemClock(), SystemRng()))

    def run() -> int:
        stream = source.stream("contacts")
        staging = ParquetStaging(folder)
        batch = extract(source, stream, ReadRequest(), staging, Dataset(("raw", "bench", "contacts")), clock=SystemClock())
        assert batch.note["completeness"]["complete"], batch.note["completeness"]
        return batch.count

    return run


def dlt_rest_api(url: str, folder: Path) -> Callable[[], int]:
    """dlt's declarative source, by offset, its default loader settings, into Parquet files."""
    import dlt
    from dlt.sources.rest_api import rest_api_source

    source = rest_api_source(
        {
            "client": {
                "base_url": url,
                "paginator": {
                    "type": "offset",
                    "limit": PAGE,
                    "offset": 0,
                    "offset_param": "start",
                    "limit_param": "count",
                    "total_path": "total",
                },
            },
            "resources": [{"name": "contacts", "endpoint": {"path": "records/", "data_selector": "records"}}],
        }
    )
    pipeline = _pipeline(dlt, folder)
    return lambda: _load(pipeline, source)


def dlt_arrow(url: str, folder: Path) -> Callable[[], int]:
    """A dlt resource that yields one Arrow table per page, by `Table.from_pylist`."""
    import pyarrow as pa

    return _dlt_tables(url, folder, lambda response: pa.Table.from_pylist(response.json()["records"]))


def dlt_arrow_json(url: str, folder: Path) -> Callable[[], int]:
    """The same by pyarrow's JSON reader, types inferred: the fastest resource that we could write."""
    import pyarrow as pa
    import pyarrow.json as pj

    def read(response: Any) -> pa.Table:
        body = response.content
        table = pj.read_json(pa.BufferReader(body), pj.ReadOptions(block_size=len(body) + 1))
        return pa.Table.from_batches([pa.RecordBatch.from_struct_array(table["records"].combine_chunks().flatten())])

    return _dlt_tables(url, folder, read)


def _dlt_tables(url: str, folder: Path, read: Callable[[Any], Any]) -> Callable[[], int]:
    import dlt
    from dlt.sources.helpers import requests

    @dlt.resource(name="contacts")
    def contacts() -> Iterator[Any]:
        start, total = 0, 1
        session = requests.Client().session
        while start < total:
            response = session.get(f"{url}/records/?start={start}&count={PAGE}")
            table = read(response)
            total = int(response.content.rsplit(b'"total":', 1)[1].split(b",")[0])
            start += table.num_rows
            yield table

    pipeline = _pipeline(dlt, folder)
    return lambda: _load(pipeline, contacts)


def _pipeline(dlt: Any, folder: Path) -> Any:
    os.environ.update(RUNTIME__DLTHUB_TELEMETRY="false", RUNTIME__LOG_LEVEL="ERROR")
    destination = dlt.destinations.filesystem(bucket_url=(folder / "out").as_uri())
    return dlt.pipeline("bench", destination=destination, dataset_name="bench", pipelines_dir=str(folder / "state"))


def _load(pipeline: Any, source: Any) -> int:
    pipeline.run(source, loader_file_format="parquet").raise_on_failed_jobs()
    count: int = pipeline.last_trace.last_normalize_info.row_counts["contacts"]
    return count


READERS = {"crossdock": crossdock, "dlt rest_api": dlt_rest_api, "dlt Arrow": dlt_arrow, "dlt Arrow, pyarrow.json": dlt_arrow_json}


def peak_mb() -> float:
    """The most memory that this process had resident, in MB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reader", choices=READERS)
    parser.add_argument("url")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        prepared = READERS[arguments.reader](arguments.url, Path(temporary))
        started, cpu = time.perf_counter(), time.process_time()
        records = prepared()
        seconds = time.perf_counter() - started
        print(json.dumps({"records": records, "seconds": seconds, "cpu_s": time.process_time() - cpu, "peak_mb": peak_mb()}))
