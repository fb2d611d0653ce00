"""What users keep: buckets, and the objects in them."""
