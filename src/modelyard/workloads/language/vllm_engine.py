"""Generates with vLLM (Kwon et al., 2023), which has kernels of its own for paged keys and values, and for adapters.

It gives tokens only; texts, stop sequences, counts and reasons are made of them here as they are for every engine. It
runs in this process: what ends the task ends all of it.
"""

import os
import secrets
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, GenerationConfig, PreTrainedTokenizerFast

from modelyard.model_folder import may_run_code
from modelyard.runner.context import InputError
from modelyard.workloads.language.engine import MEMORY_SHARE, LanguageEngine, end_tokens
from modelyard.workloads.language.generation import Generation, Piece
from modelyard.workloads.language.loading import check_adapter, check_model, device, weights_dtype
from modelyard.workloads.language.memory import free_bytes
from modelyard.workloads.language.precision import has_bfloat16

for _name, _value in {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # no process of its own that could outlive this one
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # the cores are others' too
    "VLLM_HOST_IP": "127.0.0.1",
}.items():
    os.environ[_name] = _value
os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")

from vllm import EngineArgs, LLMEngine, SamplingParams  # noqa: E402  it reads the environment when it is imported
from vllm.distributed import cleanup_dist_env_and_memory  # noqa: E402
from vllm.inputs.engine import tokens_input  # noqa: E402
from vllm.lora.request import LoRARequest  # noqa: E402
from vllm.sampling_params import RequestOutputKind  # noqa: E402

MOST_TOGETHER = 256
"""Requests that are under way at once; others wait."""
MOST_RANK = 256
"""The largest rank of jobs here, for which memory is taken at the start."""
ADAPTER_SHARE = 1 / 7
"""Of a model's size, for each adapter: of that rank on every linear layer of a model with a billion parameters."""
ADAPTERS_A_STEP = 4
"""Adapters that share steps, where there is memory for them; requests to others wait for one of them to have none."""
MOST_ADAPTERS = 16
"""Adapters that are kept in memory."""
MOST_TEMPERATURE = 2.0
"""It takes no higher one; what a higher one draws is noise as well."""

_BLOCK = 256
"""Tokens, at most, that a request's share of keys and values is rounded up to."""


