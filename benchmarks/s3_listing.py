"""Listing 100,000 keys by pages of 1,000, as every client does that walks a bucket.

Keys that were put through S3, all below one prefix ("put"), and files that were copied into the bucket's folder by
hand, in a hundred folders ("deep") and in one ("flat"), of which a server that has just started has seen none. Before
the first page of the last it has to read 100,000 names: "listdir" is what that takes by itself, more than 50 ms here,
so that this page is judged by what it takes beyond that.
What is timed is a signed request to the last byte of its answer over a connection that stays; a client's own reading
of the XML comes on top ("boto3 page": what boto3 needs for the same page, its parsing included).
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
    """Measures all layouts."""
    count, rounds = (5_000, 1) if quick else (100_000, 3)
    report = Report(f"{count:,} keys in pages of 1,000, milliseconds a page")
    with Modelyard() as filled:
        put(filled, count)
        sides = {
            "put": lambda: measure(filled, count),
            "deep": lambda: measure_by_hand(count, folders=100),
            "flat": lambda: measure_by_hand(count, folders=1),
        }
        report.measure(sides, rounds)
    for layout in ("put", "deep"):
        report.bars.append(Bar(f"slowest page, {layout}", report.medians[layout]["max"], high=50))
    flat = report.medians["flat"]
    report.bars.append(Bar("slowest page but the first, flat", flat["later"], high=50))
    report.bars.append(Bar("first page, flat, beyond listdir", flat["first"] - flat["listdir"], high=50))
    return report


def measure_by_hand(count: int, folders: int) -> dict[str, float]:
    """All pages over a server of its own, and what it takes to read the names in its first folder."""
    with Modelyard() as server:
        fill(server.bucket, count, folders)
        began = time.perf_counter()
        os.listdir(server.bucket / "part-000")
        took = (time.perf_counter() - began) * 1e3
        return {"listdir": took, **measure(server, count)}


def measure(server: Server, count: int) -> dict[str, float]:
    """All pages."""
    waited, keys = zip(*pages(server), strict=True)
    assert sum(keys) == count, keys
    client = server.client("s3")
    began = time.perf_counter()
    client.list_objects_v2(Bucket="bench")
    took = (time.perf_counter() - began) * 1e3
    middle, slow = percentile(waited, 0.5), percentile(waited, 0.99)
    later = max(waited[1:])
    return {"first": waited[0], "p50": middle, "p99": slow, "later": later, "max": max(waited), "boto3 page": took}


def put(server: Server, count: int) -> None:
    """Puts small objects, one after the other over a connection that stays."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc)
    for number in range(count):
        path = f"/bench/part-000/file-{number:06}.csv"
        connection.request("PUT", path, b"1", server.signed(path, "s3"))
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()
    connection.close()


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
