#!/usr/bin/env python3
"""Groups of similar images, and the threshold of similarity that makes them, from mapped files.

    python myPython/check_on_cover.py sweep --mapped tmp/mapped.txt \\
        --groups datasets/demo_cover/groups.txt --low 0.60 --high 0.70
    python myPython/check_on_cover.py groups --mapped tmp/mapped.txt --threshold 0.7 \\
        --img_dir datasets/demo_cover/images --dst_dir tmp/groups

convert/features2mapped.py makes mapped files. `check_on_cover.py -h` lists the subcommands,
`check_on_cover.py SUBCOMMAND -h` the flags of one.
"""

import os

import numpy as np
from deep_retrieval import cli, subcommands
from deep_retrieval.duplicates import cover_groups, group_folders, mapped_files, sweep_report
from deep_retrieval.duplicates.thresholds import count_anchors, count_groups, decimal, steps
from deep_retrieval.files import write_aside
from deep_retrieval.making.folders import check_apart, make
from deep_retrieval.paths import ROOT

NAMED = 3       # of what is missing, on the terminal


def groups(args):
    """Make groups of the images at or above a threshold: of each anchor with its items, or
    connected components (the original's make_anchor_list_and_save_groups)."""
    lines = mapped_files.read(args.mapped, cli.warn)
    if args.components:
        found, details = cover_groups.components(lines, args.threshold, args.min_img_num_per_group)
        for (anchor, _), detail in zip(found, details):
            if detail.images > args.giant:
                cli.warn(f'the component of {readable(anchor)} is a giant of {detail.images} '
                         f'images, its lowest similarity {lowest(detail)}; above {detail.link} it '
                         'falls apart')
    else:
        found = list(cover_groups.by_anchor(lines, args.threshold, args.min_img_num_per_group))
        details = [None] * len(found)
    if not found:
        raise ValueError(f'{args.mapped}: no group has more than {args.min_img_num_per_group} '
                         f'images (--min_img_num_per_group) at a threshold of {args.threshold}')
    found = found[:args.run_groups]
    mapped_files.write(args.output, found)
    for (anchor, items), detail in list(zip(found, details))[:args.show]:
        print(f'{readable(anchor)}: {1 + len(items)} images' + (
            '' if detail is None else f', {detail.pairs} pairs, lowest similarity '
            f'{lowest(detail)}, connected up to {detail.link}'))
    if 0 < args.show < len(found):
        print(f'... and {len(found) - args.show} more (--show)')
    images = {name for anchor, items in found for name in (anchor, *(item for item, _ in items))}
    print(f'{args.output}: {len(found)} groups, {len(images)} images, '
          f'{sum(len(items) for _, items in found)} pairs with their anchors')
    if args.dst_dir:
        save_pictures(args, found)


def readable(name):
    """A name as a mapped file has it, so that it stays in its line, with ? for what is no UTF-8."""
    return mapped_files.encode(name).encode(errors='replace').decode()


def lowest(detail):
    """The lowest similarity in a component, in words."""
    return str(detail.lowest) if detail.known else f'below {detail.lowest}'


def save(args):
    """Save the pictures of the groups of the anchors in the queries file (the original's
    save_groups_in_queries and save_groups_from_anchor_list)."""
    anchors = mapped_files.read_names(args.queries_file)
    found, missing = cover_groups.select(mapped_files.read(args.mapped, cli.warn), anchors,
                                         args.threshold)
    tell_missing(args, missing, len(anchors), args.mapped)
    save_pictures(args, found)


def check(args):
    """Count what is left in folders of groups at a higher threshold (the original's
    check_threshold)."""
    counts = group_folders.count(group_folders.read(args.src_dir), args.threshold)
    print(f'{args.src_dir} at or above {args.threshold}: '
          + ', '.join(f'{value} {name}' for name, value in counts.items()))


def sample(args):
    """Copy some groups drawn at random, to annotate them by hand (the original's
    select_random_n_groups)."""
    found = group_folders.read(args.src_dir)
    if args.n > len(found):
        raise ValueError(f'{args.src_dir}: has {len(found)} groups, of which {args.n} cannot be '
                         'drawn (--n)')
    places = np.random.default_rng(args.seed).choice(len(found), args.n, replace=False)
    copy_groups(args, [list(found)[place] for place in sorted(places)], found)


