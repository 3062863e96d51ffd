"""The documentation says what the program does: generated pages, links, commands, keys, messages, versions."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import crh_batch
from crh_batch.cli.group import COMMANDS
from crh_batch.ledger.names import Failure, StateName
from crh_batch.profile import Profile
from crh_batch.profile_files import SURVEY_FILE, load_profile, own_file

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "crh_batch"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
README = ROOT / "README.md"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
# Where somebody's files lie; what every machine has (/tmp, /etc, /local as a site's example) may be named.
_MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|root|home/\w+|Users)/|docs-try")


def name_of(page: Path) -> str:
    """Name a page in a test's id."""
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    """Return a page without its code blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Return what a link can lead to inside a page: its headings, as GitHub and GitLab make anchors of them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def generator() -> ModuleType:
    """Import docs/generate_reference.py, which is no part of the package."""
    path = ROOT / "docs" / "generate_reference.py"
    spec = importlib.util.spec_from_file_location("generate_reference", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def texts_in_code() -> str:
    """Return every text in the package, docstrings apart, cut where something is filled in; and the job scripts."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "jobscripts").glob("*.j2")]
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                texts.append(" ".join(node.value.split()))
    return "\n".join(texts)


# ---------------------------------------------------------------- reference


def test_generated_pages_are_up_to_date() -> None:
    made = generator()
    old = made.outdated()
    assert not old, f"docs/reference/{', '.join(old)} out of date; run: {made.HOW_TO_MEND}"


def test_generated_pages_name_every_error_and_key() -> None:
    pages = generator().pages()
    tree = ast.parse((PACKAGE / "errors.py").read_text(encoding="utf-8"))
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    assert classes and all(f"`{name}`" in pages["errors.md"] for name in classes)
    assert all(f"`{key}`" in pages["profile.md"] for key in Profile().to_json())


def test_every_command_is_described() -> None:
    text = README.read_text(encoding="utf-8") + (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    missing = [name for name in COMMANDS if f"crh-batch {name}" not in text]
    assert not missing


def test_commands_that_are_shown_exist() -> None:
    """`crh-batch word` in code is a command, so renaming one is noticed."""
    known = {*COMMANDS, "COMMAND"}
    wrong = []
    seen = 0
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        code = [block for _, block in _FENCE.findall(text)] + re.findall(r"`([^`]+)`", prose(page))
        # At the beginning, or where a shell begins a command; elsewhere it is the program's own talk.
        said = re.findall(r"(?:^|\$ |&& |[;|] |until )crh-batch\s+([a-zA-Z]\w*)", "\n".join(code), re.MULTILINE)
        seen += len(said)
        wrong += [f"{name_of(page)}: crh-batch {word}" for word in said if word not in known]
    assert not wrong
    assert seen > 50


def json_keys() -> Iterator[tuple[str, str]]:
    """Give the keys of the JSON that commands print: texts in displays of dicts, with the file they are in."""
    files = [PACKAGE / "report/as_json.py", *(PACKAGE / "cli" / f"{name}.py" for name in ("submit", "show", "wait"))]
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Dict):
                for key in node.keys:
                    if isinstance(key, ast.Constant) and isinstance(key.value, str):
                        yield path.name, key.value


def test_every_json_key_is_described() -> None:
    text = (ROOT / "docs/reference/json.md").read_text(encoding="utf-8")
    found = dict.fromkeys(json_keys())
    assert ("as_json.py", "counts") in found
    missing = [f"{file}: {key}" for file, key in found if not re.search(rf'[`"]{re.escape(key)}[`"]', text)]
    assert not missing, "docs/reference/json.md lacks keys that the code prints"


def test_every_state_and_class_of_failure_is_described() -> None:
    text = (ROOT / "docs/protocol.md").read_text(encoding="utf-8")
    missing = [one.value for one in (*StateName, *Failure) if f"| {one.value} |" not in text.replace("`", "")]
    assert not missing


# ---------------------------------------------------------------- links


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in _LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            broken.append(link)
        elif anchor and anchor not in anchors(target):
            broken.append(f"{link} (no such heading)")
    assert not broken


