package io.github.ssdkeras.detect

import android.content.Context
import android.graphics.Bitmap
import android.graphics.RectF
import com.google.mediapipe.framework.image.BitmapImageBuilder
import com.google.mediapipe.tasks.core.BaseOptions
import com.google.mediapipe.tasks.vision.core.RunningMode
import com.google.mediapipe.tasks.vision.objectdetector.ObjectDetector
import org.json.JSONObject

fun createDetector(context: Context): Detector = MediaPipeDetector(context)

/**
 * The file's metadata tell MediaPipe all it has to know of a file that looks at whole, stretched
 * images; what else its ssd_keras.json says (a letterbox, tiles) is done here. Of a file of
 * --postprocess=none MediaPipe suppresses by a rule of its own: across classes.
 */
private class MediaPipeDetector(context: Context) : Detector {
    /** Null for a file of another maker, which MediaPipe runs as well. */
    private val looking = packedFiles(context.assets.open(MODEL).use { it.readBytes() })["ssd_keras.json"]
        ?.let { Looking(JSONObject(it.decodeToString())) }
    private val detector = ObjectDetector.createFromOptions(
        context,
        ObjectDetector.ObjectDetectorOptions.builder()
            .setBaseOptions(BaseOptions.builder().setModelAssetPath(MODEL).build())
            .setRunningMode(RunningMode.IMAGE)
            // Weaker ones are needed to join what tiles show.
            .apply { if (looking?.tiling == null) setScoreThreshold(MIN_SCORE) }
            .build(),
    )

    override fun detect(image: Bitmap): List<Detection> {
        if (looking == null) return detectStretched(image)
        val found = looking.detect(image) { part ->
            if (looking.isLetterbox) detectOnCanvas(part, looking) else detectStretched(part.bitmap())
        }
        return found.filter { it.score >= MIN_SCORE }
    }

    /** MediaPipe gets the network's input as it is; boxes are then whole pixels of that. */
    private fun detectOnCanvas(part: Part, looking: Looking): List<Detection> {
        val (height, width) = looking.size.run { height.toFloat() to width.toFloat() }
        return detectStretched(looking.canvas(part)).map {
            val box = it.box
            val shares = RectF(
                box.left / width, box.top / height, box.right / width, box.bottom / height)
            looking.inPart(it.copy(box = shares), part)
        }.filter(looking::isInside)
    }

    private fun detectStretched(image: Bitmap): List<Detection> {
        // Not closed: that would recycle the bitmap, which is still to be drawn.
        val input = BitmapImageBuilder(image).build()
        return detector.detect(input).detections().map { found ->
            val best = found.categories().first()
            Detection(best.categoryName(), best.score(), found.boundingBox())
        }
    }

    override fun close() = detector.close()
}
