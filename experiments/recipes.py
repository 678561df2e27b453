#!/usr/bin/env python3
"""Run a path of training from images to a scored student, on rendered pictures and a narrow trunk.

    python experiments/recipes.py distill

Prints each command as you would type it, runs it, and ends with a table of mAP before and after.
The pictures that score show none of the facades that were trained on. recipes.yaml has the
commands. What a run made is kept: the next one, of another recipe too, goes on from there.
"""

import argparse
import hashlib
import json
import os
import re
import shlex
import time
from pathlib import Path

import yaml
from deep_retrieval import cli
from deep_retrieval.files import write_aside
from measuring import ROOT, run_script

RECIPES = Path(__file__).with_name('recipes.yaml')
TEMP = 'tmp/recipes'        # below ROOT
MEAN = re.compile(r'Mean: ([\d.]+) ')
# what the pictures were rendered from stands for them
PICTURES = ('datasets/tiny/landmark/manifest.json', 'datasets/tiny/demo/manifest.json')


def parse_args():
    recipes = read_recipes()
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('recipe', choices=sorted(recipes), metavar='RECIPE', help='; '.join(
        f'{name}: {recipe["title"]}' for name, recipe in sorted(recipes.items())))
    parser.add_argument('--dry_run', action='store_true', help='print the commands, run nothing')
    return parser.parse_args()


def main(args):
    recipe = read_recipes()[args.recipe]
    os.chdir(ROOT)          # where the paths in the prototxts begin
    os.makedirs(TEMP, exist_ok=True)
    start = time.monotonic()
    for step in recipe['steps']:
        print('$ python ' + step['run'], flush=True)
        if not args.dry_run:
            run_step(step)
    if args.dry_run:
        return
    print(f'\n{recipe["title"]}\n')
    width = max(len(row['name']) for row in recipe['rows'])
    for row in recipe['rows']:
        print(f'{row["name"]:{width}}  {mean_of(row["command"]):6.2f} mAP', flush=True)
    print(f'\n{time.monotonic() - start:.0f} s')


def read_recipes():
    """Recipe -> title, steps (run, makes) and rows (name, command)."""
    text = yaml.safe_load(RECIPES.read_text(encoding='utf-8'))
    begin, test = text.pop('begin'), text.pop('test')
    return {name: {'title': recipe['title'], 'steps': begin + recipe['commands'],
                   'rows': [{'name': row['name'],
                             'command': f'{test} {row["test"]} --temp_dir {TEMP}/{name}_{number}'}
                            for number, row in enumerate(recipe['rows'])]}
            for name, recipe in text.items()}


def run_step(step):
    """Run a command, unless it left what it `makes` already, from the same files."""
    made = step.get('makes')
    note = made and Path(TEMP, made.replace('/', '_') + '.json')
    about = made and {'run': step['run'], 'files': fingerprints(step['run'])}
    if made and os.path.exists(made) and note.exists() and json.loads(note.read_text()) == about:
        cli.warn(f'{made} is there already')
        return
    run_script(shlex.split(step['run']))
    if made:
        if not os.path.exists(made):
            raise RuntimeError(f'{shlex.split(step["run"])[0]} left no {made}')
        text = json.dumps(about, indent=1) + '\n'
        write_aside(str(note), lambda file: file.write(text.encode()))


def fingerprints(command):
    """SHA-256 of the files that a command names, and of what the pictures were rendered from."""
    names = [word for word in shlex.split(command) if os.path.isfile(word)]
    return {name: hashlib.sha256(Path(name).read_bytes()).hexdigest()
            for name in [*names, *filter(os.path.exists, PICTURES)]}


def mean_of(command):
    """The mean that a command of test.py prints."""
    found = MEAN.match(run_script(shlex.split(command)).splitlines()[-1])
    if not found:
        raise RuntimeError(f'{command}: printed no mean')
    return float(found[1])


if __name__ == '__main__':
    arguments = parse_args()
    with cli.user_errors():
        main(arguments)
