from pathlib import Path

import pytest

from modelyard.images.folder import OpenedImage
from modelyard.runner.context import InputError
from modelyard.workloads.cleanroom import opt_ml
from modelyard.workloads.cleanroom.opt_ml import Channel, channels, code, files


def image(folder: Path) -> OpenedImage:
    return OpenedImage(folder, "rootfs", f"sha256:{'0' * 64}")


def test_code_of_an_image_stays(tmp_path: Path) -> None:
    path = tmp_path / "rootfs" / "opt" / "ml" / "code"
    path.mkdir(parents=True)

    assert [(bind.source, bind.target, bind.writable) for bind in code(image(tmp_path))] == [
        (path, "/opt/ml/code", False)
    ]


@pytest.mark.parametrize("link", ["opt", "opt/ml", "opt/ml/code"])
def test_a_link_in_an_image_leads_to_no_folder_of_ours(link: str, tmp_path: Path) -> None:
    (tmp_path / "ours" / "opt" / "ml" / "code").mkdir(parents=True)
    (tmp_path / "rootfs" / link).parent.mkdir(parents=True)
    (tmp_path / "rootfs" / link).symlink_to(tmp_path / "ours" / link)

    assert code(image(tmp_path)) == []


def test_files_of_a_channel_are_dealt_out_to_hosts(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"part-{number}").touch()
    (tmp_path / "link").symlink_to("/etc/passwd")
    hosts = ["algo-1", "algo-2"]
    dealt = [Channel("train", tmp_path, sharded=True).files(host, hosts) for host in hosts]

    assert [[path.name for path in some] for some in dealt] == [["part-0", "part-2", "part-4"], ["part-1", "part-3"]]
    assert Channel("train", tmp_path, sharded=False).files("algo-2", hosts) == files(tmp_path)


def test_channels_have_names_of_their_own(tmp_path: Path) -> None:
    told = {"name": "train", "distribution": "FullyReplicated", "format": "CSV", "input": "channel-0"}
    with pytest.raises(InputError, match="channel 'train' is given twice"):
        channels({"channels": [told], "incremental": [{"name": "train", "input": "x"}]}, {"channel-0": tmp_path})


def test_the_platforms_variables_go_above_the_users() -> None:
    parameters = {"environment": {"SAGEMAKER_BATCH": "false", "OWN": "x"}, "max_payload": None}

    assert opt_ml.inference_environment(parameters) == {
        "SAGEMAKER_BATCH": "true",
        "SAGEMAKER_BATCH_STRATEGY": "MULTI_RECORD",
        "OWN": "x",
    }
