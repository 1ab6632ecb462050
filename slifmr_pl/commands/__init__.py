"""The commands of `python -m slifmr_pl`, one module each.

A command is a module of this room with three names: `HELP`, one line for the overview;
`add_arguments(parser)`; and `run(options)`, which gives the exit status. What takes long to import
is imported inside `run`. The module's name is the command's, and `COMMANDS` has to list it.
"""

COMMANDS = ("demo", "inspect", "metrics", "compare", "report", "reproduce")
