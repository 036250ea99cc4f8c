"""The third-party packages whose internals we read: their versions, and each internal."""

import inspect
import re
import tomllib
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


class Read(NamedTuple):
    """An internal of a package: an attribute of a module, and the text that its source must have.

    An attribute may be dotted. Without `text` it only has to exist.
    """

    module: str
    attribute: str
    text: tuple[str, ...] = ()


ENGINE = "training/engine"
READERS = "data/readers"
ZERO_12 = "deepspeed.runtime.zero.stage_1_and_2"
ZERO_3 = "deepspeed.runtime.zero.stage3"
UNFUSED = "deepspeed.runtime.fp16.unfused_optimizer"
FILES = "deepspeed.runtime.checkpoint_engine.torch_checkpoint_engine"
CONSTANTS = "deepspeed.checkpoint.constants"
# package → who reads its internals, and which
INTERNALS: dict[str, tuple[str, tuple[Read, ...]]] = {
    "deepspeed": (
        ", ".join(
            f"{ENGINE}/{name}.py"
            for name in ("engine", "backend", "elastic", "layouts", "state_files")
        ),
        (
            Read("deepspeed.ops", "__compatible_ops__"),
            Read("deepspeed.runtime.zero.muon.muon_optimizer", "MuonWithAuxAdam"),
            Read("deepspeed.runtime.engine", "DeepSpeedEngine._get_zero_param_shapes"),
            Read("deepspeed.runtime.engine", "DeepSpeedEngine.get_global_grad_norm"),
            Read(
                "deepspeed.runtime.engine",
                "DeepSpeedEngine",
                (
                    "self.param_names =",
                    "self.basic_optimizer =",
                    "_optim_states.pt",
                    "_model_states.pt",
                    "zero_pp_rank_",
                    "mp_rank_",
                    "global_samples",
                    "skipped_steps",
                    "self.checkpoint_engine.save(",
                    "self.checkpoint_engine.load(",
                ),
            ),
            Read(ZERO_12, "DeepSpeedZeroOptimizer.update_lp_params"),
            Read(
                ZERO_12,
                "DeepSpeedZeroOptimizer",
                ("self.single_partition_of_fp32_groups", "SINGLE_PARTITION_OF_FP32_GROUPS"),
            ),
            Read(ZERO_3, "DeepSpeedZeroOptimizer_Stage3.checkpoint_event_prologue"),
            Read(ZERO_3, "DeepSpeedZeroOptimizer_Stage3.checkpoint_event_epilogue"),
            Read(
                ZERO_3,
                "DeepSpeedZeroOptimizer_Stage3",
                ("self.fp32_partitioned_groups_flat", "FP32_FLAT_GROUPS"),
            ),
            Read(UNFUSED, "FP16_UnfusedOptimizer.refresh_fp32_params"),
            Read(UNFUSED, "FP16_UnfusedOptimizer", ("self.fp16_groups", "self.fp32_groups")),
            Read(FILES, "TorchCheckpointEngine.save", ("state_dict, path",)),
            Read(FILES, "TorchCheckpointEngine.load", ("path: str, map_location=None",)),
            Read("deepspeed.runtime.fp16.loss_scaler", "LossScaler"),
            Read("deepspeed.runtime.zero.config", "ZeroStageEnum"),
            Read("deepspeed.utils.tensor_fragment", "fragment_address"),
            Read(CONSTANTS, "OPTIMIZER_STATE_DICT", ("optimizer_state_dict",)),
            Read(CONSTANTS, "FP32_FLAT_GROUPS", ("fp32_flat_groups",)),
            Read(CONSTANTS, "BASE_OPTIMIZER_STATE", ("base_optimizer_state",)),
            Read(
                CONSTANTS,
                "SINGLE_PARTITION_OF_FP32_GROUPS",
                ("single_partition_of_fp32_groups",),
            ),
            Read(CONSTANTS, "PARAM_SHAPES", ("param_shapes",)),
        ),
    ),
    "uproot": (
        f"{READERS}/root_files.py, {READERS}/root_branches.py and data/simulation/root_file.py",
        (
            Read("uproot._util", "datetime_to_code"),
            Read("uproot.compression", "_decompress_ZLIB.library"),
            Read("uproot.compression", "_decompress_ZLIB.decompress"),
            Read("uproot.interpretation.jagged", "AsJagged.header_bytes"),
            Read("uproot.interpretation.jagged", "AsJagged.content"),
            Read("uproot.interpretation.numerical", "AsDtype.from_dtype"),
            Read("uproot.behaviors.TBranch", "TBranch.basket"),
            Read("uproot.behaviors.TBranch", "TBranch.entry_offsets"),
            Read("uproot.behaviors.TBranch", "TBranch.count_branch"),
            Read("uproot.models.TBasket", "Model_TBasket.byte_offsets"),
            Read("uproot.models.TBasket", "Model_TBasket.data"),
        ),
    ),
    "zarr": (
        "data/store/shard.py and data/store/codec.py",
        (
            Read("zarr.storage", "MemoryStore", ("_store_dict",)),
            Read("zarr.codecs", "ShardingCodec"),
            Read("zarr.codecs", "BloscCodec"),
            Read("zarr.codecs", "Crc32cCodec"),
        ),
    ),
    "numcodecs": (
        "data/store/codec.py",
        (
            Read("numcodecs.blosc", "use_threads"),
            Read("numcodecs.blosc", "compress"),
            Read("numcodecs.blosc", "decompress"),
        ),
    ),
    "pytest-xdist": (
        "tests/conftest.py",
        (Read("xdist.remote", "WorkerInteractor", ("item._nodeid =", "xdist_group")),),
    ),
}
PACKAGES = sorted(INTERNALS)
MODULES = {"pytest-xdist": "xdist"}


