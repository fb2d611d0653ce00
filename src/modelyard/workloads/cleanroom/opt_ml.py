"""What a container finds below `/opt/ml`, and in its environment, as on SageMaker.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html
https://github.com/aws/sagemaker-training-toolkit/blob/master/ENVIRONMENT_VARIABLES.md
"""

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelyard.runner.context import InputError
from modelyard.runner.sandbox import Bind, Limits, OpenedImage, artifacts

ROOT = "/opt/ml"
NETWORK = "lo"
"""The only network interface that a container has."""
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
CONTENT_TYPES = {"CSV": "text/csv", "PARQUET": "application/x-parquet"}


@dataclass(frozen=True)
class Channel:
    """Data for training. name: of its folder below `/opt/ml/input/data`. sharded: each host gets some of the files."""

    name: str
    source: Path
    sharded: bool

    def files(self, host: str, hosts: Sequence[str]) -> list[Path]:
        """The files that a host gets, in the order of their names."""
        return files(self.source)[hosts.index(host) :: len(hosts)] if self.sharded else files(self.source)


def channels(parameters: Mapping[str, Any], inputs: Mapping[str, Path]) -> list[Channel]:
    """The channels of a training; InputError for names that are no names of folders, or that come twice."""
    names = _names(parameters)
    for name in names:
        if name in {".", ".."} or not _NAME.fullmatch(name):
            raise InputError(f"channel {name!r}: a channel's name is that of a folder; choose another")
        if names.count(name) > 1:
            raise InputError(f"channel {name!r} is given twice; give each channel a name of its own")
    return [
        Channel(told["name"], inputs[told["input"]], told["distribution"] == "ShardedByS3Key")
        for told in parameters["channels"]
    ]


def files(channel: Path) -> list[Path]:
    """The files of a channel in the order of their names."""
    return sorted(path for path in channel.iterdir() if path.is_file() and not path.is_symlink())


def limits(parameters: Mapping[str, Any], cores: int) -> Limits:
    """What a container may use: the memory, and if it is told the volume, of its instance."""
    most = Limits(memory=parameters["memory"], cores=cores)
    return replace(most, disk=parameters["volume"]) if parameters.get("volume") else most


def code(image: OpenedImage) -> list[Bind]:
    """`/opt/ml/code` of an image, where SageMaker's own images keep their scripts: the one folder there that stays."""
    path = image.files
    for part in ("opt", "ml", "code"):
        path = path / part
        if image.form == "project" or not path.is_dir() or path.is_symlink():
            return []
    return [Bind(path, f"{ROOT}/code")]


class Room:
    """The folders of one training container: what it reads is written here, what it writes is found here.

    folder: empty, of this task. checkpoints: kept between attempts.
    """

    def __init__(self, folder: Path, checkpoints: Path) -> None:
        self._input = folder / "input"
        self.data = self._input / "data"
        paths = {"model": folder / "model", "output": folder / "output", "checkpoints": checkpoints}
        for path in (self._input / "config", self.data, folder / "output" / "data", *paths.values()):
            path.mkdir(parents=True, exist_ok=True)
        self.binds = [Bind(self._input, f"{ROOT}/input")]
        self.binds += [Bind(path, f"{ROOT}/{name}", writable=True) for name, path in paths.items()]

    def add(self, channel: Channel, host: str, hosts: Sequence[str]) -> None:
        """Shows a channel: all of its files, or those of one host."""
        folder = self.data / channel.name
        folder.mkdir()
        if not channel.sharded:
            self.binds.append(Bind(channel.source, f"{ROOT}/input/data/{channel.name}"))
            return
        for path in channel.files(host, hosts):
            _link(path, folder / path.name)

    def add_model(self, name: str, source: Path) -> None:
        """Shows an earlier model, unpacked, and beside it packed as SageMaker gives it (`model.tar.gz`)."""
        folder = self.data / name
        found = artifacts.contents(source, 1 << 63)
        folder.mkdir()
        for entry in found.entries:
            if entry.folder:
                (folder / entry.path).mkdir()
            else:
                _link(source / entry.path, folder / entry.path)
        with suppress(FileExistsError):
            artifacts.pack(source, found, folder / "model.tar.gz")

    def configure(self, **files: Any) -> None:
        """Writes `/opt/ml/input/config/<name>.json`, a file for each argument."""
        for name, content in files.items():
            (self._input / "config" / f"{name}.json").write_text(json.dumps(content))