def copy(args):
    """Copy the groups of the anchors in the queries file (the original's
    copy_groups_in_queries)."""
    found, anchors = group_folders.read(args.src_dir), mapped_files.read_names(args.queries_file)
    folders = {anchor: group_folders.group_of(anchor) for anchor in anchors}
    tell_missing(args, [anchor for anchor in anchors if folders[anchor] not in found],
                 len(anchors), args.src_dir)
    copy_groups(args, [folder for folder in folders.values() if folder in found], found)


def count(args):
    """Count pairs, images and groups at each threshold, of all anchors or of those in the queries
    file (the original's count_img_num_in_mapped_file)."""
    good = args.queries_file and mapped_files.read_names(args.queries_file)
    table = count_anchors_of(args, good)
    print(*sweep_report.count_rows(table, 'same-origin' if good else ''), sep='\n')


def count_good(args):
    """Count pairs, images and groups at each threshold, of the same-origin groups, whose anchors
    are in the queries file (the original's count_good_img_num)."""
    count(args)


def count_junk(args):
    """Count pairs, images and groups at each threshold, of the unrelevant groups: those in a
    folder whose anchors are not in the queries file (the original's count_junk_img_num)."""
    good = mapped_files.read_names(args.queries_file)
    junk = sorted(map(group_folders.anchor_of, group_folders.read(args.src_dir)))
    junk = [anchor for anchor in junk if anchor not in set(good)]
    if not junk:
        raise ValueError(f'{args.src_dir}: {args.queries_file} names all groups of it')
    print(*sweep_report.count_rows(count_anchors_of(args, junk), 'unrelevant'), sep='\n')


def sweep(args):
    """Count same-origin and unrelevant pairs at each threshold, with precision and recall: by the
    ground truth's groups or, as the original does it, by the anchors in the queries file."""
    if args.plot:
        sweep_report.plot_kind(args.plot)   # before hours of counting
    if args.queries_file:
        table = count_anchors_of(args, mapped_files.read_names(args.queries_file))
    else:
        table = count_groups(mapped_files.read(args.mapped, cli.warn),
                             mapped_files.read_groups(args.groups, cli.warn),
                             steps(args.low, args.high, args.step))
        tell_table(args, table, 'images with others of their origin')
    print(*sweep_report.rows(table), '', *sweep_report.verdict(table, args.precision), sep='\n')
    for path, write in ((args.csv, sweep_report.save_csv), (args.plot, sweep_report.save_plot)):
        if path:
            write(path, table)


def count_anchors_of(args, anchors):
    """The table of some anchors, or None for all, told of."""
    table = count_anchors(mapped_files.read(args.mapped, cli.warn), anchors,
                          steps(args.low, args.high, args.step))
    tell_table(args, table)
    return table


def tell_table(args, table, noun='anchors'):
    """Say what is missing, and where the mapped file ends above the lowest thresholds."""
    tell_missing(args, table.missing, table.asked, args.mapped, noun)
    if table.lowest is not None and table.lowest >= table.thresholds[min(
            1, len(table.thresholds) - 1)]:
        cli.warn(f'{args.mapped}: its lowest score is {table.lowest}: pairs below it are not '
                 'counted, as if there were none')


def tell_missing(args, names, asked, where, noun='anchors'):
    """List the anchors that are not there; ValueError where none is."""
    if args.missing:
        text = ''.join(f'{mapped_files.encode(name)}\n' for name in names)
        write_aside(args.missing, lambda file: file.write(os.fsencode(text)))
    if names and len(names) == asked:
        raise ValueError(f'{where}: has none of the {asked} {noun}, such as {names[0]!r}')
    if names:
        more = (f' and {len(names) - NAMED} more (--missing FILE lists them)'
                if len(names) > NAMED else '')
        cli.warn(f'{where}: {len(names)} of {asked} {noun} are not in it: '
                 f'{", ".join(map(readable, names[:NAMED]))}{more}')


