"""The AWS protocols, read from botocore's service models at run time. Knows nothing of ours."""
