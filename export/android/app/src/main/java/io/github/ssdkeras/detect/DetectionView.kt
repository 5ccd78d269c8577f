package io.github.ssdkeras.detect

import android.content.Context
import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.Paint
import android.graphics.Rect
import android.util.AttributeSet
import android.view.View
import kotlin.math.max
import kotlin.math.min

/** Shows an image and what was found in this very image, so that boxes never lag behind. */
class DetectionView(context: Context, attributes: AttributeSet?) : View(context, attributes) {
    private val density = resources.displayMetrics.density
    private val outline = Paint(Paint.ANTI_ALIAS_FLAG).apply {
        style = Paint.Style.STROKE
        strokeWidth = 2 * density
    }
    private val filled = Paint()
    private val letters = Paint(Paint.ANTI_ALIAS_FLAG).apply {
        color = Color.WHITE
        textSize = 14 * density
    }
    private val smooth = Paint(Paint.FILTER_BITMAP_FLAG)
    private var image: Bitmap? = null
    private var detections = emptyList<Detection>()
    private var lookedAtWidth = 1
    private var lookedAtHeight = 1

    /** Shows an image that may be smaller than the one that was looked at, whose size is given. */
    fun show(image: Bitmap, detections: List<Detection>, width: Int, height: Int) {
        this.image = image
        this.detections = detections
        lookedAtWidth = width
        lookedAtHeight = height
        contentDescription = detections.joinToString { it.name }
        invalidate()
    }

    override fun onDraw(canvas: Canvas) {
        val image = image ?: return
        val scale = min(width.toFloat() / image.width, height.toFloat() / image.height)
        val left = (width - scale * image.width) / 2
        val top = (height - scale * image.height) / 2
        val place = Rect(
            left.toInt(),
            top.toInt(),
            (left + scale * image.width).toInt(),
            (top + scale * image.height).toInt(),
        )
        canvas.drawBitmap(image, null, place, smooth)
        val across = scale * image.width / lookedAtWidth
        val down = scale * image.height / lookedAtHeight
        for (detection in detections) {
            val box = detection.box
            draw(
                canvas,
                detection,
                left + across * box.left,
                top + down * box.top,
                left + across * box.right,
                top + down * box.bottom,
            )
        }
    }

    private fun draw(
        canvas: Canvas,
        detection: Detection,
        left: Float,
        top: Float,
        right: Float,
        bottom: Float,
    ) {
        val hue = Math.floorMod(detection.name.hashCode(), 360).toFloat()
        outline.color = Color.HSVToColor(floatArrayOf(hue, 0.9f, 0.7f))
        filled.color = outline.color
        canvas.drawRect(left, top, right, bottom, outline)
        val text = "%s %.2f".format(detection.name, detection.score)
        val above = max(0f, top - 1.3f * letters.textSize)
        canvas.drawRect(
            left,
            above,
            left + letters.measureText(text) + 8 * density,
            above + 1.3f * letters.textSize,
            filled,
        )
        canvas.drawText(text, left + 4 * density, above + letters.textSize, letters)
    }
}
