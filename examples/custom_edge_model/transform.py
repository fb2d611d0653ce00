"""The transform script: it applies the best trial's model to the graph, and leaves what an endpoint serves."""

from pathlib import Path

import torch
from model import EdgeClassifier

from modelyard.workloads.graph.hetero import load_graph, load_info, split_edges
from modelyard.workloads.graph.toolkit import get_transform_config, save_edge_prediction_model_artifacts


def main() -> None:
    """Writes the probabilities of all edges of the target type, and the vectors of all nodes."""
    data_path, model_path, _, params = get_transform_config()
    data, info = load_graph(data_path), load_info(data_path)
    model = EdgeClassifier(data, info.target_etype, params["num-hidden"], len(info.label_map))
    model.load_state_dict(torch.load(Path(model_path) / "model.pt", weights_only=True))
    model.eval()
    messages, _, _ = split_edges(data, info)  # as in training, edges kept for validation and test pass none
    target = data[info.target_etype]
    with torch.no_grad():
        vectors = model.embed(messages)
        probabilities = model(vectors, target.edge_index, target.get("edge_attr")).softmax(dim=1)
    save_edge_prediction_model_artifacts(model_path, data_path, params, probabilities, vectors)


if __name__ == "__main__":
    main()
