"""Execute the notebooks in place, on the committed tables and the bundled digits, in less than a minute."""

from __future__ import annotations

from bnrepro.door import door


def parser():
    from bnrepro import arguments

    return arguments.Parser(description=__doc__)


def main() -> None:
    parser().parse_args()

    from bnrepro.report import executing

    for path in sorted(executing.FOLDER.glob("*.ipynb")):
        print(f"{path}: {'written' if executing.publish(path) else 'as it was'}", flush=True)


if __name__ == "__main__":
    door(main)
