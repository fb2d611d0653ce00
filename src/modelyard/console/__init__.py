"""The command line's side of a conversation with a server: what it asks, and how it shows the answers."""
