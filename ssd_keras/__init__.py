"""Single-shot object detection in Keras 3, from annotated images to a .tflite file."""
