"""Write the nets of this folder.

    python proto/make_nets.py            # write all of them
    python proto/make_nets.py --check    # compare the files with what would be written
    python proto/make_nets.py --trunk lite2     # also the training nets on EfficientNet-Lite2

To add a net, write a function of a Size that returns it, and add a line to NETS, in
distilling_nets.py, metric_nets.py, offline_nets.py, class_nets.py or lite_nets.py. Nets are built
from the functions in blocks.py and heads.py.
"""

import argparse
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
FIRST_LINE = '# written by proto/make_nets.py\n'


def net_texts(trunk: str | None = None) -> dict[str, str]:
    """Return the prototxts by path relative to this folder, with the families on `trunk`."""
    import all_nets  # not above, because the engine takes seconds to import
    from google.protobuf import text_format
    return {path: FIRST_LINE + text_format.MessageToString(net())
            for path, net in {**all_nets.NETS, **all_nets.LITE.get(trunk, {})}.items()}


def write(folder: Path, trunk: str | None = None) -> None:
    """Write every net into `folder`; `trunk` as of `net_texts`."""
    for path, text in net_texts(trunk).items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        print(path)


def check(folder: Path, trunk: str | None = None) -> list[str]:
    """Return the paths of the nets in `folder` that are missing or differ; `trunk` as above."""
    return [path for path, text in net_texts(trunk).items()
            if not (folder / path).is_file() or (folder / path).read_text() != text]


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description='Write the nets of the folder proto.')
    parser.add_argument('--check', action='store_true',
                        help='write nothing; if nets differ, print their names and exit with '
                             'status 1')
    parser.add_argument('--trunk', choices=['lite1', 'lite2'],
                        help='also the nets for training and reducing on this EfficientNet-Lite, '
                             'which are not in the repository; those on lite0 are')
    return parser.parse_args(argv)


def main(args):
    try:
        if not args.check:
            write(FOLDER, args.trunk)
            return 0
        differing = check(FOLDER, args.trunk)
    except OSError as error:
        sys.exit(f'make_nets.py: {error}')
    for path in differing:
        print(f'{path} differs from what make_nets.py writes', file=sys.stderr)
    return 1 if differing else 0


if __name__ == '__main__':
    sys.exit(main(parse_args()))
