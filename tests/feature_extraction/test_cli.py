import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from feature_extraction import FeatureStore
from feature_extraction.cli import main


@pytest.fixture
def items(tmp_path: Path) -> Path:
    path = tmp_path / "items.csv"
    path.write_text("item_id,title,plot,image\n0,hat,red,0.png\n1,,,1.png\n2,shoe,,absent.png\n")
    return path


@pytest.fixture
def arguments(items: Path, bert_folder: Path, tmp_path: Path) -> dict[str, list[str]]:
    return {
        "--items": [str(items)],
        "--id-column": ["item_id"],
        "--text-columns": ["title", "plot"],
        "--encoder": [str(bert_folder)],
        "--kind": ["bert"],
        "--output": [str(tmp_path / "stores")],
        "--device": ["cpu"],
    }


def extract(arguments: dict[str, list[str]], **changes: list[str] | None) -> int:
    """Run the command with options changed, or left out where None."""
    changed = {f"--{name.replace('_', '-')}": values for name, values in changes.items()}
    flat = [
        word
        for name, values in (arguments | changed).items()
        if values is not None
        for word in (name, *values)
    ]
    return main(["extract", *flat])


def test_texts_are_extracted_then_reused_then_shown(
    arguments: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    for origin in ("extracted", "reused"):
        assert extract(arguments, dtype=["float16"], name=["title"]) == 0
        printed = capsys.readouterr()
        assert f"INFO: {origin}" in printed.err
    store = FeatureStore.open(printed.out.strip())
    assert store.path.name.startswith("title-")
    assert store.present.tolist() == [True, False, True]

    assert main(["show", str(store.path), "--verify"]) == 0
    shown = capsys.readouterr().out
    assert "3 x 16 float16" in shown
    assert "items=3, present=2, missing=1" in shown
    assert store.manifest["content_key"] in shown


@pytest.mark.parametrize("column", [None, ["image"]])
def test_images_are_extracted_by_id_or_by_column(
    arguments: dict[str, list[str]],
    clip_folder: Path,
    save_images: Callable[[int], Path],
    column: list[str] | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = extract(
        arguments,
        text_columns=None,
        images=[str(save_images(2))],
        image_column=column,
        kind=["clip-image"],
        encoder=[str(clip_folder)],
    )
    assert code == 0
    store = FeatureStore.open(capsys.readouterr().out.strip())
    assert store.present.tolist() == [True, True, False]
    counts = store.manifest["counts"]
    assert (counts["missing"], counts["failed"]) == ((1, 0) if column is None else (0, 1))
    main(["show", str(store.path)])
    assert ("absent.png" in capsys.readouterr().out) == (column is not None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"items": ["absent.csv"]}, "absent.csv: the file does not exist"),
        ({"id_column": ["item"]}, "column 'item' is missing"),
        ({"text_columns": ["titel"]}, "rename 'title' to 'titel'"),
        ({"encoder": ["./absent"]}, "the encoder './absent' is no folder"),
        ({"kind": ["clip-text"]}, "is a 'bert' model"),
        ({"kind": ["clip-image"]}, "expected: --images"),
        ({"text_columns": None}, "expected: --text-columns"),
        ({"images": ["."]}, "neither --images"),
        ({"image_column": ["image"]}, "nor --image-column"),
        ({"text_columns": None, "text_template": ["{title"]}, "holds '{'"),
        ({"text_columns": None, "text_template": ["title"]}, "names no column"),
        ({"devices": ["0"]}, "devices is 0"),
        ({"devices": ["9999"]}, "devices is 9999"),
        ({"workers": ["-1"]}, "workers is -1"),
        ({"max_length": ["999"]}, "at most 16 tokens"),
        ({"batch_size": ["0"]}, "batch_size is 0"),
        ({"name": ["a/b"]}, "'a/b'"),
    ],
)
def test_bad_input_ends_with_code_2_and_what_to_do(
    arguments: dict[str, list[str]],
    changes: dict[str, list[str] | None],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert extract(arguments, **changes) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "fix:" in error
    assert "Traceback" not in error


def test_absent_store_is_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(tmp_path / "absent")]) == 2
    assert "no folder" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["extract"], ["extract", "--kind", "resnet"]])
def test_unknown_or_lacking_arguments_end_with_code_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2


def test_help_and_public_names_import_no_heavy_library() -> None:
    script = (
        "import sys, contextlib, feature_extraction.cli as cli\n"
        "with contextlib.suppress(SystemExit): cli.main(['extract', '--help'])\n"
        "sys.exit(bool({'torch', 'transformers', 'pyarrow', 'slifmr_pl'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, "--id-column" in done.stdout) == (0, True)


def test_module_runs_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "feature_extraction", "show", "absent"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: absent: this is no folder")
