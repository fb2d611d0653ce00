"""Listing 100,000 keys by pages of 1,000, as every client does that walks a bucket.

Files that were copied into the bucket's folder by hand, all in one folder ("flat") and in a hundred ("deep"): the
server has seen none of them before. What is timed is a signed request to the last byte of its answer over a connection
that stays; a client's own reading of the XML comes on top ("boto3 page": what boto3 needs for the same page, its
parsing included). The first page of a round is asked of a server that has just started.
"""

import http.client
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

from rounds import Bar, Report, main, percentile
from servers import Modelyard, Server

NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


def run(quick: bool) -> Report:
    """Measures both layouts."""
    count, rounds = (5_000, 1) if quick else (100_000, 3)
    report = Report(f"{count:,} keys in pages of 1,000, milliseconds a page")
    report.measure({"flat": lambda: measure(count, folders=1), "deep": lambda: measure(count, folders=100)}, rounds)
    for layout in report.medians:
        report.bars.append(Bar(f"slowest page, {layout}", report.medians[layout]["max"], high=50))
    return report


def measure(count: int, folders: int) -> dict[str, float]:
    """All pages over a server of its own."""
    with Modelyard() as server:
        fill(server.bucket, count, folders)
        waited, keys = zip(*pages(server), strict=True)
        assert sum(keys) == count, keys
        client = server.client("s3")
        began = time.perf_counter()
        client.list_objects_v2(Bucket="bench")
        took = (time.perf_counter() - began) * 1e3
    middle, slow = percentile(waited, 0.5), percentile(waited, 0.99)
    return {"first": waited[0], "p50": middle, "p99": slow, "max": max(waited), "boto3 page": took}


def fill(bucket: Path, count: int, folders: int) -> None:
    """Small files, evenly over so many folders."""
    for number in range(folders):
        (bucket / f"part-{number:03}").mkdir()
    for number in range(count):
        descriptor = os.open(bucket / f"part-{number % folders:03}" / f"file-{number:06}.csv", os.O_CREAT | os.O_WRONLY)
        os.write(descriptor, b"1")
        os.close(descriptor)


def pages(server: Server) -> Iterator[tuple[float, int]]:
    """Milliseconds and number of keys of each page."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc)
    token = None
    for _ in itertools.count():
        path = "/bench?list-type=2" + (f"&continuation-token={quote(token, safe='')}" if token else "")
        headers = server.signed(path, "s3")
        began = time.perf_counter()
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        took = (time.perf_counter() - began) * 1e3
        assert answer.status == 200, body
        root = ElementTree.fromstring(body)
        yield took, len(root.findall(f"{NAMESPACE}Contents"))
        token = root.findtext(f"{NAMESPACE}NextContinuationToken")
        if token is None:
            break
    connection.close()


if __name__ == "__main__":
    main(run, __doc__)
