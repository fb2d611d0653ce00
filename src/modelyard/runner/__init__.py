"""What runs first in a task process."""
