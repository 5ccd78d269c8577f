"""Small networks of the kinds that `keras.applications` has in large only."""

import keras


def small_convnext(input_tensor=None, **options):
    """ConvNeXt of one block a stage, with Keras' names; its layer scales are no tiny numbers."""
    return keras.src.applications.convnext.ConvNeXt(
        depths=[1, 1, 1, 1],
        projection_dims=[4, 4, 8, 8],
        layer_scale_init_value=0.3,
        include_top=False,
        weights=None,
        input_tensor=input_tensor,
        **options,
    )
