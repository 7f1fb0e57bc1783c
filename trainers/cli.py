"""The command line: ``isometry fit|validate|test --config FILE``."""

from collections.abc import Sequence

from pytorch_lightning.cli import LightningCLI


def main(args: Sequence[str] | None = None) -> None:
    """Run Lightning's command line on the module and data that a config names.

    A config has three parts, ``trainer``, ``model`` and ``data``; classes and manifolds are named by ``class_path`` and
    ``init_args``, as in ``examples/configs``. ``isometry fit --help`` lists the options,
    ``isometry fit --model.help isometry.trainers.GraphEmbedding`` those of a class.
    """
    LightningCLI(
        auto_configure_optimizers=False,  # a module is given its optimizer
        save_config_kwargs={"overwrite": True},
        args=list(args) if args is not None else None,
    )


if __name__ == "__main__":
    main()
