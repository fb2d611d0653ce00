"""Batch inference: every record of some files is answered, many at a time, and a record that fails fails alone.

https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference.html
"""

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from modelyard import families
from modelyard.families import converse
from modelyard.runner.context import Context
from modelyard.runner.serving import RequestError
from modelyard.workloads.language import records
from modelyard.workloads.language.engine import LanguageEngine
from modelyard.workloads.language.engine_choice import load_engine
from modelyard.workloads.language.generation import Generation
from modelyard.workloads.language.journal import Journal
from modelyard.workloads.language.records import Record
from modelyard.workloads.language.request import Request
from modelyard.workloads.language.sampling import Sampling

SORTED_TOGETHER = 512
"""Records that are read ahead, and asked in the order of their lengths: those side by side are alike."""
REPORT_SECONDS = 1.0


def run(context: Context) -> dict[str, Any]:
    """Answers the records of `inputs["records"]`, a JSON Lines file or a folder of them, into `<file>.out`.

    Parameters: `base` and `adapter` (folders), `family`, `imported`, `model` (its name in answers), `invocation_type`
    (`InvokeModel` or `Converse`), `deadline` (seconds since the epoch), `engine` (see `load_engine`). What was answered
    stays in `state`, and is not asked again. At the deadline, or when it is stopped, the job ends with what it has.
    InputError if the model cannot be loaded, or a file is not as it was when it was validated.
    """
    root = context.inputs["records"]
    files = [_File(path, _name(path, root), context.state) for path in records.files(root)]
    late = time.time() > context.parameters["deadline"] and not any(file.places for file in files)
    if not late:
        _answer(context, files)
    counts = sum((file.counts for file in files), Counter[str]())
    told = {"total": sum(file.total for file in files), "processed": counts["succeeded"] + counts["failed"]}
    told |= {name: counts[name] for name in ("succeeded", "failed", "input_tokens", "output_tokens")}
    if late:
        return {"expired": True, **told}
    for file in files:
        file.write(context.output)
    _write_manifest(context.output, told)
    return told


class _File:
    """An input file, and what was answered of it: `places` in the journal, by line."""

    def __init__(self, path: Path, name: str, state: Path) -> None:
        self.path = path
        self.name = name
        self.total = sum(1 for _ in records.lines(path))
        self.places: dict[int, int] = {}
        self.counts: Counter[str] = Counter()
        notes = state / "answered" / name
        notes.parent.mkdir(parents=True, exist_ok=True)
        self._journal = Journal(notes)
        for place, note in self._journal.values():
            self._count(place, note)

    def note(self, record: Record, answer: Mapping[str, Any], input_tokens: int = 0, output_tokens: int = 0) -> None:
        """Keeps the answer to a record: `modelOutput`, or `error`."""
        output = {"recordId": record.id, "modelInput": record.input, **answer}
        note = {"line": record.line, "output": output, "input_tokens": input_tokens, "output_tokens": output_tokens}
        self._count(self._journal.note(note), note)

    def open_records(self) -> Iterator[Record]:
        """The records that have no answer yet."""
        return (record for record in records.read(self.path) if record.line not in self.places)

    def write(self, folder: Path) -> None:
        """Writes the answers in the order of their records."""
        output = folder / f"{self.name}.out"
        output.parent.mkdir(parents=True, exist_ok=True)
        with output.open("w", encoding="utf-8") as lines:
            for _, place in sorted(self.places.items()):
                lines.write(json.dumps(self._journal.at(place)["output"], ensure_ascii=False) + "\n")

    def _count(self, place: int, note: Mapping[str, Any]) -> None:
        self.places[note["line"]] = place
        self.counts["failed" if "error" in note["output"] else "succeeded"] += 1
        for name in ("input_tokens", "output_tokens"):
            self.counts[name] += note[name]


@dataclass
class _Asked:
    """A record under way, the form of its answer, and the text so far."""

    file: _File
    record: Record
    form: Any
    generation: Generation
    texts: list[str] = field(default_factory=list)


