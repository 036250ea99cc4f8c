"""What a model may say of its parametrisation."""

import pytest

from pipeline.catalog import DeclarationError, parse
from pipeline.families import Parametrisation
from pipeline.families.fm4npp.spec import FM4NPPMamba2

WRONG = [
    ({"rule": "mup"}, 'rule "mup" scales from a base model: give base_width'),
    ({"rule": "mup", "base_width": 64, "base_layers": 2}, 'rule "mup" has no base_layers: leave'),
    ({"rule": "completep", "base_width": 64}, "scales from a base model: give base_layers"),
    ({"base_width": 64}, 'rule "standard" has no base_width: leave it out'),
]


@pytest.mark.parametrize(("values", "message"), WRONG)
def test_a_rule_has_the_bases_it_scales_from_and_no_others(values, message):
    with pytest.raises(DeclarationError) as caught:
        parse(Parametrisation, values)
    assert message in str(caught.value)


def model(**rule):
    """The values of a model with a parametrisation."""
    return {"family": "fm4npp-mamba2", "width": 256, "parametrisation": rule}


def test_the_base_must_be_a_model_of_the_family():
    with pytest.raises(DeclarationError, match=r"no model of base_width: .*width 48 is no mult"):
        parse(FM4NPPMamba2, model(rule="mup", base_width=48))


def test_a_family_without_residual_factors_has_no_completep():
    with pytest.raises(
        DeclarationError, match="rule 'completep' is none of this family's: standard, mup"
    ):
        parse(FM4NPPMamba2, model(rule="completep", base_width=64, base_layers=2))


def test_residuals_are_divided_by_the_depth_over_that_of_the_base():
    asked = Parametrisation(rule="completep", base_width=64, base_layers=4)
    assert [asked.residual_scale(layers) for layers in (4, 8, 16)] == [1.0, 0.5, 0.25]
    assert Parametrisation(rule="mup", base_width=64).residual_scale(16) == 1.0
