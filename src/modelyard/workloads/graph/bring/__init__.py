"""Brings graphs that never saw Neptune: tables, NetworkX and PyG graphs, written as its exporter would have."""
