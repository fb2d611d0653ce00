import pytest

from modelyard.collaborations import arns
from modelyard.jobs.model import Owner
from modelyard.wire.models import Model
from modelyard.wire.patterns import Pattern

OWNER = Owner("111122223333", "eu-west-1")
IN, ID = "6b38a999-f2e7-48a5-bb56-ee02d4427405", "d7617bbe-fabd-4fc8-94e5-b3cb95139af2"

MADE = {
    arns.collaboration("eu-west-1", OWNER.account, ID): ("cleanrooms", None, "CollaborationArn"),
    arns.membership(OWNER, ID): ("cleanrooms", None, "MembershipArn"),
    arns.configured_table(OWNER, ID): ("cleanrooms", None, "ConfiguredTableArn"),
    arns.table_association(OWNER, IN, ID): ("cleanrooms", IN, "SchemaResourceArn"),
    arns.analysis_template(OWNER, IN, ID): ("cleanrooms", IN, "AnalysisTemplateArn"),
    arns.privacy_budget_template(OWNER, IN, ID): ("cleanrooms", IN, "CleanroomsArn"),
    arns.configured_model_algorithm(OWNER, ID): ("cleanrooms-ml", None, "ConfiguredModelAlgorithmArn"),
    arns.model_association(OWNER, IN, ID): ("cleanrooms-ml", IN, "ConfiguredModelAlgorithmAssociationArn"),
    arns.ml_input_channel(OWNER, IN, ID): ("cleanrooms-ml", IN, "MLInputChannelArn"),
    arns.trained_model(OWNER, IN, ID): ("cleanrooms-ml", IN, "TrainedModelArn"),
    arns.inference_job(OWNER, IN, ID): ("cleanrooms-ml", IN, "TrainedModelInferenceJobArn"),
}


@pytest.mark.parametrize("text", MADE)
def test_what_is_made_is_read_and_fits_the_model(text: str) -> None:
    service, membership, shape = MADE[text]
    found = arns.parse(text)
    assert found is not None
    assert (found.service, found.owner, found.membership, found.id) == (service, OWNER, membership, ID)
    model = Model({"cleanrooms": "cleanrooms", "cleanrooms-ml": "cleanroomsml"}[service])
    pattern = model._service.shape_for(shape).metadata["pattern"]
    assert Pattern(pattern).matches(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "arn:aws:s3:::bucket",
        f"arn:aws:cleanrooms:eu-west-1:111122223333:membership/{ID}/analysistemplate/../{ID}",
        f"arn:aws:cleanrooms:eu-west-1:111122223333:membership/{ID}/membership/{ID}/analysistemplate/{ID}",
        f"arn:aws:cleanrooms:eu-west-1:111122223333:membership/{ID}\n",
        f"arn:aws:cleanrooms:eu-west-1:111122223333:membership/{ID.upper()}F",
        f"arn:aws:cleanrooms:eu-west-1:١١١١٢٢٢٢٣٣٣٣:membership/{ID}",
        f"arn:aws:cleanrooms:eu-west-1:111122223333:membership/{ID}" + "/x" * 10_000,
    ],
)
def test_what_is_no_arn_of_ours(text: str) -> None:
    assert arns.parse(text) is None
