"""The original data sets: whole files only, found as people keep them, downloaded wholly or not at all."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import http.server
import io
import os
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch

from bnrepro import data, store
from bnrepro.config.schema import DataConfig
from bnrepro.data import download, sets, sources
from bnrepro.data.mnist import MNIST_FILES
from bnrepro.errors import DataError, DataUnavailable


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty $BNREPRO_DATA and an empty data folder, and no network behind them."""
    named = tmp_path / "named"
    monkeypatch.setenv("BNREPRO_DATA", str(named))
    monkeypatch.setattr(store, "data_folder", lambda: tmp_path / "data")
    for name in download.PROXIES:
        monkeypatch.delenv(name, raising=False)

    def unreachable(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    offer(monkeypatch, unreachable)
    sets._load.cache_clear()
    yield named
    sets._load.cache_clear()


def offer(monkeypatch: pytest.MonkeyPatch, dataset: Callable[..., object]) -> None:
    """``dataset`` in the place of torchvision's own."""
    monkeypatch.setattr(sources, "_torchvision_datasets", lambda: SimpleNamespace(MNIST=dataset, CIFAR10=dataset))


@pytest.fixture
def digits_as_mnist(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The contents of four small files in MNIST's format, which are taken for the original ones."""
    draw = np.random.default_rng(0)
    contents = {}
    for name in MNIST_FILES:
        shape = (70, 28, 28) if "images" in name else (70,)
        header = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">i4").tobytes()
        contents[name] = header + draw.integers(0, 10, shape, np.uint8).tobytes()
        monkeypatch.setitem(MNIST_FILES, name, hashlib.md5(contents[name]).hexdigest())
    return contents


def write(folder: Path, contents: dict[str, bytes]) -> Path:
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# ------------------------------------------------------------------------------------------------ mnist's files

PLACED: dict[str, Callable[[str], str]] = {
    "as torchvision's": lambda name: f"MNIST/raw/{name}",
    "flat": lambda name: name,
    "as on Kaggle": lambda name: name.replace("-idx", ".idx"),
    "as on Kaggle, in folders": lambda name: f"MNIST/{name}/{name}",
    "compressed": lambda name: f"MNIST/raw/{name}.gz",
    "compressed and flat": lambda name: f"{name.replace('-idx', '.idx')}.gz",
}


@pytest.mark.parametrize("case", PLACED)
def test_the_files_are_read_wherever_and_however_people_keep_them(
    case: str, elsewhere: Path, digits_as_mnist: dict[str, bytes]
) -> None:
    named = {PLACED[case](name): content for name, content in digits_as_mnist.items()}
    packed = {name: gzip.compress(content) if name.endswith(".gz") else content for name, content in named.items()}
    write(elsewhere, packed)
    source = sources.mnist()
    assert source.images.shape == source.test_images.shape == (70, 1, 28, 28)
    assert (source.images.dtype, source.labels.dtype, source.classes) == (torch.uint8, torch.int64, 10)
    assert source.images.numpy().tobytes() == digits_as_mnist["train-images-idx3-ubyte"][16:]
    assert source.test_labels.tolist() == list(digits_as_mnist["t10k-labels-idx1-ubyte"][8:])


def test_the_home_folder_may_be_written_as_in_a_shell(
    elsewhere: Path, digits_as_mnist: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(elsewhere / "mine", digits_as_mnist)
    monkeypatch.setenv("HOME", str(elsewhere))
    monkeypatch.setenv("BNREPRO_DATA", "~/mine")
    assert len(sources.mnist().labels) == 70
    monkeypatch.setenv("BNREPRO_OUTPUTS", "~/runs")
    monkeypatch.setenv("BNREPRO_RESULTS", "~/tables")
    assert store.outputs_folder() == elsewhere / "runs"
    assert store.results_folder("full") == elsewhere / "tables"


def test_mnist_that_is_nowhere_is_one_clear_paragraph(elsewhere: Path, tmp_path: Path) -> None:
    write(elsewhere, {"train.csv": b"", "test.csv": b""})
    with pytest.raises(DataUnavailable) as caught:
        data.load(DataConfig("mnist"))
    message = str(caught.value)
    assert "no route to host" in message
    assert f"neither in $BNREPRO_DATA={elsewhere} (holds test.csv, train.csv)" in message
    assert f"nor in {tmp_path / 'data'} (does not exist)" in message
    assert str(tmp_path / "data" / "MNIST" / "raw") in message
    assert "data=digits" in message
    assert "\n" not in message


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_damaged_file_is_named_with_what_to_do(
    suffix: str, elsewhere: Path, digits_as_mnist: dict[str, bytes]
) -> None:
    packed = {f"{name}{suffix}": gzip.compress(each) if suffix else each for name, each in digits_as_mnist.items()}
    raw = write(elsewhere / "MNIST" / "raw", packed)
    for name, content in packed.items():
        for damaged in (content[:-9], content[:-1] + b"?", b""):
            (raw / name).write_bytes(damaged)
            with pytest.raises(DataError, match=f"{raw / name} is truncated or altered.*Delete it"):
                data.load(DataConfig("mnist"))
        (raw / name).write_bytes(content)
    assert len(sources.mnist().labels) == 70


@pytest.mark.parametrize("folder", ["MNIST/raw", "."])
def test_a_folder_with_a_file_missing_is_refused_by_name(
    folder: str, elsewhere: Path, digits_as_mnist: dict[str, bytes]
) -> None:
    del digits_as_mnist["t10k-labels-idx1-ubyte"]
    write(elsewhere / folder, digits_as_mnist)
    with pytest.raises(DataError, match=r"incomplete: t10k-labels-idx1-ubyte missing.*unset BNREPRO_DATA"):
        data.find_mnist()


def test_an_interrupted_download_is_taken_up_again(elsewhere: Path, digits_as_mnist: dict[str, bytes]) -> None:
    del digits_as_mnist["t10k-labels-idx1-ubyte"]
    write(store.data_folder() / "MNIST" / "raw", digits_as_mnist)
    assert data.find_mnist() is None


def test_the_named_folder_comes_before_our_own(elsewhere: Path, digits_as_mnist: dict[str, bytes]) -> None:
    for root in (store.data_folder(), elsewhere):
        write(root / "MNIST" / "raw", digits_as_mnist)
        assert data.find_mnist() == {name: root / "MNIST" / "raw" / name for name in MNIST_FILES}


def test_what_may_not_be_read_is_named(
    elsewhere: Path, digits_as_mnist: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = write(elsewhere / "MNIST" / "raw", digits_as_mnist)
    stat, read = os.stat, Path.read_bytes

    def refused(path: object, *args: object, **more: object) -> object:
        if str(path).startswith(str(raw)):
            raise PermissionError(13, "Permission denied")
        return stat(path, *args, **more)  # pyright: ignore

    with monkeypatch.context() as patch:  # permissions do not bind root
        patch.setattr(os, "stat", refused)
        with pytest.raises(DataError, match=f"^{raw} cannot be read \\(Permission denied\\)$"):
            sources.mnist()
    monkeypatch.setattr(Path, "read_bytes", lambda path: refused(path) if path.parent == raw else read(path))
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte cannot be read \(Permission denied\)$"):
        sources.mnist()


# ---------------------------------------------------------------------------------------------------- downloads

FAILURES = [
    OSError("disk"), RuntimeError("File not found or corrupted."), TimeoutError(), EOFError("ended early"),
    http.client.InvalidURL("nonnumeric port: 'port'"), http.client.IncompleteRead(b""), tarfile.ReadError("not a tar"),
    RecursionError("exceeded 3 redirects"), ValueError("unknown url type"), ModuleNotFoundError("no torchvision"),
]  # fmt: skip


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_however_a_download_fails_it_is_unavailable_and_nothing_stays(
    name: str, error: Exception, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(root: str, **_: object) -> None:
        write(Path(root), {"MNIST/raw/train-images-idx3-ubyte": b"the first half", "cifar-10-python.tar.gz": b"half"})
        raise error

    offer(monkeypatch, fail)
    with pytest.raises(DataUnavailable, match="could not be downloaded") as caught:
        data.load(DataConfig(name))
    assert (str(error) or "TimeoutError") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not store.data_folder().exists()
    monkeypatch.setenv("https_proxy", "http://proxy:port")
    kept = write(store.data_folder(), {"cifar10_jpeg/train/cat/1.jpg": b"mine"})
    with pytest.raises(DataUnavailable, match="https_proxy set"):
        data.load(DataConfig(name))
    assert os.listdir(kept) == ["cifar10_jpeg"]


def test_a_stopped_download_leaves_nothing(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(root: str, **_: object) -> None:
        write(Path(root), {"MNIST/raw/train-images-idx3-ubyte": b"the first half"})
        raise KeyboardInterrupt

    offer(monkeypatch, stop)
    with pytest.raises(KeyboardInterrupt):
        sources.mnist()
    assert not store.data_folder().exists()


def test_a_download_completes_what_is_there(
    elsewhere: Path, digits_as_mnist: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = write(store.data_folder() / "MNIST" / "raw", {"train-images-idx3-ubyte": b"from an interrupted download"})
    offer(monkeypatch, lambda root, download: write(Path(root) / "MNIST" / "raw", digits_as_mnist))
    assert len(sources.mnist().labels) == 70
    assert files(raw) == sorted(MNIST_FILES)
    assert os.listdir(store.data_folder()) == ["MNIST"]


@contextmanager
def server(answer: Callable[[http.server.BaseHTTPRequestHandler], None]) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None:  # pyright: ignore
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}/"
        serving.shutdown()


def cut(request: http.server.BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "1000")
    request.end_headers()
    request.wfile.write(b"half")


def page(request: http.server.BaseHTTPRequestHandler) -> None:
    if request.path.endswith("login.html"):
        request.send_response(200)
        request.end_headers()
        request.wfile.write(b"<html>Sign in to this network</html>")
    else:
        request.send_response(302)
        request.send_header("Location", "/login.html")
        request.end_headers()


@pytest.mark.parametrize("answer", [cut, page], ids=["cut short", "a page instead"])
def test_torchvisions_own_download_that_goes_wrong(
    answer: Callable[[http.server.BaseHTTPRequestHandler], None], elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("BNREPRO_DATA", str(elsewhere))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(store, "data_folder", lambda: elsewhere.parent / "data")
    datasets = sources._torchvision_datasets()
    with server(answer) as address:
        monkeypatch.setattr(datasets.MNIST, "mirrors", [address])
        with pytest.raises(DataUnavailable, match="could not be downloaded"):
            sources.mnist()
    assert not store.data_folder().exists()


def test_a_server_that_hangs_is_given_up(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("BNREPRO_DATA", str(elsewhere))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(store, "data_folder", lambda: elsewhere.parent / "data")
    monkeypatch.setattr(download, "TIMEOUT_S", 0.05)
    datasets, over = sources._torchvision_datasets(), threading.Event()
    with server(lambda request: over.wait(30) and None) as address:
        monkeypatch.setattr(datasets.MNIST, "mirrors", [address])
        with pytest.raises(DataUnavailable, match="timed out"):
            sources.mnist()
        over.set()


# ----------------------------------------------------------------------------------------------------- cifar-10


class TenImages:
    """What torchvision's CIFAR10 gives, ten images of it."""

    def __init__(self, root: str, train: bool, download: bool) -> None:
        assert not download
        draw = np.random.default_rng(int(train))
        self.data = draw.integers(0, 256, (10, 32, 32, 3), np.uint8)
        self.targets = list(range(10))


@pytest.mark.parametrize("within", [".", "cifar-10-batches-py"], ids=["its folder", "itself"])
def test_cifar10_in_torchvisions_own_files(within: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (elsewhere / "cifar-10-batches-py").mkdir(parents=True)
    monkeypatch.setenv("BNREPRO_DATA", str(elsewhere / within))
    offer(monkeypatch, TenImages)
    source = sources.cifar10()
    assert source.images.shape == (10, 3, 32, 32)
    assert torch.equal(source.images[3, :, 5, 6], torch.from_numpy(TenImages("", True, False).data[3, 5, 6]))
    assert source.test_labels.tolist() == list(range(10))


def test_cifar10_that_is_nowhere_or_damaged(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataUnavailable, match=r"CIFAR-10 is neither in .* no route to host"):
        data.load(DataConfig("cifar10"))
    (elsewhere / "cifar-10-batches-py").mkdir(parents=True)

    def corrupted(*_: object, **__: object) -> None:
        raise RuntimeError("Dataset not found or corrupted")

    offer(monkeypatch, corrupted)
    with pytest.raises(DataError, match=r"cifar-10-batches-py is incomplete or altered"):
        data.load(DataConfig("cifar10"))


def test_the_archive_of_cifar10_is_unpacked_into_our_own_folder(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        inside = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
        inside.size = 5
        tar.addfile(inside, io.BytesIO(b"batch"))
    write(elsewhere, {"cifar-10-python.tar.gz": packed.getvalue()[:-1]})
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz is truncated or altered"):
        sources.cifar10()
    assert not store.data_folder().exists()
    write(elsewhere, {"cifar-10-python.tar.gz": packed.getvalue()})
    monkeypatch.setattr(sources, "CIFAR10_MD5", hashlib.md5(packed.getvalue()).hexdigest())
    offer(monkeypatch, TenImages)
    for _ in range(2):
        assert len(sources.cifar10().labels) == 10
        assert files(store.data_folder()) == ["cifar-10-batches-py/data_batch_1"]
    assert files(elsewhere) == ["cifar-10-python.tar.gz"]
    shutil.rmtree(store.data_folder())
    store.data_folder().write_bytes(b"")
    with pytest.raises(DataError, match=r"cannot be unpacked into .*tar -xzf"):
        sources.cifar10()