def test_every_page_is_linked() -> None:
    linked = {README, ROOT / "CHANGELOG.md"}
    for page in PAGES:
        linked |= {(page.parent / link.partition("#")[0]).resolve() for link in _LINK.findall(prose(page))}
    assert [name_of(page) for page in PAGES if page not in linked] == []


def test_what_the_code_refers_to_is_there() -> None:
    """Comments name pages of docs/, decisions by number, and sections of docs/protocol.md."""
    headings = re.findall(r"^#+ (.*)$", prose(ROOT / "docs/protocol.md"), re.MULTILINE)
    missing = []
    files = [*PACKAGE.rglob("*.py"), *(ROOT / "jobscripts").iterdir(), *(ROOT / "benchmarks").glob("*.py")]
    for path in files:
        text = path.read_text(encoding="utf-8")
        for place in re.findall(r"docs/[\w./-]*[\w]", text):
            if not (ROOT / place).exists() and not list(ROOT.glob(place + "-*.md")):
                missing.append(f"{path.name}: {place}")
        for section in re.findall(r'docs/protocol\.md, "([^"]+)"', text):
            if not any(section in heading for heading in headings):
                missing.append(f'{path.name}: docs/protocol.md, "{section}"')
    assert not missing


# ---------------------------------------------------------------- examples


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_examples_of_profiles_are_accepted(page: Path, tmp_path: Path) -> None:
    for language, text in _FENCE.findall(page.read_text(encoding="utf-8")):
        if language == "toml":
            said = tomllib.loads(text)
            # The named profile that an example is laid over is the user's.
            if name := said.pop("profile", ""):
                own_file(name).parent.mkdir(parents=True, exist_ok=True)
                own_file(name).touch()
            (tmp_path / SURVEY_FILE).write_text(text, encoding="utf-8")
            profile = load_profile(str(tmp_path)).to_json()
            for key, value in said.items():
                assert profile[key] == (tuple(value) if isinstance(value, list) else value)


def test_messages_that_are_explained_are_those_of_the_code() -> None:
    """Headings of why-did-it-fail.md quote messages, with … for what is filled in."""
    page = ROOT / "docs/why-did-it-fail.md"
    quoted = [
        code
        for heading in re.findall(r"^### (.*)$", prose(page), re.MULTILINE)
        for code in re.findall(r"`([^`]+)`", heading)
    ]
    assert len(quoted) > 30
    said = texts_in_code()
    unknown = []
    for message in quoted:
        # "ended by signal 9 (SIGKILL)" is an example of one.
        parts = [part.strip(" ,:;()") for part in re.split(r"…|\d+ \(SIG\w+\)", message)]
        unknown += [f"{message!r}: {part!r}" for part in parts if len(part) > 1 and part not in said]
    assert not unknown, "no such message in the code; docs/why-did-it-fail.md is behind"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_path_of_one_machine(page: Path) -> None:
    assert _MACHINE_PATH.findall(page.read_text(encoding="utf-8")) == []


# ---------------------------------------------------------------- README and changelog


def test_readme_names_the_targets_and_they_exist() -> None:
    text = README.read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"\bmake ([a-z]+)\b(?= {2,}|`| [A-Z])", text))
    assert {"demo", "test"} <= targets
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []


def test_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 200


def test_changelog_has_this_version_as_its_newest() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## (.+)$", text, re.MULTILINE)
    versions = [section for section in sections if not section.startswith("Unreleased")]
    assert versions, "no version in CHANGELOG.md"
    newest = versions[0].split()[0].strip("[]")
    assert newest == crh_batch.__version__, "CHANGELOG.md and crh_batch.__version__ differ"


def test_decisions_are_numbered_listed_and_complete() -> None:
    directory = ROOT / "docs/decisions"
    pages = sorted(path for path in directory.glob("*.md") if path.name != "README.md")
    assert [path.name[:4] for path in pages] == [f"{number:04d}" for number in range(1, len(pages) + 1)]
    index = (directory / "README.md").read_text(encoding="utf-8")
    for page in pages:
        text = page.read_text(encoding="utf-8")
        title = text.partition("\n")[0].removeprefix(f"# {page.name[:4]} ")
        assert f"]({page.name}) | {title} |" in index
        assert re.findall(r"^## (\w+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"], page.name
        assert re.search(r"^Status: \w+", text, re.MULTILINE), page.name
