"""Reads data sets through TensorFlow Datasets, as NumPy arrays."""

import contextlib
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from keras_kd.datasets.raw import Raw


def read_tfds(name: str, folder: Path | None) -> Raw:
    """A data set of TensorFlow Datasets, downloaded and prepared if it is not yet.

    Prepared as array records, which are read without TensorFlow. Preparing itself needs
    TensorFlow, for most data sets.

    Args:
        name: as in `tfds.builder`.
        folder: its `data_dir`; by default that of TensorFlow Datasets.

    Raises:
        ImportError: TensorFlow Datasets is not installed.
    """
    import tensorflow_datasets as tfds

    builder = tfds.builder(name, data_dir=folder)
    if not builder.is_prepared():
        builder = tfds.builder(name, data_dir=folder, file_format="array_record")
        with _patience(builder.url_infos):
            builder.download_and_prepare()
    arrays: list[np.ndarray] = []
    for split in ("train", "test"):
        try:
            examples = builder.as_data_source(split)
        except NotImplementedError:
            # Prepared by someone else, as TFRecords.
            examples = tfds.as_numpy(builder.as_dataset(split=split))
        images, labels = zip(*((e["image"], e["label"]) for e in examples), strict=True)
        arrays += [np.stack(images), np.array(labels)]
    return Raw(*arrays)


def downloads(name: str, folder: Path | None) -> tuple[Path, list[str]]:
    """Where TensorFlow Datasets takes files that were fetched by hand, and which."""
    import tensorflow_datasets as tfds

    builder = tfds.builder(name, data_dir=folder)
    files = [Path(urllib.parse.urlsplit(url).path).name for url in builder.url_infos]
    # <data_dir>/<name>/<version>
    return Path(builder.data_dir).parents[1] / "downloads" / "manual", files


@contextlib.contextmanager
def _patience(urls: Iterable[str]) -> Iterator[None]:
    # Without a network TensorFlow Datasets tries for more than three minutes. It has no
    # public setting for that; where the one below is gone, it takes that long.
    try:
        from tensorflow_datasets.core.download import downloader

        retries = downloader.MAX_RETRIES
    except (ImportError, AttributeError):
        yield
        return
    if not all(map(_resolves, urls)):
        downloader.MAX_RETRIES = 0
    try:
        yield
    finally:
        downloader.MAX_RETRIES = retries


def _resolves(url: str) -> bool:
    if urllib.request.getproxies():
        return True
    try:
        socket.getaddrinfo(urllib.parse.urlsplit(url).hostname, None)
    except OSError:
        return False
    return True
