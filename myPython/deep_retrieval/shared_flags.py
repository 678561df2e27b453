"""What the scripts of myPython/test share: their flags, and the run that the flags describe."""

from deep_retrieval import cli, paths


def parser(doc, S):
    """Return the parser of a script; doc is its docstring, S the default of --S."""
    made = cli.parser(doc)
    cli.add_model_flags(made, S=S)
    made.add_argument('--temp_dir', default=paths.TEMP, help='folder for features')
    cli.add_multires(made, 'original')
    made.add_argument('--batch_size', type=cli.positive, default=4,
                      help='images of one size that the net takes at once')
    made.add_argument('--skip_bad', action='store_true',
                      help='leave damaged images out of the ranking')
    made.add_argument('--wrong_dir', metavar='FOLDER',
                      help='save a picture of each query and its first 10 images, and its wrong '
                           'answers: those among the first R images that are not positives, where '
                           'R is the number of positives')
    made.add_argument('--overwrite', action='store_true',
                      help='write into a --wrong_dir that holds something else')
    return made


def add_mean(parser, mean):
    """Add the flag of the scripts whose original subtracts a mean of its own."""
    parser.add_argument('--mean', type=float, nargs=3, metavar=('B', 'G', 'R'), default=mean,
                        help='mean colour to subtract from images')


def evaluate(args, dataset, **options):
    """Return the Result of what the flags describe, and save wrong answers if asked to.

    options : more arguments of `deep_retrieval.evaluate`
    """
    import deep_retrieval as dr
    from deep_retrieval.gallery import answer_pictures
    if args.wrong_dir:
        answer_pictures.check(args.wrong_dir, args.overwrite)   # before long work
    result = dr.evaluate(cli.load_model(args), dataset, multires=args.multires,
                         cache=args.temp_dir, batch_size=args.batch_size, skip_bad=args.skip_bad,
                         **options)
    if args.wrong_dir:
        answer_pictures.save_answers(args.wrong_dir, dataset, result.answers, args.overwrite,
                                     crop=result.query_crop == 'roi')
    return result
