package io.github.ssdkeras.detect

import android.graphics.Bitmap
import android.graphics.RectF
import kotlin.math.roundToInt
import org.json.JSONObject

/** How a file wants images to be looked at, as its ssd_keras.json says. */
class Looking(private val settings: JSONObject) {
    val size = settings.getJSONArray("image_size").let { Size(it.getInt(0), it.getInt(1)) }
    val isLetterbox = settings.getString("resize") == "letterbox"
    val tiling = settings.optJSONObject("tiling")?.let {
        Tiling(
            height = it.getInt("height"),
            width = it.getInt("width"),
            overlap = it.getDouble("overlap"),
            whole = it.getBoolean("whole"),
            iouThreshold = it.getDouble("iou_threshold"),
            smallerThreshold = it.getDouble("smaller_threshold"),
            margin = it.getDouble("margin"),
        )
    }
    private val centre = if (settings.getString("resize") == "corner") 0f else 0.5f

    /**
     * The objects in an image, tile by tile where the file says so. [detectPart] finds those of a
     * part, in pixels of it.
     */
    fun detect(image: Bitmap, detectPart: (Part) -> List<Detection>): List<Detection> {
        val whole = Part(image, 0, 0, image.height, image.width)
        if (tiling == null) return detectPart(whole)
        val tiles = tilesOf(whole.size, tiling)
        if (tiles.size == 1) return detectPart(whole)
        val parts = tiles.map { (top, left, bottom, right) -> Part(image, top, left, bottom, right) }
        val found = parts.map(detectPart)
        val names = found.flatten().map { it.name }.distinct()
        val onTiles = found.flatMapIndexed { number, those ->
            those.map { OnTile(number, names.indexOf(it.name), it.score, parts[number].inImage(it.box)) }
        }
        return mergeTiles(tiles, onTiles, tiling, settings.optBoolean("class_agnostic")).map {
            val (top, left, bottom, right) = it.box.map { edge -> edge.toFloat() }
            Detection(names[it.label], it.score, RectF(left, top, right, bottom))
        }
    }

    /** A part as the network's input: red, green and blue of each pixel, 0..255. */
    fun pixels(part: Part): FloatArray =
        resized(part.size, size, centre, place(part), part::readRow)

    /** The same as an image. */
    fun canvas(part: Part): Bitmap {
        val pixels = pixels(part)
        fun value(place: Int) = pixels[place].roundToInt().coerceIn(0, 255)
        val argb = IntArray(size.height * size.width) {
            OPAQUE or (value(3 * it) shl 16) or (value(3 * it + 1) shl 8) or value(3 * it + 2)
        }
        return Bitmap.createBitmap(argb, size.width, size.height, Bitmap.Config.ARGB_8888)
    }

    /** What was found at a box in shares of the network's input, in pixels of the part. */
    fun inPart(found: Detection, part: Part): Detection {
        val seen = place(part)
        fun x(share: Float) = inImage(share, size.width, seen.left, seen.columns) * part.size.width
        fun y(share: Float) = inImage(share, size.height, seen.top, seen.rows) * part.size.height
        val box = found.box
        return found.copy(box = RectF(x(box.left), y(box.top), x(box.right), y(box.bottom)))
    }

    /** Whether a box of a part is of an object: none is on the edges around it alone. */
    fun isInside(found: Detection): Boolean =
        !isLetterbox || found.box.right > found.box.left && found.box.bottom > found.box.top

    /** Where on the network's input a part lies. */
    private fun place(part: Part) =
        if (isLetterbox) letterbox(part.size, size) else Place(0, 0, size.height, size.width)
}

/** A part of an image, in pixels. Rows are read one by one: a photograph has too many at once. */
class Part(
    private val image: Bitmap,
    private val top: Int,
    private val left: Int,
    bottom: Int,
    right: Int,
) {
    val size = Size(bottom - top, right - left)

    fun readRow(row: Int, argb: IntArray) =
        image.getPixels(argb, 0, size.width, left, top + row, size.width, 1)

    /** The part as an image; the image itself if it is all of it. */
    fun bitmap(): Bitmap {
        if (size.height == image.height && size.width == image.width) return image
        return Bitmap.createBitmap(image, left, top, size.width, size.height)
    }

    /** Top, left, bottom and right of a box of the part, in pixels of the image. */
    fun inImage(box: RectF) = doubleArrayOf(
        box.top.toDouble() + top,
        box.left.toDouble() + left,
        box.bottom.toDouble() + top,
        box.right.toDouble() + left,
    )
}

private const val OPAQUE = 0xff shl 24
