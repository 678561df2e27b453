#!/usr/bin/env python3
"""Group the near-duplicate images in a mapped file, and choose the similarity threshold.

    python myPython/check_on_cover.py sweep --mapped tmp/mapped.txt \\
        --groups datasets/demo_cover/groups.txt --low 0.60 --high 0.70
    python myPython/check_on_cover.py groups --mapped tmp/mapped.txt --threshold 0.7 \\
        --img_dir datasets/demo_cover/images --dst_dir tmp/groups

convert/features2mapped.py makes mapped files. `check_on_cover.py -h` lists the subcommands,
`check_on_cover.py SUBCOMMAND -h` the flags of one.
"""

from deep_retrieval import cli, paths, subcommands
from deep_retrieval.duplicates import GIANT
from deep_retrieval.duplicates.decimals import decimal, steps


def groups(args):
    """Group images with similarity >= threshold: each anchor with its items, or connected
    components (the original's make_anchor_list_and_save_groups)."""
    from deep_retrieval.duplicates import cover_groups, group_folders, mapped_files
    found = cover_groups.group_mapped(
        args.mapped, args.threshold, more_than=args.min_img_num_per_group,
        connected=args.components, giant=args.giant, most=args.run_groups)
    mapped_files.write(args.output, found)
    for group in found[:args.show]:
        print(described(group))
    if 0 < args.show < len(found):
        print(f'... and {len(found) - args.show} more (--show)')
    total = cover_groups.totals(found)
    print(f'{args.output}: {total.groups} groups, {total.images} images, {total.pairs} pairs with '
          'their anchors')
    if args.dst_dir:
        tell(args, group_folders.save(found, args.img_dir, args.dst_dir, subcommands.how(args)))


def save(args):
    """Save the pictures of the groups of the anchors in the queries file (the original's
    save_groups_in_queries and save_groups_from_anchor_list)."""
    from deep_retrieval.duplicates import group_folders, mapped_files
    tell(args, group_folders.save_selected(
        args.mapped, mapped_files.read_names(args.queries_file), args.threshold, args.img_dir,
        args.dst_dir, args.missing, subcommands.how(args)))


def check(args):
    """Count what remains of saved groups at a higher threshold (the original's
    check_threshold)."""
    from deep_retrieval.duplicates import group_folders
    left = group_folders.count(group_folders.read(args.src_dir), args.threshold)
    print(f'{args.src_dir} at or above {args.threshold}: {left.pairs} pairs, {left.images} images, '
          f'{left.groups} groups')


def sample(args):
    """Copy randomly drawn groups, to annotate them by hand (the original's
    select_random_n_groups)."""
    from deep_retrieval.duplicates import group_folders
    tell(args, group_folders.sample(args.src_dir, args.dst_dir, args.n, args.seed,
                                    subcommands.how(args)))


def copy(args):
    """Copy the groups of the anchors in the queries file (the original's
    copy_groups_in_queries)."""
    from deep_retrieval.duplicates import group_folders, mapped_files
    tell(args, group_folders.copy(
        args.src_dir, args.dst_dir, mapped_files.read_names(args.queries_file), args.missing,
        subcommands.how(args)))


def count(args):
    """Count pairs, images and groups at each threshold, for all anchors or those in the queries
    file (the original's count_img_num_in_mapped_file)."""
    from deep_retrieval.duplicates import mapped_files
    good = mapped_files.read_names(args.queries_file) if args.queries_file else None
    print_counts(args, good, 'same-origin' if good else '')


def count_good(args):
    """Count pairs, images and groups at each threshold, for the same-origin groups, whose anchors
    are in the queries file (the original's count_good_img_num)."""
    count(args)


def count_junk(args):
    """Count pairs, images and groups at each threshold, for the unrelated groups: those in a folder
    whose anchors are not in the queries file (the original's count_junk_img_num)."""
    from deep_retrieval.duplicates import group_folders, mapped_files
    good = mapped_files.read_names(args.queries_file)
    print_counts(args, group_folders.others(args.src_dir, good), 'unrelated')


def sweep(args):
    """Count same-origin and unrelated pairs at each threshold, with precision and recall, using
    ground-truth groups or, as the original does, the anchors in the queries file."""
    from deep_retrieval.duplicates import mapped_files, sweep_report, thresholds
    if args.plot:
        sweep_report.check_plot(args.plot)      # fail before hours of counting
    truth = ({'anchors': mapped_files.read_names(args.queries_file)} if args.queries_file else
             {'groups': args.groups})
    table = thresholds.sweep(args.mapped, steps(args.low, args.high, args.step),
                             missing=args.missing, **truth)
    print(*sweep_report.rows(table), '', *sweep_report.verdict(table, args.precision), sep='\n')
    if args.csv:
        sweep_report.save_csv(args.csv, table)
    if args.plot:
        sweep_report.save_plot(args.plot, table)


