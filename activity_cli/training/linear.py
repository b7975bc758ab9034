"""The pooled linear head: logistic regression whose strengths are chosen on the clips at hand.

Each stream gives two kernels (N, N), inner products of clips: one of its mean over time, one of its
change over time. The head reads their weighted sum. Gradient descent sets the weights, so that the
loss of kernel ridge regression is lowest on held-out folds, for which there is a closed form
(Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, section 5.4.2). Logistic
regressions for all folds and penalties, fitted together by L-BFGS, then choose the penalty. Of
multi-label clips each label has a logistic regression of its own, with one penalty for all.

N clips and views, S streams, K coefficients over time, D features, C labels, P problems solved
together, R rank of the kernel.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from activity_cli.training.loop.trainer import Adam, cross_entropy

_PENALTIES = tuple(10.0 ** (exponent / 2) for exponent in range(-12, 1))
_MAX_BASIS = 1000  # clips that the kernel is made of; more are expressed by these
_MAX_CLIPS_FOR_WEIGHTS = 500  # the closed form takes the cube of their number
_WEIGHT_STEPS, _WEIGHT_RATE, _LEAST_RIDGE = 60, 0.15, 1e-4
_NATS = 3.0  # that weights of the kernels with logarithms of unit spread must gain over equal ones
_MARGIN = 0.03  # share by which the changes must lower the loss: smaller gains were chance
_MAX_STEPS, _MAX_LENGTHS, _MEMORY = 100, 12, 8  # of L-BFGS: steps, lengths of a step tried

LinearHead = tuple[Tensor, Tensor]
"""Weights (C, S * K * D) and biases (C,)."""

_Evaluate = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(points (R, P, C), which problems (P,)) -> losses (P,) and gradients (R, P, C)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearClips:
    """What a linear head is fitted to. The first clips are unchanged, the others views of them."""

    pooled: Tensor  # (N, S, K, D), standardised
    targets: Tensor  # (N,), or (N, C) of multi-label clips
    weights: Tensor  # (N, 1) of each clip in the loss, or (N, C) of each of its labels
    deals: Sequence[NDArray[np.int64]]
    """(N,) the fold that holds each clip out, -1 for none; several deals vary less by chance."""
    num_labels: int

    @property
    def multi_label(self) -> bool:
        """Whether a clip may have several labels, or none."""
        return self.targets.dim() == 2

    @property
    def truth(self) -> Tensor:
        """(N, C) 1 for each label that a clip has, else 0."""
        return (
            self.targets if self.multi_label else F.one_hot(self.targets, self.num_labels).float()
        )

    def loss(self, logits: Tensor, rows: Tensor, *, reduction: str = "mean") -> Tensor:
        """Return the loss of logits (n, C) of the clips in these rows (n,), clips not weighted."""
        weights = self.weights[0] if self.multi_label else None  # of labels: all clips have them
        return cross_entropy(logits, self.targets[rows], weights, reduction=reduction)

    def held_out(self, rows: Tensor | None = None) -> Iterator[Tensor]:
        """Yield the positions, among rows or all clips, that each fold of each deal holds out."""
        for deal in self.deals:
            fold = deal if rows is None else deal[rows.numpy()]
            for number in range(int(deal.max()) + 1):
                yield torch.from_numpy(np.flatnonzero(fold == number))


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearStrengths:
    """Kernels, their weights and the penalty, as chosen; fits any part of the clips with them."""

    clips: LinearClips
    blocks: tuple[Tensor, ...]  # (N, F) inputs of each kernel, with a mean square norm of 1
    norms: tuple[float, ...]  # root mean square norm that each block was divided by
    weights: Tensor  # of the kernels, with the sum 1
    penalty: float
    loss: float  # of the held-out clips
    of_mean: Self | None = None  # those of the mean over time alone, where these use the changes

    @classmethod
    def choose(cls, clips: LinearClips) -> Self:
        """Choose the strengths that give held-out clips the lowest loss.

        The changes over time are used where they lower it clearly.
        """
        found = cls._choose(clips, 1)
        if clips.pooled.shape[2] == 1:
            return found
        other = cls._choose(clips, 2)
        return replace(other, of_mean=found) if other.loss < (1 - _MARGIN) * found.loss else found

    @classmethod
    def _choose(cls, clips: LinearClips, per_stream: int) -> Self:
        by_stream = clips.pooled.unbind(dim=1)  # (N, K, D) each
        parts = [s[:, :1] for s in by_stream]
        if per_stream == 2:
            parts += [s[:, 1:] for s in by_stream]
        raw = [part.flatten(1) for part in parts]
        norms = tuple(float(b.square().sum(dim=1).mean().clamp(min=1e-12).sqrt()) for b in raw)
        blocks = tuple(block / norm for block, norm in zip(raw, norms, strict=True))
        weights = _kernel_weights(blocks, clips)
        found = cls(clips=clips, blocks=blocks, norms=norms, weights=weights, penalty=0.0, loss=0.0)
        losses = found._held_out_losses()
        best = int(losses.argmin())
        return replace(found, penalty=_PENALTIES[best], loss=float(losses[best]))

    def _held_out_losses(self) -> Tensor:
        """Return the mean loss of the clips that a fold holds out, for each penalty."""
        folds = list(self.clips.held_out())
        inputs, _ = self._basis()
        masks = torch.ones(len(inputs), len(folds), 1)
        for number, held_out in enumerate(folds):
            masks[held_out, number] = 0
        weights = (masks * self.clips.weights.unsqueeze(1)).repeat_interleave(len(_PENALTIES), 1)
        penalties = torch.tensor(_PENALTIES).repeat(len(folds))
        solved = _solve(inputs, self.clips, weights, penalties, tolerance=1e-4)
        total = torch.zeros(len(_PENALTIES))
        for held_out, of_fold in zip(
            folds, torch.split(solved, len(_PENALTIES), dim=1), strict=True
        ):
            logits = torch.einsum("nr,rpc->pnc", inputs[held_out], of_fold[:-1])
            logits += of_fold[-1].unsqueeze(1)
            for index, each in enumerate(logits):
                total[index] += self.clips.loss(each, held_out, reduction="sum")
        return total / sum(map(len, folds))

    def fit(self, parts: Sequence[NDArray[np.bool_]]) -> list[LinearHead]:
        """Fit a head to each part of the clips, masks (N,)."""
        inputs, to_basis = self._basis()
        weights = torch.stack([_mask(part) for part in parts], dim=1).unsqueeze(2)
        weights = weights * self.clips.weights.unsqueeze(1)
        penalties = torch.full((len(parts),), self.penalty)
        solved = _solve(inputs, self.clips, weights, penalties, tolerance=1e-6)
        return [(self._primal(to_basis @ one[:-1]), one[-1]) for one in solved.unbind(dim=1)]

    def feature_penalties(self) -> Tensor:
        """Return (S * K * D,) L2 penalties of the weights that `fit` finds, for a mean loss."""
        penalties = torch.full(self.clips.pooled.shape[1:], 1e6)  # of what is not read
        for place, weight, norm in zip(self._places(), self.weights, self.norms, strict=True):
            penalties[place] = self.penalty * norm**2 / weight.clamp(min=1e-6)
        return penalties.flatten()

    def _places(self) -> list[tuple[int, slice]]:
        """Return the stream and the coefficients that each block reads."""
        streams = range(self.clips.pooled.shape[1])
        both = [(s, read) for read in (slice(0, 1), slice(1, None)) for s in streams]
        return both[: len(self.blocks)]

    def _rows(self) -> Tensor:
        """Return the positions of the clips that the kernel is made of."""
        return _spread(len(self.clips.targets), _MAX_BASIS)

    def _basis(self) -> tuple[Tensor, Tensor]:
        """Return (N, R) inputs whose inner products are the kernel, and (basis, R) to them."""
        rows = self._rows()
        kernel = sum(w * b @ b[rows].T for w, b in zip(self.weights, self.blocks, strict=True))
        assert isinstance(kernel, Tensor)
        values, vectors = torch.linalg.eigh(kernel[rows].double())
        kept = values > 1e-6 * values[-1]
        to_basis = (vectors[:, kept] / values[kept].sqrt()).float()
        return kernel @ to_basis, to_basis

    def _primal(self, dual: Tensor) -> Tensor:
        """(basis, C) of the kernel's clips -> (C, S * K * D) of the standardised features."""
        rows, result = self._rows(), torch.zeros(dual.shape[1], *self.clips.pooled.shape[1:])
        blocks = zip(self._places(), self.blocks, self.weights, self.norms, strict=True)
        for (stream, read), block, weight, norm in blocks:
            part = result[:, stream, read]
            part.copy_((weight / norm * (dual.T @ block[rows])).view(part.shape))
        return result.flatten(1)


