"""Settings: read once by the command line, frozen, passed as arguments."""

import os
from dataclasses import dataclass
from pathlib import Path

DEFAULT_DATA_DIR = Path(".modelyard")


@dataclass(frozen=True)
class Settings:
    """How one server runs.

    data_dir: everything that it keeps. One server uses it at a time.
    host, port: where it listens; port 0 picks a free one.
    slots: how many cores its jobs may keep busy.
    max_body: bytes of a request's body.
    s3_endpoint: the address of the S3 service that keeps the objects; None for folders of the data folder.
    model_idle_minutes: how long nobody asks a language model before it is unloaded.
    language_engine: what generates text: transformers, vllm, or auto, which is vLLM on a GPU where it is installed.
    strict_quotas: whether jobs have to have as many records as AWS wants.
    custom_model_memory: GiB that each run of a custom model's script may use; None for a part of the machine's.
    custom_model_network: whether such scripts may reach what this machine reaches.
    custom_model_gpu: whether they may use its GPUs.
    glue: whether AWS's own Glue catalog is asked for tables; one at AWS_ENDPOINT_URL_GLUE is asked anyway.
    """

    data_dir: Path = DEFAULT_DATA_DIR
    host: str = "127.0.0.1"
    port: int = 8080
    slots: int = os.cpu_count() or 1
    max_body: int = 32 * 1024 * 1024
    s3_endpoint: str | None = None
    model_idle_minutes: float = 10.0
    language_engine: str = "auto"
    strict_quotas: bool = False
    custom_model_memory: float | None = None
    custom_model_network: bool = False
    custom_model_gpu: bool = True
    glue: bool = False
