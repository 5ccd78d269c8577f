package io.github.ssdkeras.detect

import android.content.Context
import android.graphics.Bitmap
import android.graphics.RectF
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import org.json.JSONObject

private const val THREADS = 4

fun createDetector(context: Context): Detector = LiteRtDetector(context)

/** Runs the file through LiteRT's CompiledModel. */
private class LiteRtDetector(context: Context) : Detector {
    private val labels: List<String>
    private val height: Int
    private val width: Int
    private val isFloat: Boolean
    private val model = CompiledModel.create(
        context.assets,
        MODEL,
        CompiledModel.Options(Accelerator.CPU).apply {
            cpuOptions = CompiledModel.CpuOptions(numThreads = THREADS)
        },
    )
    private val inputs = model.createInputBuffers()
    private val outputs = model.createOutputBuffers()

    init {
        val files = packedFiles(context.assets.open(MODEL).use { it.readBytes() })
        fun text(name: String) =
            checkNotNull(files[name]) { "$MODEL holds no $name: export it with export.tflite." }
                .decodeToString()
        labels = text("labels.txt").removeSuffix("\n").lines()
        val settings = JSONObject(text("ssd_keras.json"))
        height = settings.getJSONArray("image_size").getInt(0)
        width = settings.getJSONArray("image_size").getInt(1)
        isFloat = settings.getString("quantization") != "int8"
        check(settings.getString("postprocess") != "none") {
            "$MODEL has raw outputs: export it with --postprocess=builtin."
        }
    }

    override fun detect(image: Bitmap): List<Detection> {
        val rgb = rgb(Bitmap.createScaledBitmap(image, width, height, true))
        if (isFloat) {
            inputs[0].writeFloat(FloatArray(rgb.size) { (rgb[it].toInt() and 0xff).toFloat() })
        } else {
            inputs[0].writeInt8(rgb)
        }
        model.run(inputs, outputs)
        val (boxes, classes, scores, count) = outputs.map { it.readFloat() }
        // Slots beyond the count mean nothing.
        return (0 until count[0].toInt()).filter { scores[it] >= MIN_SCORE }.map {
            val box = RectF(
                boxes[4 * it + 1] * image.width,
                boxes[4 * it] * image.height,
                boxes[4 * it + 3] * image.width,
                boxes[4 * it + 2] * image.height,
            )
            Detection(labels[classes[it].toInt()], scores[it], box)
        }
    }

    override fun close() {
        (inputs + outputs).forEach { it.close() }
        model.close()
    }
}

/** Red, green and blue of each pixel, a byte each. */
private fun rgb(image: Bitmap): ByteArray {
    val pixels = IntArray(image.width * image.height)
    image.getPixels(pixels, 0, image.width, 0, 0, image.width, image.height)
    return ByteArray(3 * pixels.size) { (pixels[it / 3] shr (16 - 8 * (it % 3))).toByte() }
}
