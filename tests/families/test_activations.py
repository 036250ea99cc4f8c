"""What models keep in memory is as predicted from the tables, on models they were not made with."""

from dataclasses import replace
from functools import partial

import pytest

torch = pytest.importorskip("torch")

from memory.cases import SETTINGS, drawn, taken
from memory.counting import counts, kept, peak, system
from memory.page import NEW

from pipeline.families import FAMILIES, TOKENIZERS
from pipeline.families.activations import Bytes, Growth, Taken, activations, predicted
from pipeline.families.fm4npp.spec import FM4NPPMamba, FM4NPPMamba2
from pipeline.families.polarbert.spec import PolarBERT

UNTRAINED = {"custom", "binning"}  # a user's own module; a tokenizer that learns nothing
BAND = 0.15
EVENT = Taken(1, 856, 856, 856**2, kernels=True)


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors are computed fastest so."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_the_tables_are_of_all_families_that_train():
    assert {*SETTINGS} == {*FAMILIES, *TOKENIZERS} - UNTRAINED


@pytest.mark.parametrize("family", SETTINGS)
def test_what_is_kept_at_two_sizes_and_the_peak_are_as_predicted(family):
    for seed in (NEW + 1, NEW):
        model, batch = drawn(family, seed)
        found = activations(model, taken(batch), "fp32")
        module, loss = system(model)
        assert found.kept == pytest.approx(kept(module, batch, partial(loss, batch)), rel=BAND)
    assert found.peak == pytest.approx(peak(module, loss, batch), rel=BAND)


@pytest.mark.parametrize("family", ["fm4npp-mamba2", "omnijet", "part"])
def test_bfloat16_and_blocks_computed_again_are_as_predicted(family):
    model, batch = drawn(family, NEW)
    real = counts(model, batch, half=True)
    assert activations(model, taken(batch), "bf16").peak == pytest.approx(real.peak, rel=BAND)
    again = activations(model, taken(batch), "bf16", again=True)
    assert again.peak == pytest.approx(real.peak_again, rel=0.3)


# MB an event of 856 points that mamba-ssm's kernels keep, counted with all of a model at once.
@pytest.mark.parametrize(("size", "mb"), [("m1", 80), ("m3", 312), ("m5", 1266), ("m6", 1918)])
def test_fm4npp_with_kernels_keeps_what_was_counted_at_full_size(size, mb):
    found = activations(FM4NPPMamba(size=size), EVENT, "fp32")
    assert found.kept == pytest.approx(mb * 1e6, rel=0.05)


def test_the_plain_scan_keeps_states_that_kernels_do_not():
    model, without = FM4NPPMamba(size="m3"), replace(EVENT, kernels=False)
    plain, fast = (activations(model, each, "fp32") for each in (without, EVENT))
    assert plain.kept > 2 * fast.kept


def test_kernels_make_no_difference_to_a_transformer():
    model = PolarBERT(size="base")
    plain, fast = (
        activations(model, Taken(8, 800, 100, 80_000, kernels=each), "fp32")
        for each in (False, True)
    )
    assert plain == fast


def test_computing_again_keeps_inputs_and_one_block():
    model = FM4NPPMamba2(size="m4")
    plain, again = (activations(model, EVENT, "bf16", again=each) for each in (False, True))
    assert again.peak < plain.peak / 4
    deeper = activations(FM4NPPMamba2(size="m4", layers=24), EVENT, "bf16", again=True)
    assert deeper.kept - again.kept == pytest.approx(12 * 856 * 512 * 2, rel=0.1)


def test_a_family_without_a_table_is_not_known():
    model = FAMILIES["custom"].model_construct(family="custom")
    assert activations(model, Taken(1, 1, 1, 1), "fp32") is None


def test_the_peak_is_the_largest_of_loss_block_and_forward_step():
    growth = Growth({"a": 1.0}, ((2, {"b": 10.0}), (1, {"c": 1.0})))
    rest = {"a": (1.0, 2.0, 1.0, 3.0, 0.0)}
    for passing, peak_at in (((1.0, 0.0, 0.0, 0.0), 26.0), ((1.0, 5.0, 0.0, 0.0), 71.0)):
        blocks = {"b": passing, "c": (3.0, 0.0, 1.0, 4.0)}
        found = predicted(growth, Bytes(rest, blocks))
        assert (found.kept, found.peak) == (24.0, peak_at)
    found = predicted(growth, Bytes({"a": (1.0, 0.0, 0.0, 0.0, 99.0)}, blocks))
    assert found.peak == 99.0
    again = predicted(growth, Bytes(rest, blocks), again=True)
    assert (again.kept, again.peak) == (2.0, 6.0)
