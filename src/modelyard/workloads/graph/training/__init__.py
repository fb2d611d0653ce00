"""From a processed graph to a trained model."""
