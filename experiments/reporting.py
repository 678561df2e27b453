"""Tables with published numbers: read from tables.yaml, written as Markdown and CSV."""

import csv
import io
import os
from pathlib import Path

import yaml
from deep_retrieval.files import write_aside
from deep_retrieval.model import read_info

FOLDER = Path(__file__).resolve().parent


def load_tables():
    """The tables of tables.yaml by name."""
    return yaml.safe_load((FOLDER / 'tables.yaml').read_text(encoding='utf-8'))


def is_rendered(dataset):
    """Whether a folder is one of make_demo.py, and no photographs."""
    return os.path.exists(os.path.join(dataset, 'manifest.json'))


def differences(table, rows, args, dataset):
    """Lines that say what the published numbers were measured with, and what ours were."""
    shown = shown_path(args.dataset)
    rendered = ' of rendered pictures, another dataset' * is_rendered(args.dataset)
    net = 'the tiny net, ' * args.tiny
    lines = [f'published: {table["setting"]} ({table["source"]})',
             f'ours: {shown} ({len(dataset.images)} images, {len(dataset.queries)} queries'
             f'{rendered}), S = {args.S}, L = 2, {net}{shown_path(args.weights)}'
             f'{made_of(args.weights)}', *table.get('notes', [])]
    if any(row.ours[0] == '-' for row in rows):
        lines.append(table['missing'])
    if 'mAP (cover)' in table['measures'] and not args.cover_dataset:
        lines.append('mAP (cover), ours: --cover_dataset gives it')
    return lines


def made_of(weights):
    """How make_demo_model.py made these weights, for brackets; nothing of other ones."""
    trained = read_info(weights).trained
    if trained is None:
        return ''
    if trained:
        return ' (trained on rendered facades)'
    return ' (untrained: they show that it runs, not how good it is)'


def shown_path(path):
    """A path as below the current folder where it lies there."""
    path = os.path.relpath(path)
    return os.path.abspath(path) if path.startswith('..') else path


def header(table):
    return [*table['columns'], *(f'{name}, ours' for name in table['measures']),
            *(f'{name}, published' for name in table['published']), 'how ours was measured']


def cells(row):
    return [f'{cell:.2f}' if isinstance(cell, float) else str(cell)
            for part in row[:3] for cell in part] + [row.protocol]


def markdown(table, rows, notes):
    """The table as Markdown that is aligned in a terminal, too."""
    lines = [header(table), *map(cells, rows)]
    widths = [max(map(len, column)) for column in zip(*lines)]
    lines.insert(1, ['-' * width for width in widths])
    body = ['| ' + ' | '.join(cell.ljust(width) for cell, width in zip(line, widths)) + ' |'
            for line in lines]
    return '\n'.join([f'# {table["title"]}', '', *body, '', *(f'- {note}' for note in notes)])


def save(folder, name, text, table, rows):
    """Write NAME.md and NAME.csv into a folder."""
    os.makedirs(folder, exist_ok=True)
    file = io.StringIO()
    csv.writer(file, lineterminator='\n').writerows([header(table), *map(cells, rows)])
    for path, content in ((f'{name}.md', text + '\n'), (f'{name}.csv', file.getvalue())):
        write_aside(os.path.join(folder, path), lambda out: out.write(content.encode()))
