"""Tables with published numbers: read them from tables.yaml, write them as Markdown and CSV."""

import csv
import io
import os
from pathlib import Path

import yaml
from deep_retrieval import store
from deep_retrieval.paths import shown

FOLDER = Path(__file__).resolve().parent


def load_tables() -> dict:
    """Return the tables of tables.yaml by name."""
    return yaml.safe_load((FOLDER / 'tables.yaml').read_text(encoding='utf-8'))


def is_rendered(dataset) -> bool:
    """Whether the pictures in a folder were rendered by make_demo.py, not photographed."""
    return os.path.exists(os.path.join(dataset, 'manifest.json'))


def differences(table, rows, args, dataset) -> list[str]:
    """Return lines that say how the published numbers and ours were measured."""
    rendered = ' of rendered pictures, another dataset' * is_rendered(args.dataset)
    net = 'the tiny net, ' * args.tiny
    lines = [f'published: {table["setting"]} ({table["source"]})',
             f'ours: {shown(args.dataset)} ({len(dataset.images)} images, '
             f'{len(dataset.queries)} queries{rendered}), S = {args.S}, L = 2, '
             f'{net}{shown(args.weights)}{made_of(args.weights)}', *table.get('notes', [])]
    if any(row.ours[0] == '-' for row in rows):
        lines.append(table['missing'])
    if 'mAP (cover)' in table['measures'] and not args.cover_dataset:
        lines.append('mAP (cover), ours: --cover_dataset gives it')
    return lines


def made_of(weights) -> str:
    """Return how make_demo_model.py made these weights, in parentheses; '' for other weights."""
    from deep_retrieval.model import read_info
    from deep_retrieval.surgery.demo_weights import SOURCE
    info = read_info(weights)
    if info.source != SOURCE:
        return ''
    return (' (trained on rendered facades)' if info.trained else
            ' (untrained: they show that it runs, not how good it is)')


def header(table) -> list[str]:
    """Return the headers of a table's columns."""
    return [*table['columns'], *(f'{name}, ours' for name in table['measures']),
            *(f'{name}, published' for name in table['published']), 'how ours was measured']


def cells(row) -> list[str]:
    """Return the cells of a row, as text."""
    return [f'{cell:.2f}' if isinstance(cell, float) else str(cell)
            for part in row[:3] for cell in part] + [row.protocol]


def markdown(table, rows, notes) -> str:
    """Return the table as Markdown that is also aligned in a terminal."""
    lines = [header(table), *map(cells, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ['-' * width for width in widths])
    body = [f'| {" | ".join(map(str.ljust, line, widths))} |' for line in lines]
    return '\n'.join([f'# {table["title"]}', '', *body, '', *(f'- {note}' for note in notes)])


def save(folder, name, text, table, rows) -> None:
    """Write NAME.md and NAME.csv into a folder."""
    file = io.StringIO()
    csv.writer(file, lineterminator='\n').writerows([header(table), *map(cells, rows)])
    for path, content in ((f'{name}.md', text + '\n'), (f'{name}.csv', file.getvalue())):
        store.write(os.path.join(folder, path), content)
