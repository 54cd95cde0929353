"""Which of the mapper's models count."""

from __future__ import annotations

from pathlib import Path

import pycolmap

from recon3d.colmap import mapping


def test_a_model_whose_images_a_larger_one_has_is_no_part_of_its_own(tmp_path: Path) -> None:
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_cameras_per_rig, options.num_frames_per_rig = 1, 1, 6
    for number, kept in enumerate(([0, 1, 2], [0, 1, 2, 3, 4], [3, 4, 5])):
        model = pycolmap.synthesize_dataset(options)
        for place, frame in enumerate(sorted(model.reg_frame_ids())):
            if place not in kept:
                model.deregister_frame(frame)
        (tmp_path / str(number)).mkdir()
        model.write(str(tmp_path / str(number)))
    assert [model.name for model in mapping._models(tmp_path)] == ["1", "2"]
