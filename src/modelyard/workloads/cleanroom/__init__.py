"""Clean rooms: what runs over data that its owners show nobody."""
