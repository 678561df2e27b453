"""Write the nets of this folder.

    python proto/make_nets.py            # write all of them
    python proto/make_nets.py --check    # compare the files with what would be written

To add a net, write a function of a Size that returns it, and add a line to NETS, in
distilling_nets.py, metric_nets.py, offline_nets.py or class_nets.py. Nets are built from the
functions in blocks.py and heads.py.
"""

import argparse
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
FIRST_LINE = '# written by proto/make_nets.py\n'


def net_texts() -> dict[str, str]:
    """Return the prototxt of every net by its path relative to this folder."""
    import all_nets  # not above, because the engine takes seconds to import
    from google.protobuf import text_format
    return {path: FIRST_LINE + text_format.MessageToString(net())
            for path, net in all_nets.NETS.items()}


def write(folder: Path) -> None:
    """Write every net into `folder`."""
    for path, text in net_texts().items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        print(path)


def check(folder: Path) -> list[str]:
    """Return the paths of the nets in `folder` that are missing or differ."""
    return [path for path, text in net_texts().items()
            if not (folder / path).is_file() or (folder / path).read_text() != text]


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description='Write the nets of the folder proto.')
    parser.add_argument('--check', action='store_true',
                        help='write nothing; if nets differ, print their names and exit with '
                             'status 1')
    return parser.parse_args(argv)


def main(args):
    try:
        if not args.check:
            write(FOLDER)
            return 0
        differing = check(FOLDER)
    except OSError as error:
        sys.exit(f'make_nets.py: {error}')
    for path in differing:
        print(f'{path} differs from what make_nets.py writes', file=sys.stderr)
    return 1 if differing else 0


if __name__ == '__main__':
    sys.exit(main(parse_args()))
