"""Graph models, one file each, with their search space and their paper."""