def _spread(count: int, most: int) -> Tensor:
    """Return at most `most` positions, spread evenly over `count`."""
    return torch.linspace(0, count - 1, min(count, most)).round().long()


def _mask(part: NDArray[np.bool_]) -> Tensor:
    return torch.from_numpy(part.astype(np.float32))


def _kernel_weights(blocks: Sequence[Tensor], clips: LinearClips) -> Tensor:
    """Return the weights of the kernels, with the sum 1, that suit the held-out folds best."""
    if len(blocks) == 1:
        return torch.ones(1)
    rows = _spread(len(clips.targets), _MAX_CLIPS_FOR_WEIGHTS)
    kernels = torch.stack([block[rows] @ block[rows].T for block in blocks])
    truth = clips.truth[rows]
    share = truth.mean(dim=0)
    # A regression of centred truth gives 0 where nothing is known; of several labels that is rare.
    usual = torch.logit(share.clamp(1e-3, 1 - 1e-3)) if clips.multi_label else 0.0
    truth = truth - share
    held_out = [found for found in clips.held_out(rows) if len(found)]
    order = torch.cat(held_out)
    logs = torch.zeros(len(blocks), requires_grad=True)
    log_ridge = torch.tensor(-1.0, requires_grad=True)  # base 10
    log_scale = torch.tensor(1.0, requires_grad=True)  # from regression to logits
    optimizer = Adam([logs, log_ridge, log_scale], lr=_WEIGHT_RATE)
    for _ in range(_WEIGHT_STEPS):
        optimizer.zero_grad()
        kernel = torch.einsum("k,kij->ij", torch.softmax(logs, 0), kernels)
        # The constant is the kernel of a bias.
        kernel = kernel + 1 + (_LEAST_RIDGE + 10**log_ridge) * torch.eye(len(rows))
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(kernel))
        dual = inverse @ truth
        residuals = [torch.linalg.solve(inverse[o][:, o], dual[o]) for o in held_out]
        logits = log_scale.exp() * (truth[order] - torch.cat(residuals))
        loss = clips.loss(logits + usual if clips.multi_label else logits, rows[order])
        loss = loss + _NATS / len(rows) * (logs - logs.mean()).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            optimizer.step()
    return torch.softmax(logs, 0).detach()


