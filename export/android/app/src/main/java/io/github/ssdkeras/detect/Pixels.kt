package io.github.ssdkeras.detect

import kotlin.math.floor

/**
 * Resizes as in training: bilinear, no antialiasing. Android's own scaling may smooth.
 *
 * [readRow] gives a row of an image [from] high and wide, as Bitmap.getPixels does, into an array;
 * two rows are in memory at a time. The result is red, green and blue of each pixel of an image [to]
 * high and wide, 0..255. [centre] is where a pixel has its centre: half a pixel from its corner, or
 * at its corner in detectors that come from the TF Object Detection API. [seen] is where the image
 * lies in the result, see [letterbox]; the rest has the colour that the network was trained with.
 */
fun resized(
    from: Size,
    to: Size,
    centre: Float,
    seen: Place = Place(0, 0, to.height, to.width),
    readRow: (Int, IntArray) -> Unit,
): FloatArray {
    val rows = neighbours(from.height, seen.rows, centre)
    val columns = neighbours(from.width, seen.columns, centre)
    val values = FloatArray(3 * to.height * to.width) { FILL[it % 3] }
    val low = IntArray(from.width)
    val high = IntArray(from.width)
    rows.forEachIndexed { number, row ->
        readRow(row.low, low)
        readRow(row.high, high)
        var place = 3 * ((seen.top + number) * to.width + seen.left)
        for (column in columns) {
            for (shift in CHANNELS) {
                fun at(argb: IntArray, x: Int) = ((argb[x] shr shift) and 0xff).toFloat()
                val above = between(at(low, column.low), at(low, column.high), column.share)
                val below = between(at(high, column.low), at(high, column.high), column.share)
                values[place++] = between(above, below, row.share)
            }
        }
    }
    return values
}

/** Where an image of size [from] lies that is made as large as it fits in the middle of [canvas]. */
fun letterbox(from: Size, canvas: Size): Place {
    fun fitted(side: Int, other: Int, most: Int, across: Int) =
        floor(side.toDouble() * across / other + 0.5).toInt().coerceIn(1, most)
    val rows = fitted(from.height, from.width, canvas.height, canvas.width)
    val columns = fitted(from.width, from.height, canvas.width, canvas.height)
    return Place((canvas.height - rows) / 2, (canvas.width - columns) / 2, rows, columns)
}

/** A [share] of a [side] of the network's input, as a share of what lies on it from [start] on. */
fun inImage(share: Float, side: Int, start: Int, extent: Int) =
    ((share * side - start) / extent).coerceIn(0f, 1f)

/** A part of a network's input, in pixels. */
class Place(val top: Int, val left: Int, val rows: Int, val columns: Int)

/** Height and width in pixels. */
class Size(val height: Int, val width: Int)

/** Red, green and blue around an image that keeps its aspect ratio. */
private val FILL = floatArrayOf(123f, 117f, 104f)

/** Where red, green and blue stand in an ARGB pixel. */
private val CHANNELS = intArrayOf(16, 8, 0)

/** Two pixels that a place lies between, and the share of the second. */
private class Neighbours(val low: Int, val high: Int, val share: Float)

private fun neighbours(have: Int, want: Int, centre: Float) = List(want) {
    val place = (it + centre) * (have.toFloat() / want) - centre
    val first = floor(place).toInt()
    Neighbours(first.coerceIn(0, have - 1), (first + 1).coerceIn(0, have - 1), place - floor(place))
}

private fun between(first: Float, second: Float, share: Float) = first + (second - first) * share
