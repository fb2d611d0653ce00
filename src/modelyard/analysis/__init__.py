"""What a collaboration's tables let a query do: rules are read, a query is judged, nothing is run here.

Pure functions over sqlglot's trees; they know no HTTP, no store and no files. What is not understood is refused.
"""
