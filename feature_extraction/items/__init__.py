"""Items and their raw inputs: out of lists, tables, folders and archives; checked and decoded.

A raw modality (`raw_modality.py`) says how one kind of input is found and decoded: `images.py` and
`texts.py` are two. `inputs.py` and `item_table.py` give the items, `input_files.py` and
`archives.py` the files that they name.
"""
