"""Custom models: users' own training and transform scripts, run in sandboxes by Neptune ML's contract.

https://docs.aws.amazon.com/neptune/latest/userguide/machine-learning-custom-models.html
"""