def _solve(
    inputs: Tensor, clips: LinearClips, weights: Tensor, penalties: Tensor, *, tolerance: float
) -> Tensor:
    """Solve P regressions together: (N, R), (N, P, 1 or C), (P,) -> (R + 1, P, C), bias last.

    Parameters are scaled by a bound of the Hessian (Böhning, "Multinomial logistic regression
    algorithm", 1992).
    """
    weights = weights / weights.sum(dim=0).mean(dim=1, keepdim=True)
    truth = clips.truth.unsqueeze(1)  # (N, 1, C)
    with_ones = torch.cat([inputs, torch.ones(len(inputs), 1)], dim=1)
    ridge = penalties.expand(with_ones.shape[1], -1).clone().unsqueeze(2)  # (R + 1, P, 1)
    ridge[-1] = 0
    bound = 0.5 * weights.amax(dim=0) * with_ones.square().sum(dim=0).view(-1, 1, 1) + ridge
    scale = bound.rsqrt()

    def evaluate(point: Tensor, problems: Tensor) -> tuple[Tensor, Tensor]:
        own_scale, own_ridge, own_weights = (x[:, problems] for x in (scale, ridge, weights))
        parameters = own_scale * point
        logits = (with_ones @ parameters.flatten(1)).view(len(inputs), *point.shape[1:])
        if clips.multi_label:
            loss = _dot(own_weights, F.softplus(logits) - logits * truth)
            chances = torch.sigmoid(logits)
        else:
            total = torch.logsumexp(logits, -1, keepdim=True)
            loss = _dot(own_weights, total - (logits * truth).sum(-1, keepdim=True))
            chances = torch.exp(logits - total)
        loss = loss + 0.5 * _dot(own_ridge, parameters.square())
        errors = own_weights * (chances - truth)  # (N, P, C)
        slopes = (with_ones.T @ errors.flatten(1)).view(point.shape)
        return loss, own_scale * (slopes + own_ridge * parameters)

    start = torch.zeros(*bound.shape[:2], clips.num_labels)
    return scale * _minimise(evaluate, start, tolerance=tolerance)