def _answer(context: Context, files: list[_File]) -> None:
    """Answers all open records, until the deadline or a stop."""
    base = Path(context.parameters["base"])
    engine = load_engine(base, context.cores, context.parameters.get("engine", "auto"))
    waiting = _asked(context.parameters, files, engine)
    under_way: dict[Generation, _Asked] = {}
    reported = 0.0
    while not context.should_stop() and time.time() <= context.parameters["deadline"]:
        for asked in islice(waiting, 2 * engine.together - len(under_way)):
            under_way[asked.generation] = asked
            engine.add(asked.generation)
        if time.monotonic() > reported + REPORT_SECONDS or not under_way:
            _report(context, files)
            reported = time.monotonic()
        if not under_way:
            return
        for piece in engine.step():
            asked = under_way[piece.generation]
            asked.texts.append(piece.text)
            if piece.last:
                _note(context.parameters, under_way.pop(piece.generation), piece.error)


def _asked(parameters: Mapping[str, Any], files: list[_File], engine: LanguageEngine) -> Iterator[_Asked]:
    """The open records as requests, those of like length side by side. A record that cannot be asked is noted so."""
    adapter = Path(parameters["adapter"]) if parameters.get("adapter") else None
    for file in files:
        open_records = file.open_records()
        while some := list(islice(open_records, SORTED_TOGETHER)):
            for record in sorted(some, key=lambda record: len(str(record.input))):
                try:
                    form, request = _read(parameters, record.input, adapter)
                    yield _Asked(file, record, form, engine.prepare(request))
                except families.BodyError as error:
                    file.note(record, _error(400, str(error)))
                except RequestError as error:
                    file.note(record, _error(error.status, str(error)))


def _read(parameters: Mapping[str, Any], body: Mapping[str, Any], adapter: Path | None) -> tuple[Any, Request]:
    """The form and the request of a body; BodyError if it is none."""
    family = parameters["family"]
    form: Any = converse
    if parameters["invocation_type"] == "Converse":
        told = converse.read(body, family)
    else:
        form, told = families.read(family, parameters.get("imported", False), body)
    asked = told.sampling
    sampling = Sampling(asked.temperature, asked.top_p, asked.top_k)
    request = Request(told.prompt, told.messages, adapter, asked.max_tokens, sampling, tuple(told.stop), told.seed)
    return form, request


def _note(parameters: Mapping[str, Any], asked: _Asked, error: str | None) -> None:
    """Keeps the end of a generation."""
    generation = asked.generation
    if error:
        return asked.file.note(asked.record, _error(500, error))
    answer = families.Answer(
        text="".join(asked.texts),
        stop_reason=generation.reason,
        stop_sequence=generation.stopped,
        input_tokens=len(generation.prompt),
        output_tokens=len(generation.output),
        latency=generation.seconds * 1000,
        first_latency=(generation.first_after or 0.0) * 1000,
        model=parameters.get("model", ""),
        id=asked.record.id,
        created=int(time.time()),
    )
    asked.file.note(asked.record, {"modelOutput": asked.form.write(answer)}, answer.input_tokens, answer.output_tokens)


def _error(code: int, message: str) -> dict[str, Any]:
    return {"error": {"errorCode": code, "errorMessage": message}}


def _report(context: Context, files: list[_File]) -> None:
    counts = sum((file.counts for file in files), Counter[str]())
    succeeded, failed = counts["succeeded"], counts["failed"]
    total = sum(file.total for file in files)
    context.report(succeeded + failed, phase="inference", total=total, succeeded=succeeded, failed=failed)


def _write_manifest(folder: Path, told: Mapping[str, int]) -> None:
    manifest = {
        "totalRecordCount": told["total"],
        "processedRecordCount": told["processed"],
        "successRecordCount": told["succeeded"],
        "errorRecordCount": told["failed"],
        "inputTokenCount": told["input_tokens"],
        "outputTokenCount": told["output_tokens"],
    }
    (folder / "manifest.json.out").write_text(json.dumps(manifest))


def _name(path: Path, root: Path) -> str:
    """The file's name below the input folder."""
    return path.name if path == root else str(path.relative_to(root))
