"""From a trained model to predictions: written out, and served."""
