"""Neptune ML: the machine-learning operations of `neptunedata`."""
