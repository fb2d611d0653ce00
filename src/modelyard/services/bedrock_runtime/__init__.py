"""The Bedrock runtime: requests to language models."""
