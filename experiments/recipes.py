#!/usr/bin/env python3
"""Run a path of training from images to a scored student, on rendered pictures and a narrow trunk.

    python experiments/recipes.py distill

Prints each step as the command that you would type, does it, and ends with a table of mAP before
and after. The pictures that score show none of the facades that were trained on. recipes.yaml has
the steps. A finished step is not repeated while its flags and the files that it reads stay the
same, in this recipe or another one.
"""

import os
import re
import time
from pathlib import Path

import yaml
from deep_retrieval import cli, paths, store
from steps import Step

RECIPES = Path(__file__).with_name('recipes.yaml')
TEMP = 'tmp/recipes'        # below the repository
# they stand for the pictures that were rendered
PICTURES = ('datasets/tiny/landmark/manifest.json', 'datasets/tiny/demo/manifest.json')


def parse_args():
    recipes = read_recipes()
    parser = cli.parser(__doc__)
    parser.add_argument('recipe', choices=sorted(recipes), metavar='RECIPE', help='; '.join(
        f'{name}: {recipe["title"]}' for name, recipe in sorted(recipes.items())))
    parser.add_argument('--dry_run', action='store_true', help='print the commands, run nothing')
    return parser.parse_args()


def main(args):
    recipe = read_recipes()[args.recipe]
    os.chdir(paths.ROOT)        # the paths in prototxts are relative to it
    start = time.monotonic()
    for number, step in enumerate(recipe['steps'], start=1):
        print('$ python ' + step.command(), flush=True)
        if not args.dry_run:
            cli.warn(f'step {number} of {len(recipe["steps"])}: {step.name}')
            run_step(step)
    if args.dry_run:
        return
    print(f'\n{recipe["title"]}\n')
    width = max(len(row['name']) for row in recipe['rows'])
    for row in recipe['rows']:
        print(f'{row["name"]:{width}}  {100 * mean_of(**row["test"]):6.2f} mAP', flush=True)
    print(f'\n{time.monotonic() - start:.0f} s')


def read_recipes() -> dict:
    """Return recipe -> title, steps (list of Step) and rows (name, test: flags of test.py)."""
    text = yaml.safe_load(RECIPES.read_text(encoding='utf-8'))
    begin, test = text.pop('begin'), text.pop('test')
    return {name: {'title': recipe['title'],
                   'steps': [_step(dict(step)) for step in begin + recipe['steps']],
                   'rows': [{'name': row.pop('name'), 'test': {**test, **row}}
                            for row in map(dict, recipe['rows'])]}
            for name, recipe in text.items()}


def _step(flags):
    name, makes = flags.pop('step'), flags.pop('makes', None)
    outputs = [flags[flag] for flag in ('output', 'output_proto') if flag in flags]
    return Step(name, flags, outputs if makes is None else [makes])


def run_step(step: Step) -> None:
    """Do a step, unless the files that it makes exist and were made from the same."""
    files = [path for path in step.makes if not os.path.isdir(path)]
    if not files:       # it makes a folder, and knows itself what is in it
        step.run()
        return
    note = store.Manifest(f'{TEMP}/{files[0].replace("/", "_")}.json')
    made_from = {'command': step.command(), 'files': fingerprints(step)}
    if note.check(made_from, otherwise='redo'):
        cli.warn(f'{files[0]} exists already')
        return
    step.run()
    note.write(made_from, files)


def fingerprints(step: Step) -> dict:
    """Return the SHA-256 of the files that a step reads.

    Those are the files that its flags name, the net that a solver names, and what the pictures were
    rendered from.
    """
    values = [word for value in step.flags.values()
              for word in (value if isinstance(value, list) else [value])]
    names = [name for name in map(str, values) if os.path.isfile(name) and name not in step.makes]
    for name in [name for name in names if name.endswith('solver.prototxt')]:
        names += re.findall(r'^net: "(.*)"', Path(name).read_text(encoding='utf-8'), re.M)
    return {name: store.sha256(name) for name in [*names, *filter(os.path.exists, PICTURES)]}


def mean_of(dataset, proto, weights, gpu=0, S=None, end=None, partial_weights=False,
            **options) -> float:
    """Return the mean that test.py prints for its flags, 0 to 1."""
    import deep_retrieval as dr
    cli.use_device(gpu)
    model = dr.load_model(weights, proto=proto, S=S, end=end, partial_weights=partial_weights)
    return dr.evaluate(model, dr.open_dataset(dataset), cache=TEMP, eval_binary=paths.EVAL_BINARY,
                       **options).mean


if __name__ == '__main__':
    cli.run(parse_args, main)