def declared(package: str) -> SpecifierSet:
    """Return the versions of `package` that pyproject.toml allows, over all its lists."""
    project = tomllib.loads(PROJECT.read_text())
    lists = [project["project"]["dependencies"]]
    lists += project["project"]["optional-dependencies"].values()
    lists += project["dependency-groups"].values()
    found = [Requirement(line) for lines in lists for line in lines if isinstance(line, str)]
    ranges = [each.specifier for each in found if each.name == package]
    assert ranges, f"{package} is in no list of pyproject.toml"
    return SpecifierSet(",".join(str(each) for each in ranges))


def outside(package: str, version: str) -> str:
    """Return a message if `version` of `package` is out of its range, else an empty string."""
    allowed, (files, _) = declared(package), INTERNALS[package]
    if version in allowed:
        return ""
    return f"{package} {version} is outside {allowed}: {files} read its internals"


def missing(read: Read) -> list[str]:
    """Return what is not there of an internal that we read."""
    found: Any = import_module(read.module)
    for name in read.attribute.split("."):
        try:
            found = inspect.getattr_static(found, name)
        except AttributeError:
            if not hasattr(found, name):
                return [f"{read.module}: no {read.attribute}"]
            found = getattr(found, name)
        if isinstance(found, property):
            break
    text = found if isinstance(found, str) else inspect.getsource(found) if read.text else ""
    return [f"{read.module}: {read.attribute} has no {t!r}" for t in read.text if t not in text]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_range_has_both_ends(package: str) -> None:
    operators = {each.operator for each in declared(package)}
    assert ">=" in operators, f"{package}: pyproject.toml names no oldest version"
    assert "<" in operators, f"{package}: pyproject.toml names no version that may break us"


@pytest.mark.parametrize("package", PACKAGES)
def test_the_installed_version_is_in_the_range(package: str) -> None:
    if find_spec(MODULES.get(package, package)) is None:
        pytest.skip(f"{package} is not installed here")
    message = outside(package, metadata.version(package))
    assert not message, message


@pytest.mark.parametrize("package", PACKAGES)
def test_each_internal_that_we_read_is_there(package: str) -> None:
    if find_spec(MODULES.get(package, package)) is None:
        pytest.skip(f"{package} is not installed here")
    files, reads = INTERNALS[package]
    lacking = [line for read in reads for line in missing(read)]
    version = metadata.version(package)
    assert not lacking, f"{package} {version} breaks {files}:\n" + "\n".join(lacking)


def test_a_version_beyond_the_range_is_named_with_who_reads_it() -> None:
    message = outside("deepspeed", "99.0")
    assert message.startswith("deepspeed 99.0 is outside ")
    assert re.search(r"<[\d.]+", message)
    assert "training/engine/elastic.py" in message


def test_an_internal_that_is_gone_is_named() -> None:
    assert missing(Read("tomllib", "nothing_here")) == ["tomllib: no nothing_here"]
    assert missing(Read("tomllib", "loads", ("no such text",))) == [
        "tomllib: loads has no 'no such text'"
    ]
