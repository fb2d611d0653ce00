import torch

from modelyard.workloads.language.muon import Muon, orthogonal


def test_it_moves_matrices_as_torchs_own_does() -> None:
    torch.manual_seed(0)
    ours = [torch.randn(shape, requires_grad=True) for shape in ((20, 30), (30, 20), (20, 30))]
    theirs = [matrix.detach().clone().requires_grad_() for matrix in ours]
    mine, peer = Muon(ours, lr=0.02), torch.optim.Muon(theirs, lr=0.02)
    for _ in range(3):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        mine.step()
        peer.step()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=2e-3, rtol=0)  # torch's computes in bfloat16


def test_what_it_adds_is_nearly_orthogonal() -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonal(torch.randn(2, 16, 40)))
    assert 0.5 < float(values.min()) < float(values.max()) < 1.5
