"""Tables on disk: equal texts in equal bytes, gzipped if large, and digests that vouch for them after every kill."""

from __future__ import annotations

import gzip
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bnrepro import store
from bnrepro.errors import StoreError
from bnrepro.store.tables import GZIP_ABOVE_BYTES, QUICKLY_ABOVE_BYTES, SUMS, check_tables


def write(folder: Path, name: str, *pieces: str) -> Path:
    [path] = store.write_tables(folder, name, {name: pieces})
    return path


def numbers(size: int) -> str:
    return "step,value\n" + "".join(f"{i},{i * i}\n" for i in range(size // 15))


def test_a_large_table_is_packed_and_comes_out_with_the_same_bytes_twice(tmp_path: Path) -> None:
    text = numbers(1_500_000)
    one, two = write(tmp_path / "one", "x", text), write(tmp_path / "two", "x", *text.splitlines(keepends=True))
    assert one.name == "x.csv.gz"
    assert one.read_bytes() == two.read_bytes()
    assert gzip.decompress(one.read_bytes()).decode() == text
    # No time of writing and no name in the header, so that another day and folder give the same bytes.
    assert one.read_bytes()[3:8] == bytes(5)


def test_a_very_large_table_is_packed_quickly_and_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = numbers(1_500_000)
    small = write(tmp_path / "small", "x", text).stat().st_size
    monkeypatch.setattr("bnrepro.store.tables.QUICKLY_ABOVE_BYTES", 1_200_000)
    one, two = write(tmp_path / "one", "x", text), write(tmp_path / "two", "x", *text.splitlines(keepends=True))
    assert one.read_bytes() == two.read_bytes()
    assert gzip.decompress(one.read_bytes()).decode() == text
    assert one.stat().st_size > small


def test_the_committed_tables_are_packed_as_small_as_possible() -> None:
    """Within 1%, since the size depends a little on the version of zlib."""
    for path in (store.REPOSITORY / "results" / "tables").glob("*.gz"):
        packed = path.read_bytes()
        text = gzip.decompress(packed)
        assert len(text) < QUICKLY_ABOVE_BYTES, path.name
        assert len(packed) <= 1.01 * len(gzip.compress(text, compresslevel=9)), path.name


def test_a_table_has_one_form_at_a_time(tmp_path: Path) -> None:
    large = "x\n" * (GZIP_ABOVE_BYTES // 2 + 1)
    for text, name in (("x\n", "t.csv"), (large, "t.csv.gz"), ("x\n1\n", "t.csv")):
        write(tmp_path, "t", text)
        assert sorted(file.name for file in tmp_path.iterdir()) == [SUMS, name]
        assert store.find_table(tmp_path, "t") == tmp_path / name
        check_tables(tmp_path)
    assert store.find_table(tmp_path, "other") is None


def test_an_unchanged_table_is_not_written_again(tmp_path: Path) -> None:
    path = write(tmp_path, "t", "x\n")
    before = {file: (file.stat().st_ino, file.stat().st_mtime_ns) for file in (path, tmp_path / SUMS)}
    write(tmp_path, "t", "x\n")
    assert before == {file: (file.stat().st_ino, file.stat().st_mtime_ns) for file in before}


# ------------------------------------------------------------------------------------------------- digests


@pytest.fixture
def vouched(tmp_path: Path) -> Path:
    """Tables of two owners."""
    store.write_tables(tmp_path, "one", {"one": ["a\n1\n"], "one.runs": ["b\n2\n"]})
    store.write_tables(tmp_path, "two", {"two": ["c\n3\n"]})
    check_tables(tmp_path)
    return tmp_path


def test_digests_are_those_that_sha256sum_checks(vouched: Path) -> None:
    names = ["one.csv", "one.runs.csv", "two.csv"]
    assert [line.split("  ")[1] for line in (vouched / SUMS).read_text().splitlines()] == names
    said = subprocess.run(["sha256sum", "--check", SUMS], cwd=vouched, capture_output=True, text=True, check=True)
    assert said.stdout.splitlines() == [f"{name}: OK" for name in names]


def test_the_committed_tables_fit_their_digests() -> None:
    check_tables(store.REPOSITORY / "results" / "tables")


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda folder: (folder / "one.csv").write_text("a\n2\n"), r"one\.csv has changed"),
        (lambda folder: (folder / "one.csv").write_bytes(b"a\r\n1\r\n"), r"one\.csv has changed"),
        (lambda folder: (folder / "two.csv").unlink(), r"two\.csv is missing"),
        (lambda folder: (folder / "three.csv").write_text("x\n"), r"three\.csv has no digest"),
        (lambda folder: (folder / SUMS).unlink(), r"one\.csv has no digest"),
        (lambda folder: (folder / SUMS).write_text("<<<<<<< HEAD\n"), r"one\.csv has no digest"),
    ],
)
def test_what_does_not_fit_its_digest_is_refused_by_name(
    vouched: Path, damage: Callable[[Path], None], named: str
) -> None:
    damage(vouched)
    with pytest.raises(StoreError, match=f"{named}.*git checkout.*make reproduce"):
        check_tables(vouched)


def test_digests_vouch_for_the_tables_of_one_owner_at_a_time(vouched: Path) -> None:
    (vouched / "two.csv").write_text("c\n4\n")
    store.write_tables(vouched, "one", {"one": ["a\n5\n"]})
    assert not (vouched / "one.runs.csv").exists()
    with pytest.raises(StoreError, match=r"two\.csv has changed"):
        check_tables(vouched)
    store.write_tables(vouched, "two", {"two": ["c\n3\n"]})
    check_tables(vouched)
    store.write_tables(vouched, "two", {})
    assert sorted(path.name for path in vouched.iterdir()) == [SUMS, "one.csv"]
    check_tables(vouched)


def test_a_kill_at_any_moment_is_mended_by_the_same_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before each change of the folder in turn, from small tables to other, packed ones."""
    old, new = {"one": ["a\n"], "one.runs": ["b\n"], "one.old": ["c\n"]}, {"one": ["a\n1\n"], "one.runs": ["b\n2\n"]}
    replace, unlink, moments = Path.replace, Path.unlink, 0

    def counted(change: Callable, left: Iterator[int]) -> Callable:
        def call(path: Path, *to: Path, **more: bool) -> object:
            if path.exists() and next(left, None) is None:
                raise KeyboardInterrupt
            return change(path, *to, **more)

        return call

    while True:
        folder, left = tmp_path / str(moments), iter(range(moments))
        store.write_tables(folder, "one", old)
        with monkeypatch.context() as patch:
            patch.setattr("bnrepro.store.tables.GZIP_ABOVE_BYTES", 3)
            patch.setattr(Path, "replace", counted(replace, left))
            patch.setattr(Path, "unlink", counted(unlink, left))
            try:
                store.write_tables(folder, "one", new)
                break
            except KeyboardInterrupt:
                pass
        with monkeypatch.context() as patch:
            patch.setattr("bnrepro.store.tables.GZIP_ABOVE_BYTES", 3)
            store.write_tables(folder, "one", new)
        check_tables(folder)
        assert sorted(path.name for path in folder.glob("*")) == [SUMS, "one.csv.gz", "one.runs.csv.gz"]
        moments += 1
    assert moments >= 6


def test_a_disk_that_refuses_is_one_line(vouched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in vouched.iterdir()}

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"cannot write .*one\.csv: No space left on device"):
        write(vouched, "one", "a\n9\n")
    assert before == {path.name: path.read_bytes() for path in vouched.iterdir()}
