"""AWS Clean Rooms: the parts of it that a collaboration on models needs."""