class VllmEngine(LanguageEngine):
    """The requests under way in vLLM. Those of several adapters share steps.

    InputError for a model that vLLM does not load, or cannot compute.
    """

    together = MOST_TOGETHER

    def __init__(self, folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
        weights = check_model(folder)
        if may_run_code(folder):
            raise InputError(f"the model {folder.name} runs code of its own, which vLLM is not given")
        try:
            self._engine = _start(folder, weights)
        except Exception as error:
            with suppress(Exception):
                cleanup_dist_env_and_memory()
            raise InputError(f"vLLM cannot load the model {folder.name} ({type(error).__name__}: {error})") from error
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        context = getattr(config.get_text_config(), "max_position_embeddings", None) or tokenizer.model_max_length
        most = self._engine.model_config.max_model_len
        super().__init__(tokenizer, min(int(context), most), torch.device("cpu"))
        own = _generation_config(folder, config)
        words = self._engine.model_config.get_vocab_size()
        self._ends = frozenset(token for token in end_tokens(own, tokenizer) if token < words)
        self._penalty = own.repetition_penalty or 1.0
        self._under_way: dict[str, Generation] = {}
        self._numbers = count()
        self._adapters: dict[Path, LoRARequest] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    def add(self, generation: Generation) -> None:
        """See `LanguageEngine.add`."""
        adapter = self._adapter(generation.request.adapter)
        id = str(next(self._numbers))
        prompt = tokens_input(generation.prompt, cache_salt=generation.request.account)
        self._engine.add_request(id, prompt, self._sampling(generation), lora_request=adapter)
        self._under_way[id] = generation

    def cancel(self, generation: Generation) -> None:
        """See `LanguageEngine.cancel`."""
        for id in [id for id, one in self._under_way.items() if one is generation]:
            self._end(id)

    def step(self) -> list[Piece]:
        """See `LanguageEngine.step`."""
        outputs = self._engine.step()
        return [piece for output in outputs if output.request_id in self._under_way for piece in self._take(output)]

    def _take(self, output: Any) -> list[Piece]:
        """What the tokens that a request was given come to."""
        generation = self._under_way[output.request_id]
        pieces = []
        for token in output.outputs[0].token_ids:
            pieces.append(generation.take(token, self._ends))
            if generation.reason:
                break
        if output.finished and not generation.reason:
            ended = f"vLLM ended it: {output.outputs[0].finish_reason}"
            pieces.append(Piece(generation, "", len(generation.output), error=ended))
        if output.finished:
            del self._under_way[output.request_id]
        elif generation.reason:
            self._end(output.request_id)
        return pieces

    def _end(self, id: str) -> None:
        del self._under_way[id]
        self._engine.abort_request([id])

    def _sampling(self, generation: Generation) -> SamplingParams:
        asked = generation.request.sampling
        greedy = asked.temperature == 0 or asked.top_p == 0
        return SamplingParams(
            temperature=0.0 if greedy else min(asked.temperature, MOST_TEMPERATURE),
            top_p=1.0 if greedy else asked.top_p,
            top_k=0 if greedy else asked.top_k or 0,
            seed=generation.request.seed,
            repetition_penalty=self._penalty,
            max_tokens=generation.most - len(generation.prompt),
            stop_token_ids=sorted(self._ends),
            ignore_eos=True,
            detokenize=False,
            output_kind=RequestOutputKind.DELTA,
        )

    def _adapter(self, folder: Path | None) -> LoRARequest | None:
        """An adapter that is in memory: one that was pushed out by others is loaded again."""
        if folder is None:
            return None
        adapter = self._adapters.get(folder) or LoRARequest(str(folder), len(self._adapters) + 1, str(folder))
        if adapter.lora_int_id not in self._engine.list_loras():
            check_adapter(folder)
            try:
                self._engine.add_lora(adapter)
            except Exception as error:
                reason = f"vLLM cannot load the adapter {folder.name} ({type(error).__name__}: {error})"
                raise InputError(reason) from error
        self._adapters[folder] = adapter
        return adapter


def _start(folder: Path, weights: list[Path]) -> LLMEngine:
    """The engine, after a first token: some models it loads, and then cannot compute."""
    on_gpu = device().type == "cuda"
    size = sum(file.stat().st_size for file in weights)
    share = MEMORY_SHARE * max(0, free_bytes(device()) - size)
    arguments = EngineArgs(
        model=str(folder),
        skip_tokenizer_init=True,
        load_format="safetensors",
        use_tqdm_on_load=False,
        dtype=_half() if on_gpu else weights_dtype(weights),
        seed=secrets.randbits(31),
        max_model_len=-1,  # the model's context, or what of it fits into memory
        max_num_seqs=MOST_TOGETHER,
        gpu_memory_utilization=0.01,  # only looked at before the start: the memory for keys and values is told below
        enforce_eager=not on_gpu,
        enable_lora=True,
        max_lora_rank=MOST_RANK,
        max_loras=max(1, min(ADAPTERS_A_STEP, int(share / (ADAPTER_SHARE * size)))),
        max_cpu_loras=MOST_ADAPTERS,
        disable_log_stats=True,
    )
    config = arguments.create_engine_config()
    config.cache_config.kv_cache_memory_bytes = int(min(share, _most_cache_bytes(config)))
    engine = LLMEngine.from_vllm_config(config, disable_log_stats=True)
    engine.add_request("first", tokens_input([0]), SamplingParams(max_tokens=2, detokenize=False))
    while engine.has_unfinished_requests():
        engine.step()
    return engine


def _half() -> torch.dtype:
    """Its kernels on a GPU for adapters take no float32."""
    return torch.bfloat16 if has_bfloat16("cuda") else torch.float16


def _most_cache_bytes(config: Any) -> int:
    """What the keys and values of all requests come to at the very most."""
    model, parallel = config.model_config, config.parallel_config
    heads = model.get_num_layers(parallel) * model.get_num_kv_heads(parallel)
    a_token = 2 * heads * model.get_head_size() * model.dtype.itemsize
    return int(MOST_TOGETHER * (model.max_model_len + _BLOCK) * a_token)


def _generation_config(folder: Path, config: Any) -> GenerationConfig:
    """What the model says about its generations, as transformers reads it."""
    if (folder / "generation_config.json").is_file():
        return GenerationConfig.from_pretrained(folder, local_files_only=True)
    return GenerationConfig.from_model_config(config)
