"""Clean Rooms ML: models that learn from data, and answer for data, that no party shows another."""
