"""Bundle adjusters over all images of a model."""

from __future__ import annotations

import pycolmap


def quiet_options() -> pycolmap.BundleAdjustmentOptions:
    """Make options that print nothing and use one thread.

    With more, sums and so models differ from run to run.

    Returns
    -------
    pycolmap.BundleAdjustmentOptions
    """
    options = pycolmap.BundleAdjustmentOptions()
    options.print_summary = False
    options.ceres.solver_options.num_threads = 1
    return options


def adjuster_of(
    reconstruction: pycolmap.Reconstruction, options: pycolmap.BundleAdjustmentOptions
) -> pycolmap.CeresBundleAdjuster:
    """Make an adjuster of all registered images; two cameras fix the world.

    Parameters
    ----------
    reconstruction : pycolmap.Reconstruction
    options : pycolmap.BundleAdjustmentOptions

    Returns
    -------
    pycolmap.CeresBundleAdjuster
    """
    config = pycolmap.BundleAdjustmentConfig()
    for image_id in sorted(reconstruction.reg_image_ids()):
        config.add_image(image_id)
    config.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    return pycolmap.create_default_ceres_bundle_adjuster(options, config, reconstruction)
