"""Modelyard answers AWS's own clients for managed machine-learning jobs, and really runs them."""
