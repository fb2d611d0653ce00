"""What can be typed: a module for each command, or group of commands, of its name."""
