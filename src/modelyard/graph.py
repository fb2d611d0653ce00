"""Bring a graph from Python, and check an export; see docs/bring-a-graph.md."""

from modelyard.workloads.graph.bring.check import check
from modelyard.workloads.graph.bring.export import Export, export, from_networkx, from_pyg, plan
from modelyard.workloads.graph.bring.tables import tables

__all__ = ["Export", "check", "export", "from_networkx", "from_pyg", "plan", "tables"]
