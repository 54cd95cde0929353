import numpy as np

from recon3d.selection.combs import is_combed
from tests.synthetic.media import slide, texture


def test_lines_of_two_moments_are_combs_and_nothing_else_is() -> None:
    first, second = (view[..., 1] for view in slide(texture(600, 400), [10, 14]))
    woven = first.copy()
    woven[1::2] = second[1::2]
    assert is_combed(woven)
    assert not is_combed(first)
    noise = np.random.default_rng(0).integers(0, 255, (240, 320), dtype=np.uint8)
    assert not is_combed(noise)
    assert not is_combed(np.zeros((240, 320), np.uint8))
