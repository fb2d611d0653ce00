"""Which hosts name a bucket."""

import pytest

from modelyard.wire import hosts


@pytest.mark.parametrize(
    ("host", "bucket"),
    [
        ("data.localhost:8080", "data"),
        ("DATA.localhost", "data"),
        ("my.data.localhost", "my.data"),
        ("data.s3.localhost:8080", "data"),
        ("my.s3.data.s3.localhost", "my.s3.data"),
        ("data.s3.amazonaws.com", "data"),
        ("data.s3.eu-west-1.amazonaws.com", "data"),
        ("data.s3-eu-west-1.amazonaws.com", "data"),
        ("data.s3.dualstack.eu-west-1.amazonaws.com", "data"),
        ("data.s3.localhost.localstack.cloud:8080", "data"),
        ("localhost:8080", None),
        ("s3.localhost:8080", None),
        ("s3.amazonaws.com", None),
        ("s3.eu-west-1.amazonaws.com", None),
        ("s3-eu-west-1.amazonaws.com", None),
        ("127.0.0.1:8080", None),
        ("[::1]:8080", None),
        ("modelyard.example.com", None),
        ("a.localhost", None),
        ("-data.localhost", None),
        ("da_ta.localhost", None),
        ("data.localhost.evil/x", None),
        ("data.localhost\n", None),
        ("", None),
        ("x" * 500 + ".localhost", None),
    ],
)
def test_buckets_in_hosts(host: str, bucket: str | None) -> None:
    assert hosts.bucket(host.encode()) == bucket


def test_only_hosts_make_addresses() -> None:
    assert hosts.url("http", b"[::1]:8080") == "http://[::1]:8080"
    assert hosts.url("http", b"<script>") is None
    assert hosts.url("http", b"") is None
