package io.github.ssdkeras.detect

import android.graphics.Bitmap
import android.graphics.Matrix
import androidx.camera.core.ImageProxy

/** A camera's frame as it is held: the sensor's image lies on its side in a phone held upright. */
fun upright(frame: ImageProxy): Bitmap {
    val image = frame.toBitmap()
    val degrees = frame.imageInfo.rotationDegrees
    if (degrees == 0) return image
    val turn = Matrix().apply { postRotate(degrees.toFloat()) }
    return Bitmap.createBitmap(image, 0, 0, image.width, image.height, turn, true)
}
