"""Collaborations: who takes part, what each party brings and may do, and what was done with it. Knows no HTTP."""
