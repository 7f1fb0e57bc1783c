"""Run the benchmarks, each in a process of its own.

python -m benchmarks                                # all of them
python -m benchmarks embedding --fb-path FOLDER     # one of them, with the published code among the peers
"""

import argparse
import subprocess
import sys

MODULES = {
    "accuracy": "benchmarks.accuracy",
    "accuracy_matrices": "benchmarks.accuracy_matrices",
    "constructions": "benchmarks.constructions",
    "equivariant": "benchmarks.equivariant",
    "hyperbolic_layers": "benchmarks.hyperbolic_layers",
    "hyperbolic_stability": "benchmarks.hyperbolic_stability",
    "optimizers": "benchmarks.optimizers",
    "embedding": "benchmarks.embedding_race",
    "sharded_embedding": "benchmarks.sharded_embedding",
    "spd": "benchmarks.spd",
    "spectral_conv": "benchmarks.spectral_conv",
    "tensor_layers": "benchmarks.tensor_layers",
}


def main() -> None:
    """Run the chosen benchmarks; they print their tables and write benchmarks/results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(MODULES)}; all by default")
    parser.add_argument("--quick", action="store_true", help="a part of each, printed and not saved")
    parser.add_argument("--fb-path", help="for embedding: folder with the published code, built")
    parser.add_argument("--nouns", help="for embedding: also measure on the nouns, from a file or folder of WordNet's")
    args = parser.parse_args()
    if unknown := set(args.names) - set(MODULES):
        parser.error(f"expected {', '.join(MODULES)}, but got {', '.join(sorted(unknown))}")

    for name in args.names or MODULES:
        options = ["--quick"] if args.quick else []
        if name == "embedding" and args.fb_path:
            options += ["--fb-path", args.fb_path]
        run(MODULES[name], options)
        if name == "embedding" and args.nouns:
            run(MODULES[name], [*options, "--nouns", args.nouns])


def run(module: str, options: list[str]) -> None:
    """Run a module; end with its exit status if it fails."""
    print(f"\n=== {module}", flush=True)
    status = subprocess.run([sys.executable, "-m", module, *options]).returncode
    if status:
        raise SystemExit(status)


if __name__ == "__main__":
    main()
