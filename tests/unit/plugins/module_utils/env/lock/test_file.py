# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lock text: what uv writes is read, what is not pinned and hashed is refused, and nothing is lost on the way."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock import file as lock
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError

GOLDEN = Path(__file__).parent / "golden"
# uv pip compile --universal --generate-hashes --no-emit-index-url --no-strip-extras, less some hashes.
COMPILED = (GOLDEN / "lock_compiled.txt").read_text()
HASH = "--hash=sha256:" + "0" * 64


def parse(text: str) -> lock.Lock:
    return lock.parse(text, what="analysis.txt")


def by_name(text: str) -> dict[str, lock.Package]:
    return {package.name: package for package in parse(text).packages}


def test_what_uv_writes() -> None:
    read = parse(COMPILED)
    assert read.spec_digest is None
    assert read.versions == {
        "certifi": "2026.10.18",
        "charset-normalizer": "3.5.2",
        "colorama": "0.4.6",
        "idna": "3.10",
        "iniconfig": "@ https://files.example.org/iniconfig-2.1.0-py3-none-any.whl",
        "pysocks": "1.7.1",
        "requests": "2.32.4",
        "urllib3": "2.8.0",
    }
    packages = by_name(COMPILED)
    assert {name: one.marker for name, one in packages.items() if one.marker} == {"colorama": "sys_platform == 'win32'"}
    assert packages["idna"].hashes == (
        "sha256:12f65c9b470abda6dc35cf8e63cc574b1c52b11df2c86030af0ac09b01b13ea9",
        "sha256:946d195a0d259cbba61165e88e65941f16e9b36ea6ddb97f00452bae8b1287d3",
    )
    assert packages["idna"].text.endswith("# via\n    #   -r req.in\n    #   requests")


@pytest.mark.parametrize(
    ("line", "name", "version", "marker"),
    [
        (f"a==1.0 {HASH}", "a", "1.0", ""),
        (f"A_b.C == 1!2.0.post1+cu128 {HASH}", "a-b-c", "1!2.0.post1+cu128", ""),
        (f"a[x,y]==1.0 ; python_version < '3.13' and os_name == 'posix' {HASH}", "a", "1.0", None),
        (f"a==1.0;sys_platform=='linux' \\\n    {HASH}", "a", "1.0", "sys_platform=='linux'"),
        (f"a==1.0 \\\n\t{HASH} \\\n\t{HASH}\n\t# via b", "a", "1.0", ""),
        (f"a==1.0 --hash sha256:{'A' * 64}", "a", "1.0", ""),
        (f"a @ https://b.example/a.whl#egg=a {HASH}", "a", "@ https://b.example/a.whl#egg=a", ""),
        (f"a[x] @ file:///srv/a.whl ; os_name == 'nt' {HASH}", "a", "@ file:///srv/a.whl", "os_name == 'nt'"),
        (f"a==1.0 {HASH}  # the last good one", "a", "1.0", ""),
    ],
)
def test_forms_of_an_entry(line: str, name: str, version: str, marker: str | None) -> None:
    [package] = parse(f"# head\n\n{line}\n").packages
    assert (package.name, package.version) == (name, version)
    assert package.marker == ("python_version < '3.13' and os_name == 'posix'" if marker is None else marker)
    assert all(value == value.lower() for value in package.hashes)


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "# a\n    # b\n"])
def test_nothing(text: str) -> None:
    assert parse(text).packages == ()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (f"a>=1.0 {HASH}", "'a>=1.0' is not pinned"),
        (f"a==1.* {HASH}", "'a==1.*' is not pinned"),
        (f"a==1,<2 {HASH}", "is not pinned"),
        (f"a {HASH}", "'a' is not pinned"),
        ("-r other.txt", "'-r other.txt' is not pinned"),
        (f"./a.whl {HASH}", "is not pinned"),
        ("a==1.0", "'a==1.0' has no --hash"),
        (f"a==1.0  # {HASH}", "'a==1.0' has no --hash"),
        (f"a==1.0\n# {HASH}", "'a==1.0' has no --hash"),
        ("a @ https://b.example/a.whl", "has no --hash"),
        (
            "--index-url https://user:s3cret@b.example/simple",
            "'--index-url https://****@b.example/simple' is not pinned",
        ),
    ],
)
def test_what_is_refused(line: str, problem: str) -> None:
    with pytest.raises(UvnasError) as caught:
        parse(f"{COMPILED}{line}\n")
    assert str(caught.value).startswith("analysis.txt is not a lock: ")
    assert problem in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "--generate-hashes" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        # For uv an indented line is a line of its own: it would go and ask another index.
        (f"a==1.0 {HASH}\n    --index-url https://evil.example/simple\n", "'--index-url https://evil.example/simple'"),
        (f"a==1.0 {HASH}\n\t-r other.txt\n", "'-r other.txt' is not pinned"),
        (f"a==1.0 {HASH}\n    b>=2\n", "'b>=2' is not pinned"),
        (f"a==1.0 \\\n    {HASH} \\\n    --index-url https://evil.example/simple\n", "'--index-url https://evil.exam"),
        (f"a==1.0 {HASH} --config-settings x=y\n", "'--config-settings x=y' follows the hashes of 'a==1.0'"),
        (f"a==1.0 {HASH} b==2\n", "'b==2' follows the hashes of 'a==1.0'"),
        (f"a==1.0 {HASH}x\n", "'a==1.0' has no --hash"),
        (f"a==1.0 --global-option=x {HASH}\n", "is not pinned"),
        # What comes after these is a continuation for one reader, and none for another.
        (f"a==1.0 \\ \n    {HASH}\n", "'a==1.0' has no --hash"),
        (f"a==1.0 # b \\\n    {HASH}\n", "'a==1.0' has no --hash"),
        (f"a==1.0 {HASH}\r-r other.txt\n", "it has characters that end a line for some programs"),
        (f"a==1.0 {HASH}\x0c-r other.txt\n", "it has characters that end a line for some programs"),
        (f"# head\u2028-r other.txt\na==1.0 {HASH}\n", "it has characters that end a line for some programs"),
    ],
)
def test_nothing_hides_from_us_that_uv_would_read(text: str, problem: str) -> None:
    with pytest.raises(UvnasError) as caught:
        parse(text)
    assert problem in str(caught.value)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_continuation_need_not_be_indented(end: str) -> None:
    [package] = parse(end.join(["a==1.0 \\", HASH, "# of nobody", ""])).packages
    assert package.hashes == (HASH.partition("=")[2],)


