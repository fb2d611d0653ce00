import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.workloads.graph.custom.conftest import TRAINING, configuration

from modelyard.runner.context import Context, InputError, Stopped
from modelyard.runner.sandbox import gpu
from modelyard.workloads.graph.custom import search as stage
from modelyard.workloads.graph.data import Task

Source = Callable[..., Path]
Search = Callable[..., Context]


@pytest.fixture
def graph(two_communities: Any, tmp_path: Path) -> Path:
    folder: Path = two_communities(people=50).write(tmp_path / "graph").folder
    return folder


def trials(context: Context) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((context.output / "trials.json").read_text())
    return found


def test_the_best_trials_model_is_kept_with_its_code(graph: Path, source: Source, search: Search) -> None:
    context = search(graph, source(), max_trials=3)
    result = stage.run(context)

    ended = trials(context)
    best = max(ended, key=lambda trial: trial["value"])
    assert [trial["state"] for trial in ended] == ["complete"] * 3
    assert result["best_trial"] == best["number"]
    assert result["value"] == best["hyperparameters"]["size"]
    assert best["values"] == pytest.approx([best["value"] * part / 3 for part in (1, 2, 3)])
    told = json.loads((context.output / "model" / "told.json").read_text())
    assert told["arguments"]["size"] == str(best["hyperparameters"]["size"])
    assert (context.output / "code" / "transform.py").exists()
    assert json.loads((context.output / "eval_metrics_info.json").read_text()) == {"SCORE": best["value"]}


def test_the_script_is_told_by_neptunes_arguments_and_sagemakers_variables(
    graph: Path, source: Source, search: Search
) -> None:
    context = search(graph, source(), max_trials=1)
    stage.run(context)

    told = json.loads((context.output / "model" / "told.json").read_text())
    assert told["arguments"] | {"size": "1"} == {
        "size": "1",
        "lr": "0.01",
        "task": "node_class",
        "model": "custom",
        "name": "node_class-custom",
        "target_ntype": "person",
        "property": "group",
    }
    environment = told["environment"]
    assert environment["SM_CHANNEL_TRAIN"] == "/opt/ml/input/data/train"
    assert environment["SM_MODEL_DIR"] == "/opt/ml/model"
    assert environment["SM_OUTPUT_DATA_DIR"] == "/opt/ml/output/data"
    assert environment["SM_NUM_GPUS"] == "0"
    assert json.loads(environment["SM_HPS"])["target_ntype"] == "person"
    assert "graph.json" in told["graph"]
    details = json.loads((context.output / "tuning_job_details.json").read_text())
    assert details["BestTrainingJob"]["TrainingJobParameters"]["property"] == "group"


@pytest.mark.parametrize(("allowed", "told"), [(True, ("2", "0,1")), (False, ("0", None))])
def test_a_script_that_may_use_the_gpus_is_told_how_many_there_are(
    graph: Path,
    source: Source,
    search: Search,
    monkeypatch: pytest.MonkeyPatch,
    allowed: bool,
    told: tuple[str, str | None],
) -> None:
    monkeypatch.setattr(gpu, "count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    context = search(graph, source(), max_trials=1, gpu=allowed)
    stage.run(context)
    environment = json.loads((context.output / "model" / "told.json").read_text())["environment"]
    assert (environment["SM_NUM_GPUS"], environment.get("CUDA_VISIBLE_DEVICES")) == told


def test_a_model_in_sm_model_dir_is_collected_too(graph: Path, source: Source, search: Search) -> None:
    more = "import pathlib\npathlib.Path(os.environ['SM_MODEL_DIR'], 'weights').write_text('w')\n"
    context = search(graph, source({"training.py": TRAINING + more}), max_trials=1)
    stage.run(context)

    assert {path.name for path in (context.output / "model").iterdir()} == {"told.json", "weights"}


def test_lower_is_better_where_the_objective_says_so(graph: Path, source: Source, search: Search) -> None:
    metric = configuration()["models"][0]["eval_metric"]
    metric["tuning_objective"]["Type"] = "Minimize"
    context = search(
        graph, source({"model-hpo-configuration.json": json.dumps(configuration(eval_metric=metric))}), max_trials=3
    )
    result = stage.run(context)

    assert result["value"] == min(trial["value"] for trial in trials(context))


def test_a_trial_that_fails_does_not_fail_the_search(graph: Path, source: Source, search: Search) -> None:
    program = TRAINING + "import sys\nif os.environ['TRAINING_JOB_NAME'] == 'trial-0': sys.exit('no luck')\n"
    context = search(graph, source({"training.py": program}), max_trials=2)
    stage.run(context)

    failed, complete = trials(context)
    assert (failed["state"], complete["state"]) == ("failed", "complete")
    assert failed["reason"] == "training.py ended with exit status 1: no luck"


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import nothing_like_it", "ended with exit status 1: ModuleNotFoundError: No module named 'nothing_like_it'"),
        ("print('score: none')", "the script printed no line in which 'score: ([0-9.]+)' finds a number"),
        ("held = [bytearray(1 << 24) for _ in range(1000)]", "needed more than the 0.5 GiB of memory"),
    ],
)
def test_a_search_without_a_model_says_why(
    program: str, reason: str, graph: Path, source: Source, search: Search
) -> None:
    with pytest.raises(InputError) as error:
        stage.run(search(graph, source({"training.py": program}), max_trials=1))

    assert str(error.value).startswith("every trial failed; the first: ")
    assert reason in str(error.value)


