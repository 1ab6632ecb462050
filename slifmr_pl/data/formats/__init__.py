"""The formats that data come in, a module each.

A format is a module of this room with `open_source(path, **options)`, which gives a `Source`. Those
of other recommenders can be written, too, by their `export`. `FORMATS` has to list it; the options
stand in `slifmr_pl.cli.commands.import_data`.
"""

FORMATS = {
    "recbole": "RecBole's atomic files NAME.inter, .item, .kg, .link; also its benchmark splits",
    "mmrec": "an MMRec folder: NAME.inter with x_label, features as .npy, id mappings",
    "kgat": "a KGAT folder: train.txt, test.txt, kg_final.txt and *_list.txt",
    "movielens": "a MovieLens folder as GroupLens packs it: 100K, 1M, 10M, 20M and later",
    "hetrec": "Last.fm of HetRec 2011 as GroupLens packs it, with its tags as knowledge graph",
    "amazon": "Amazon reviews of 2014, 2018 or 2023 with metadata, as JSON lines",
    "table": "CSV, TSV, Parquet or JSON lines with column names of your own",
}
"""What each format is, by name."""
