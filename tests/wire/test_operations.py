"""The generated page about what is served."""

from modelyard.wire.endpoint import Service
from modelyard.wire.operations import operations_markdown


def test_the_page_names_what_is_served_and_what_is_not() -> None:
    page = operations_markdown(
        [Service("sagemaker-runtime", {"invoke_endpoint": lambda call, input: {}}), Service("bedrock-runtime", {})]
    )
    assert "| InvokeEndpoint | `invoke_endpoint` | POST `/endpoints/{EndpointName}/invocations` |" in page
    assert "Not served: `invoke_endpoint_async`, `invoke_endpoint_with_response_stream`." in page
    assert "`converse`" in page.split("## bedrock-runtime")[1]