def print_counts(args, anchors, kind):
    """Print the counts of some anchors; None for all."""
    from deep_retrieval.duplicates import sweep_report, thresholds
    table = thresholds.sweep(args.mapped, steps(args.low, args.high, args.step), anchors=anchors,
                             missing=args.missing)
    print(*sweep_report.count_rows(table, kind), sep='\n')


def described(group):
    """Return a group as one line of text."""
    from deep_retrieval.duplicates.mapped_files import printable
    line = f'{printable(group.anchor)}: {len(group.names)} images'
    if group.component is None:
        return line
    return (f'{line}, {group.component.pairs} pairs, lowest similarity '
            f'{group.component.lowest_text()}, connected up to {group.component.link}')


def tell(args, made):
    """Print how many pictures were written."""
    print(f'{args.dst_dir}: {made.pictures} pictures in {made.groups} groups')


FLAGS = {
    'mapped': dict(default=paths.TEMP / 'mapped.txt', help='mapped file'),
    'threshold': dict(type=decimal, default=decimal('0'),
                      help='minimum similarity; 0 takes everything in the mapped file'),
    'min_img_num_per_group': dict(type=cli.natural, default=5,
                                  help='leave out groups with this many images or fewer'),
    'run_groups': dict(type=cli.positive, help='keep only the first groups, this many'),
    'components': dict(action='store_true', help='group all images connected by similar pairs, so '
                       'that each image is in one group'),
    'giant': dict(type=cli.positive, default=GIANT,
                  help='warn about components with more images than this'),
    'show': dict(type=cli.natural, default=10, help='number of groups to print'),
    'output': dict(default=paths.TEMP / 'grouping.txt', help='grouping to write, in the format of '
                   'mapped files; the first fields of its lines are the anchors'),
    'img_dir': dict(default=paths.DATASETS / 'demo_cover/images', help='folder of the images'),
    'src_dir': dict(default=paths.TEMP / 'groups', help='folder with one folder of pictures per '
                    'group'),
    'dst_dir': dict(help='folder to make, with one folder of pictures per group'),
    'queries_file': dict(help='text file with one anchor per line, or a grouping or mapped file'),
    'groups': dict(default=paths.DATASETS / 'demo_cover/groups.txt',
                   help='ground truth, lines of ID<TAB>NAME NAME ...'),
    'n': dict(type=cli.positive, default=1000, help='number of groups to draw'),
    'low': dict(type=decimal, default=decimal('0.60'), help='first threshold'),
    'high': dict(type=decimal, default=decimal('0.70'), help='last threshold'),
    'step': dict(type=decimal, default=decimal('0.01'), help='difference between two thresholds'),
    'precision': dict(type=decimal, default=decimal('0.95'),
                      help='print the lowest threshold with this precision'),
    'csv': dict(help='table to write'),
    'plot': dict(help='plot to draw: .png, .svg or .pdf'),
    'missing': dict(help='file to write the missing anchors to'),
}
PICTURES = f'img_dir dst_dir {subcommands.COPYING}'
RANGE = 'mapped low high step missing'
QUERIES = {'queries_file': paths.TEMP / 'grouping.txt'}     # written by `groups`

MODES = {
    'groups': (groups, 'mapped threshold min_img_num_per_group run_groups components giant show '
               f'output {PICTURES}'),
    'save': (save, f'mapped queries_file threshold missing {PICTURES}',
             {**QUERIES, 'dst_dir': paths.TEMP / 'groups'}),
    'check': (check, 'src_dir threshold'),
    'sample': (sample, f'src_dir dst_dir n seed {subcommands.COPYING}',
               {'dst_dir': paths.TEMP / 'sample'}),
    'copy': (copy, f'src_dir dst_dir queries_file missing {subcommands.COPYING}',
             {**QUERIES, 'dst_dir': paths.TEMP / 'chosen'}),
    'count': (count, f'queries_file {RANGE}'),
    'count_good': (count_good, f'queries_file {RANGE}', QUERIES),
    'count_junk': (count_junk, f'queries_file src_dir {RANGE}', QUERIES),
    'sweep': (sweep, f'groups queries_file {RANGE} precision csv plot'),
}

if __name__ == '__main__':
    subcommands.run(__doc__, MODES, FLAGS)
