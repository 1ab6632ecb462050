"""The commands of `python -m slifmr_pl`, one module each.

A command is a module of this room with three names: `HELP`, one line for the overview;
`add_arguments(parser)`; and `run(options)`, which gives the exit status. What takes long to import
is imported inside `run`. The module's name is the command's (see `command_name`), and `COMMANDS`
has to list it.
"""

COMMANDS = (
    "demo",
    "import_",
    "export_data",
    "inspect",
    "metrics",
    "compare",
    "report",
    "reproduce",
    "sweep",
    "robustness",
    "explain",
    "export",
)


def command_name(module: str) -> str:
    """What a user types: `export-data` for `export_data`, `import` for `import_`."""
    return module.rstrip("_").replace("_", "-")
