"""From an export to a processed graph."""
