"""Scripts of a clone run from another, empty folder: forks of one interpreter.

    python tests/helpers/try_defaults.py CLONE FOLDER < command_lines.json

Reads a JSON list of command lines, each a list whose first word is a script's path in the clone or
`-m`; prints a JSON object per line. The modules come from where PYTHONPATH says, which should be
the clone.
"""

import json
import os
import shutil
import sys
from pathlib import Path

from killing import preload, run

if __name__ == '__main__':
    clone, folder = map(Path, sys.argv[1:])
    preload()
    for words in json.load(sys.stdin):
        folder.mkdir(parents=True)
        here = words if words[0] == '-m' else [str(clone / words[0]), *words[1:]]
        done = run(here, folder)
        print(json.dumps({'words': words, 'status': done.status, 'out': done.out,
                          'errors': done.errors, 'made': sorted(os.listdir(folder)),
                          'seconds': done.seconds}), flush=True)
        shutil.rmtree(folder)
