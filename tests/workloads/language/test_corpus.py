import pytest

from modelyard.workloads.language.corpus import plain, read_services, service_names


def test_documentation_becomes_plain_sentences() -> None:
    html = '<p>Deletes an <a href="https://x.y">alias</a>, &amp; <code>more</code>.</p>\n  <ul> <li>One.</li></ul>'
    assert plain(html) == "Deletes an alias, & more. One."


def test_a_service_has_passages_and_what_its_operations_do() -> None:
    (queues,) = read_services(["sqs"])
    assert (queues.id, queues.name) == ("sqs", "SQS")
    assert queues.operations["DeleteQueue"].startswith("Deletes the queue specified by the QueueUrl")
    assert len(queues.passages) > 100
    assert all("<" not in passage or ">" not in passage for passage in queues.passages[:20])


def test_a_passage_is_told_once() -> None:
    passages = [passage for service in read_services(["sns", "sqs"]) for passage in service.passages]
    assert len(set(passages)) == len(passages)


def test_services_can_be_left_out() -> None:
    assert [service.id for service in read_services(["sns", "sqs"], without=["sns"])] == ["sqs"]


def test_an_unknown_service_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"botocore has no service 'sqz'; there are .*sqs"):
        list(read_services(["sqz"]))
    assert "sqs" in service_names()
