"""What our own pages answer, as JSON: a module for each noun."""
