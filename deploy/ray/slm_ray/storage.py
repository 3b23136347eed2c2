"""Files wherever Ray reads and writes them: finding the input's, and writing a file so that it is there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import posixpath
import uuid
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlparse

from pyarrow import fs

# Here a file appears when its upload ends, and not at all where that is cut; they have no cheap rename.
OBJECT_STORES = ("s3", "gcs", "abfs")
# Readers of tables pass over names that begin so: Spark's, pyarrow's and Ray's.
HIDDEN = (".", "_")


class StorageError(Exception):
    """A path that cannot be used."""


@dataclass(frozen=True)
class Folder:
    """A folder of a file system; it need not exist before something is written."""

    files: fs.FileSystem
    path: str

    @staticmethod
    def at(uri: str) -> Folder:
        """From a path, or an address with any scheme that pyarrow or fsspec knows."""
        return Folder(*locate(uri))

    def names(self) -> set[str]:
        """The names of the files in it."""
        selector = fs.FileSelector(self.path, allow_not_found=True)
        found = self.files.get_file_info(selector)
        return {info.base_name for info in found if info.type == fs.FileType.File}

    def read(self, name: str) -> bytes | None:
        """A file's contents, if it exists."""
        path = posixpath.join(self.path, name)
        if self.files.get_file_info(path).type == fs.FileType.NotFound:
            return None
        with self.files.open_input_stream(path) as stream:
            contents: bytes = stream.read()
        return contents

    def publish(self, name: str, contents: bytes | memoryview) -> None:
        """Writes a file. Whoever reads the folder sees it whole or not at all, also where the writer is killed."""
        path = posixpath.join(self.path, name)
        if self.files.type_name in OBJECT_STORES:
            # One call with all bytes: an exception before its end would otherwise complete the upload of a half.
            with self.files.open_output_stream(path) as stream:
                stream.write(contents)
            return
        self.files.create_dir(self.path, recursive=True)
        unfinished = posixpath.join(self.path, f".{name}.{uuid.uuid4().hex}.tmp")
        try:
            with self.files.open_output_stream(unfinished) as stream:
                stream.write(contents)
            if self.files.type_name == "local":
                _sync(unfinished)
            self._rename(unfinished, path)
        except BaseException:
            with contextlib.suppress(OSError):
                self.files.delete_file(unfinished)
            raise

    def _rename(self, unfinished: str, path: str) -> None:
        try:
            self.files.move(unfinished, path)
        except OSError:
            # Some do not replace a file (HDFS). One of this name holds the same rows: another attempt was faster.
            if self.files.get_file_info(path).type != fs.FileType.File:
                raise
            self.files.delete_file(unfinished)

    def remove_unfinished(self) -> None:
        """Removes what writers left that were killed."""
        for name in self.names():
            if name.startswith(".") and name.endswith(".tmp"):
                with contextlib.suppress(OSError):
                    self.files.delete_file(posixpath.join(self.path, name))


@dataclass(frozen=True)
class File:
    """A file of the input."""

    path: str
    n_bytes: int


def find(uris: list[str], endings: tuple[str, ...]) -> tuple[fs.FileSystem, list[File]]:
    """The files at these places, in order of their paths. Folders are searched with all that is below them."""
    found: dict[str, File] = {}
    files, kinds = None, set()
    for uri in uris:
        files, path = locate(uri)
        kinds.add(files.type_name)
        info = files.get_file_info(path)
        if info.type == fs.FileType.NotFound:
            raise StorageError(f"`{uri}` does not exist")
        below = [info]
        if info.type == fs.FileType.Directory:
            below = [one for one in files.get_file_info(fs.FileSelector(path, recursive=True)) if _is_visible(one.path, path)]
        for one in below:
            if one.type == fs.FileType.File and one.path.endswith(endings):
                found[one.path] = File(one.path, one.size)
    if files is None or not found:
        raise StorageError(f"no file at `{', '.join(uris)}` ends in {', '.join(endings)}")
    if len(kinds) > 1:
        raise StorageError(f"the input is in several storages ({', '.join(sorted(kinds))}); run a job for each")
    return files, [found[path] for path in sorted(found)]


def absolute(uri: str) -> str:
    """The same place from any folder: nodes work in others than the one who starts a job."""
    return uri if urlparse(uri).scheme else os.path.abspath(uri)


def locate(uri: str) -> tuple[fs.FileSystem, str]:
    """The file system of a path or an address, and the path in it."""
    scheme = urlparse(uri).scheme
    if not scheme:
        return fs.LocalFileSystem(), os.path.abspath(uri)
    try:
        located: tuple[fs.FileSystem, str] = fs.FileSystem.from_uri(uri)
    except ValueError as error:
        return _locate_by_fsspec(scheme, uri, error)
    return located


def _locate_by_fsspec(scheme: str, uri: str, cause: Exception) -> tuple[fs.FileSystem, str]:
    import fsspec

    try:
        files: Any = fsspec.filesystem(scheme)
    except (ValueError, ImportError) as error:
        raise StorageError(f"`{uri}`: {cause}; {error}") from error
    handler: Any = fs.FSSpecHandler
    return fs.PyFileSystem(handler(files)), files._strip_protocol(uri)


def _is_visible(path: str, folder: str) -> bool:
    below = path[len(folder) :].strip("/").split("/")
    return not any(name.startswith(HIDDEN) for name in below)


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
