"""The transform script: it applies the best trial's model to the graph, and leaves what an endpoint serves."""

from pathlib import Path

import torch
from model import Sage

from modelyard.workloads.graph.hetero import load_graph, load_info
from modelyard.workloads.graph.toolkit import get_transform_config, save_node_prediction_model_artifacts


def main() -> None:
    """Writes the probabilities of all nodes of the target type, and their vectors."""
    data_path, model_path, _, params = get_transform_config()
    data, info = load_graph(data_path), load_info(data_path)
    model = Sage(data, params["num-hidden"], params["num-layer"], len(info.label_map))
    model.load_state_dict(torch.load(Path(model_path) / "model.pt", weights_only=True))
    model.eval()
    with torch.no_grad():
        vectors = model.embed(data)[params["target_ntype"]]
        probabilities = model.decoder(vectors).softmax(dim=1)
    save_node_prediction_model_artifacts(model_path, probabilities, params, embeddings=vectors)


if __name__ == "__main__":
    main()
