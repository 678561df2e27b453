#!/usr/bin/env python3
"""Run a training recipe from images to a scored student, on rendered pictures and a narrow trunk.

    python experiments/recipes.py distill

Prints each step as the command that you would type, runs it, and ends with a table of mAP before
and after. Test pictures show other facades than training pictures. The steps are defined in
recipes.yaml. A finished step is not repeated, in this recipe or another one, as long as its flags
and the files that it reads stay the same.
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
# files whose hashes identify the rendered pictures
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
    """Run a step, unless its output files exist and were made from the same inputs.

    A step that makes a folder is always called, since it checks the contents itself.
    """
    if not step.makes:
        step.run()
        return
    note = store.Manifest(f'{TEMP}/{step.makes[0].replace("/", "_")}.json')
    made_from = {'command': step.command(), 'files': fingerprints(step)}
    if note.check(made_from, otherwise='redo'):
        cli.warn(f'{step.makes[0]} exists already')
        return
    step.run()
    if all(map(os.path.isfile, step.makes)):
        note.write(made_from, step.makes)


def fingerprints(step: Step) -> dict:
    """Return the SHA-256 of the files that a step reads.

    These are the files named by its flags, the net of a solver, and the manifest of the rendered
    pictures.
    """
    values = [word for value in step.flags.values()
              for word in (value if isinstance(value, list) else [value])]
    names = [name for name in map(str, values) if os.path.isfile(name) and name not in step.makes]
    for name in [name for name in names if name.endswith('solver.prototxt')]:
        names += re.findall(r'^net: "(.*)"', Path(name).read_text(encoding='utf-8'), re.M)
    return {name: store.sha256(name) for name in [*names, *filter(os.path.exists, PICTURES)]}


def mean_of(dataset, proto, weights, gpu=0, S=None, end=None, partial_weights=False,
            **options) -> float:
    """Return the mAP (0 to 1) that test.py prints for these flags."""
    import deep_retrieval as dr
    cli.use_device(gpu)
    model = dr.load_model(weights, proto=proto, S=S, end=end, partial_weights=partial_weights)
    return dr.evaluate(model, dr.open_dataset(dataset), cache=TEMP, eval_binary=paths.EVAL_BINARY,
                       **options).mean


if __name__ == '__main__':
    cli.run(parse_args, main)
