"""The training script: the search runs it once for each setting that it tries."""

import argparse
from pathlib import Path

import torch
from model import Sage
from torch.nn.functional import cross_entropy
from torch_geometric.data import HeteroData

from modelyard.workloads.graph.hetero import load_graph, load_info
from modelyard.workloads.graph.toolkit import get_training_config, save_eval_metrics


def main() -> None:
    """Trains, and keeps the weights of the epoch that is best on the validation nodes."""
    arguments = parse_arguments()
    data_path, model_path, _ = get_training_config()
    data, info = load_graph(data_path), load_info(data_path)
    torch.manual_seed(0)
    model = Sage(data, arguments.num_hidden, arguments.num_layer, len(info.label_map), arguments.dropout)
    optimizer = torch.optim.Adam(model.parameters(), lr=arguments.lr, weight_decay=5e-4)
    target, best = data[arguments.target_ntype], -1.0
    for epoch in range(1, arguments.num_epochs + 1):
        model.train()
        optimizer.zero_grad()
        logits = model(data, arguments.target_ntype)
        loss = cross_entropy(logits[target.train_mask], target.y[target.train_mask])
        loss.backward()
        optimizer.step()
        accuracy = evaluate(model, data, arguments.target_ntype)
        if accuracy > best:
            best = accuracy
            torch.save(model.state_dict(), Path(model_path) / "model.pt")
            save_eval_metrics({"accuracy": best, "epoch": epoch}, model_path)
        # The regular expression of model-hpo-configuration.json finds the number; the last one is the trial's score.
        print(f"epoch {epoch} | loss {loss:.4f} | best validation accuracy: {best:.4f}", flush=True)


def evaluate(model: Sage, data: HeteroData, target: str) -> float:
    """The share of the validation nodes that is classified right."""
    model.eval()
    with torch.no_grad():
        right = model(data, target).argmax(dim=1) == data[target].y
    return float(right[data[target].valid_mask].float().mean())


def parse_arguments() -> argparse.Namespace:
    """The hyperparameters of model-hpo-configuration.json, and what every script is told."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--num-hidden", type=int, required=True)
    parser.add_argument("--num-layer", type=int, required=True)
    parser.add_argument("--num-epochs", type=int, required=True)
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--dropout", type=float, required=True)
    for name in ("task", "model", "name", "target_ntype", "property"):
        parser.add_argument(f"--{name}")
    return parser.parse_args()


if __name__ == "__main__":
    main()
