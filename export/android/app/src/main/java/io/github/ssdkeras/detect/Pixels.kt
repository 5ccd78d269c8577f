package io.github.ssdkeras.detect

import kotlin.math.floor

/**
 * Resizes as in training: bilinear, no antialiasing, aspect ratio not kept. Android's own scaling
 * may smooth.
 *
 * [argb] are the pixels of an image [from] high and wide, as Bitmap.getPixels gives them; the result
 * is red, green and blue of each pixel of one [to] high and wide, 0..255. [centre] is where a pixel
 * has its centre: half a pixel from its corner, or at its corner in detectors that come from the TF
 * Object Detection API.
 */
fun resized(argb: IntArray, from: Size, to: Size, centre: Float): FloatArray {
    val rows = neighbours(from.height, to.height, centre)
    val columns = neighbours(from.width, to.width, centre)
    val values = FloatArray(3 * to.height * to.width)
    var place = 0
    for (row in rows) {
        for (column in columns) {
            for (shift in CHANNELS) {
                fun at(y: Int, x: Int) = ((argb[y * from.width + x] shr shift) and 0xff).toFloat()
                val above = between(at(row.low, column.low), at(row.low, column.high), column.share)
                val below =
                    between(at(row.high, column.low), at(row.high, column.high), column.share)
                values[place++] = between(above, below, row.share)
            }
        }
    }
    return values
}

/** Height and width in pixels. */
class Size(val height: Int, val width: Int)

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