def test_many_problems_are_counted() -> None:
    with pytest.raises(UvnasError, match=r"'p4' is not pinned \(name==version\); and 3 more$"):
        parse("".join(f"p{number}\n" for number in range(8)))


def test_the_digest_is_of_what_is_locked() -> None:
    read = parse(COMPILED)
    shuffled = list(read.packages)
    random.Random(1).shuffle(shuffled)
    bare = [
        "\n".join(line for line in package.text.splitlines() if not line.lstrip().startswith("#"))
        for package in shuffled
    ]
    assert "# via" not in "\n".join(bare)
    assert parse("\n".join(bare)).digest == read.digest


def test_the_digest_does_not_depend_on_the_order_of_hashes() -> None:
    one, other = (f"--hash=sha256:{digit * 64}" for digit in "ab")
    assert parse(f"a==1 {one} {other}").digest == parse(f"a==1 {other} {one}").digest != parse(f"a==1 {one}").digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("idna==3.10", "idna==3.11"),
        ("sha256:12f65c9b", "sha256:12f65c9c"),
        (" ; sys_platform == 'win32'", ""),
        ("iniconfig-2.1.0-py3", "iniconfig-2.1.1-py3"),
        ("pysocks==", "pysocks2=="),
    ],
)
def test_the_digest_sees_every_change(old: str, new: str) -> None:
    assert COMPILED.count(old) == 1
    assert parse(COMPILED.replace(old, new)).digest != parse(COMPILED).digest


def test_round_trip() -> None:
    read = parse(COMPILED)
    text = lock.render(read.packages, environment="analysis", spec_digest="abc", python="3.12")
    again = parse(text)
    assert again.spec_digest == "abc"
    assert again.digest == read.digest
    assert again.packages == tuple(sorted(read.packages, key=lambda package: package.name))
    assert lock.render(again.packages, environment="analysis", spec_digest="abc", python="3.12") == text
    assert lock.read_header(text) == {
        "format": 1,
        "environment": "analysis",
        "python": "3.12",
        "spec": "abc",
        "packages": 8,
    }


def test_round_trip_of_nothing() -> None:
    text = lock.render([], environment="empty", spec_digest="abc", python="3.12")
    assert parse(text) == lock.Lock((), "abc")


@pytest.mark.parametrize(
    "text", ["", "a", "# uvnas.cluster lock: ", "# uvnas.cluster lock: {", "# uvnas.cluster lock: [1]", '\n{"spec": 1}']
)
def test_a_header_that_says_nothing(text: str) -> None:
    assert lock.read_header(text) == {}


def test_the_digest_of_a_text_is_of_the_text() -> None:
    assert lock.LockText("a\n").digest != lock.LockText("a\n# b\n").digest


def test_a_text_is_read_as_far_as_somebody_wants_to_know() -> None:
    damaged = lock.LockText(
        '# uvnas.cluster lock: {"spec": "5"}\nnumpy>=2\n', "environment x: its lock", "Put it right."
    )
    assert (damaged.spec_digest, damaged.all_versions) == ("5", {})
    with pytest.raises(UvnasError, match="environment x: its lock is not a lock: 'numpy>=2' is not pinned") as caught:
        _lock = damaged.lock
    assert caught.value.hint == "Put it right."


