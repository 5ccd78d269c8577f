package io.github.ssdkeras.detect

import android.content.Context
import android.graphics.Bitmap
import android.graphics.RectF
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.math.roundToInt
import org.json.JSONObject

private const val THREADS = 4

/**
 * What runs the network. Accelerator.GPU is for a float16 or float32 file of --postprocess=none;
 * a GPU takes no suppression.
 */
private val ACCELERATOR = Accelerator.CPU

fun createDetector(context: Context): Detector = LiteRtDetector(context)

/** Runs the file through LiteRT's CompiledModel. */
private class LiteRtDetector(context: Context) : Detector {
    private val files = packedFiles(context.assets.open(MODEL).use { it.readBytes() })
    private val labels = text("labels.txt").removeSuffix("\n").lines()
    private val settings = JSONObject(text("ssd_keras.json"))
    private val looking = Looking(settings)
    private val isFloat = settings.getString("quantization") != "int8"
    private val raw = if (settings.getString("postprocess") == "none") RawOutputs() else null
    private val model = CompiledModel.create(
        context.assets,
        MODEL,
        CompiledModel.Options(ACCELERATOR).apply {
            if (ACCELERATOR == Accelerator.CPU) {
                cpuOptions = CompiledModel.CpuOptions(numThreads = THREADS)
            }
        },
    )
    private val inputs = model.createInputBuffers()
    private val outputs = model.createOutputBuffers()

    override fun detect(image: Bitmap): List<Detection> =
        looking.detect(image, ::detectPart).filter { it.score >= MIN_SCORE }

    private fun detectPart(part: Part): List<Detection> {
        val pixels = looking.pixels(part)
        if (isFloat) {
            inputs[0].writeFloat(pixels)
        } else {
            inputs[0].writeInt8(ByteArray(pixels.size) { pixels[it].roundToInt().toByte() })
        }
        model.run(inputs, outputs)
        val values = outputs.map { it.readFloat() }
        val found = raw?.detections(values) ?: detections(values)
        return found.map { looking.inPart(it, part) }.filter(looking::isInside)
    }

    /** The outputs of --postprocess=builtin and op: boxes, classes, scores and their count. */
    private fun detections(outputs: List<FloatArray>): List<Detection> {
        val (boxes, classes, scores, count) = outputs
        // Slots beyond the count mean nothing.
        return List(count[0].toInt()) { detection(classes[it].toInt(), scores[it], boxes, it) }
    }

    /** The outputs of --postprocess=none: codes and scores. */
    private inner class RawOutputs {
        private val anchors = floats("anchors.f32")
        private val variances =
            settings.getJSONArray("variances").let { FloatArray(4) { i -> it.getDouble(i).toFloat() } }
        private val rule = Rule(
            scoreThreshold = settings.getDouble("score_threshold").toFloat(),
            iouThreshold = settings.getDouble("iou_threshold").toFloat(),
            maxDetections = settings.getInt("max_detections"),
            maxPerClass = settings.getInt("max_per_class"),
            classAgnostic = settings.getBoolean("class_agnostic"),
        )

        fun detections(outputs: List<FloatArray>): List<Detection> {
            val (codes, scores) = outputs
            val corners = decode(codes, anchors, variances)
            return suppress(corners, scores, rule).map {
                detection(it.label, it.score, corners, it.box)
            }
        }
    }

    /** A box of ymin, xmin, ymax, xmax in 0..1, as it stands in [boxes]. */
    private fun detection(label: Int, score: Float, boxes: FloatArray, place: Int): Detection {
        fun edge(number: Int) = boxes[4 * place + number].coerceIn(0f, 1f)
        return Detection(labels[label], score, RectF(edge(1), edge(0), edge(3), edge(2)))
    }

    private fun packed(name: String) =
        checkNotNull(files[name]) { "$MODEL holds no $name: export it with ssd-keras export-tflite." }

    private fun text(name: String) = packed(name).decodeToString()

    private fun floats(name: String): FloatArray {
        val values = ByteBuffer.wrap(packed(name)).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer()
        return FloatArray(values.remaining()).also { values.get(it) }
    }

    override fun close() {
        (inputs + outputs).forEach { it.close() }
        model.close()
    }
}
