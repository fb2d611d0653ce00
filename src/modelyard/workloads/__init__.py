"""What jobs really do. The only home of torch and friends."""
