import pytest

torch = pytest.importorskip("torch")

from made_batches import batch

from pipeline.nn.batch import Batch


def test_every_point_knows_its_event_and_place():
    made = batch([2, 1, 3])
    assert made.sizes.tolist() == [2, 1, 3]
    assert made.event.tolist() == [0, 0, 1, 2, 2, 2]
    assert made.index_in_event.tolist() == [0, 1, 0, 0, 1, 2]


def test_padding_keeps_every_point_and_tells_which_are_real():
    made = batch([2, 1, 3])
    padded, real = made.padded(made.points)
    assert padded.shape == (3, 3, 4)
    assert real.sum() == 6
    assert torch.equal(padded[real], made.points)
    assert not padded[~real].any()


@pytest.mark.parametrize("offsets", [[0, 2, 5], [0, 2, 2, 6], [0, 4, 2, 6]])
def test_parts_that_disagree_are_refused(offsets):
    made = batch([6])
    with pytest.raises(ValueError, match="do not cut"):
        Batch(made.points, torch.tensor(offsets), made.event_id)
