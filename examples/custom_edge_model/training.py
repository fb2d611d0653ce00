"""The training script: the search runs it once for each setting that it tries."""

import argparse
from pathlib import Path

import torch
from model import EdgeClassifier
from torch.nn.functional import cross_entropy

from modelyard.workloads.graph.hetero import load_graph, load_info, split_edges
from modelyard.workloads.graph.toolkit import get_training_config, save_eval_metrics


def main() -> None:
    """Trains, and keeps the weights of the epoch that is best on the validation edges."""
    arguments = parse_arguments()
    data_path, model_path, _ = get_training_config()
    data, info = load_graph(data_path), load_info(data_path)
    train, valid, _ = split_edges(data, info)
    torch.manual_seed(0)
    model = EdgeClassifier(data, info.target_etype, arguments.num_hidden, len(info.label_map))
    optimizer = torch.optim.Adam(model.parameters(), lr=arguments.lr)
    learned, kept, best = train[info.target_etype], valid[info.target_etype], -1.0
    for epoch in range(1, arguments.num_epochs + 1):
        optimizer.zero_grad()
        vectors = model.embed(train)
        loss = cross_entropy(
            model(vectors, learned.edge_label_index, learned.get("edge_label_attr")), learned.edge_label
        )
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            logits = model(model.embed(valid), kept.edge_label_index, kept.get("edge_label_attr"))
        accuracy = float((logits.argmax(dim=1) == kept.edge_label).float().mean())
        if accuracy > best:
            best = accuracy
            torch.save(model.state_dict(), Path(model_path) / "model.pt")
            save_eval_metrics({"accuracy": best, "epoch": epoch}, model_path)
        # The regular expression of model-hpo-configuration.json finds the number; the last one is the trial's score.
        print(f"epoch {epoch} | loss {loss:.4f} | best validation accuracy: {best:.4f}", flush=True)


def parse_arguments() -> argparse.Namespace:
    """The hyperparameters of model-hpo-configuration.json, and what every script is told."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--num-hidden", type=int, required=True)
    parser.add_argument("--num-epochs", type=int, required=True)
    parser.add_argument("--lr", type=float, required=True)
    for name in ("task", "model", "name", "target_etype", "property"):
        parser.add_argument(f"--{name}")
    return parser.parse_args()


if __name__ == "__main__":
    main()
