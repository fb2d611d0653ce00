"""What jobs on language models do: data, fine-tuning, generation.

Models are folders; nothing here asks a network for one.
"""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported
