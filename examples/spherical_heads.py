"""
Classes as points of a sphere
=============================

Four heads on the same small network, trained on seven of scikit-learn's ten digits: a linear softmax; cosines, whose
classes are points of a sphere; cosines with ArcFace's angular margin; and Unicom's partial margin, which trains on a
random half of the features at a time. They are judged by new images of the seven digits, and by what the features are
worth for the three digits that no head has seen: how well an image finds the others of its digit.

All three heads on the sphere beat softmax on the seven digits, the margins by most, within the seeds' deviation of each
other; on the unseen digits only plain cosines beat it. The partial margin was made for a million noisy classes: for
seven clean ones it is as good as ArcFace, from half of the features.
"""

import argparse
from collections.abc import Callable

import torch
from torch import Tensor, nn

from isometry.layers import CosineClassifier, MarginClassifier
from isometry.trainers.data import Digits
from isometry.trainers.optim import RiemannianAdam

FEATURES, SEEN, SCALE = 32, 7, 16.0

HEADS: dict[str, Callable[[], nn.Module]] = {
    "softmax": lambda: nn.Linear(FEATURES, SEEN),
    "cosine": lambda: CosineClassifier(FEATURES, SEEN, SCALE),
    "ArcFace": lambda: MarginClassifier(FEATURES, SEEN, SCALE, angular_margin=0.5),
    "partial margin": lambda: MarginClassifier(FEATURES, SEEN, SCALE, angular_margin=0.3, feature_fraction=0.5),
}


def mean_average_precision(features: Tensor, digits: Tensor) -> float:
    """Return the mean average precision of each image's ranking of all others by the cosine to it."""
    directions = nn.functional.normalize(features, dim=1)
    cosines = (directions @ directions.mT).fill_diagonal_(-2)  # itself last
    order = cosines.argsort(1, descending=True)[:, :-1]
    found = (digits[order] == digits.unsqueeze(1)).double()
    precision = found.cumsum(1) / torch.arange(1, order.shape[1] + 1)
    return float(((precision * found).sum(1) / found.sum(1)).mean())


def train(head: nn.Module, seed: int, epochs: int) -> tuple[float, float]:
    """Train a network with the head; return accuracy on new images and mean average precision on unseen digits."""
    torch.manual_seed(seed)
    (x, y), split = Digits().read()
    x, rows = x.flatten(1), (y[split["train"]] < SEEN).nonzero().squeeze(1)
    body = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, FEATURES))
    optimizer = RiemannianAdam(nn.ModuleList([body, head]), lr=3e-3)
    for _ in range(epochs):
        for batch in rows[torch.randperm(len(rows))].split(64):
            features = body(x[batch])
            logits = head(features, y[batch]) if isinstance(head, MarginClassifier) else head(features)
            loss = nn.functional.cross_entropy(logits, y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    head.eval()
    with torch.no_grad():
        known, unseen = y[split["test"]] < SEEN, y >= SEEN
        predicted = head(body(x[split["test"]][known])).argmax(1)
        accuracy = float((predicted == y[split["test"]][known]).double().mean())
        return accuracy, mean_average_precision(body(x[unseen]), y[unseen])


def main(smoke: bool = False) -> None:
    """Run the example; ``smoke`` only shows that it runs."""
    torch.set_num_threads(1)
    seeds, epochs = (2, 1) if smoke else (5, 40)
    print(f"{'head':16}{'accuracy, 7 digits':>20}{'mAP, 3 unseen digits':>24}    mean and deviation of {seeds} seeds")
    means: dict[str, tuple[float, float]] = {}
    for name, make_head in HEADS.items():
        results = []
        for seed in range(seeds):
            torch.manual_seed(seed)
            results.append(train(make_head(), seed, epochs))
        (accuracy, precision), spread = torch.tensor(results).mean(0), torch.tensor(results).std(0)
        print(f"{name:16}{accuracy:14.3f} ±{spread[0]:.3f}{precision:18.3f} ±{spread[1]:.3f}")
        means[name] = (float(accuracy), float(precision))
    if not smoke and not (means["ArcFace"][0] > 0.92 and means["cosine"][1] > means["softmax"][1] + 0.03):
        raise SystemExit("expected an accuracy above 0.92 of ArcFace, and unseen digits found better by cosines")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="a few steps only")
    main(**vars(parser.parse_args()))