def input_data_config(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """`inputdataconfig.json`; fast file mode calls itself File."""
    told = {
        channel["name"]: {
            "ContentType": CONTENT_TYPES[channel["format"]],
            "TrainingInputMode": "Pipe" if parameters["mode"] == "Pipe" else "File",
            "S3DistributionType": channel["distribution"],
            "RecordWrapperType": "None",
        }
        for channel in parameters["channels"]
    }
    for channel in parameters["incremental"]:
        told[channel["name"]] = {
            "ContentType": "application/x-sagemaker-model",
            "TrainingInputMode": "File",
            "S3DistributionType": "FullyReplicated",
            "RecordWrapperType": "None",
        }
    return told


def resource_config(host: str, hosts: Sequence[str]) -> dict[str, Any]:
    """`resourceconfig.json`."""
    return {"current_host": host, "hosts": sorted(hosts), "network_interface_name": NETWORK}


def training_environment(parameters: Mapping[str, Any], host: str, hosts: Sequence[str], cores: int) -> dict[str, str]:
    """The variables of a training container: those of the toolkit, what the user gives, and what the platform says.

    An image whose entry point is its own script never runs the toolkit, which would otherwise
    set the first ones; hence they are set here, and the user's go above them.
    """
    hyperparameters = parameters["hyperparameters"]
    names = _names(parameters)
    toolkit = {
        "SM_MODEL_DIR": f"{ROOT}/model",
        "SM_OUTPUT_DIR": f"{ROOT}/output",
        "SM_OUTPUT_DATA_DIR": f"{ROOT}/output/data",
        "SM_INPUT_DIR": f"{ROOT}/input",
        "SM_INPUT_CONFIG_DIR": f"{ROOT}/input/config",
        "SM_CHANNELS": json.dumps(sorted(names)),
        "SM_HPS": json.dumps(hyperparameters),
        "SM_CURRENT_HOST": host,
        "SM_HOSTS": json.dumps(sorted(hosts)),
        "SM_NUM_CPUS": str(cores),
        "SM_NUM_GPUS": "0",
        "SM_LOG_LEVEL": "20",
        "SM_NETWORK_INTERFACE_NAME": NETWORK,
        "FILE_FORMAT": parameters["channels"][0]["format"].lower(),
        **{f"SM_CHANNEL_{name.upper()}": f"{ROOT}/input/data/{name}" for name in names},
        **{f"SM_HP_{name.upper()}": value for name, value in hyperparameters.items() if _is_variable(name, value)},
    }
    platform = {"TRAINING_JOB_NAME": parameters["name"], "TRAINING_JOB_ARN": parameters["arn"]}
    return toolkit | dict(parameters["environment"]) | platform


def inference_environment(parameters: Mapping[str, Any]) -> dict[str, str]:
    """The variables of an inference container: the user's, and above them the platform's."""
    platform = {"SAGEMAKER_BATCH": "true", "SAGEMAKER_BATCH_STRATEGY": "MULTI_RECORD"}
    if payload := parameters["max_payload"]:
        platform["SAGEMAKER_MAX_PAYLOAD_IN_MB"] = str(payload)
    return dict(parameters["environment"]) | platform


def _names(parameters: Mapping[str, Any]) -> list[str]:
    """The names of all channels."""
    return [told["name"] for told in (*parameters["channels"], *parameters["incremental"])]


def _is_variable(name: str, value: str) -> bool:
    """Whether a hyperparameter can be a variable too; `hyperparameters.json` has them all."""
    try:
        f"{name}{value}".encode()
    except UnicodeEncodeError:
        return False
    return "=" not in name and name.isprintable() and "\0" not in value


def _link(source: Path, target: Path) -> None:
    """Shows a file under another name; it is read-only there, so that one file may serve both."""
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)
