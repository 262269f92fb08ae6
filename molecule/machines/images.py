# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images of the machines. They stay on this machine, named by a digest of their sources.

``host`` and ``old`` are two releases of Debian; ``devserver`` is a layer on ``host``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import container_engine
import debian

HERE = Path(__file__).parent
REPOSITORY = "localhost/uvnas-machines"
REGISTRY = "docker.io/library/debian"
# An image's Debian release, and the variable that names another base image.
RELEASES = {"host": ("bookworm", "MOLECULE_IMAGE"), "old": ("bullseye", "MOLECULE_IMAGE_OLD")}
# The archive made by host/python.sh, in the state directory.
PYTHON = "python.tar.gz"


def build_all(engine: container_engine.Engine) -> dict[str, str]:
    """Build missing images, and remove obsolete ones. Returns their names by purpose."""
    built = {}
    for name, (release, variable) in RELEASES.items():
        base = os.environ.get(variable) or ""
        built[name] = _build(engine, name, "host", {"BASE": base or release})
    built["devserver"] = _build(engine, "devserver", "devserver", {"HOST": built["host"], "OLD": built["old"]})
    kept = {engine("image", "inspect", "--format", "{{.Id}}", name).strip() for name in built.values()}
    for listed in engine("images", "--no-trunc", "--quiet", "--filter", "label=uvnas-machines=1").split():
        if listed.removeprefix("sha256:") not in kept:
            engine.succeeds("rmi", listed)  # Fails while a container uses it.
    return built


def _build(engine: container_engine.Engine, name: str, context: str, arguments: dict[str, str]) -> str:
    """Build an image unless this machine has it; return its name."""
    digest = hashlib.sha256(repr(arguments).encode())
    for path in sorted((HERE / context).iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    tag = f"{REPOSITORY}:{name}-{digest.hexdigest()[:12]}"
    if engine.succeeds("image", "exists", tag):
        return tag
    started = time.monotonic()
    if arguments.get("BASE") in {release for release, _variable in RELEASES.values()}:
        arguments = {"BASE": _debian(engine, arguments["BASE"])}
    with tempfile.TemporaryDirectory() as directory:
        shutil.copytree(HERE / context, directory, dirs_exist_ok=True)
        # The same on every host, no matter which machine built the image; it protects nothing.
        (Path(directory) / "munge.key").write_bytes(hashlib.sha512(b"uvnas machines").digest() * 2)
        # On the machine's network, for its name servers and proxies. Builds ignore the limits in the engine's
        # settings.
        options = ["--network=host", "--pull=missing", "--squash", "--label=uvnas-machines=1"]
        options += [f"--ulimit={limit}" for limit in container_engine.limits()]
        options += [f"--build-arg={key}={value}" for key, value in arguments.items()]
        engine("build", *options, "--tag", tag, directory, timeout=1200)
    print(f"{tag}: built in {time.monotonic() - started:.0f} s")
    return tag


def _debian(engine: container_engine.Engine, release: str) -> str:
    """A base image of a Debian release: a local one, from a registry if it answers, or made from packages."""
    pulled, made = f"{REGISTRY}:{release}-slim", f"{REPOSITORY}-base:{release}"
    for name in (made, pulled):
        if engine.succeeds("image", "exists", name):
            return name
    if _registry_answers():
        try:
            engine("pull", "--quiet", pulled)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            print(f"cannot pull {pulled}; making it from packages")
        else:
            return pulled
    with tempfile.TemporaryDirectory() as directory:
        archive = Path(directory) / "rootfs.tar"
        debian.make(release, archive)
        engine("import", "--quiet", archive, made)
    return made


def _registry_answers() -> bool:
    """Whether the registry answers within seconds."""
    try:
        with urllib.request.urlopen("https://registry-1.docker.io/v2/", timeout=5):
            return True
    except urllib.error.HTTPError as error:
        return error.code == 401  # It wants a token, which podman will get.
    except OSError:
        return False


def take_python(engine: container_engine.Engine, image: str) -> str:
    """Copy the image's archive of its Python to the state directory; return the version."""
    container = engine("create", "--label", "uvnas-machines=1", image).strip()
    try:
        for name in (PYTHON, "python.version"):
            engine("cp", f"{container}:/machines/{name}", engine.state / name)
    finally:
        engine("rm", container)
    return (engine.state / "python.version").read_text().strip()
