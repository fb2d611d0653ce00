"""What jobs on language models do: data, fine-tuning, generation."""