def save_pictures(args, grouping):
    """Make the folders of a grouping's pictures."""
    check_apart(args.img_dir, args.dst_dir)
    steps_, texts = group_folders.plan(grouping, args.img_dir)
    made = make(args.dst_dir, {'command': 'check_on_cover.py groups'}, steps_, texts,
                subcommands.how(args))
    print(f'{args.dst_dir}: {made} pictures in {len(grouping)} groups')


def copy_groups(args, chosen, found):
    """Copy the folders of some groups."""
    check_apart(args.src_dir, args.dst_dir)
    made = make(args.dst_dir, {'command': 'check_on_cover.py copy'},
                group_folders.copies(args.src_dir, {group: found[group] for group in chosen}),
                how=subcommands.how(args))
    print(f'{args.dst_dir}: {made} pictures in {len(chosen)} groups')


FLAGS = {
    'mapped': dict(default='tmp/mapped.txt', help='mapped file'),
    'threshold': dict(type=decimal, default=decimal('0'),
                      help='least similarity; at 0, all that the mapped file has'),
    'min_img_num_per_group': dict(type=cli.natural, default=5,
                                  help='leave out groups that have no more images than this'),
    'run_groups': dict(type=cli.positive, help='make the first so many groups only'),
    'components': dict(action='store_true',
                       help='make groups of all images that pairs connect, each in one group'),
    'giant': dict(type=cli.positive, default=cover_groups.GIANT,
                  help='warn of a component of more images than this'),
    'show': dict(type=cli.natural, default=10, help='groups to tell of'),
    'output': dict(default='tmp/grouping.txt', help='grouping to write, in the format of mapped '
                   'files; its first fields are the list of anchors'),
    'img_dir': dict(default=ROOT / 'datasets/demo_cover/images', help='folder of the images'),
    'src_dir': dict(default='tmp/groups', help='folder of groups, a folder of pictures each'),
    'dst_dir': dict(help='folder to make, with a folder of pictures for each group'),
    'queries_file': dict(help='text with an anchor a line; a grouping or a mapped file will do'),
    'groups': dict(default=ROOT / 'datasets/demo_cover/groups.txt',
                   help='ground truth, lines of ID<TAB>NAME NAME ...'),
    'n': dict(type=cli.positive, default=1000, help='groups to draw'),
    'low': dict(type=decimal, default=decimal('0.60'), help='first threshold'),
    'high': dict(type=decimal, default=decimal('0.70'), help='last threshold'),
    'step': dict(type=decimal, default=decimal('0.01'), help='between thresholds'),
    'precision': dict(type=decimal, default=decimal('0.95'),
                      help='tell the lowest threshold with this precision'),
    'csv': dict(help='table to write'),
    'plot': dict(help='picture to draw: .png, .svg or .pdf'),
    'missing': dict(help='list to write of the anchors that are missing'),
}
PICTURES = f'img_dir dst_dir {subcommands.COPYING}'
RANGE = 'mapped low high step missing'
QUERIES = {'queries_file': 'tmp/grouping.txt'}      # what groups writes

MODES = {
    'groups': (groups, 'mapped threshold min_img_num_per_group run_groups components giant show '
               f'output {PICTURES}'),
    'save': (save, f'mapped queries_file threshold missing {PICTURES}',
             {**QUERIES, 'dst_dir': 'tmp/groups'}),
    'check': (check, 'src_dir threshold'),
    'sample': (sample, f'src_dir dst_dir n seed {subcommands.COPYING}', {'dst_dir': 'tmp/sample'}),
    'copy': (copy, f'src_dir dst_dir queries_file missing {subcommands.COPYING}',
             {**QUERIES, 'dst_dir': 'tmp/chosen'}),
    'count': (count, f'queries_file {RANGE}'),
    'count_good': (count_good, f'queries_file {RANGE}', QUERIES),
    'count_junk': (count_junk, f'queries_file src_dir {RANGE}', QUERIES),
    'sweep': (sweep, f'groups queries_file {RANGE} precision csv plot'),
}

if __name__ == '__main__':
    subcommands.run(__doc__, MODES, FLAGS)
