#!/usr/bin/env python3
"""Score a dataset in Oxford's layout: descriptors, ranking, AP of every query and their mean.

    python test.py --dataset datasets/Oxford --dataset_name Oxford --multires --aqe 1 --dbe 20
"""

import argparse
import os

import cv2
import numpy as np
from deep_retrieval import cli, compute_ap, protocols, ranking
from deep_retrieval.datasets import DATASETS, revisited
from deep_retrieval.describe import MULTIRES_STEP, Item, extract, sha256
from deep_retrieval.gallery import picture
from deep_retrieval.model import END, DescriptorNet
from deep_retrieval.paths import ROOT


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--gpu', type=int, default=0, help='GPU to compute on; -1 for the CPU')
    parser.add_argument('--S', type=cli.positive, default=800,
                        help='pixels of the longer side that images are resized to')
    parser.add_argument('--L', type=cli.natural, default=2,
                        help='levels of the rigid grid; 0 for the whole image as one region')
    parser.add_argument('--proto', default=ROOT / 'proto/deploy_resnet101.prototxt',
                        help='prototxt of the net')
    parser.add_argument('--weights', default=ROOT / 'caffemodel/model.caffemodel',
                        help='caffemodel of the net')
    parser.add_argument('--end', default=END, help="blob of the net's descriptor")
    parser.add_argument('--dataset', default=ROOT / 'datasets/Oxford',
                        help='folder that holds jpg/ and lab/')
    parser.add_argument('--dataset_name', choices=sorted(DATASETS), default='Oxford',
                        help='how the folder is read: Paris has damaged images to ignore')
    parser.add_argument('--gnd', metavar='FILE',
                        help='score by the revisited protocols with this gnd_*.json')
    parser.add_argument('--eval_binary', default=ROOT / 'eval/compute_ap',
                        help='the compiled compute_ap')
    parser.add_argument('--temp_dir', default=ROOT / 'tmp',
                        help='folder for features and rankings')
    parser.add_argument('--multires', action='store_true',
                        help='sum the descriptors of S less the step, S, and S and the step')
    parser.add_argument('--multires_step', type=cli.positive, default=MULTIRES_STEP,
                        metavar='PIXELS', help='the step of --multires')
    parser.add_argument('--aqe', type=cli.positive, metavar='K',
                        help='average each query with its K nearest images')
    parser.add_argument('--dbe', type=cli.positive, metavar='K',
                        help='average each image with its K nearest images')
    parser.add_argument('--query_crop', choices=('roi', 'full'), default='roi',
                        help="the query's box (the published protocol) or its full image")
    parser.add_argument('--batch_size', type=cli.positive, default=4,
                        help='images of one size that the net takes at once')
    parser.add_argument('--skip_bad', action='store_true',
                        help='leave damaged images out of the ranking')
    parser.add_argument('--partial_weights', action='store_true',
                        help='accept weights that do not name the same layers as the net')
    parser.add_argument('--picture', metavar='FILE',
                        help='write a picture of the first queries and their top 5')
    parser.add_argument('--picture_queries', type=cli.positive, default=5, metavar='K',
                        help='queries in the picture')
    return parser.parse_args()


def main(args):
    if args.multires and args.S <= args.multires_step:
        raise ValueError(f'--multires needs an S above {args.multires_step}, or another '
                         '--multires_step')
    if args.gnd:
        dataset = revisited.Revisited(args.dataset, revisited.read(args.gnd))
        args.dataset_name = dataset.truth.name
    else:
        dataset = DATASETS[args.dataset_name](args.dataset)
    for flag, k, most in (('aqe', args.aqe, len(dataset.images)),
                          ('dbe', args.dbe, len(dataset.images) - 1)):
        if k and k > most:
            raise ValueError(f'--{flag} {k}: the dataset has images for {most} at most')
    cli.use_device(args.gpu)
    net = DescriptorNet(args.proto, args.weights, args.L, args.end, args.partial_weights)
    queries, database = descriptors(args, dataset, net)
    asked, ranked = drop_skipped(dataset, queries, database)
    queries, database = queries[asked], database[ranked]
    if args.dbe:
        database = ranking.expand_database(database, args.dbe)
    if args.aqe:
        queries = ranking.expand_queries(queries, database, args.aqe)
    indices, similarities = ranking.rank(queries, database)
    images = [dataset.images[i] for i in ranked]
    rankings = [[images[i] for i in row] for row in indices]
    dataset.queries = [dataset.queries[i] for i in asked]
    if args.gnd:
        for score in protocols.revisited(dataset.truth, dataset.queries, rankings):
            print(protocols.line(score, protocols.conditions(args.query_crop)))
    else:
        precisions = compute_ap.score(dataset, rankings, args.temp_dir, args.eval_binary)
        compute_ap.report(precisions, f'query_crop {args.query_crop}')
    if args.picture:
        count = args.picture_queries
        rows = [picture_row(dataset, *row, args.query_crop) for row in
                zip(dataset.queries[:count], rankings, similarities)]
        picture.save(args.picture, picture.strip(rows))


def descriptors(args, dataset, net):
    """Descriptors of the queries and of the images, the sum over all scales normalized."""
    crop = args.query_crop == 'roi'
    items = {
        'queries': [Item(query.image, dataset.image_path(query.image), query.box if crop else None)
                    for query in dataset.queries],
        'dataset': [Item(name, dataset.image_path(name)) for name in dataset.images],
    }
    about = {'weights': sha256(args.weights), 'proto': sha256(args.proto), 'L': args.L,
             'end': args.end}
    total = {'queries': 0, 'dataset': 0}
    step = args.multires_step
    for S in (args.S - step, args.S, args.S + step) if args.multires else (args.S,):
        for part, some in items.items():
            path = os.path.join(args.temp_dir, f'{args.dataset_name}_S{S}_L{args.L}_{part}.npy')
            features, _ = extract(net, some, S, path, about, args.batch_size, args.skip_bad,
                                  cli.warn)
            total[part] = total[part] + features
    return [normalize(total[part]) if args.multires else total[part] for part in items]


def normalize(rows):
    """Rows scaled to unit length."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def drop_skipped(dataset, queries, database):
    """Indices of the queries and images that have a descriptor; says how many have none."""
    asked, ranked = (np.flatnonzero(np.isfinite(rows).all(1)) for rows in (queries, database))
    if len(ranked) < len(database):
        cli.warn(f'{len(database) - len(ranked)} of {len(database)} images are left out')
    if len(asked) < len(queries):
        gone = sorted(dataset.queries[i].name for i in set(range(len(queries))) - set(asked))
        cli.warn(f'queries without an image are left out of the mean: {", ".join(gone)}')
    if not len(asked):
        raise ValueError('no query is left')
    return asked, ranked


def picture_row(dataset, query, names, similarities, crop):
    """A row of the picture: the query and its five best, marked by the ground truth."""
    good, ok, junk = dataset.ground_truth(query)
    marks = {**dict.fromkeys(junk, 'junk'), **dict.fromkeys(good + ok, 'positive')}
    hits = [picture.Hit(cv2.imread(dataset.image_path(name)), similarity, name,
                        marks.get(name, 'negative'))
            for name, similarity in zip(names[:5], similarities)]
    return picture.Row(cv2.imread(dataset.image_path(query.image)), hits, query.name,
                       query.box if crop == 'roi' else None)


if __name__ == '__main__':
    arguments = parse_args()
    with cli.user_errors():
        main(arguments)
