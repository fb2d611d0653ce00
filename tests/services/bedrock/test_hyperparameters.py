import re
from dataclasses import replace
from typing import Any

import pytest

from modelyard.jobs.base_models import BaseModel
from modelyard.services.bedrock.hyperparameters import Hyperparameters, read
from modelyard.wire.errors import Fault

LARGE = BaseModel(
    id="meta.llama3-2-1b-instruct-v1:0",
    name="",
    provider="",
    family="llama",
    customizations=(),
    path="",
    own=False,
    architecture="LlamaForCausalLM",
    parameters=10**9,
    context=8192,
    instruct=True,
    remote_code=False,
)
TITAN = replace(LARGE, id="amazon.titan-text-express-v1", family="titan")
PREMIER = replace(TITAN, id="amazon.titan-text-premier-v1:0")
NOVA = replace(LARGE, id="amazon.nova-micro-v1:0", family="nova")
CLAUDE = replace(LARGE, id="anthropic.claude-3-haiku-20240307-v1:0", family="claude")
SMALL = replace(LARGE, parameters=10**6)


def hyperparameters(model: BaseModel = LARGE, rows: int | None = 100, **given: str) -> Hyperparameters:
    return read(model, given, rows)


class TestDefaults:
    @pytest.mark.parametrize(
        ("model", "texts"),
        [
            (LARGE, {"epochCount": "5", "batchSize": "1", "learningRate": "0.0001"}),
            (replace(LARGE, family="mistral"), {"epochCount": "5", "batchSize": "1", "learningRate": "0.0001"}),
            (
                TITAN,
                {"epochCount": "5", "batchSize": "1", "learningRate": "0.00001", "learningRateWarmupSteps": "5"},
            ),
            (
                PREMIER,
                {"epochCount": "2", "batchSize": "1", "learningRate": "0.000001", "learningRateWarmupSteps": "5"},
            ),
            (
                NOVA,
                {"epochCount": "2", "batchSize": "1", "learningRate": "0.00001", "learningRateWarmupSteps": "10"},
            ),
            (
                CLAUDE,
                {
                    "epochCount": "2",
                    "batchSize": "32",
                    "learningRateMultiplier": "1.0",
                    "earlyStoppingThreshold": "0.001",
                    "earlyStoppingPatience": "2",
                },
            ),
        ],
    )
    def test_are_each_familys_own(self, model: BaseModel, texts: dict[str, str]) -> None:
        assert hyperparameters(model).texts == texts

    @pytest.mark.parametrize(("rows", "epochs"), [(None, 40), (999, 40), (1000, 5), (10**9, 5)])
    def test_of_small_models_depend_on_the_rows(self, rows: int | None, epochs: int) -> None:
        values = hyperparameters(SMALL, rows).values
        assert values["epochs"] == epochs
        assert (values["batch_size"], values["learning_rate"], values["warmup_steps"]) == (8, 3e-3, None)

    def test_of_small_models_are_slower_for_full_weights(self) -> None:
        assert hyperparameters(SMALL, modelyardFullWeights="true").values["learning_rate"] == 1e-3
        given = hyperparameters(SMALL, modelyardFullWeights="True", learningRate="0.01").values
        assert (given["learning_rate"], given["full_weights"]) == (0.01, True)

    def test_of_a_small_model_keep_its_familys_names(self) -> None:
        values = hyperparameters(replace(CLAUDE, parameters=10**6), learningRateMultiplier="0.5").values
        assert values["learning_rate"] == 3e-3 * 0.5
        assert values["early_stopping"] == {"threshold": 0.001, "patience": 2}

    def test_of_claude_multiply_a_rate_of_ours(self) -> None:
        assert hyperparameters(CLAUDE, learningRateMultiplier="2").values["learning_rate"] == 2e-4

    def test_may_be_a_rate_of_nothing(self) -> None:
        assert hyperparameters(TITAN, learningRate="0").values["learning_rate"] == 0.0


class TestGiven:
    def test_are_shown_as_they_were_written(self) -> None:
        found = hyperparameters(learningRate="1e-4", modelyardSeed="7")
        assert found.texts == {"epochCount": "5", "batchSize": "1", "learningRate": "1e-4", "modelyardSeed": "7"}
        assert (found.values["learning_rate"], found.values["seed"]) == (1e-4, 7)

    @pytest.mark.parametrize(
        ("model", "given", "word"),
        [
            (LARGE, {"epochCount": "11"}, "epochCount is '11', and must be a whole number from 1 to 10"),
            (LARGE, {"batchSize": "2"}, "from 1 to 1"),
            (LARGE, {"learningRate": "1"}, "from 5e-06 to 0.1"),
            (LARGE, {"learningRateWarmupSteps": "1"}, "none of meta.llama3-2-1b-instruct-v1:0's, which are epochCount"),
            (PREMIER, {"learningRate": "0.0001"}, "from 1e-07 to 1e-05"),
            (NOVA, {"epochCount": "6"}, "from 1 to 5"),
            (CLAUDE, {"learningRate": "0.1"}, "learningRateMultiplier"),
            (CLAUDE, {"batchSize": "3"}, "from 4 to 256"),
            (LARGE, {"modelyardRank": "0"}, "from 1 to 256"),
            (LARGE, {"modelyardSeed": "-1"}, "from 0 to"),
            (LARGE, {"modelyardFullWeights": "yes"}, "must be true or false"),
            (LARGE, {"": "1"}, "''"),
        ],
    )
    def test_are_refused_with_their_range(self, model: BaseModel, given: dict[str, str], word: str) -> None:
        with pytest.raises(Fault, match=re.escape(word)):
            read(model, given, None)

    @pytest.mark.parametrize("text", ["", " 1", "1 ", "one", "1.0", "1_0", "\u0661", "9" * 5000, "nan", "1e0", "+"])
    def test_that_are_no_whole_numbers_are_refused(self, text: str) -> None:
        with pytest.raises(Fault, match="epochCount"):
            hyperparameters(epochCount=text)

    @pytest.mark.parametrize("text", ["", "nan", "inf", "1e9999", "1e", ".", "-0.01", "0.01x", "0,01", "1" * 41])
    def test_that_are_no_numbers_are_refused(self, text: str) -> None:
        with pytest.raises(Fault, match="learningRate"):
            hyperparameters(TITAN, learningRate=text)

    def test_are_read_as_people_write_numbers(self) -> None:
        for text in ("0.001", "1e-3", "1E-3", ".001", "+0.001", "00.0010"):
            values: dict[str, Any] = dict(hyperparameters(learningRate=text).values)
            assert values["learning_rate"] == 1e-3