def test_a_lock_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    parse = lock.parse
    monkeypatch.setattr(lock, "parse", lambda text, **more: parsed.append(text) or parse(text, **more))
    text = lock.LockText("a==1 --hash=sha256:" + "2" * 64)
    assert (text.all_versions, text.lock.digest, text.lock.versions) == ({"a": "1"}, text.lock.digest, {"a": "1"})
    assert parsed == [text.text]


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ({}, {}, []),
        ({"a": "1"}, {"a": "1"}, []),
        ({}, {"b": "1", "a": "2"}, ["a 2 (new)", "b 1 (new)"]),
        ({"a": "1"}, {}, ["a 1 (removed)"]),
        ({"a": "1", "b": "1", "d": "1"}, {"b": "2", "c": "1", "d": "1"}, ["a 1 (removed)", "b 1 -> 2", "c 1 (new)"]),
        ({"a": "1"}, {"a": "@ https://b.example/a.whl"}, ["a 1 -> @ https://b.example/a.whl"]),
    ],
)
def test_changes(before: dict[str, str], after: dict[str, str], lines: list[str]) -> None:
    assert lock.changes(before, after) == lines


def test_a_lock_with_a_password_in_it_is_refused_and_not_shown() -> None:
    text = "alpha @ https://alice:geheim@host/alpha.whl \\\n    --hash=sha256:" + "1" * 64 + "\n"
    with pytest.raises(UvnasError, match="credentials in its URL") as caught:
        lock.parse(text, what="it")
    assert "geheim" not in str(caught.value)


HASHED = "a==1 --hash=sha256:" + "1" * 64 + "\n"
BUILT = """\
# Build requirements of c @ https://x.example.org/c.tar.gz:
#     d==1 \\
#         --hash=sha256:2222222222222222222222222222222222222222222222222222222222222222
# Build requirements of a==1:
#     b==2 --hash=sha256:3333333333333333333333333333333333333333333333333333333333333333
# Build requirements of any package:
"""


def test_what_packages_are_built_with() -> None:
    read = parse(HASHED + BUILT)
    assert read.versions == {"a": "1"}
    assert [(b.name, b.version, [p.pin for p in b.requires]) for b in read.builds] == [
        ("c", "@ https://x.example.org/c.tar.gz", ["d==1"]),
        ("a", "1", ["b==2"]),
        ("", "", []),
    ]
    assert read.all_versions == {"a": "1", "d (to build c)": "1", "b (to build a)": "2"}
    text = lock.render(read.packages, read.builds, environment="x", spec_digest="5", python="3.12")
    assert text.endswith(HASHED + BUILT)
    assert parse(text).digest == read.digest != parse(HASHED).digest
    assert parse(HASHED + BUILT.replace("3333", "4444")).digest != read.digest


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("# Build requirements of a==1\n", "names no package"),
        ("# Build requirements of a:\n", "names no package"),
        ("# Build requirements of a==1:\n# Build requirements of a==1:\n", "or the same one again"),
        ("# Build requirements of a==1:\n# Build requirements of A[x] == 1:\n", "or the same one again"),
        (f"# Build requirements of a==1:\n#     {HASHED}#     {HASHED}", ": a is there more than once"),
        ("# Build requirements of a==1:\n#     b==1\n", "'b==1' has no --hash"),
        ("# Build requirements of a==1:\n#     b\n", "'b' is not pinned"),
        ("# Build requirements of a==1:\n#     --index-url https://x\n", "is not pinned"),
        ("# Build requirements of a @ https://me:secret@x/a.zip:\n", "has credentials in its URL"),
    ],
)
def test_what_packages_are_built_with_is_as_strict(text: str, problem: str) -> None:
    with pytest.raises(UvnasError) as failed:
        parse(HASHED + text)
    assert problem in str(failed.value)
    assert "secret" not in str(failed.value)


def test_what_stands_elsewhere_is_a_comment() -> None:
    """Where the lines of a build end, its requirements do."""
    text = HASHED + "# Build requirements of a==1:\n#  b==1\n#     c==1\n"
    assert [build.requires for build in parse(text).builds] == [()]


@pytest.mark.parametrize("said", ["1", "3", '"2"', "null", "[2]", "2.5"])
def test_a_truncated_lock_is_refused(said: str) -> None:
    """By its first line, which says how many packages there are. One that somebody else made says nothing."""
    entries = "".join(f"{name}==1.0 --hash=sha256:{'1' * 64}\n" for name in ("alpha", "beta"))
    first = '# uvnas.cluster lock: {"spec": "5", "packages": 2}\n'
    assert len(lock.parse(first + entries, what="it").packages) == len(lock.parse(entries, what="it").packages) == 2
    with pytest.raises(UvnasError, match=r"it is not a lock: it has 2 packages, but its first line says .*truncated"):
        lock.parse(first.replace("2}", f"{said}}}") + entries, what="it")
    with pytest.raises(UvnasError, match="it is not a lock: its first line is damaged"):
        lock.parse(first.replace("}", "") + entries, what="it")