def _minimise(evaluate: _Evaluate, start: Tensor, *, tolerance: float) -> Tensor:
    """Solve P problems (R, P, C) together by L-BFGS, with a line search for each.

    A problem ends when its loss falls by less than the tolerance, as a share of it, or float32
    allows no progress. The others go on without it.
    """
    problems, solution = torch.arange(start.shape[1]), start.clone()
    point, (loss, gradient) = start, evaluate(start, problems)
    history: list[tuple[Tensor, Tensor, Tensor]] = []
    for _ in range(_MAX_STEPS):
        direction = _direction(gradient, history)
        step, slope = torch.ones(len(loss)), _dot(direction, gradient)
        new_point, new_loss, new_gradient = point.clone(), loss.clone(), gradient.clone()
        waiting = torch.arange(len(problems))
        for _ in range(_MAX_LENGTHS):
            tried = point[:, waiting] + step[waiting].unsqueeze(1) * direction[:, waiting]
            tried_loss, slopes = evaluate(tried, problems[waiting])
            allowed = loss + 1e-4 * step * slope + 1e-7 * loss.abs()
            good = tried_loss <= allowed[waiting]
            place, waiting = waiting[good], waiting[~good]
            new_point[:, place], new_gradient[:, place] = tried[:, good], slopes[:, good]
            new_loss[place] = tried_loss[good]
            if not len(waiting):
                break
            step[waiting] *= 0.4
        moved, turned = new_point - point, new_gradient - gradient
        curvature = _dot(moved, turned)
        rate = torch.where(curvature > 1e-12, 1 / curvature.clamp(min=1e-12), torch.zeros(()))
        history = [*history, (moved, turned, rate)][-_MEMORY:]
        solution[:, problems] = new_point
        rest = torch.nonzero(loss - new_loss >= tolerance * loss.clamp(min=1e-3)).flatten()
        if not len(rest):
            break
        problems, loss = problems[rest], new_loss[rest]
        point, gradient = new_point[:, rest], new_gradient[:, rest]
        history = [(moved[:, rest], turned[:, rest], rate[rest]) for moved, turned, rate in history]
    return solution


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((0, 2))


def _direction(gradient: Tensor, history: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """Return the direction of L-BFGS by its two loops; of steepest descent where it goes uphill."""
    result, shares = gradient.clone(), []
    for moved, turned, rate in reversed(history):
        shares.append(rate * _dot(moved, result))
        result -= shares[-1].unsqueeze(1) * turned
    if history:
        moved, turned, _ = history[-1]
        ratio = _dot(moved, turned) / _dot(turned, turned).clamp(min=1e-20)
        result *= ratio.clamp(min=1e-8).unsqueeze(1)
    for (moved, turned, rate), share in zip(history, reversed(shares), strict=True):
        result += (share - rate * _dot(turned, result)).unsqueeze(1) * moved
    uphill = _dot(result, gradient) <= 0
    return -torch.where(uphill.unsqueeze(1), gradient, result)
