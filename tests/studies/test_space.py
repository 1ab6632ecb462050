from pathlib import Path

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from slifmr_pl.errors import ConfigError
from slifmr_pl.studies.space import read_space


def written(folder: Path, text: str) -> Path:
    path = folder / "space.yaml"
    path.write_text(text)
    return path


def test_ranges_and_choices_are_read(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
model.optimizer.learning_rate: {low: 1.0e-4, high: 1.0e-2, log: true}
model.network.interaction.layers: {low: 1, high: 4}
data.negatives: {low: 8, high: 64, step: 8}
model.loss.ranking: {choices: [bpr, softmax]}
""",
    )
    assert read_space(path) == {
        "model.optimizer.learning_rate": FloatDistribution(1e-4, 1e-2, log=True),
        "model.network.interaction.layers": IntDistribution(1, 4),
        "data.negatives": IntDistribution(8, 64, step=8),
        "model.loss.ranking": CategoricalDistribution(["bpr", "softmax"]),
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be read (it is empty)"),
        ("{}", "names no setting"),
        ("- a", "cannot be read (it is a list)"),
        ("a: [", "cannot be read"),
        ("a: 3", "a: it is neither a range nor a choice"),
        ("a: {low: 1}", "a: it has the entries low"),
        ("a: {low: 1, high: 2, hihg: 3}", "it has the entries low, high, hihg"),
        ("a: {low: 1e-4, high: 1.0}", "low is the text '1e-4'; a number such as 1.0e-4"),
        ("a: {low: true, high: 2}", "low is True, not a number"),
        ("a: {low: 2.0, high: 1.0}", "a: "),
        ("a: {low: 0.0, high: 1.0, log: true}", "a: "),
        ("a: {choices: []}", "choices are not a list"),
        ("a: {choices: [[1], [2]]}", "the choice [1] is no text"),
        ("data.split.seed: {choices: [1, 2]}", "data.split.seed is not to be tuned"),
        ("seed_everything: {low: 1, high: 9}", "seed_everything is not to be tuned"),
        ("data.test_masks: {choices: [train]}", "data.test_masks is not to be tuned"),
    ],
)
def test_what_is_no_space_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_space(written(tmp_path, text))
    assert said in str(refused.value)
    assert "space.yaml" in str(refused.value)


def test_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_space(tmp_path / "none.yaml")