def test_a_script_for_edges_is_told_their_type(made: Any, source: Source, search: Search, tmp_path: Path) -> None:
    key = ("a", "x", "a")
    task = Task("edge_class", property="kind", classes=("p", "q"), edge_type=key)
    made(task, {"a": 2}, {key: np.zeros((2, 1))}, edge_split={key: np.ones(1)}).write(tmp_path / "edges")
    program = "import sys\nopen('/opt/ml/model/told', 'w').write(' '.join(sys.argv))\nprint('score: 1')"
    space = json.dumps(configuration(task_type="edge_class"))
    files = {"training.py": program, "model-hpo-configuration.json": space}
    context = search(tmp_path / "edges", source(files), max_trials=1)
    stage.run(context)

    told = (context.output / "model" / "told").read_text()
    assert told.endswith("--task edge_class --model custom --name edge_class-custom --target_etype x --property kind")


@pytest.mark.parametrize("name", ["training.py", "transform.py", "model-hpo-configuration.json"])
def test_a_folder_without_what_it_must_hold_is_refused(name: str, graph: Path, source: Source, search: Search) -> None:
    with pytest.raises(InputError, match=f"the folder has no {name}"):
        stage.run(search(graph, source({name: None})))


def test_a_package_that_is_not_installed_is_named_with_the_ways_out(
    graph: Path, source: Source, search: Search
) -> None:
    text = "# comment\nnumpy>=1\nno-such-package==3.1\n\ntorch<1\n"
    with pytest.raises(InputError) as error:
        stage.run(search(graph, source({"requirements.txt": text})))

    assert "no-such-package==3.1, torch<1: not installed here" in str(error.value)
    assert "--custom-model-network" in str(error.value)


def test_a_killed_search_goes_on_where_it_ended(graph: Path, source: Source, search: Search) -> None:
    folder = source()
    first = search(graph, folder, max_trials=6, max_parallel=1)
    two_ended = replace(first, should_stop=lambda: len(list(first.state.glob("trials/*.json"))) >= 2)
    with pytest.raises(Stopped):
        stage.run(two_ended)
    (folder / "training.py").write_text("raise SystemExit('changed meanwhile')")
    context = search(graph, folder, max_trials=6, max_parallel=1, number=2)
    stage.run(context)

    assert [trial["state"] for trial in trials(context)] == ["complete"] * 6
    assert not (context.state / "rooms").exists()


def test_a_stop_ends_the_scripts_at_once(graph: Path, source: Source, search: Search) -> None:
    program = "import signal, sys, time\nsignal.signal(15, lambda *_: sys.exit(0))\ntime.sleep(600)"
    looked = iter(range(1000))
    context = search(graph, source({"training.py": program}), should_stop=lambda: next(looked) > 5)
    with pytest.raises(Stopped):
        stage.run(context)

    assert list((context.state / "trials").iterdir()) == []


def test_an_earlier_searchs_best_is_tried_first(graph: Path, source: Source, search: Search, tmp_path: Path) -> None:
    (tmp_path / "earlier").mkdir()
    earlier = [
        {"state": "complete", "value": 29.0, "hyperparameters": {"size": 29}},
        {"state": "complete", "value": 3.0, "hyperparameters": {"size": 3, "fanout": [1, 2]}},
        {"state": "failed", "value": None, "hyperparameters": {"size": 30}},
    ]
    (tmp_path / "earlier" / "trials.json").write_text(json.dumps(earlier))
    context = search(graph, source(), {"previous": tmp_path / "earlier"}, max_trials=1)
    stage.run(context)

    assert trials(context)[0]["hyperparameters"]["size"] == 29
