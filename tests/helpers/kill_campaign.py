#!/usr/bin/env python3
"""Kill every writing command of the pipeline at every change of the disk, and print a table.

    python tests/helpers/kill_campaign.py
    python tests/helpers/kill_campaign.py --commands gallery index --moments 50
"""

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

from kill_commands import COMMANDS, ROOT, make_inputs
from killing import preload, try_kills


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--commands', nargs='+', choices=COMMANDS, default=list(COMMANDS),
                        metavar='COMMAND', help=f'some of: {", ".join(COMMANDS)}')
    parser.add_argument('--moments', type=int, default=10, help='random moments per command')
    parser.add_argument('--renames', action='store_true', help='kill at renames only')
    parser.add_argument('--seed', type=int, default=0, help='seed of the moments')
    return parser.parse_args()


def main(args):
    preload()
    with tempfile.TemporaryDirectory() as folder:
        scorer, inputs = Path(folder, 'scorer'), Path(folder, 'inputs')
        subprocess.run(['g++', '-O1', '-o', scorer, ROOT / 'eval/compute_ap.cpp'], check=True)
        make_inputs(inputs, scorer)
        print(f'{"command":32} {"renames":>8} {"changes":>8} {"moments":>8} {"faults":>7} '
              f'{"s a run":>8} {"s":>6}')
        for name in args.commands:
            begun = time.monotonic()
            report = try_kills(COMMANDS[name], inputs, Path(folder, 'work', name),
                               not args.renames, args.moments, seed=args.seed)
            print(f'{name:32} {report.renames:8} {report.changes:8} {report.moments:8} '
                  f'{len(report.faults):7} {report.seconds:8.2f} {time.monotonic() - begun:6.1f}',
                  flush=True)
            for fault in report.faults:
                print('   ', ' '.join(fault.split()), flush=True)


if __name__ == '__main__':
    main(parse_args())
