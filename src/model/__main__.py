"""The network of the settings in force → what each of its stages gives out and costs, for one clip.

    python -m src.model summary
    python -m src.model summary --set model.depth=50 --set model.width=64 --classes 101

Nothing is computed, so a network of any size takes seconds, and no GPU is needed.
"""

from __future__ import annotations

from src import command, paths


def number_of_classes(given: int | None) -> tuple[int, str]:
    """How many, and who says so: `given`, else the class list, else UCF101."""
    from src.video import labels

    if given is not None:
        return given, "--classes"
    if (paths.SPLITS / "classes.txt").exists():
        return len(labels.class_names(paths.SPLITS)), "data/splits/classes.txt"
    return 101, "as in UCF101: there is no data/splits/classes.txt yet, and no --classes N"


def main() -> None:
    parser = command.parser(__doc__)
    parser.prog = "python -m src.model"  # Python calls the module src.model.__main__, which nobody types
    parser.add_argument(
        "command", choices=["summary"], metavar="summary", help="print the table, a row a stage and pathway"
    )
    parser.add_argument(
        "--classes", type=int, metavar="N", help="number of classes (default: as many as data/splits/classes.txt names)"
    )
    arguments = parser.parse_args()
    if arguments.classes is not None and arguments.classes < 1:
        parser.error(f"argument --classes: must be at least 1, not {arguments.classes}")
    params = command.settings_of(arguments)
    import torch

    from src.model.summary import summarise, table
    from src.training.optim import autocast, choose_device

    device = choose_device(params.runtime.device)
    model = params.model.network()
    classes, source = number_of_classes(arguments.classes)
    with autocast(device, precision=params.train.precision):
        precision = "bf16" if torch.is_autocast_enabled(device.type) else "fp32"
        rows = summarise(model, classes=classes, device=device)
    print(", ".join(f"{key} {value}" for key, value in model.items()))
    print(f"{classes} classes ({source})\n")
    print(table(rows))
    print("\nmultiply-adds  of convolutions and matrix products, forward, for one clip")
    print(f"activations    what training keeps of one clip for the backward pass, on {device.type} in {precision}, and")
    print("               nothing frozen; weights, gradients, optimiser state and working memory come on top")


if __name__ == "__main__":
    command.run(main)
