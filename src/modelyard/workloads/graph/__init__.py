"""Neptune ML: from an exported graph to a trained model and its predictions."""
