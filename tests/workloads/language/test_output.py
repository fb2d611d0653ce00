from pathlib import Path

from tests.workloads.language.jobs import context

from modelyard.workloads.language import output
from modelyard.workloads.language.history import History


def model(folder: Path, *validation_sets: str) -> Path:
    """What training leaves behind."""
    folder.mkdir()
    losses = {name: 2.0 + number for number, name in enumerate(validation_sets)}
    before = dict.fromkeys(losses, 9.0)
    History(1, losses=[3.0, 2.0], validation=[losses, losses], before=before).write(folder / "metrics")
    (folder / "model").mkdir()
    (folder / "model" / "adapter_model.safetensors").write_bytes(b"weights")
    (folder / "model" / "modelyard.json").write_text('{"base": "/srv/models/base"}')
    return folder


def laid_out(folder: Path, *validation_sets: str) -> dict[str, str]:
    here = context(folder / "task", {"model": model(folder / "trained", *validation_sets)}, {})
    output.run(here)
    return {str(path.relative_to(here.output)): path.read_text() for path in here.output.rglob("*") if path.is_file()}


def test_files_lie_where_amazon_documents_them_and_where_its_examples_look(tmp_path: Path) -> None:
    files = laid_out(tmp_path, "validation-0")
    validation = "step_number,epoch_number,validation_loss,perplexity\n0,0,2.0,7.38905609893065\n"
    assert files["training_artifacts/step_wise_training_metrics.csv"].startswith(
        "step_number,epoch_number,training_loss,perplexity\n0,0,3.0,"
    )
    for place in ("post_fine_tuning_validation/validation/", "post_fine_tuning_validation/", ""):
        assert files[f"validation_artifacts/{place}validation_metrics.csv"].startswith(validation)


def test_weights_lie_beside_and_nothing_tells_of_the_server(tmp_path: Path) -> None:
    files = laid_out(tmp_path)
    assert files["model/adapter_model.safetensors"] == "weights"
    assert not any("/srv" in text for text in files.values())
    assert not any(place.startswith("validation") for place in files)


def test_every_validation_set_has_its_file(tmp_path: Path) -> None:
    files = laid_out(tmp_path, "validation-0", "validation-1")
    place = "validation_artifacts/post_fine_tuning_validation/validation-1/validation_metrics.csv"
    assert ",3.0," in files[place]
    assert ",9.0," in files[place.replace("post_", "pre_")]
