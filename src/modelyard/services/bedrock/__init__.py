"""Bedrock's control plane: models, their customization, import and copies, and what serves them."""
