import csv
from pathlib import Path

import pytest

from modelyard.runner.context import InputError
from modelyard.workloads.cleanroom.metrics import MOST_POINTS, Metrics

ACCURACY = [{"name": "accuracy", "regex": r'"accuracy": ([0-9.eE+-]+)'}]


def read(path: Path) -> list[tuple[str, float]]:
    with path.open(newline="") as file:
        return [(row["metric"], float(row["value"])) for row in csv.DictReader(file)]


def written(metrics: Metrics, folder: Path, noise: str) -> list[tuple[str, float]]:
    count = metrics.write(folder / "metrics.csv", noise)
    points = read(folder / "metrics.csv")
    assert count == len(points)
    return points


def test_values_are_found_in_the_lines_of_a_log(tmp_path: Path) -> None:
    metrics = Metrics([*ACCURACY, {"name": "loss", "regex": "loss=([0-9.]+)"}])
    for line in ('{"accuracy": 0.5} loss=2.0', '{"accuracy": 0.75}', "nothing", '"accuracy": ...', '"accuracy": 1e999'):
        metrics.read(line)

    assert written(metrics, tmp_path, "NONE") == [("accuracy", 0.5), ("accuracy", 0.75), ("loss", 2.0)]


def test_a_metric_cannot_carry_many_digits_or_points_out(tmp_path: Path) -> None:
    metrics = Metrics(ACCURACY)
    for number in range(MOST_POINTS + 50):
        metrics.read(f'"accuracy": {number}.123456789123456789')
    points = written(metrics, tmp_path, "NONE")

    assert len(points) == MOST_POINTS
    assert all(len(str(value).replace(".", "").strip("0")) <= 6 for _, value in points)


@pytest.mark.parametrize(("noise", "deviation"), [("LOW", 0.01), ("MEDIUM", 0.05), ("HIGH", 0.2)])
def test_noise_blurs_the_last_value_and_leaves_no_other(noise: str, deviation: float, tmp_path: Path) -> None:
    metrics = Metrics(ACCURACY)
    metrics.read('"accuracy": 10')
    metrics.read('"accuracy": 100')
    draws = [written(metrics, tmp_path, noise) for _ in range(400)]
    values = [value for ((_, value),) in draws]
    mean = sum(values) / len(values)
    spread = (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5

    assert abs(mean - 100) < 100 * deviation / 3
    assert 0.7 < spread / (100 * deviation) < 1.3


def test_an_expression_needs_a_group() -> None:
    with pytest.raises(InputError, match=r"metric 'x': '\[0-9\]\+' has no group"):
        Metrics([{"name": "x", "regex": "[0-9]+"}])


def test_a_wrong_expression_is_named() -> None:
    with pytest.raises(InputError, match="metric 'x': '\\(' is not a regular expression"):
        Metrics([{"name": "x", "regex": "("}])
