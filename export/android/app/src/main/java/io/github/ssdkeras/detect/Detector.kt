package io.github.ssdkeras.detect

import android.graphics.Bitmap
import android.graphics.RectF

/** The file in src/main/assets. */
const val MODEL = "detector.tflite"
const val MIN_SCORE = 0.4f

/** An object that was found; [box] is in pixels of the image. */
data class Detection(val name: String, val score: Float, val box: RectF)

/** Finds objects. One thread at a time. Each flavor has its own `createDetector`. */
interface Detector : AutoCloseable {
    /** The objects in [image] (ARGB_8888, upright, any size), best first. */
    fun detect(image: Bitmap): List<Detection>
}
