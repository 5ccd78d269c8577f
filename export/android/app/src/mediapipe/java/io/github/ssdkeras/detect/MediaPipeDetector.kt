package io.github.ssdkeras.detect

import android.content.Context
import android.graphics.Bitmap
import com.google.mediapipe.framework.image.BitmapImageBuilder
import com.google.mediapipe.tasks.core.BaseOptions
import com.google.mediapipe.tasks.vision.core.RunningMode
import com.google.mediapipe.tasks.vision.objectdetector.ObjectDetector

fun createDetector(context: Context): Detector = MediaPipeDetector(context)

/**
 * The file's metadata tell MediaPipe all it has to know. Of a file of --postprocess=none, too, but
 * there it suppresses by a rule of its own: across classes.
 */
private class MediaPipeDetector(context: Context) : Detector {
    private val detector = ObjectDetector.createFromOptions(
        context,
        ObjectDetector.ObjectDetectorOptions.builder()
            .setBaseOptions(BaseOptions.builder().setModelAssetPath(MODEL).build())
            .setRunningMode(RunningMode.IMAGE)
            .setScoreThreshold(MIN_SCORE)
            .build(),
    )

    override fun detect(image: Bitmap): List<Detection> {
        // Not closed: that would recycle the bitmap, which is still to be drawn.
        val input = BitmapImageBuilder(image).build()
        return detector.detect(input).detections().map { found ->
            val best = found.categories().first()
            Detection(best.categoryName(), best.score(), found.boundingBox())
        }
    }

    override fun close() = detector.close()
}
