"""`--help` in layers: the settings that one sets on data of one's own, then a section, then all."""

import shutil
import textwrap
from argparse import _HelpAction  # what jsonargparse asks for to know a flag for help
from typing import TYPE_CHECKING, Any, NoReturn

from slifmr_pl.cli.described_settings import (
    DescribedSetting,
    described_settings,
    section_titles,
)

if TYPE_CHECKING:
    from slifmr_pl.cli.parser import SettingsParser

# By group, in the words of the docstring, or in others where Lightning's do not fit.
_MACHINE = {
    "trainer.accelerator": "cpu, gpu, or auto, which looks",
    "trainer.devices": "How many GPUs or processes",
    "data.cache_dir": None,
}
FIT: dict[str, dict[str, str | None]] = {
    "Your data": {
        "data.root": None,
        "data.format": "Of which format it is; auto looks",
        "data.modalities": None,
        "data.use_knowledge": None,
        "data.filters.minimum_rating": None,
        "data.filters.k_core": None,
        "data.filters.keep_cold_items": None,
        "data.split.strategy": None,
        "data.split.ratios": None,
    },
    "The model": {
        "model.network.embedding_dim": None,
        "model.network.interaction.layers": None,
        "model.network.modality.enabled": None,
        "model.network.knowledge.enabled": None,
        "model.network.regression.enabled": "Whether a closed form is added to the score",
        "model.self_loop.enabled": None,
        "model.loss.l2": None,
        "model.optimizer.learning_rate": None,
        "model.ks": None,
        "model.top_k": None,
    },
    "Training": {
        "trainer.max_epochs": "Most epochs",
        "early_stopping.monitor": "Metric that stops training and chooses its best epoch",
        "early_stopping.patience": "Epochs without a better value after which training stops",
        "data.batch_size": None,
        "data.negatives": None,
        "seed_everything": None,
        "ckpt_path": "Checkpoint to go on from; last is that of the newest run",
    },
    "The run": {
        "name": None,
        "trainer.default_root_dir": "Folder of all runs",
        "trainer.logger": "Further logger, such as MLFlowLogger or WandbLogger",
        "plugins": "Packages or modules with parts of your own",
    },
    "The machine": {**_MACHINE, "model.memory_budget_mb": None},
}
TRAINED: dict[str, dict[str, str | None]] = {
    "The model": {"ckpt_path": "Checkpoint that fit wrote; its run's settings are taken, too"},
    "The data": {
        "data.root": None,
        "data.test_masks": None,
        "data.test_items": None,
    },
    "Results": {
        "model.ks": None,
        "per_user.test": None,
        "per_user.validate": None,
        "model.top_k": None,
        "recommendations.folder": None,
        "recommendations.exclude_seen": None,
        "recommendations.candidates": None,
        "recommendations.blocked": None,
        "recommendations.users": None,
    },
    "The machine": {**_MACHINE, "data.eval_batch_size": None, "model.memory_budget_mb": None},
}


class HelpInLayers(_HelpAction):
    """`--help` prints common settings, `--help SECTION` those of a section, `--help all` all."""

    def __init__(self, option_strings: list[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest=dest, **options)
        self.nargs, self.metavar = "?", "SECTION"

    def __call__(
        self, parser: Any, namespace: Any, values: Any, option_string: str | None = None
    ) -> NoReturn:
        """Prints, and ends the program."""
        if values == "all":
            parser.print_help()
        else:
            print(common_help(parser) if values is None else section_help(parser, values))
        raise SystemExit(0)


def common_help(parser: "SettingsParser") -> str:
    """The settings that most people set; of a class that is not the default one, all of its own."""
    subcommand = parser.prog.split()[-1]
    settings = described_settings(parser)
    own = [] if parser.choice is None else parser.choice.named
    blocks = []
    for group, common in (FIT if subcommand == "fit" else TRAINED).items():
        lines = [
            _line(settings[key], words or settings[key].summary)
            for key, words in common.items()
            if key in settings and key.partition(".")[0] not in own
        ]
        blocks += [f"{group}:", *lines, ""] if lines else []
    for section in own:
        title = section_titles(parser).get(section) or section
        theirs = [one for key, one in settings.items() if key.startswith(f"{section}.")]
        blocks += [f"{title}:", *(_line(one, one.summary) for one in theirs), ""]
    return "\n".join(
        [
            f"usage: slifmr {subcommand} [--config FILE_OR_PRESET]... [--KEY VALUE]...",
            "",
            "Configurations compose, the later one wins, and a flag wins over all. --model CLASS",
            "and --data CLASS choose others; `slifmr presets` lists what --config takes by name.",
            "",
            *blocks,
            f"{len(settings)} settings in all: --help SECTION explains those of a section, such as",
            "--help data.split or --help model; --help all lists all, with their types.",
            "`slifmr init FILE` writes them into a configuration, each with its explanation.",
        ]
    )


def section_help(parser: "SettingsParser", section: str) -> str:
    """All settings of a section, such as `data.split`, with all that is said of them.

    Raises:
        ConfigError: If there is none of that name.
    """
    settings = described_settings(parser)
    inside = [one for one in settings.values() if f"{one.key}.".startswith(f"{section}.")]
    if not inside:
        top = dict.fromkeys(key.partition(".")[0] for key in settings)
        parser.error(f"--help {section}: there is no such section; there are {', '.join(top)}")
    lines = [f"{title}:"] if (title := section_titles(parser).get(section)) else []
    for one in inside:
        lines.append(f"  --{one.key}  ({one.type}; {_default(one)})")
        lines.append(textwrap.indent(textwrap.fill(one.text, _width() - 6), " " * 6))
    return "\n".join(lines)


def _line(one: DescribedSetting, words: str) -> str:
    indent = 37
    nothing = one.default is None and not one.required
    said = words if nothing else f"{words} ({_default(one)})"
    flag = f"  --{one.key}"
    head = flag.ljust(indent) if len(flag) < indent else f"{flag}\n{' ' * indent}"
    wrapped = textwrap.wrap(said, max(40, _width() - indent), break_on_hyphens=False)
    return head + f"\n{' ' * indent}".join(wrapped)


def _default(one: DescribedSetting) -> str:
    return "required" if one.required else f"default: {one.default_text}"


def _width() -> int:
    return min(120, shutil.get_terminal_size((110, 24)).columns)
