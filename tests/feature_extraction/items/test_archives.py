import io
import pickle
import stat
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from feature_extraction import FeatureError, InputError
from feature_extraction.items import archives as module
from feature_extraction.items.archives import Archives
from feature_extraction.items.input_files import open_files

CONTENT = {f"deep/{number}.bin": bytes([number]) * 1000 * number for number in range(20)}


def tar(path: Path, members: Mapping[str, bytes], mode: str = "w:") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def zipped(path: Path, members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("method", ["tar", "stored", "deflated"])
def test_members_are_read_as_they_were_put_in(tmp_path: Path, method: str) -> None:
    if method == "tar":
        path = tar(tmp_path / "a.tar", CONTENT)
    else:
        kinds = {"stored": zipfile.ZIP_STORED, "deflated": zipfile.ZIP_DEFLATED}
        path = zipped(tmp_path / "a.zip", CONTENT, kinds[method])
    archives = pickle.loads(pickle.dumps(Archives([path])))
    assert set(archives.names()) == CONTENT.keys()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(archives.read, CONTENT)) == list(CONTENT.values())
    assert archives.read("./deep//3.bin") == CONTENT["deep/3.bin"]
    with pytest.raises(InputError, match="not in the archives"):
        archives.read("absent")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_shards_are_one_name_space(tmp_path: Path) -> None:
    one, two = tar(tmp_path / "1.tar", {"a": b"1"}), zipped(tmp_path / "2.zip", {"b": b"2"})
    archives = Archives([one, two])
    assert (archives.read("a"), archives.read("b")) == (b"1", b"2")
    with pytest.raises(FeatureError, match="'a' is also in"):
        Archives([one, tar(tmp_path / "3.tar", {"./a": b"3"})])


@pytest.mark.parametrize("name", ["../secret", "a/../../secret", "/etc/hosts"])
def test_members_that_lead_outside_are_refused(tmp_path: Path, name: str) -> None:
    for path in (tar(tmp_path / "a.tar", {name: b"x"}), zipped(tmp_path / "a.zip", {name: b"x"})):
        with pytest.raises(InputError, match="outside the archive"):
            Archives([path]).read(name)


def test_links_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    with tarfile.open(tmp_path / "a.tar", "w:") as archive:
        for kind, name in ((tarfile.SYMTYPE, "soft"), (tarfile.LNKTYPE, "hard")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "../secret"
            archive.addfile(info)
        device = tarfile.TarInfo("device")
        device.type = tarfile.CHRTYPE
        archive.addfile(device)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        link = zipfile.ZipInfo("soft")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        packed.writestr(link, "../secret")
    for path, names in (("a.tar", ("soft", "hard", "device")), ("a.zip", ("soft",))):
        for name in names:
            with pytest.raises(InputError, match="a link"):
                Archives([tmp_path / path]).read(name)


def test_zip_bomb_is_refused_before_and_while_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MEMBER_LIMIT", 1 << 20)
    path = zipped(tmp_path / "a.zip", {"bomb": bytes(8 << 20)})
    assert path.stat().st_size < 20_000
    with pytest.raises(InputError, match="more than 1 MiB"):
        Archives([path]).read("bomb")
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")
    struct.pack_into("<L", content, entry + 24, 100)  # lies about its size
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        Archives([path]).read("bomb")


def test_changed_bytes_and_encrypted_members_have_a_reason(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a": b"abc" * 100}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"abcabc", b"abcabd", 1))
    with pytest.raises(InputError, match="damaged"):
        Archives([path]).read("a")
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="encrypted"):
        Archives([path]).read("a")
    packed = zipped(tmp_path / "b.zip", {"a": b"abc"}, zipfile.ZIP_LZMA)
    with pytest.raises(InputError, match="other than deflate"):
        Archives([packed]).read("a")


def test_broken_and_compressed_archives_are_refused(tmp_path: Path) -> None:
    whole = tar(tmp_path / "whole.tar", CONTENT)
    cut = tmp_path / "cut.tar"
    cut.write_bytes(whole.read_bytes()[:70_000])
    half = tmp_path / "half.zip"
    half.write_bytes(zipped(tmp_path / "whole.zip", CONTENT).read_bytes()[:500])
    text = tmp_path / "text.tar"
    text.write_text("no archive")
    for path in (cut, half, text, tar(tmp_path / "packed.tar", CONTENT, "w:gz")):
        with pytest.raises(FeatureError, match="archive cannot be read"):
            Archives([path])


def test_archive_and_folder_cannot_be_mixed(tmp_path: Path) -> None:
    with pytest.raises(FeatureError):
        open_files([tar(tmp_path / "a.tar", {"a": b""}), tmp_path], "image")
