"""Learn the gauge's two perceptrons from rendered welds, and write `inspection/gauge.npz`.

    python -m inspection.training.fit_gauge [--welds N] [--seed N] [--epochs N] [--out FILE]

Circles are drawn around and beside the imprints of rendered welds, of the planned one and of its
neighbours alike: which of them is the planned one is a matter of place, and no network is asked.
The net sees a circle unrolled and learns how it must move and grow, how far that may be wrong
(Gaussian likelihood) and whether it is an imprint at all. Of the welds a fifth, by part, is left
out: from these come the least logit and the factors of the stated uncertainty (the 99 % quantile
of error over stated deviation; split conformal, Lei et al. 2018).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from inspection import gauge
from inspection.gauge import COARSE, FINE, RAYS, SIDE
from inspection.rendering.catalogue import FIELD_MM, GOOD
from inspection.rendering.weld import draw_weld, render

SHARES = {
    GOOD: 0.42, "missing": 0.13, "small-imprint": 0.18, "off-centre": 0.17,
    "edge-weld": 0.05, "overlap": 0.05,
}  # fmt: skip
MOST = 3
"""Imprints of one picture."""
CIRCLES = 12
HIDDEN = (64, 32)
Floats = npt.NDArray[np.float32]


class Welds(NamedTuple):
    """``seen`` uint8 (n, 128, 128); ``truth`` float32 (n, MOST, 4): x, y, radius in pixels and
    whether it is the planned weld, -1 where there is none; ``labels`` (n,)."""

    seen: npt.NDArray[np.uint8]
    truth: Floats
    labels: npt.NDArray[Any]


def rendered(count: int, seed: int) -> Welds:
    """So many welds in the shares of `SHARES`, each of a part of its own."""
    seen, truth, labels = [], [], []
    for label, share in SHARES.items():
        for part in range(round(count * share)):
            scene = draw_weld(seed, part, 0, label)
            grey = cv2.cvtColor(render(scene).image, cv2.COLOR_RGB2GRAY)
            seen.append(cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA))
            one = np.full((MOST, 4), -1.0, np.float32)
            px = SIDE / scene.size_px
            for k, imprint in enumerate(scene.imprints[:MOST]):
                place = (imprint.x_px + 0.5) * px, (imprint.y_px + 0.5) * px
                one[k] = *place, imprint.radius_mm * SIDE / FIELD_MM, k == scene.own
            truth.append(one)
            labels.append(label)
    return Welds(np.stack(seen), np.stack(truth), np.array(labels))


def circles(
    rng: np.random.Generator, flat: Floats, truth: Floats, *, near: float
) -> tuple[Floats, Floats]:
    """Circles (n, CIRCLES, 3) and what is right for them (n, CIRCLES, 4): the correction, and 1
    for an imprint, 0 for none, -1 where it is neither."""
    n = len(flat)
    asked = np.empty((n, CIRCLES, 3), np.float32)
    asked[:, :6] = gauge.candidates(flat)
    for k in range(6, CIRCLES):
        one = truth[np.arange(n), rng.integers(0, np.maximum((truth[:, :, 2] > 0).sum(1), 1))]
        free = np.stack([rng.uniform(16, 112, n), rng.uniform(16, 112, n),
                         rng.uniform(8, 32, n)], 1)  # fmt: skip
        one = np.where(one[:, 2:3] > 0, one[:, :3], free)
        spread = near * rng.choice([0.15, 0.5, 1.0], n)
        one[:, :2] += rng.normal(0, 1, (n, 2)) * spread[:, None] * one[:, 2:] * 0.6
        one[:, 2] *= np.exp(rng.uniform(-1.4, 1.4, n) * spread)
        asked[:, k] = one
    if near < 0.2:  # the fine net sees what the coarse one leaves, and what is no imprint
        keep = truth[:, :1, :3]
        asked[:, :2] = np.where(keep[:, :, 2:] > 0, keep, asked[:, :2])
        asked[:, :2] *= np.exp(rng.normal(0, 0.05, (n, 2, 3))).astype(np.float32)
    size = truth[:, None, :, 2]
    apart = (truth[:, None, :, :2] - asked[:, :, None, :2]) / asked[:, :, None, 2:]
    grows = np.log(np.maximum(size, 1e-3) / asked[:, :, 2:])
    cost = np.where(size > 0, np.hypot(apart[..., 0], apart[..., 1]) + np.abs(grows), np.inf)
    which = cost.argmin(axis=2)
    n_at, m_at = np.mgrid[:n, :CIRCLES]
    right = np.empty((n, CIRCLES, 4), np.float32)
    right[:, :, :2] = apart[n_at, m_at, which]
    right[:, :, 2] = grows[n_at, m_at, which]
    least = cost[n_at, m_at, which]
    right[:, :, 3] = np.where(least < near * 1.1, 1, np.where(least > near * 1.5, 0, -1))
    right[:, :, :3][~np.isfinite(right[:, :, :3])] = 0
    return asked, right


def _turned(x: Floats, y: Floats, radii: int, by: int) -> tuple[Floats, Floats]:
    """The same circles with the picture turned by so many rays."""
    rays = x.reshape(len(x), RAYS, radii * 2)
    angle = by * 2 * np.pi / RAYS
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    out = y.copy()
    out[:, 0], out[:, 1] = c * y[:, 0] - s * y[:, 1], s * y[:, 0] + c * y[:, 1]
    return np.roll(rays, by, axis=1).reshape(len(x), -1), out


def _batches(
    rng: np.random.Generator, x: npt.NDArray[np.floating], y: Floats, radii: int, size: int = 512
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    order = rng.permutation(len(x))
    for start in range(0, len(x) - size + 1, size):
        some = np.sort(order[start : start + size])
        a, b = _turned(x[some].astype(np.float32), y[some], radii, int(rng.integers(RAYS)))
        if rng.uniform() < 0.5:  # mirrored: ray k becomes ray -k
            rays = a.reshape(len(a), RAYS, -1)
            a = np.roll(rays[:, ::-1], 1, axis=1).reshape(len(a), -1)
            b = b * np.array([1, -1, 1, 1], np.float32)
        yield torch.from_numpy(np.ascontiguousarray(a)), torch.from_numpy(b)


def learn(
    x: npt.NDArray[np.floating], y: Floats, radii: int, epochs: int, seed: int
) -> tuple[Floats, ...]:
    """The layers of a perceptron for circles unrolled (k, ...) and what is right for them."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, radii])
    net = nn.Sequential(
        nn.Linear(x.shape[1], HIDDEN[0]), nn.ReLU(), nn.Dropout(0.05),
        nn.Linear(HIDDEN[0], HIDDEN[1]), nn.ReLU(), nn.Linear(HIDDEN[1], 6),
    )  # fmt: skip
    best = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-3)
    steps = epochs * (len(x) // 512)
    plan = torch.optim.lr_scheduler.OneCycleLR(best, 4e-3, total_steps=steps)
    for _ in range(epochs):
        for a, b in _batches(rng, x, y, radii):
            said = net(a)
            known, is_one = b[:, 3] >= 0, b[:, 3] > 0.5
            loss = nn.functional.binary_cross_entropy_with_logits(said[known, 3], b[known, 3])
            deviation = said[is_one, 4:6].clamp(-7, 0)
            miss = torch.abs(said[is_one, :3] - b[is_one, :3])
            by = torch.stack([deviation[:, 0], deviation[:, 0], deviation[:, 1]], 1)
            square = 0.5 * (miss / by.exp()).clamp(max=6) ** 2
            loss = loss + 0.3 * (square + by).mean() + 4 * miss.mean()
            best.zero_grad()
            torch.autograd.backward(loss)
            best.step()
            plan.step()
    found: list[Floats] = []
    for layer in net:
        if isinstance(layer, nn.Linear):
            found += [layer.weight.detach().numpy().T.copy(), layer.bias.detach().numpy().copy()]
    return tuple(found)


def fit(welds: Welds, *, epochs: int, seed: int) -> gauge.Weights:
    """Both perceptrons, and the factors from welds that are left out."""
    rng = np.random.default_rng([seed, 1])
    held = rng.uniform(size=len(welds.seen)) < 0.2
    seen, truth = welds.seen[~held], welds.truth[~held]
    flat = np.concatenate([gauge.flattened(some[..., None]) for some in np.array_split(seen, 32)])
    nets: list[gauge.Net] = []
    for radii, near, rounds in ((COARSE, 0.5, 2), (FINE, 0.12, 3)):
        xs, ys = [], []
        for _ in range(rounds):
            for some in np.array_split(np.arange(len(flat)), 32):
                asked, right = circles(rng, flat[some], truth[some], near=near)
                if nets:  # half of what the fine net sees is what the coarse one leaves
                    said = nets[0](gauge.unrolled(flat[some], asked[:, :6], COARSE))
                    asked[:, 2:6] = gauge.moved(asked[:, :6], said)[:, 2:6]
                    right = _right(asked, truth[some], near)
                xs.append(gauge.unrolled(flat[some], asked, radii).astype(np.float16))
                ys.append(right)
        x = np.concatenate(xs).reshape(-1, RAYS * len(radii) * 2)
        y = np.concatenate(ys).reshape(-1, 4)
        nets.append(gauge.Net(learn(x, y, len(radii), epochs, seed)))
    return _factors(welds, held, gauge.Weights(nets[0], nets[1], -np.inf, (1.0, 1.0)))


def _right(asked: Floats, truth: Floats, near: float) -> Floats:
    """As in `circles`, for circles that were moved since."""
    size = truth[:, None, :, 2]
    apart = (truth[:, None, :, :2] - asked[:, :, None, :2]) / asked[:, :, None, 2:]
    grows = np.log(np.maximum(size, 1e-3) / asked[:, :, 2:])
    cost = np.where(size > 0, np.hypot(apart[..., 0], apart[..., 1]) + np.abs(grows), np.inf)
    which = cost.argmin(axis=2)[..., None]
    least = np.take_along_axis(cost, which, 2)[..., 0]
    shift = np.take_along_axis(apart, which[..., None], 2)[:, :, 0]
    grow = np.take_along_axis(grows, which, 2)
    is_one = np.where(least < near * 1.1, 1, np.where(least > near * 1.5, 0, -1))
    right = np.concatenate([shift, grow, is_one[..., None]], axis=2).astype(np.float32)
    right[~np.isfinite(right)] = 0
    return right


def _factors(welds: Welds, held: npt.NDArray[np.bool_], nets: gauge.Weights) -> gauge.Weights:
    seen, truth = welds.seen[held], welds.truth[held]
    nets = nets._replace(least=0.0)
    parts = [gauge.find(some[..., None], nets)[0] for some in np.array_split(seen, 16)]
    found = gauge.Found(*(np.concatenate(values) for values in zip(*parts, strict=True)))
    own = truth[:, :, 3] == 1
    there = own.any(axis=1)
    right = truth[np.arange(len(truth)), own.argmax(axis=1)]
    miss = np.abs(found.circle[:, :2] - right[:, :2]) / found.circle[:, 2:]
    grow = np.abs(np.log(found.circle[:, 2] / np.maximum(right[:, 2], 1e-3)))
    hit = there & (np.hypot(miss[:, 0], miss[:, 1]) < 0.25) & (grow < 0.2)
    centre = np.quantile((miss / found.sigma[:, :1])[hit], 0.99)
    size = np.quantile((grow / found.sigma[:, 1])[hit], 0.99)
    return nets._replace(cover=(float(centre), float(size)))


def save(nets: gauge.Weights, path: Path) -> None:
    """Half precision: it changes no circle by more than a hundredth of a pixel."""
    arrays = {
        f"{name}{k}": layer.astype(np.float16)
        for name, net in (("coarse", nets.coarse), ("fine", nets.fine))
        for k, layer in enumerate(net.layers)
    }
    limits = np.array([nets.least, *nets.cover], np.float32)
    np.savez_compressed(path, allow_pickle=False, limits=limits, **arrays)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="learn the gauge from rendered welds")
    parser.add_argument("--welds", type=int, default=6700)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--out", type=Path, default=gauge.WEIGHTS)
    options = parser.parse_args(argv)
    nets = fit(rendered(options.welds, options.seed), epochs=options.epochs, seed=options.seed)
    save(nets, options.out)
    print(f"{options.out}: least {nets.least:g}, factors {nets.cover[0]:.2f}, {nets.cover[1]:.2f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
