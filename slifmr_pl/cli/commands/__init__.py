"""The commands of `slifmr`: those that are no subcommands of Lightning's are a module each.

Such a module has three names: `HELP`, one line for the overview; `add_arguments(parser)`; and
`run(options)`, which gives the exit status. What takes long to import is imported inside `run`.
Configurations are called `configs` among the options, and folders of runs `runs`: the plug-ins
that they name are imported before `run`. `GROUPS` has to list the command.
"""

GROUPS = {
    "train and evaluate": ("init", "fit", "validate", "test", "predict"),
    "data": ("import", "inspect", "export-data", "demo"),
    "studies": ("sweep", "study", "robustness", "compare", "reproduce", "report"),
    "use": ("explain", "export", "serve", "metrics", "presets"),
}
"""All commands, as the overview shows them."""


def module_name(command: str) -> str:
    """The module of a command: `export_data` of `export-data`, `import_` of `import`."""
    return "import_" if command == "import" else command.replace("-", "_")
